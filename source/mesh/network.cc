#include <deal.II/grid/grid_in.h>
#include <deal.II/grid/tria.h>

#include <palpate/core/errors.h>
#include <palpate/mesh/network.h>
#include <palpate/mesh/read_case.h>
#include <palpate/mesh/readers.h>
#include <palpate/mesh/timestamps.h>

#include <assimp/Importer.hpp>
#include <assimp/postprocess.h>
#include <assimp/scene.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <numeric>
#include <set>

namespace Palpate
{
  namespace Network
  {
    using namespace dealii;

    namespace
    {
      constexpr int none = std::numeric_limits<int>::max();

      std::string
      extension_of(const std::string &filename)
      {
        std::string extension =
          std::filesystem::path(filename).extension().string();
        std::transform(extension.begin(),
                       extension.end(),
                       extension.begin(),
                       [](const unsigned char c) { return std::tolower(c); });
        return extension;
      }

      /// Springs on the edges of polygons or simplices, given as lists of
      /// vertices; @p ring: only consecutive vertices are edges.
      template <int dim>
      void
      set_edges(SerialMesh<dim>                              &mesh,
                const std::vector<std::vector<unsigned int>> &cells,
                const std::vector<int>                       &labels,
                const bool                                    ring)
      {
        std::map<std::array<unsigned int, 2>, int> all;
        for (std::size_t k = 0; k < cells.size(); ++k)
          {
            const auto &v = cells[k];
            for (std::size_t i = 0; i < v.size(); ++i)
              for (std::size_t j = i + 1; j < v.size(); ++j)
                if (v[i] != v[j] &&
                    (!ring || j == i + 1 || (i == 0 && j + 1 == v.size())))
                  {
                    const std::array<unsigned int, 2> edge = {
                      {std::min(v[i], v[j]), std::max(v[i], v[j])}};
                    int &label = all.emplace(edge, labels[k]).first->second;
                    label      = std::min(label, labels[k]);
                  }
          }
        mesh.springs.clear();
        mesh.labels.clear();
        for (const auto &[edge, label] : all)
          {
            mesh.springs.push_back(edge);
            mesh.labels.push_back(label);
          }
        mesh.cells.clear();
        mesh.boundary_faces.clear();
      }

      template <int dim>
      CaseData<dim>
      read_pack(const std::string &filename)
      {
        CaseData<dim> data;
        NpzArrays     arrays = Readers::read_pack_arrays(filename, data.notes);
        data.source          = filename;
        const auto fail = [&](const std::string &key, const std::string &what) {
          throw InputError(filename, "key '" + key + "': " + what);
        };
        const auto take = [&](const std::string &key) {
          NpyArray array = arrays.at(key);
          arrays.erase(key);
          return array;
        };
        if (arrays.count("mesh_points") == 0)
          fail("mesh_points",
               "missing, expected shape (N, 3) or (N, 2) with N vertices");
        const NpyArray points = take("mesh_points");
        if (points.shape.size() != 2 || points.shape[1] != dim ||
            points.shape[0] == 0)
          fail("mesh_points",
               "shape " + points.shape_string() + ", expected (N, " +
                 std::to_string(dim) + ") with N vertices, at least 1");
        for (std::size_t i = 0; i < points.size(); ++i)
          if (!std::isfinite(points.values[i]))
            fail("mesh_points",
                 "not finite at " + Readers::index_string(points.shape, i) +
                   ", expected finite numbers");
        const std::size_t N = points.shape[0];
        data.mesh.vertices.resize(N);
        for (std::size_t i = 0; i < points.size(); ++i)
          data.mesh.vertices[i / dim][i % dim] = points.values[i];

        std::string key;
        for (const char *name : {"springs", "triangles", "tetrahedra"})
          if (arrays.count(name) > 0)
            {
              if (!key.empty())
                fail(name,
                     "present beside '" + key + "', expected one of them");
              key = name;
            }
        if (key.empty())
          fail("springs",
               "missing, expected springs (M, 2), triangles (M, 3) or "
               "tetrahedra (M, 4), a row each");
        const std::size_t width = key == "springs"     ? 2
                                  : key == "triangles" ? 3
                                                       : 4;
        const NpyArray    table = take(key);
        if (table.shape.size() != 2 || table.shape[1] != width ||
            table.shape[0] == 0)
          fail(key,
               "shape " + table.shape_string() + ", expected (M, " +
                 std::to_string(width) + ") with M " + key + ", at least 1");
        if (!table.is_integer)
          fail(key, "real numbers, expected an integer type");
        std::vector<std::vector<unsigned int>> cells(table.shape[0]);
        for (std::size_t i = 0; i < table.size(); ++i)
          {
            const double v = table.values[i];
            if (!(v >= 0 && v < N))
              fail(key,
                   "row " + std::to_string(i / width) + " has vertex index " +
                     std::to_string(static_cast<std::int64_t>(v)) +
                     ", expected 0 to " + std::to_string(N - 1));
            cells[i / width].push_back(static_cast<unsigned int>(v));
          }
        std::vector<int> labels(cells.size(), 0);
        if (arrays.count("labels") > 0)
          {
            const NpyArray given = take("labels");
            if (given.shape != std::vector<std::size_t>{cells.size()})
              fail("labels",
                   "shape " + given.shape_string() + ", expected (" +
                     std::to_string(cells.size()) + ",)");
            labels = Readers::to_labels(filename, "labels", given);
          }
        if (key == "springs")
          {
            data.mesh.labels = labels;
            for (const auto &s : cells)
              data.mesh.springs.push_back({{s[0], s[1]}});
          }
        else
          set_edges(data.mesh, cells, labels, false);
        label_vertices(data.mesh);
        if (arrays.count("vertex_labels") > 0)
          {
            const NpyArray given = take("vertex_labels");
            if (given.shape != std::vector<std::size_t>{N})
              fail("vertex_labels",
                   "shape " + given.shape_string() + ", expected (" +
                     std::to_string(N) + ",)");
            data.mesh.vertex_labels =
              Readers::to_labels(filename, "vertex_labels", given);
          }
        Readers::take_network_arrays(data, arrays);
        return data;
      }

      /// Polygons in space, of the formats that assimp reads; a label per part.
      SerialMesh<3>
      read_polygons(const std::string &filename)
      {
        Assimp::Importer importer;
        importer.SetPropertyInteger(AI_CONFIG_PP_SBP_REMOVE,
                                    aiPrimitiveType_POINT);
        const aiScene *scene = importer.ReadFile(
          filename, aiProcess_PreTransformVertices | aiProcess_SortByPType);
        if (scene == nullptr || scene->mNumMeshes == 0)
          throw InputError(filename,
                           "cannot be read, expected a surface (" +
                             Readers::one_line(importer.GetErrorString()) +
                             ")");
        SerialMesh<3>                          mesh;
        std::vector<std::vector<unsigned int>> cells;
        std::vector<int>                       labels;
        // Points that faces and parts share are there once. (assimp's joining
        // takes what is not finite for any other point.)
        std::map<std::array<float, 3>, unsigned int> known;
        for (unsigned int m = 0; m < scene->mNumMeshes; ++m)
          {
            const aiMesh             &part = *scene->mMeshes[m];
            std::vector<unsigned int> place;
            for (unsigned int v = 0; v < part.mNumVertices; ++v)
              {
                const aiVector3D &x = part.mVertices[v];
                if (!std::isfinite(x.x) || !std::isfinite(x.y) ||
                    !std::isfinite(x.z))
                  throw InputError(filename,
                                   "vertex " + std::to_string(v) +
                                     " is not finite, expected finite "
                                     "coordinates");
                const unsigned int next = mesh.vertices.size();
                const auto [it, is_new] =
                  known.insert({{{x.x, x.y, x.z}}, next});
                if (is_new)
                  mesh.vertices.emplace_back(x.x, x.y, x.z);
                place.push_back(it->second);
              }
            for (unsigned int f = 0; f < part.mNumFaces; ++f)
              {
                const aiFace             &face = part.mFaces[f];
                std::vector<unsigned int> v;
                for (unsigned int i = 0; i < face.mNumIndices; ++i)
                  v.push_back(place[face.mIndices[i]]);
                cells.push_back(v);
                labels.push_back(m + 1);
              }
          }
        set_edges(mesh, cells, labels, true);
        label_vertices(mesh);
        return mesh;
      }

      /// Triangles or quadrilaterals in space, of the formats deal.II reads.
      SerialMesh<3>
      read_surface(const std::string &filename)
      {
        Triangulation<2, 3> surface;
        GridIn<2, 3>        in(surface);
        try
          {
            in.read(filename);
          }
        catch (const std::exception &)
          {}
        if (surface.n_active_cells() == 0)
          throw InputError(filename,
                           "cannot be read as a surface, expected tetrahedra, "
                           "triangles or quadrilaterals in a format of deal.II "
                           "or assimp");
        SerialMesh<3>                          mesh;
        std::vector<std::vector<unsigned int>> cells;
        std::vector<int>                       labels;
        // In the order of the file, without points that are in no cell.
        std::vector<unsigned int> place(surface.n_vertices(),
                                        numbers::invalid_unsigned_int);
        for (const auto &cell : surface.active_cell_iterators())
          for (const unsigned int v : cell->vertex_indices())
            place[cell->vertex_index(v)] = 0;
        for (unsigned int v = 0; v < place.size(); ++v)
          if (place[v] == 0)
            {
              place[v] = mesh.vertices.size();
              mesh.vertices.push_back(surface.get_vertices()[v]);
            }
        for (const auto &cell : surface.active_cell_iterators())
          {
            std::vector<unsigned int> v;
            for (const unsigned int i : cell->vertex_indices())
              v.push_back(place[cell->vertex_index(i)]);
            if (v.size() == 4) // deal.II counts them row by row
              std::swap(v[2], v[3]);
            cells.push_back(v);
            labels.push_back(cell->material_id());
          }
        set_edges(mesh, cells, labels, true);
        label_vertices(mesh);
        return mesh;
      }
    } // namespace

    template <int dim>
    void
    label_vertices(SerialMesh<dim> &mesh)
    {
      mesh.vertex_labels.assign(mesh.vertices.size(), none);
      for (std::size_t k = 0; k < mesh.springs.size(); ++k)
        for (const unsigned int v : mesh.springs[k])
          mesh.vertex_labels[v] =
            std::min(mesh.vertex_labels[v], mesh.labels[k]);
    }

    int
    dimension(const std::string &filename)
    {
      if (!std::filesystem::exists(Readers::files_of(filename)[0]))
        throw InputError(filename, "no such file, expected a mesh");
      return extension_of(filename) == ".npz"
               ? Readers::pack_dimension(filename)
               : 3;
    }

    template <int dim>
    void
    take_edges(SerialMesh<dim> &mesh)
    {
      std::vector<std::vector<unsigned int>> cells;
      for (const auto &cell : mesh.cells)
        cells.emplace_back(cell.begin(), cell.end());
      const auto labels = mesh.labels;
      set_edges(mesh, cells, labels, false);
      label_vertices(mesh);
    }

    template <int dim>
    CaseData<dim>
    read(const std::string &filename, const double length_unit)
    {
      CaseData<dim> data;
      if (!std::filesystem::exists(Readers::files_of(filename)[0]))
        throw InputError(filename, "no such file, expected a mesh");
      const std::string extension = extension_of(filename);
      if (extension == ".npz")
        data = read_pack<dim>(filename);
      else
        {
          bool                        volume = false;
          const std::set<std::string> ours   = {".msh", ".vtk", ".vtu"};
          if (ours.count(extension) > 0)
            try
              {
                volume = (mesh_dimension(filename) == 3);
              }
            catch (const InputError &)
              {}
          if (volume)
            {
              data = read_case<dim>(filename, 1);
              take_edges(data.mesh);
              data.arrays.clear();
            }
          else if constexpr (dim == 3)
            {
              const std::set<std::string> of_assimp = {".3ds",
                                                       ".dae",
                                                       ".glb",
                                                       ".gltf",
                                                       ".obj",
                                                       ".off",
                                                       ".ply",
                                                       ".stl"};
              data.mesh = of_assimp.count(extension) > 0
                            ? read_polygons(filename)
                            : read_surface(filename);
            }
          data.source          = filename;
          data.has_own_numbers = true; // of the springs, by their vertices
        }
      for (auto &v : data.mesh.vertices)
        v *= length_unit;
      for (const char *key :
           {"displacement_field", "displacement_steps", "rest_length"})
        if (const auto it = data.arrays.find(key); it != data.arrays.end())
          for (double &v : it->second.values)
            v *= length_unit;
      return data;
    }

    bool
    is_surface(const std::string &shape)
    {
      return shape == "torus" || shape == "sheet";
    }

    SerialMesh<3>
    generate_surface(const ShapeDescription &shape)
    {
      const unsigned int n = shape.subdivisions[0], m = shape.subdivisions[1];
      const std::string  where = "Case/Generated shape/Subdivisions";
      const bool         torus = (shape.type == "torus");
      if (n < (torus ? 3 : 1) || m < (torus ? 3 : 1))
        throw EntryError(where,
                         torus ? "expected at least 3, 3 for a torus"
                               : "expected at least 1, 1 for a sheet");
      if (double(n) * m > 1e8)
        throw EntryError(where, "expected at most 1e8 vertices");
      SerialMesh<3>                          mesh;
      std::vector<std::vector<unsigned int>> cells;
      if (torus)
        {
          const double R = shape.major_radius, r = shape.minor_radius;
          if (!(r > 0 && r < R && std::isfinite(R)))
            throw EntryError("Case/Generated shape/Minor radius",
                             "expected a value between 0 and Major radius");
          for (unsigned int i = 0; i < n; ++i)
            for (unsigned int j = 0; j < m; ++j)
              {
                const double a = 2 * numbers::PI * i / n,
                             b = 2 * numbers::PI * j / m;
                mesh.vertices.emplace_back((R + r * std::cos(b)) * std::cos(a),
                                           (R + r * std::cos(b)) * std::sin(a),
                                           r * std::sin(b));
              }
        }
      else
        {
          const auto &a = shape.lower, &b = shape.upper;
          if (!(b[0] > a[0] && b[1] > a[1]))
            throw EntryError("Case/Generated shape/Upper corner",
                             "expected larger values than Lower corner");
          for (unsigned int i = 0; i <= n; ++i)
            for (unsigned int j = 0; j <= m; ++j)
              mesh.vertices.emplace_back(a[0] + (b[0] - a[0]) * i / n,
                                         a[1] + (b[1] - a[1]) * j / m,
                                         a[2]);
        }
      const unsigned int columns = torus ? m : m + 1;
      const auto         at = [&](const unsigned int i, const unsigned int j) {
        return torus ? (i % n) * columns + j % m : i * columns + j;
      };
      for (unsigned int i = 0; i < n; ++i)
        for (unsigned int j = 0; j < m; ++j)
          {
            const unsigned int p = at(i, j), q = at(i + 1, j),
                               s = at(i + 1, j + 1), t = at(i, j + 1);
            // Diagonals of a sheet alternate, so that it has no grain.
            if (torus || (i + j) % 2 == 0)
              {
                cells.push_back({p, q, s});
                cells.push_back({p, s, t});
              }
            else
              {
                cells.push_back({p, q, t});
                cells.push_back({q, s, t});
              }
          }
      set_edges(mesh, cells, std::vector<int>(cells.size(), 1), false);
      label_vertices(mesh);
      return mesh;
    }

    template <int dim>
    QualityReport<dim>
    check(const CaseData<dim> &data)
    {
      const auto       &mesh = data.mesh;
      const std::size_t N = mesh.vertices.size(), M = mesh.springs.size();
      std::vector<std::size_t> order(M);
      std::vector<char>        used(N, 0);
      const auto               name = [&](const std::size_t k) {
        return "spring " + std::to_string(k) + " between vertices " +
               std::to_string(mesh.springs[k][0]) + " and " +
               std::to_string(mesh.springs[k][1]);
      };
      const auto key = [&](const std::size_t k) {
        const auto &[a, b] = mesh.springs[k];
        return std::make_pair(std::min(a, b), std::max(a, b));
      };
      for (std::size_t k = 0; k < M; ++k)
        {
          if (mesh.springs[k][0] == mesh.springs[k][1])
            throw InputError(data.source,
                             name(k) + ", expected two different ones");
          for (const unsigned int v : mesh.springs[k])
            used[v] = 1;
          order[k] = k;
        }
      std::sort(order.begin(),
                order.end(),
                [&](const std::size_t a, const std::size_t b) {
                  return std::make_pair(key(a), a) < std::make_pair(key(b), b);
                });
      for (std::size_t i = 1; i < M; ++i)
        if (key(order[i]) == key(order[i - 1]))
          throw InputError(data.source,
                           "springs " + std::to_string(order[i - 1]) + " and " +
                             std::to_string(order[i]) +
                             " have the same vertices, expected every spring "
                             "once");
      const auto unused = std::find(used.begin(), used.end(), 0);
      if (unused != used.end())
        throw InputError(data.source,
                         "vertex " + std::to_string(unused - used.begin()) +
                           " belongs to no spring, expected every vertex in "
                           "one");

      QualityReport<dim> report;
      report.is_network = true;
      report.n_vertices = N;
      report.n_cells    = M;
      std::vector<double> length;
      for (std::size_t k = 0; k < M; ++k)
        length.push_back(mesh.vertices[mesh.springs[k][0]].distance(
          mesh.vertices[mesh.springs[k][1]]));
      report.volume = std::accumulate(length.begin(), length.end(), 0.);
      std::sort(length.begin(), length.end());
      report.min_volume    = length.front();
      report.median_volume = length[M / 2];
      report.max_volume    = length.back();
      report.surface_vertex.assign(N, 1);
      report.n_surface_vertices = N;
      // Components, in the order of their first spring.
      std::vector<unsigned int> parent(N);
      std::iota(parent.begin(), parent.end(), 0u);
      const auto root = [&](unsigned int v) {
        while (parent[v] != v)
          v = parent[v] = parent[parent[v]];
        return v;
      };
      for (const auto &s : mesh.springs)
        parent[root(s[0])] = root(s[1]);
      std::map<unsigned int, unsigned int> component;
      for (const auto &s : mesh.springs)
        report.component_of_cell.push_back(
          component.emplace(root(s[0]), component.size()).first->second);
      report.n_components = component.size();
      return report;
    }

    template CaseData<2>
    read(const std::string &, const double);
    template CaseData<3>
    read(const std::string &, const double);
    template void
    label_vertices(SerialMesh<2> &);
    template void
    label_vertices(SerialMesh<3> &);
    template void
    take_edges(SerialMesh<2> &);
    template void
    take_edges(SerialMesh<3> &);
    template QualityReport<2>
    check(const CaseData<2> &);
    template QualityReport<3>
    check(const CaseData<3> &);
  } // namespace Network
} // namespace Palpate
