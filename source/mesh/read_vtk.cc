#include <palpate/core/errors.h>
#include <palpate/core/input_files.h>
#include <palpate/core/text.h>
#include <palpate/mesh/readers.h>
#include <palpate/mesh/vtk_grid.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

namespace Palpate
{
  namespace
  {
    using Vtk::displacement_names;
    using Vtk::Grid;
    using Vtk::label_names;

    std::string
    cell_type_name(const double type)
    {
      static const std::map<int, std::string> names = {
        {0, "empty cell"},
        {1, "vertex"},
        {2, "poly-vertex"},
        {3, "line"},
        {4, "poly-line"},
        {5, "triangle"},
        {6, "triangle strip"},
        {7, "polygon"},
        {8, "pixel"},
        {9, "quadrilateral"},
        {10, "tetrahedron"},
        {11, "voxel"},
        {12, "hexahedron"},
        {13, "wedge"},
        {14, "pyramid"},
        {21, "quadratic edge"},
        {22, "quadratic triangle"},
        {23, "quadratic quadrilateral"},
        {24, "quadratic tetrahedron"},
        {25, "quadratic hexahedron"},
        {26, "quadratic wedge"},
        {27, "quadratic pyramid"},
        {29, "triquadratic hexahedron"},
        {42, "polyhedron"},
        {69, "Lagrange triangle"},
        {71, "Lagrange tetrahedron"},
        {72, "Lagrange hexahedron"}};
      const auto name = names.find(static_cast<int>(type));
      return (name != names.end() ? name->second : "cell") + " (type " +
             std::to_string(static_cast<int>(type)) + ")";
    }



    bool
    is_three_dimensional(const double type)
    {
      return (type >= 10 && type <= 19) || (type >= 24 && type <= 29) ||
             type == 32 || type == 33 || type == 41 || type == 42 ||
             type == 71 || type == 72 || type == 73 || type == 74;
    }



    Grid
    read_grid(const std::string &filename, const std::string &label_array = "")
    {
      std::ifstream in(filename, std::ios::binary);
      if (!in)
        throw InputError(filename, "cannot be read, expected a VTK file");
      note_input(filename);
      std::string text{std::istreambuf_iterator<char>(in),
                       std::istreambuf_iterator<char>()};
      if (text.empty())
        throw InputError(filename, "empty file, expected a VTK file");
      const std::size_t first = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
      if (first != std::string::npos && text[first] == '<')
        return Vtk::read_xml(filename, std::move(text), label_array);
      return Vtk::read_legacy(filename, text, label_array);
    }



    int
    grid_dimension(const Grid &grid)
    {
      return std::any_of(grid.types.begin(),
                         grid.types.end(),
                         is_three_dimensional)
               ? 3
               : 2;
    }



    /// Offsets that increase within the connectivity, types as VTK has them.
    void
    check_grid(const std::string &filename, const Grid &grid)
    {
      if (grid.xyz.empty())
        throw InputError(filename, "no points, expected a mesh");
      for (std::size_t c = 0; c < grid.types.size(); ++c)
        {
          const double begin = grid.offsets[c], end = grid.offsets[c + 1];
          if (!(0 <= begin && begin <= end &&
                end <= static_cast<double>(grid.connectivity.size())) ||
              begin != std::floor(begin) || end != std::floor(end))
            throw InputError(filename,
                             "offsets of cell " + std::to_string(c) +
                               ", expected them to increase up to the size of "
                               "the connectivity");
          if (!(grid.types[c] >= 0 && grid.types[c] < 256) ||
              grid.types[c] != std::floor(grid.types[c]))
            throw InputError(filename,
                             "type of cell " + std::to_string(c) + " is " +
                               std::to_string(grid.types[c]) +
                               ", expected a VTK cell type");
        }
    }



    /// The vertices of a cell that must have @p n of them.
    template <std::size_t n>
    std::array<unsigned int, n>
    cell_vertices(const std::string &filename,
                  const Grid        &grid,
                  const std::size_t  c)
    {
      const auto begin       = static_cast<std::size_t>(grid.offsets[c]),
                 end         = static_cast<std::size_t>(grid.offsets[c + 1]);
      const std::string cell = "cell " + std::to_string(c);
      if (end - begin != n)
        throw InputError(filename,
                         cell + ", a " + cell_type_name(grid.types[c]) +
                           ", has " + std::to_string(end - begin) +
                           " vertices, expected " + std::to_string(n));
      std::array<unsigned int, n> vertices;
      for (std::size_t i = 0; i < n; ++i)
        {
          const double v = grid.connectivity[begin + i];
          if (!(v >= 0 && v < static_cast<double>(grid.xyz.size() / 3)) ||
              v != std::floor(v))
            {
              std::ostringstream index;
              index << v;
              throw InputError(filename,
                               cell + " has vertex index " + index.str() +
                                 ", expected 0 to " +
                                 std::to_string(grid.xyz.size() / 3 - 1));
            }
          vertices[i] = static_cast<unsigned int>(v);
        }
      return vertices;
    }



    /// The array that holds the labels; empty: there is none.
    std::string
    label_array_of(const std::string &filename, const Grid &grid)
    {
      if (!grid.label_array.empty() &&
          grid.cell_arrays.count(grid.label_array) == 0)
        {
          std::vector<std::string> there = grid.others;
          for (const auto &[name, array] : grid.cell_arrays)
            there.push_back(name);
          for (auto &name : there)
            name = Readers::one_line(name);
          throw InputError(filename,
                           "has no array '" + grid.label_array +
                             "' of the cells (Case/Label array), expected " +
                             (there.empty() ? "an array of labels"
                                            : Text::enumerate(there, " or ")));
        }
      if (!grid.label_array.empty())
        return grid.label_array;
      for (const auto &name : label_names())
        if (grid.cell_arrays.count(name) > 0)
          return name;
      return "";
    }



    /// What the labels are, and what was not used, where that may surprise.
    void
    note_arrays(const Grid               &grid,
                const std::string        &labels,
                std::vector<std::string> &notes)
    {
      std::vector<std::string> known, others;
      for (const auto &name : label_names())
        if (name != labels && grid.cell_arrays.count(name) > 0)
          known.push_back("'" + name + "'");
      for (const auto &name : grid.others)
        if (others.size() < 8)
          others.push_back("'" + Readers::one_line(name) + "'");
        else if (others.size() == 8)
          others.push_back("others");
      if (labels.empty() && !others.empty())
        notes.push_back(
          "no labels (an array of the cells named labels, "
          "material_id, gmsh:physical, ..., or Case/Label array); "
          "ignored: " +
          Text::enumerate(others));
      if (!labels.empty() && (labels != "labels" || !known.empty()))
        notes.push_back(
          "labels are '" + labels + "'" +
          (known.empty() ? "" : "; not used: " + Text::enumerate(known)));
    }



    /// Labels of all cells of the grid, empty if there are none.
    std::vector<int>
    grid_labels(const std::string &filename,
                const Grid        &grid,
                const std::string &name)
    {
      if (name.empty())
        return {};
      const NpyArray &array = grid.cell_arrays.at(name);
      if (array.shape[1] != 1)
        throw InputError(filename,
                         "key '" + name +
                           "': " + std::to_string(array.shape[1]) +
                           " components, expected 1");
      return Readers::to_labels(filename, name, array);
    }



    template <int dim>
    void
    take_displacement(const Grid &grid, CaseData<dim> &data)
    {
      for (const auto &name : displacement_names())
        {
          const auto entry = grid.point_arrays.find(name);
          if (entry == grid.point_arrays.end())
            continue;
          const NpyArray &given = entry->second;
          if (given.shape[1] != 3)
            {
              data.notes.push_back(std::string("ignored point array '") + name +
                                   "' as it has not 3 components");
              continue;
            }
          NpyArray array;
          array.shape = {given.shape[0], dim};
          for (std::size_t i = 0; i < given.size(); ++i)
            if (i % 3 < dim)
              array.values.push_back(given.values[i]);
          data.arrays["displacement_field"] = array;
          return;
        }
    }
  } // namespace



  namespace Readers
  {
    int
    vtk_dimension(const std::string &filename)
    {
      return grid_dimension(read_grid(filename));
    }



    template <int dim>
    CaseData<dim>
    read_vtk(const std::string &filename, const std::string &label_array)
    {
      const Grid grid = read_grid(filename, label_array);
      check_grid(filename, grid);
      const std::string      name   = label_array_of(filename, grid);
      const std::vector<int> labels = grid_labels(filename, grid, name);

      CaseData<dim> data;
      data.source        = filename;
      data.mesh.vertices = to_points<dim>(filename, grid.xyz);
      data.coordinates   = grid.space;
      note_arrays(grid, name, data.notes);

      constexpr int cell_type = (dim == 3 ? 10 : 5),
                    face_type = (dim == 3 ? 5 : 3),
                    max_skip  = (dim == 3 ? 5 : 4);
      std::vector<BoundaryFace<dim>> faces;
      std::size_t                    skipped = 0;
      for (std::size_t c = 0; c < grid.types.size(); ++c)
        {
          const int type = static_cast<int>(grid.types[c]);
          if (type == cell_type)
            {
              data.mesh.cells.push_back(
                cell_vertices<dim + 1>(filename, grid, c));
              data.mesh.labels.push_back(labels.empty() ? 0 : labels[c]);
            }
          else if (type == face_type && !labels.empty())
            {
              if (labels[c] < 0)
                throw InputError(filename,
                                 "boundary id " + std::to_string(labels[c]) +
                                   " of cell " + std::to_string(c) +
                                   ", expected at least 0");
              faces.push_back({cell_vertices<dim>(filename, grid, c),
                               static_cast<unsigned int>(labels[c])});
            }
          else if (type >= 1 && type <= max_skip)
            ++skipped;
          else
            throw InputError(filename,
                             "cell " + std::to_string(c) + " is a " +
                               cell_type_name(grid.types[c]) +
                               ", expected only " +
                               (dim == 3 ? "tetrahedra" : "triangles"));
        }
      if (skipped > 0)
        data.notes.push_back("ignored " + std::to_string(skipped) +
                             " cells of lower dimension");
      set_boundary_faces(data, faces);
      take_displacement(grid, data);
      return data;
    }



    template CaseData<2>
    read_vtk<2>(const std::string &, const std::string &);
    template CaseData<3>
    read_vtk<3>(const std::string &, const std::string &);
  } // namespace Readers
} // namespace Palpate