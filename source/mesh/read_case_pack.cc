#include <palpate/core/errors.h>
#include <palpate/core/text.h>
#include <palpate/mesh/readers.h>
#include <palpate/mesh/timestamps.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <sstream>

namespace Palpate
{
  namespace
  {
    /// What the values of an array must fulfil.
    enum class Values
    {
      finite,
      nonnegative,
      positive,
      poisson_ratio,
      zero_or_one,
      indices ///< integer type; ranges are checked elsewhere
    };

    using Shape = std::vector<std::size_t>;

    /// One known key: the shapes it may have, the text for it, its values.
    struct KnownArray
    {
      std::string        key;
      std::vector<Shape> shapes;
      std::string        shape_text;
      Values             values;
    };

    /// Stands for the number of steps in the shapes of KnownArray.
    constexpr std::size_t any_size = std::numeric_limits<std::size_t>::max();

    /// Except mesh_points, tetrahedra, triangles and labels.
    template <int dim>
    std::vector<KnownArray>
    known_arrays(const std::size_t N, const std::size_t M)
    {
      const std::size_t d       = dim;
      const std::size_t columns = d * (d + 1), planes = d * (d - 1) / 2;
      const std::string D = std::to_string(d), C = std::to_string(columns);
      const auto        or_with_steps = [](const std::string &sizes) {
        return "(M, " + sizes + ") or (S, M, " + sizes + ")";
      };
      return {
        {"boundary_nodes", {{N}}, "(N,)", Values::zero_or_one},
        {"displacement_field", {{N, d}}, "(N, " + D + ")", Values::finite},
        {"displacement_steps",
         {{any_size, N, d}},
         "(S, N, " + D + ")",
         Values::finite},
        {"volume", {{M}}, "(M,)", Values::positive},
        {"mass", {{N}}, "(N,)", Values::nonnegative},
        {"hu_tetra_steps", {{any_size, M, 1}}, "(S, M, 1)", Values::finite},
        {"hu_tetra_mean", {{M, 1}, {M}}, "(M, 1) or (M,)", Values::finite},
        {"tet_neighbor_indices", {{any_size}}, "(number,)", Values::indices},
        {"tet_neighbor_offsets", {{M + 1}}, "(M + 1,)", Values::indices},
        {"r_axis",
         {{M, d, columns}, {any_size, M, d, columns}},
         or_with_steps(D + ", " + C),
         Values::finite},
        {"r_shear",
         {{M, planes, columns}, {any_size, M, planes, columns}},
         or_with_steps(std::to_string(planes) + ", " + C),
         Values::finite},
        {"r_vol",
         {{M, columns}, {any_size, M, columns}},
         or_with_steps(C),
         Values::finite},
        {"anisotropy_axes",
         {{M, d, d}, {any_size, M, d, d}},
         "(M, " + D + ", " + D + ") or (S, M, " + D + ", " + D + ")",
         Values::finite},
        {"alpha_k", {{M}}, "(M,)", Values::positive},
        {"youngs_modulus", {{M}}, "(M,)", Values::positive},
        {"poisson_ratio", {{M}}, "(M,)", Values::poisson_ratio},
        {"density", {{M}}, "(M,)", Values::positive},
        {"charge_density", {{M}}, "(M,)", Values::finite},
        {"spring_stiffness", {{M, d}}, "(M, " + D + ")", Values::positive},
        {"rest_length", {{M, d}}, "(M, " + D + ")", Values::positive},
        {"observation_weight", {{N}}, "(N,)", Values::nonnegative}};
    }



    /// Of networks: N vertices, M springs; except mesh_points, springs, labels.
    std::vector<KnownArray>
    known_of_network(const std::size_t N,
                     const std::size_t M,
                     const std::size_t d)
    {
      const std::string D = std::to_string(d);
      return {
        {"boundary_nodes", {{N}}, "(N,)", Values::zero_or_one},
        {"displacement_field", {{N, d}}, "(N, " + D + ")", Values::finite},
        {"displacement_steps",
         {{any_size, N, d}},
         "(S, N, " + D + ")",
         Values::finite},
        {"observation_weight", {{N}}, "(N,)", Values::nonnegative},
        {"mass", {{N}}, "(N,)", Values::positive},
        {"charge", {{N}}, "(N,)", Values::finite},
        {"spring_constant", {{M}}, "(M,)", Values::positive},
        {"rest_length", {{M}}, "(M,)", Values::nonnegative}};
    }



    /// Of all packs.
    std::set<std::string>
    known_keys()
    {
      std::set<std::string> keys = {
        "mesh_points", "tetrahedra", "triangles", "springs", "labels"};
      for (const auto &list :
           {known_arrays<3>(1, 1), known_of_network(1, 1, 3)})
        for (const KnownArray &array : list)
          keys.insert(array.key);
      return keys;
    }



    /// Before the packs of several timestamps are compared.
    void
    drop_unknown(NpzArrays &arrays, std::vector<std::string> &notes)
    {
      const std::set<std::string> known = known_keys();
      for (auto it = arrays.begin(); it != arrays.end();)
        if (known.count(it->first) > 0)
          ++it;
        else
          {
            notes.push_back("ignored unknown key '" + it->first + "'");
            it = arrays.erase(it);
          }
    }



    bool
    fits(const Shape &shape, const Shape &pattern)
    {
      if (shape.size() != pattern.size())
        return false;
      for (std::size_t i = 0; i < shape.size(); ++i)
        if (pattern[i] != any_size && shape[i] != pattern[i])
          return false;
      return true;
    }



    void
    check_values(const std::string &source,
                 const std::string &key,
                 const NpyArray    &array,
                 const Values       kind)
    {
      if (kind == Values::indices && !array.is_integer)
        fail_key(source, key, "real numbers, expected an integer type");
      for (std::size_t i = 0; i < array.size(); ++i)
        {
          const double value    = array.values[i];
          const char  *expected = nullptr;
          if (!std::isfinite(value))
            expected = "finite numbers";
          else if (kind == Values::nonnegative && value < 0)
            expected = "numbers of at least 0";
          else if (kind == Values::positive && value <= 0)
            expected = "positive numbers";
          else if (kind == Values::poisson_ratio &&
                   !(value > -1 && value < 0.5))
            expected = "numbers between -1 and 0.5";
          else if (kind == Values::zero_or_one && value != 0 && value != 1)
            expected = "0 or 1";
          if (expected != nullptr)
            fail_key(source,
                     key,
                     "value " + Text::number(value) + " at " +
                       Readers::index_string(array.shape, i) + ", expected " +
                       expected);
        }
    }



    void
    check_neighbors(const std::string &source,
                    const NpzArrays   &arrays,
                    const std::size_t  M)
    {
      const std::string index_key  = "tet_neighbor_indices",
                        offset_key = "tet_neighbor_offsets";
      const auto indices           = arrays.find(index_key),
                 offsets           = arrays.find(offset_key);
      if (indices == arrays.end() && offsets == arrays.end())
        return;
      if (indices == arrays.end() || offsets == arrays.end())
        {
          const bool no_indices = (indices == arrays.end());
          fail_key(source,
                   no_indices ? index_key : offset_key,
                   "missing, expected with '" +
                     (no_indices ? offset_key : index_key) + "'");
        }

      const auto &index  = indices->second.values;
      const auto &offset = offsets->second.values;
      if (offset.front() != 0)
        fail_key(source,
                 offset_key,
                 "value " + Text::number(offset.front()) +
                   " at [0], expected 0");
      for (std::size_t c = 0; c < M; ++c)
        if (offset[c + 1] < offset[c])
          fail_key(source,
                   offset_key,
                   "decreases at [" + std::to_string(c + 1) +
                     "], expected nondecreasing offsets");
      if (offset.back() != static_cast<double>(index.size()))
        fail_key(source,
                 offset_key,
                 "value " + Text::number(offset.back()) + " at [" +
                   std::to_string(M) +
                   "], expected the number of neighbor indices, " +
                   std::to_string(index.size()));
      for (std::size_t i = 0; i < index.size(); ++i)
        if (index[i] < 0 || index[i] >= static_cast<double>(M))
          fail_key(source,
                   index_key,
                   "value " + Text::number(index[i]) + " at [" +
                     std::to_string(i) + "], expected cell indices 0 to " +
                     std::to_string(M - 1));
    }



    template <int dim>
    void
    check_axes(const std::string &source,
               const NpyArray    &axes,
               const std::size_t  M)
    {
      constexpr double  tolerance = 1e-6;
      const std::size_t size      = dim * dim;
      for (std::size_t f = 0; f < axes.size() / size; ++f)
        {
          const double *E     = axes.values.data() + f * size;
          double        error = 0;
          for (unsigned int l = 0; l < dim; ++l)
            for (unsigned int m = 0; m < dim; ++m)
              {
                double product = (l == m ? -1. : 0.);
                for (unsigned int i = 0; i < dim; ++i)
                  product += E[i * dim + l] * E[i * dim + m];
                error = std::max(error, std::abs(product));
              }
          if (!(error <= tolerance))
            fail_key(source,
                     "anisotropy_axes",
                     "columns of cell " + std::to_string(f % M) +
                       (axes.shape.size() == 4
                          ? " in step " + std::to_string(f / M)
                          : std::string()) +
                       " are orthonormal only to " + Text::number(error) +
                       ", expected orthonormal to " + Text::number(tolerance));
        }
    }



    /// Agreement of the numbers of steps.
    void
    check_steps(const std::string &source, const NpzArrays &arrays)
    {
      std::size_t steps = 0; // unknown
      std::string from;
      if (const auto a = arrays.find("displacement_steps"); a != arrays.end())
        {
          steps = a->second.shape[0];
          from  = "displacement_steps";
        }
      else if (arrays.count("displacement_field") > 0)
        {
          steps = 1;
          from  = "displacement_field";
        }

      // With a rank of one more where there are steps.
      for (const auto &[key, rank] :
           std::map<std::string, std::size_t>{{"anisotropy_axes", 4},
                                              {"r_axis", 4},
                                              {"r_shear", 4},
                                              {"r_vol", 3}})
        if (const auto a = arrays.find(key);
            a != arrays.end() && a->second.shape.size() == rank)
          {
            const std::size_t n = a->second.shape[0];
            if (steps > 0 && n != steps)
              fail_key(source,
                       key,
                       std::to_string(n) + " steps, expected " +
                         std::to_string(steps) + " as in '" + from + "'");
            steps = n;
            from  = key;
          }

      // A single field says nothing about the number of CT phases.
      if (const auto a = arrays.find("hu_tetra_steps");
          a != arrays.end() && steps > 0 && from != "displacement_field")
        {
          const std::size_t n = a->second.shape[0];
          if (n != 1 && n != steps && n != steps + 1)
            fail_key(source,
                     "hu_tetra_steps",
                     std::to_string(n) + " phases, expected 1, " +
                       std::to_string(steps) + " or " +
                       std::to_string(steps + 1) + " as '" + from + "' has " +
                       std::to_string(steps) + " steps");
        }
    }



    /// The array under a required key.
    const NpyArray &
    required(const std::string &source,
             const NpzArrays   &arrays,
             const std::string &key,
             const std::string &expected)
    {
      const auto entry = arrays.find(key);
      if (entry == arrays.end())
        fail_key(source, key, "missing, expected " + expected);
      return entry->second;
    }



    template <int dim>
    void
    read_cells(const std::string &key,
               const NpyArray    &array,
               CaseData<dim>     &data)
    {
      const std::size_t width = dim + 1;
      if (!fits(array.shape, {any_size, width}))
        fail_key(data.source,
                 key,
                 "shape " + array.shape_string() + ", expected (M, " +
                   std::to_string(width) + ") with M cells, at least 1");
      if (!array.is_integer)
        fail_key(data.source, key, "real numbers, expected an integer type");

      const double N = static_cast<double>(data.mesh.vertices.size());
      data.mesh.cells.resize(array.shape[0]);
      for (std::size_t i = 0; i < array.size(); ++i)
        {
          const double v = array.values[i];
          if (v < 0 || v >= N)
            fail_key(data.source,
                     key,
                     "cell " + std::to_string(i / width) +
                       " has vertex index " +
                       std::to_string(static_cast<std::int64_t>(v)) +
                       ", expected 0 to " +
                       std::to_string(static_cast<std::int64_t>(N) - 1));
          data.mesh.cells[i / width][i % width] = static_cast<unsigned int>(v);
        }
    }
    /// What the letters of a shape stand for: " with N = 8 vertices".
    std::string
    legend(const std::string &shape,
           const std::size_t  N,
           const std::size_t  M,
           const std::string &cells)
    {
      std::vector<std::string> parts;
      if (shape.find('N') != std::string::npos)
        parts.push_back("N = " + std::to_string(N) + " vertices");
      if (shape.find('M') != std::string::npos)
        parts.push_back("M = " + std::to_string(M) + " " + cells);
      if (shape.find('S') != std::string::npos)
        parts.push_back("S steps, at least 1");
      return (parts.empty() ? "" : " with ") + Text::enumerate(parts);
    }

    /// Shapes and values of the arrays that are there.
    template <int dim>
    void
    check_known(const CaseData<dim> &data, const std::vector<KnownArray> &all)
    {
      const std::size_t N = data.mesh.vertices.size(), M = data.mesh.n_cells();
      for (const KnownArray &known : all)
        {
          const auto entry = data.arrays.find(known.key);
          if (entry == data.arrays.end())
            continue;
          const NpyArray &array = entry->second;
          if (std::none_of(known.shapes.begin(),
                           known.shapes.end(),
                           [&](const Shape &s) {
                             return fits(array.shape, s);
                           }))
            fail_key(data.source,
                     known.key,
                     "shape " + array.shape_string() + ", expected " +
                       known.shape_text +
                       legend(known.shape_text,
                              N,
                              M,
                              data.mesh.is_network() ? "springs" : "cells"));
          // Only the index list may have no entries.
          if (array.size() == 0 && known.values != Values::indices)
            fail_key(data.source,
                     known.key,
                     "shape " + array.shape_string() +
                       ", expected at least one step");
          check_values(data.source, known.key, array, known.values);
        }
    }
  } // namespace



  namespace Readers
  {
    template <int dim>
    void
    validate_arrays(const CaseData<dim> &data)
    {
      const std::size_t N = data.mesh.vertices.size(),
                        M = data.mesh.cells.size();
      check_known(data, known_arrays<dim>(N, M));

      check_neighbors(data.source, data.arrays, M);
      check_steps(data.source, data.arrays);
      if (const auto axes = data.arrays.find("anisotropy_axes");
          axes != data.arrays.end())
        check_axes<dim>(data.source, axes->second, M);
    }



    template <int dim>
    void
    take_network_arrays(CaseData<dim> &data, NpzArrays &arrays)
    {
      const auto known = known_of_network(data.mesh.vertices.size(),
                                          data.mesh.springs.size(),
                                          dim);
      for (auto &entry : arrays)
        if (std::any_of(known.begin(), known.end(), [&](const KnownArray &k) {
              return k.key == entry.first;
            }))
          data.arrays[entry.first] = std::move(entry.second);
        else
          data.notes.push_back("ignored unknown key '" + entry.first + "'");
      check_known(data, known);
    }



    NpzArrays
    read_pack_arrays(const std::string        &filename,
                     std::vector<std::string> &notes)
    {
      const std::vector<std::string> files = files_of(filename);
      if (files.size() > 1)
        {
          std::vector<NpzArrays> packs;
          std::string            order;
          for (const auto &file : files)
            {
              if (file.size() < 4 ||
                  file.compare(file.size() - 4, 4, ".npz") != 0)
                throw InputError(file,
                                 "is one of " + std::to_string(files.size()) +
                                   " files, expected case packs (.npz), one "
                                   "per timestamp");
              packs.push_back(read_pack_arrays(file, notes));
              drop_unknown(packs.back(), notes);
              order += (order.empty() ? "" : ", ") + file;
            }
          std::sort(notes.begin(), notes.end());
          notes.erase(std::unique(notes.begin(), notes.end()), notes.end());
          notes.push_back("a timestamp each, in this order: " + order);
          return join_timestamps(files, packs);
        }
      std::map<std::string, std::string> not_numeric;
      NpzArrays                   arrays = read_npz(files[0], not_numeric);
      const std::set<std::string> known  = known_keys();
      for (const auto &[key, message] : not_numeric)
        if (known.count(key) > 0)
          throw InputError(message);
        else
          notes.push_back("ignored key '" + key + "', which holds no numbers");
      return arrays;
    }



    int
    pack_dimension(const std::string &filename)
    {
      std::vector<std::string> notes;
      const NpzArrays          arrays = read_pack_arrays(filename, notes);
      const NpyArray          &points =
        required(filename,
                 arrays,
                 "mesh_points",
                 "shape (N, 3) or (N, 2) with N vertices");
      if (fits(points.shape, {any_size, 3}))
        return 3;
      if (fits(points.shape, {any_size, 2}))
        return 2;
      fail_key(filename,
               "mesh_points",
               "shape " + points.shape_string() +
                 ", expected (N, 3) or (N, 2) with N vertices, at least 1");
    }



    Rows
    rows_of_key(const std::string &key, const NpyArray &array)
    {
      // Sizes that no step or component has tell vertices, cells and others.
      constexpr std::size_t N = 1000003, M = 1000033;
      auto                  all = known_arrays<3>(N, M);
      for (const auto &known : known_of_network(N, M, 3))
        all.push_back(known);
      for (const KnownArray &known : all)
        if (known.key == key)
          for (const Shape &shape : known.shapes)
            if (shape.size() == array.shape.size())
              for (std::size_t axis = 0; axis < shape.size(); ++axis)
                if (shape[axis] == N || shape[axis] == M)
                  return {shape[axis] == N ? RowsOf::vertices : RowsOf::cells,
                          axis};
      return {};
    }



    template <int dim>
    CaseData<dim>
    read_pack(const std::string &filename)
    {
      std::vector<std::string> notes;
      NpzArrays                arrays = read_pack_arrays(filename, notes);
      CaseData<dim> data = pack_from_arrays<dim>(filename, std::move(arrays));
      data.notes.insert(data.notes.begin(), notes.begin(), notes.end());
      return data;
    }



    template <int dim>
    CaseData<dim>
    pack_from_arrays(const std::string &filename, NpzArrays arrays)
    {
      CaseData<dim> data;
      data.source = filename;

      const std::string point_shape = "(N, " + std::to_string(dim) + ")";
      const NpyArray   &points =
        required(filename,
                 arrays,
                 "mesh_points",
                 "shape " + point_shape + " with N vertices");
      if (!fits(points.shape, {any_size, dim}))
        fail_key(filename,
                 "mesh_points",
                 "shape " + points.shape_string() + ", expected " +
                   point_shape + " with N vertices, at least 1");
      if (points.size() == 0)
        fail_key(filename, "mesh_points", "no vertices, expected a mesh");
      check_values(filename, "mesh_points", points, Values::finite);
      data.mesh.vertices.resize(points.shape[0]);
      for (std::size_t i = 0; i < points.size(); ++i)
        data.mesh.vertices[i / dim][i % dim] = points.values[i];

      const bool has_triangles = (dim == 2 && arrays.count("triangles") > 0);
      if (has_triangles && arrays.count("tetrahedra") > 0)
        fail_key(filename,
                 "tetrahedra",
                 "present beside 'triangles', expected one of the two");
      const std::string cell_key = has_triangles ? "triangles" : "tetrahedra";
      read_cells(cell_key,
                 required(filename,
                          arrays,
                          cell_key,
                          "shape (M, " + std::to_string(dim + 1) +
                            ") with M cells"),
                 data);

      const std::size_t N = data.mesh.vertices.size(),
                        M = data.mesh.cells.size();
      data.mesh.labels.assign(M, 0);
      if (const auto labels = arrays.find("labels"); labels != arrays.end())
        {
          if (!fits(labels->second.shape, {M}))
            fail_key(filename,
                     "labels",
                     "shape " + labels->second.shape_string() +
                       ", expected (M,) with M = " + std::to_string(M) +
                       " cells");
          data.mesh.labels = to_labels(filename, "labels", labels->second);
        }

      for (const char *key : {"mesh_points", "labels"})
        arrays.erase(key);
      arrays.erase(cell_key);

      const auto known = known_arrays<dim>(N, M);
      for (auto &entry : arrays)
        if (std::any_of(known.begin(), known.end(), [&](const KnownArray &k) {
              return k.key == entry.first;
            }))
          data.arrays[entry.first] = std::move(entry.second);
        else
          data.notes.push_back("ignored unknown key '" + entry.first + "'");

      // One shape for the users of the mean.
      if (const auto mean = data.arrays.find("hu_tetra_mean");
          mean != data.arrays.end() && mean->second.shape.size() == 1)
        mean->second.shape.push_back(1);
      return data;
    }



    template void
    take_network_arrays<2>(CaseData<2> &, NpzArrays &);
    template void
    take_network_arrays<3>(CaseData<3> &, NpzArrays &);
    template void
    validate_arrays<2>(const CaseData<2> &);
    template void
    validate_arrays<3>(const CaseData<3> &);
    template CaseData<2>
    pack_from_arrays<2>(const std::string &, NpzArrays);
    template CaseData<3>
    pack_from_arrays<3>(const std::string &, NpzArrays);
    template CaseData<2>
    read_pack<2>(const std::string &);
    template CaseData<3>
    read_pack<3>(const std::string &);
  } // namespace Readers
} // namespace Palpate
