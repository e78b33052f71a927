#include <palpate/core/errors.h>
#include <palpate/mesh/partitioned_pack.h>
#include <palpate/mesh/read_case.h>
#include <palpate/mesh/readers.h>
#include <palpate/mesh/timestamps.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <limits>
#include <set>
#include <sstream>
#include <utility>

namespace Palpate
{
  namespace
  {
    enum class Format
    {
      pack,
      gmsh,
      vtk
    };

    /// Format by extension, of a file that exists; of several, of the first.
    Format
    file_format(const std::string &text)
    {
      const std::string filename = Readers::files_of(text)[0];
      const std::string expected =
        "expected a case pack (.npz) or a mesh (.msh, .vtk, .vtu)";
      std::error_code error;
      const auto      status = std::filesystem::status(filename, error);
      if (!std::filesystem::exists(status))
        throw InputError(filename, "no such file, " + expected);
      if (std::filesystem::is_directory(status))
        throw InputError(filename, "is a folder, " + expected);

      std::string extension =
        std::filesystem::path(filename).extension().string();
      for (char &c : extension)
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      if (extension == ".npz")
        return Format::pack;
      if (extension == ".msh")
        return Format::gmsh;
      if (extension == ".vtk" || extension == ".vtu")
        return Format::vtk;
      throw InputError(filename,
                       "unknown kind of file '" + Readers::one_line(extension) +
                         "', " + expected);
    }



    void
    scale(NpzArrays &arrays, const std::string &key, const double factor)
    {
      const auto entry = arrays.find(key);
      if (entry != arrays.end())
        for (double &value : entry->second.values)
          value *= factor;
    }



    /// From the file's unit of length to metres.
    template <int dim>
    void
    scale_lengths(CaseData<dim> &data, const double unit)
    {
      for (auto &vertex : data.mesh.vertices)
        vertex *= unit;
      for (const char *key :
           {"displacement_field", "displacement_steps", "rest_length"})
        scale(data.arrays, key, unit);
      for (const char *key : {"r_axis", "r_shear", "r_vol"})
        scale(data.arrays, key, 1. / unit);
      scale(data.arrays, "volume", std::pow(unit, dim));
    }



    template <int dim>
    void
    check_cells(const CaseData<dim> &data)
    {
      const auto       &cells = data.mesh.cells;
      const std::size_t N     = data.mesh.vertices.size();

      using Key = std::pair<std::array<unsigned int, dim + 1>, std::size_t>;
      std::vector<Key>  sorted(cells.size());
      std::vector<bool> used(N, false);
      for (std::size_t c = 0; c < cells.size(); ++c)
        {
          const std::string cell = "cell " + std::to_string(c);
          for (const unsigned int v : cells[c])
            {
              if (v >= N)
                throw InputError(data.source,
                                 cell + " has vertex index " +
                                   std::to_string(v) + ", expected 0 to " +
                                   std::to_string(N - 1));
              used[v] = true;
            }
          sorted[c] = {cells[c], c};
          std::sort(sorted[c].first.begin(), sorted[c].first.end());
          const auto twice =
            std::adjacent_find(sorted[c].first.begin(), sorted[c].first.end());
          if (twice != sorted[c].first.end())
            throw InputError(data.source,
                             cell + " has vertex " + std::to_string(*twice) +
                               " twice, expected " + std::to_string(dim + 1) +
                               " different vertices");
        }

      std::sort(sorted.begin(), sorted.end());
      const auto same = std::adjacent_find(sorted.begin(),
                                           sorted.end(),
                                           [](const Key &a, const Key &b) {
                                             return a.first == b.first;
                                           });
      if (same != sorted.end())
        throw InputError(data.source,
                         "cells " + std::to_string(same->second) + " and " +
                           std::to_string(std::next(same)->second) +
                           " have the same vertices, expected every cell once");

      const auto unused = std::count(used.begin(), used.end(), false);
      if (unused > 0)
        throw InputError(data.source,
                         "vertex " +
                           std::to_string(
                             std::find(used.begin(), used.end(), false) -
                             used.begin()) +
                           " belongs to no cell (" + std::to_string(unused) +
                           " such in all), expected every vertex in a cell");
    }
  } // namespace



  namespace Readers
  {
    std::string
    one_line(const std::string &text)
    {
      std::string result = text.substr(0, 200);
      for (char &c : result)
        if (static_cast<unsigned char>(c) < 32 || c == 127)
          c = ' ';
      return result;
    }



    std::string
    index_string(const std::vector<std::size_t> &shape, std::size_t i)
    {
      std::string result;
      for (std::size_t d = shape.size(); d-- > 0;)
        {
          result = std::to_string(i % shape[d]) + (result.empty() ? "" : ", ") +
                   result;
          i /= shape[d];
        }
      return "[" + result + "]";
    }



    std::vector<int>
    to_labels(const std::string &source,
              const std::string &key,
              const NpyArray    &array)
    {
      std::vector<int> labels(array.size());
      for (std::size_t i = 0; i < labels.size(); ++i)
        {
          const double value = array.values[i];
          // Written so that NaN fails.
          if (!(std::abs(value) <= std::numeric_limits<int>::max()) ||
              value != std::floor(value))
            {
              std::ostringstream text;
              text << value;
              throw InputError(source,
                               "key '" + key + "': value " + text.str() +
                                 " at " + index_string(array.shape, i) +
                                 ", expected whole numbers of at most 31 bits");
            }
          labels[i] = static_cast<int>(value);
        }
      return labels;
    }



    template <int dim>
    void
    set_boundary_faces(CaseData<dim>                        &data,
                       const std::vector<BoundaryFace<dim>> &faces)
    {
      if (faces.empty())
        return;
      using Face = std::array<unsigned int, dim>;
      // All faces of all cells: those of one cell appear once.
      std::vector<Face> of_cells;
      of_cells.reserve((dim + 1) * data.mesh.cells.size());
      for (const auto &cell : data.mesh.cells)
        for (unsigned int omit = 0; omit <= dim; ++omit)
          {
            Face face;
            for (unsigned int i = 0, j = 0; i <= dim; ++i)
              if (i != omit)
                face[j++] = cell[i];
            std::sort(face.begin(), face.end());
            of_cells.push_back(face);
          }
      std::sort(of_cells.begin(), of_cells.end());

      std::size_t interior = 0, foreign = 0;
      // A face has every id once, however often it is listed.
      std::set<std::pair<Face, unsigned int>> taken;
      std::set<Face>                          in_several;
      for (const auto &face : faces)
        {
          Face sorted = face.vertices;
          std::sort(sorted.begin(), sorted.end());
          const auto range =
            std::equal_range(of_cells.begin(), of_cells.end(), sorted);
          if (range.second - range.first == 1)
            {
              if (!taken.insert({sorted, face.id}).second)
                continue;
              data.mesh.boundary_faces.push_back(face);
              const auto first = taken.lower_bound({sorted, 0});
              if (std::next(first) != taken.end() &&
                  std::next(first)->first == sorted)
                in_several.insert(sorted);
            }
          else
            ++(range.first == range.second ? foreign : interior);
        }
      if (!in_several.empty())
        data.notes.push_back(std::to_string(in_several.size()) +
                             " faces have several boundary ids, all of which "
                             "count");
      if (interior > 0)
        data.notes.push_back("ignored " + std::to_string(interior) +
                             " interior faces with a boundary id");
      if (foreign > 0)
        data.notes.push_back("ignored " + std::to_string(foreign) +
                             " faces with a boundary id that are on no cell");
    }



    template <int dim>
    std::vector<dealii::Point<dim>>
    to_points(const std::string &source, const std::vector<double> &xyz)
    {
      const std::size_t               N = xyz.size() / 3;
      std::vector<dealii::Point<dim>> points(N);
      for (std::size_t v = 0; v < N; ++v)
        for (unsigned int d = 0; d < dim; ++d)
          points[v][d] = xyz[3 * v + d];
      if (dim == 2 && N > 0)
        {
          double extent = 0;
          for (std::size_t v = 0; v < N; ++v)
            extent = std::max(extent, (points[v] - points[0]).norm());
          for (std::size_t v = 0; v < N; ++v)
            if (std::abs(xyz[3 * v + 2] - xyz[2]) > 1e-9 * extent)
              throw InputError(source,
                               "vertex " + std::to_string(v) +
                                 " has z = " + std::to_string(xyz[3 * v + 2]) +
                                 " but vertex 0 has " + std::to_string(xyz[2]) +
                                 ", expected tetrahedra, or triangles in one "
                                 "plane of constant z");
        }
      return points;
    }
  } // namespace Readers



  int
  mesh_dimension(const std::string &filename)
  {
    if (is_partitioned(filename))
      return partitioned_dimension(filename);
    switch (file_format(filename))
      {
        case Format::pack:
          return Readers::pack_dimension(filename);
        case Format::gmsh:
          return Readers::gmsh_dimension(filename);
        default:
          return Readers::vtk_dimension(filename);
      }
  }



  template <int dim>
  void
  validate_case(const CaseData<dim> &data)
  {
    const auto &mesh = data.mesh;
    if (mesh.vertices.empty())
      throw InputError(data.source, "no vertices, expected a mesh");
    if (mesh.cells.empty())
      throw InputError(data.source,
                       std::string("no cells, expected ") +
                         (dim == 3 ? "tetrahedra" : "triangles"));
    for (std::size_t v = 0; v < mesh.vertices.size(); ++v)
      for (unsigned int d = 0; d < dim; ++d)
        if (!std::isfinite(mesh.vertices[v][d]))
          throw InputError(data.source,
                           "vertex " + std::to_string(v) + " has coordinate " +
                             std::to_string(mesh.vertices[v][d]) +
                             ", expected finite numbers");
    check_cells(data);
    if (mesh.labels.size() != mesh.cells.size())
      throw InputError(data.source,
                       std::to_string(mesh.labels.size()) +
                         " labels, expected one for each of the " +
                         std::to_string(mesh.cells.size()) + " cells");
    for (std::size_t f = 0; f < mesh.boundary_faces.size(); ++f)
      for (const unsigned int v : mesh.boundary_faces[f].vertices)
        if (v >= mesh.vertices.size())
          throw InputError(data.source,
                           "boundary face " + std::to_string(f) +
                             " has vertex index " + std::to_string(v) +
                             ", expected 0 to " +
                             std::to_string(mesh.vertices.size() - 1));
    Readers::validate_arrays(data);
  }



  template <int dim>
  CaseData<dim>
  read_case(const std::string &filename,
            const double       length_unit,
            const std::string &label_array)
  {
    if (!(length_unit > 0) || !std::isfinite(length_unit))
      throw InputError(filename,
                       "length unit " + std::to_string(length_unit) +
                         ", expected a positive factor to metres");

    const Format format = file_format(filename);
    if (const auto files = Readers::files_of(filename);
        format != Format::pack && files.size() > 1)
      throw InputError(files[0],
                       "is one of " + std::to_string(files.size()) +
                         " files, expected one mesh, or case packs (.npz), one "
                         "per timestamp");
    CaseData<dim> data =
      format == Format::pack   ? Readers::read_pack<dim>(filename)
      : format == Format::gmsh ? Readers::read_gmsh<dim>(filename)
                               : Readers::read_vtk<dim>(filename, label_array);
    validate_case(data);
    Readers::check_against_mesh(data);

    if (data.arrays.count("displacement_steps") > 0 &&
        data.arrays.erase("displacement_field") > 0)
      data.notes.push_back("used 'displacement_steps' and ignored "
                           "'displacement_field', as both are given");
    scale_lengths(data, length_unit);
    return data;
  }



  namespace Readers
  {
    template void
    set_boundary_faces<2>(CaseData<2> &, const std::vector<BoundaryFace<2>> &);
    template void
    set_boundary_faces<3>(CaseData<3> &, const std::vector<BoundaryFace<3>> &);
    template std::vector<dealii::Point<2>>
    to_points<2>(const std::string &, const std::vector<double> &);
    template std::vector<dealii::Point<3>>
    to_points<3>(const std::string &, const std::vector<double> &);
  } // namespace Readers

  template void
  validate_case<2>(const CaseData<2> &);
  template void
  validate_case<3>(const CaseData<3> &);
  template CaseData<2>
  read_case<2>(const std::string &, const double, const std::string &);
  template CaseData<3>
  read_case<3>(const std::string &, const double, const std::string &);
} // namespace Palpate
