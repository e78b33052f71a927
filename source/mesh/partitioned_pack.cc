#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/mesh/distributed_mesh.h>
#include <palpate/mesh/partitioned_pack.h>
#include <palpate/mesh/read_case.h>
#include <palpate/mesh/readers.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    constexpr char pack_format[] = "palpate partitioned pack 1";

    std::string
    part_name(const unsigned int part)
    {
      return "part_" + Utilities::int_to_string(part, 4) + ".npz";
    }

    /// Of the bytes of a text or file.
    std::string
    checksum(const std::string &bytes)
    {
      std::uint64_t hash = 14695981039346656037ull;
      for (std::size_t i = 0; i < bytes.size(); i += sizeof hash)
        {
          std::uint64_t word = 0;
          std::memcpy(&word,
                      bytes.data() + i,
                      std::min(sizeof word, bytes.size() - i));
          hash = (hash ^ word) * 1099511628211ull;
          hash ^= hash >> 29;
        }
      std::ostringstream text;
      text << std::hex << hash << "." << bytes.size();
      return text.str();
    }

    /// That of all but itself.
    std::string
    checksum(nlohmann::json index)
    {
      index.erase("checksum");
      return checksum(index.dump());
    }

    template <typename T>
    NpyArray
    integers(const std::vector<T> &v)
    {
      return NpyArray::integers({v.size()},
                                std::vector<std::int64_t>(v.begin(), v.end()));
    }

    nlohmann::json
    read_index(const std::string &filename)
    {
      nlohmann::json json =
        nlohmann::json::parse(read_file(filename), nullptr, false);
      const auto fail = [&](const std::string &what) {
        throw InputError(filename,
                         "is no partitioned pack (" + what +
                           "), expected the case.json of Task = partition");
      };
      if (!json.is_object())
        fail("not JSON");
      if (!json.contains("format") || json["format"] != pack_format)
        fail("key 'format' is not '" + std::string(pack_format) + "'");
      for (const char *key : {"dimension",
                              "parts",
                              "vertices",
                              "cells",
                              "components",
                              "surface_vertices",
                              "reordered_cells"})
        if (!json.contains(key) || !json[key].is_number_unsigned())
          fail("key '" + std::string(key) + "' is no whole number");
      for (const char *key : {"volume",
                              "min_volume",
                              "median_volume",
                              "max_volume",
                              "min_angle",
                              "max_angle"})
        if (!json.contains(key) || !json[key].is_number())
          fail("key '" + std::string(key) + "' is no number");
      if (!json.contains("generated") || !json["generated"].is_boolean())
        fail("key 'generated' is neither true nor false");
      if (!json.contains("checksums") || !json["checksums"].is_array() ||
          json["checksums"].size() != json["parts"])
        fail("key 'checksums' is no list of one for each part");
      if (json["dimension"] != 2 && json["dimension"] != 3)
        fail("key 'dimension' is neither 2 nor 3");
      if (!json.contains("checksum") || json["checksum"] != checksum(json))
        fail("it was edited: key 'checksum' does not fit");
      return json;
    }

    /// One file; owners are parts.
    template <int dim>
    CaseData<dim>
    read_part(const std::string         &filename,
              const nlohmann::json      &index,
              const std::size_t          part_number,
              std::vector<unsigned int> &component,
              std::vector<unsigned int> &surface)
    {
      if (index["checksums"][part_number] != checksum(read_file(filename)))
        throw InputError(filename,
                         "is not the file that case.json tells of (damaged, "
                         "edited or of another partition), expected the files "
                         "of one run of Task = partition");
      NpzArrays  arrays = read_npz(filename);
      const auto move   = [&](const std::string &key) {
        const auto it = arrays.find(key);
        if (it == arrays.end())
          throw InputError(filename,
                           "key '" + key +
                             "' is missing, expected a part of a partitioned "
                               "pack");
        NpyArray array = std::move(it->second);
        arrays.erase(it);
        return array;
      };
      const auto n_parts    = index["parts"].get<std::size_t>(),
                 n_vertices = index["vertices"].get<std::size_t>(),
                 n_cells    = index["cells"].get<std::size_t>();
      const auto below      = [&](const std::string &key,
                             const std::size_t  size,
                             const std::size_t  limit,
                             const bool         ascending) {
        const NpyArray array = move(key);
        if (array.shape != std::vector<std::size_t>{size})
          throw InputError(filename,
                           "key '" + key + "': shape " + array.shape_string() +
                             ", expected (" + std::to_string(size) + ",)");
        for (std::size_t i = 0; i < size; ++i)
          if (!(array.values[i] >= 0 && array.values[i] < limit) ||
              (ascending && i > 0 && array.values[i] <= array.values[i - 1]))
            throw InputError(filename,
                             "key '" + key + "': value at [" +
                               std::to_string(i) + "], expected " +
                               (ascending ? "ascending " : "") +
                               "whole numbers below " + std::to_string(limit));
        return std::vector<unsigned int>(array.values.begin(),
                                         array.values.end());
      };
      const auto size_of = [&](const char *key) {
        const auto it = arrays.find(key);
        return it == arrays.end() || it->second.shape.empty()
                 ? 0
                 : it->second.shape[0];
      };
      const std::size_t N = size_of("mesh_points"), M = size_of("tetrahedra");
      PartOfMesh        part;
      part.n_all_vertices = n_vertices;
      part.n_all_cells    = n_cells;
      part.vertex_number  = below("vertex_number", N, n_vertices, true);
      part.cell_number    = below("cell_number", M, n_cells, true);
      part.owner          = below("cell_part", M, n_parts, false);
      for (const auto bits : below("surface_faces", M, 1 << (dim + 1), false))
        part.surface_faces.push_back(bits);
      component =
        below("component", M, index["components"].get<std::size_t>(), false);
      surface          = below("surface_vertex", N, 2, false);
      const auto faces = move("boundary_faces"), ids = move("boundary_ids");
      if (faces.shape != std::vector<std::size_t>{ids.size(), dim})
        throw InputError(filename,
                         "key 'boundary_faces': shape " + faces.shape_string() +
                           ", expected (" + std::to_string(ids.size()) + ", " +
                           std::to_string(dim) + ")");

      CaseData<dim> data =
        Readers::pack_from_arrays<dim>(filename, std::move(arrays));
      data.mesh.part = std::move(part);
      for (std::size_t f = 0; f < ids.size(); ++f)
        {
          BoundaryFace<dim> face;
          for (unsigned int i = 0; i < dim; ++i)
            {
              const double v = faces.values[f * dim + i];
              if (!(v >= 0 && v < N))
                throw InputError(filename,
                                 "key 'boundary_faces': value at [" +
                                   std::to_string(f) + ", " +
                                   std::to_string(i) +
                                   "], expected whole numbers below " +
                                   std::to_string(N));
              face.vertices[i] = static_cast<unsigned int>(v);
            }
          if (!(ids.values[f] >= 0 && ids.values[f] < 4294967295.))
            throw InputError(filename,
                             "key 'boundary_ids': value at [" +
                               std::to_string(f) + "], expected ids >= 0");
          face.id = static_cast<unsigned int>(ids.values[f]);
          data.mesh.boundary_faces.push_back(face);
        }
      validate_case(data);
      return data;
    }
  } // namespace

  bool
  is_partitioned(const std::string &filename)
  {
    return std::filesystem::path(filename).extension() == ".json";
  }

  int
  partitioned_dimension(const std::string &filename)
  {
    return read_index(filename)["dimension"].get<int>();
  }

  template <int dim>
  std::vector<std::array<std::size_t, 2>>
  write_partitioned_pack(const std::string        &directory,
                         const CaseData<dim>      &data,
                         const QualityReport<dim> &quality,
                         const unsigned int        n_parts)
  {
    const auto           part_of_cell = partition_cells(data.mesh, n_parts);
    const MeshParts<dim> parts(data.mesh, part_of_cell, n_parts);
    const std::string    index = directory + "/case.json";
    std::vector<std::array<std::size_t, 2>> sizes;
    std::vector<std::string>                checksums;
    for (unsigned int p = 0; p < n_parts; ++p)
      {
        const SerialMesh<dim> mesh = parts.part(p);
        const PartOfMesh     &part = mesh.part;
        NpzArrays             arrays =
          take_rows<dim>(data.arrays, part.vertex_number, part.cell_number);
        std::vector<double>       points;
        std::vector<std::int64_t> cells, faces, ids;
        std::vector<unsigned int> component, surface;
        for (const auto &x : mesh.vertices)
          points.insert(points.end(), x.begin_raw(), x.end_raw());
        for (const auto &cell : mesh.cells)
          cells.insert(cells.end(), cell.begin(), cell.end());
        for (const auto &face : mesh.boundary_faces)
          {
            faces.insert(faces.end(),
                         face.vertices.begin(),
                         face.vertices.end());
            ids.push_back(face.id);
          }
        std::size_t mine = 0;
        for (std::size_t k = 0; k < mesh.cells.size(); ++k)
          {
            component.push_back(quality.component_of_cell[part.cell_number[k]]);
            mine += part.owner[k] == p;
          }
        for (const unsigned int v : part.vertex_number)
          surface.push_back(quality.surface_vertex[v]);
        arrays["mesh_points"] = NpyArray({mesh.vertices.size(), dim}, points);
        arrays["tetrahedra"] =
          NpyArray::integers({mesh.cells.size(), dim + 1}, cells);
        arrays["labels"]         = integers(mesh.labels);
        arrays["vertex_number"]  = integers(part.vertex_number);
        arrays["cell_number"]    = integers(part.cell_number);
        arrays["cell_part"]      = integers(part.owner);
        arrays["surface_faces"]  = integers(part.surface_faces);
        arrays["component"]      = integers(component);
        arrays["surface_vertex"] = integers(surface);
        arrays["boundary_faces"] = NpyArray::integers({ids.size(), dim}, faces);
        arrays["boundary_ids"]   = integers(ids);
        write_npz(directory + "/" + part_name(p), arrays, false);
        checksums.push_back(
          checksum(read_file(directory + "/" + part_name(p), false)));
        sizes.push_back({{mine, mesh.cells.size()}});
      }
    nlohmann::json json = {{"format", pack_format},
                           {"source", data.source},
                           {"generated", data.has_own_numbers},
                           {"dimension", dim},
                           {"parts", n_parts},
                           {"vertices", data.mesh.vertices.size()},
                           {"cells", data.mesh.cells.size()},
                           {"checksums", checksums},
                           {"components", quality.n_components},
                           {"surface_vertices", quality.n_surface_vertices},
                           {"reordered_cells", quality.n_reordered},
                           {"volume", quality.volume},
                           {"min_volume", quality.min_volume},
                           {"median_volume", quality.median_volume},
                           {"max_volume", quality.max_volume},
                           {"min_angle", quality.min_angle},
                           {"max_angle", quality.max_angle}};
    json["checksum"]    = checksum(json);
    write_file(index, json.dump(2) + "\n");
    return sizes;
  }

  template <int dim>
  CaseData<dim>
  read_partitioned_pack(const std::string  &filename,
                        QualityReport<dim> &quality,
                        const MPI_Comm     &comm)
  {
    const std::size_t rank       = Utilities::MPI::this_mpi_process(comm),
                      n_ranks    = Utilities::MPI::n_mpi_processes(comm);
    const nlohmann::json index   = read_index(filename);
    const std::size_t    n_parts = index["parts"];
    if (n_ranks > n_parts)
      throw InputError(filename,
                       "has " + std::to_string(n_parts) +
                         " parts, expected at most as many ranks, not " +
                         std::to_string(n_ranks) +
                         " (or a partition into more parts)");
    CaseData<dim> data;
    run_on_all(comm, [&]() {
      const std::string folder =
        std::filesystem::path(filename).parent_path().string();
      std::vector<CaseData<dim>> parts;
      // By number, as neighbouring parts tell the same of what they share.
      std::map<unsigned int, unsigned int> component, surface;
      for (std::size_t p = rank * n_parts / n_ranks;
           p < (rank + 1) * n_parts / n_ranks;
           ++p)
        {
          std::vector<unsigned int> of_cell, of_vertex;
          parts.push_back(
            read_part<dim>((folder.empty() ? "." : folder) + "/" + part_name(p),
                           index,
                           p,
                           of_cell,
                           of_vertex));
          const PartOfMesh &part = parts.back().mesh.part;
          for (std::size_t k = 0; k < of_cell.size(); ++k)
            component[part.cell_number[k]] = of_cell[k];
          for (std::size_t v = 0; v < of_vertex.size(); ++v)
            surface[part.vertex_number[v]] = of_vertex[v];
        }
      data        = join_parts(parts);
      data.source = filename;
      quality.component_of_cell.clear();
      quality.surface_vertex.clear();
      for (const auto &[number, value] : component)
        {
          (void)number;
          quality.component_of_cell.push_back(value);
        }
      for (const auto &[number, value] : surface)
        {
          (void)number;
          quality.surface_vertex.push_back(value);
        }
      // Part p goes to the rank that reads it.
      for (unsigned int &owner : data.mesh.part.owner)
        owner = ((owner + 1) * n_ranks - 1) / n_parts;
    });
    data.has_own_numbers       = index["generated"];
    quality.n_vertices         = index["vertices"];
    quality.n_cells            = index["cells"];
    quality.n_components       = index["components"];
    quality.n_surface_vertices = index["surface_vertices"];
    quality.n_reordered        = index["reordered_cells"];
    quality.volume             = index["volume"];
    quality.min_volume         = index["min_volume"];
    quality.median_volume      = index["median_volume"];
    quality.max_volume         = index["max_volume"];
    quality.min_angle          = index["min_angle"];
    quality.max_angle          = index["max_angle"];
    return data;
  }

#define INSTANTIATE(dim)                                                   \
  template std::vector<std::array<std::size_t, 2>> write_partitioned_pack( \
    const std::string &,                                                   \
    const CaseData<dim> &,                                                 \
    const QualityReport<dim> &,                                            \
    const unsigned int);                                                   \
  template CaseData<dim> read_partitioned_pack(const std::string &,        \
                                               QualityReport<dim> &,       \
                                               const MPI_Comm &);

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
