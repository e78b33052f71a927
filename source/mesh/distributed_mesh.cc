#include <deal.II/grid/grid_tools.h>
#include <deal.II/grid/tria_description.h>
#include <deal.II/lac/dynamic_sparsity_pattern.h>
#include <deal.II/lac/sparsity_pattern.h>
#include <deal.II/lac/sparsity_tools.h>

#include <palpate/core/files.h>
#include <palpate/mesh/distributed_mesh.h>
#include <palpate/mesh/faces.h>
#include <palpate/mesh/readers.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <tuple>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// Cells along a Hilbert curve through their barycentres: what is near in
    /// space is near in memory.
    template <int dim>
    std::vector<unsigned int>
    along_a_curve(const SerialMesh<dim> &mesh)
    {
      std::vector<Point<dim>> centres(mesh.cells.size());
      for (std::size_t k = 0; k < centres.size(); ++k)
        for (const unsigned int v : mesh.cells[k])
          centres[k] += mesh.vertices[v] / (dim + 1.);
      const auto places =
        Utilities::inverse_Hilbert_space_filling_curve(centres);
      std::vector<unsigned int> order(centres.size());
      std::iota(order.begin(), order.end(), 0u);
      std::stable_sort(order.begin(),
                       order.end(),
                       [&](const unsigned int a, const unsigned int b) {
                         return places[a] < places[b];
                       });
      return order;
    }

    /// Sorted, each once.
    void
    make_unique(std::vector<unsigned int> &v)
    {
      std::sort(v.begin(), v.end());
      v.erase(std::unique(v.begin(), v.end()), v.end());
    }

    unsigned int
    place_in(const std::vector<unsigned int> &sorted, const unsigned int number)
    {
      return std::lower_bound(sorted.begin(), sorted.end(), number) -
             sorted.begin();
    }

    /// Compressed rows: first[r] .. first[r+1]-1 are the places of row r.
    template <typename RowsOf>
    void
    compress(const std::size_t          n_rows,
             const std::size_t          n,
             const RowsOf              &rows_of, ///< of item i
             std::vector<std::size_t>  &first,
             std::vector<unsigned int> &items)
    {
      first.assign(n_rows + 1, 0);
      for (std::size_t i = 0; i < n; ++i)
        for (const unsigned int r : rows_of(i))
          ++first[r + 1];
      for (std::size_t r = 0; r < n_rows; ++r)
        first[r + 1] += first[r];
      items.resize(first[n_rows]);
      std::vector<std::size_t> next(first.begin(), first.end() - 1);
      for (std::size_t i = 0; i < n; ++i)
        for (const unsigned int r : rows_of(i))
          items[next[r]++] = i;
    }

    template <typename T>
    void
    broadcast_plain(std::vector<T> &v, const MPI_Comm &comm)
    {
      unsigned long n = v.size();
      MPI_Bcast(&n, 1, MPI_UNSIGNED_LONG, 0, comm);
      v.resize(n);
      constexpr std::size_t chunk = 1 << 24; // MPI counts are int
      for (std::size_t at = 0; at < n; at += chunk)
        MPI_Bcast(v.data() + at,
                  static_cast<int>(std::min(chunk, n - at) * sizeof(T)),
                  MPI_BYTE,
                  0,
                  comm);
    }

    /// One array after the other along an axis.
    NpyArray
    append(const NpyArray &a, const NpyArray &b, const std::size_t axis)
    {
      NpyArray both = a;
      both.values.clear();
      both.shape[axis] += b.shape[axis];
      std::size_t before = 1, of_a = 1, of_b = 1;
      for (std::size_t i = 0; i < a.shape.size(); ++i)
        if (i < axis)
          before *= a.shape[i];
        else
          {
            of_a *= a.shape[i];
            of_b *= b.shape[i];
          }
      for (std::size_t i = 0; i < before; ++i)
        {
          both.values.insert(both.values.end(),
                             a.values.begin() + i * of_a,
                             a.values.begin() + (i + 1) * of_a);
          both.values.insert(both.values.end(),
                             b.values.begin() + i * of_b,
                             b.values.begin() + (i + 1) * of_b);
        }
      return both;
    }

    /// Some vertices and cells of a mesh: places ascending, all vertices of the
    /// cells among them.
    template <int dim>
    void
    take_cells(const SerialMesh<dim>           &mesh,
               const std::vector<unsigned int> &vertices,
               const std::vector<unsigned int> &cells,
               SerialMesh<dim>                 &result)
    {
      for (const unsigned int v : vertices)
        result.vertices.push_back(mesh.vertices[v]);
      for (const unsigned int k : cells)
        {
          auto cell = mesh.cells[k];
          for (unsigned int &v : cell)
            v = place_in(vertices, v);
          result.cells.push_back(cell);
          result.labels.push_back(mesh.labels[k]);
        }
    }
  } // namespace

  template <int dim>
  std::vector<unsigned int>
  partition_cells(const SerialMesh<dim> &mesh, const unsigned int n_parts)
  {
    const std::size_t         M = mesh.cells.size();
    std::vector<unsigned int> part(M, 0);
    if (n_parts == 1)
      return part;
    if (M < n_parts)
      {
        std::iota(part.begin(), part.end(), 0u);
        return part;
      }
    // METIS sees the cells in the order of the curve.
    const auto                order     = along_a_curve(mesh);
    const auto                neighbors = cell_neighbors(mesh, "mesh");
    std::vector<unsigned int> place(M);
    for (std::size_t i = 0; i < M; ++i)
      place[order[i]] = i;
    DynamicSparsityPattern graph(M, M);
    for (std::size_t k = 0; k < M; ++k)
      {
        graph.add(place[k], place[k]);
        for (const unsigned int n : neighbors[k])
          if (n != no_cell)
            graph.add(place[k], place[n]);
      }
    SparsityPattern rows;
    rows.copy_from(graph);
    std::vector<unsigned int> found(M);
    SparsityTools::partition(rows,
                             n_parts,
                             found,
                             SparsityTools::Partitioner::metis);
    // METIS leaves parts empty where there are hardly more cells than parts.
    std::vector<unsigned int> size(n_parts, 0);
    for (const unsigned int p : found)
      ++size[p];
    for (unsigned int p = 0; p < n_parts; ++p)
      if (size[p] == 0)
        {
          const unsigned int largest =
            std::max_element(size.begin(), size.end()) - size.begin();
          *std::find(found.begin(), found.end(), largest) = p;
          --size[largest];
          ++size[p];
        }
    for (std::size_t k = 0; k < M; ++k)
      part[k] = found[place[k]];
    return part;
  }

  template <int dim>
  MeshParts<dim>::MeshParts(const SerialMesh<dim>           &mesh,
                            const std::vector<unsigned int> &part_of_cell,
                            const unsigned int               n_parts)
    : mesh(mesh)
    , part_of_cell(part_of_cell)
    , surface_faces(mesh.cells.size(), 0)
    , faces_at_vertex(mesh.boundary_faces.empty() ? 0 : mesh.vertices.size())
  {
    compress(
      n_parts,
      mesh.cells.size(),
      [&](const std::size_t k) {
        return std::array<unsigned int, 1>{{part_of_cell[k]}};
      },
      first_of_part,
      cells_of_part);
    compress(
      mesh.vertices.size(),
      mesh.cells.size(),
      [&](const std::size_t k) { return mesh.cells[k]; },
      first_at_vertex,
      cells_at_vertex);
    const auto neighbors = cell_neighbors(mesh, "mesh");
    for (std::size_t k = 0; k < neighbors.size(); ++k)
      for (unsigned int f = 0; f < dim + 1; ++f)
        if (neighbors[k][f] == no_cell)
          surface_faces[k] |= 1 << f;
    for (const auto &face : mesh.boundary_faces)
      faces_at_vertex[*std::min_element(face.vertices.begin(),
                                        face.vertices.end())]
        .push_back(face);
  }

  template <int dim>
  SerialMesh<dim>
  MeshParts<dim>::part(const unsigned int which) const
  {
    std::vector<unsigned int> vertices, cells;
    const auto                vertices_of_cells = [&]() {
      vertices.clear();
      for (const unsigned int k : cells)
        vertices.insert(vertices.end(),
                        mesh.cells[k].begin(),
                        mesh.cells[k].end());
      make_unique(vertices);
    };
    cells.assign(cells_of_part.begin() + first_of_part[which],
                 cells_of_part.begin() + first_of_part[which + 1]);
    vertices_of_cells();
    for (const unsigned int v : vertices)
      cells.insert(cells.end(),
                   cells_at_vertex.begin() + first_at_vertex[v],
                   cells_at_vertex.begin() + first_at_vertex[v + 1]);
    make_unique(cells);
    vertices_of_cells();

    SerialMesh<dim> result;
    take_cells(mesh, vertices, cells, result);
    if (!faces_at_vertex.empty())
      for (const unsigned int v : vertices)
        for (BoundaryFace<dim> face : faces_at_vertex[v])
          {
            bool here = true;
            for (unsigned int &w : face.vertices)
              {
                const unsigned int place = place_in(vertices, w);
                here = here && place < vertices.size() && vertices[place] == w;
                w    = place;
              }
            if (here)
              result.boundary_faces.push_back(face);
          }
    result.part.n_all_vertices = mesh.vertices.size();
    result.part.n_all_cells    = mesh.cells.size();
    for (const unsigned int k : cells)
      {
        result.part.owner.push_back(part_of_cell[k]);
        result.part.surface_faces.push_back(surface_faces[k]);
      }
    result.part.vertex_number = std::move(vertices);
    result.part.cell_number   = std::move(cells);
    return result;
  }

  template <int dim>
  SerialMesh<dim>
  part_of_this_rank(const SerialMesh<dim> &mesh, const MPI_Comm &comm)
  {
    const unsigned int        n_ranks = Utilities::MPI::n_mpi_processes(comm);
    const unsigned int        me      = Utilities::MPI::this_mpi_process(comm);
    std::vector<unsigned int> owner;
    run_on_root(comm, [&]() { owner = partition_cells(mesh, n_ranks); });
    broadcast_plain(owner, comm);
    return MeshParts<dim>(mesh, owner, n_ranks).part(me);
  }

  NpyArray
  take_rows(const NpyArray                  &array,
            const std::size_t                axis,
            const std::vector<unsigned int> &rows)
  {
    std::size_t before = 1, after = 1;
    for (std::size_t i = 0; i < array.shape.size(); ++i)
      (i < axis ? before : after) *= (i == axis ? 1 : array.shape[i]);
    NpyArray result;
    result.shape       = array.shape;
    result.shape[axis] = rows.size();
    result.is_integer  = array.is_integer;
    result.values.reserve(before * rows.size() * after);
    for (std::size_t b = 0; b < before; ++b)
      for (const std::size_t r : rows)
        {
          const auto from =
            array.values.begin() + (b * array.shape[axis] + r) * after;
          result.values.insert(result.values.end(), from, from + after);
        }
    return result;
  }

  template <int dim>
  NpzArrays
  take_rows(const NpzArrays                 &arrays,
            const std::vector<unsigned int> &vertices,
            const std::vector<unsigned int> &cells)
  {
    NpzArrays result;
    for (const auto &[key, array] : arrays)
      if (const auto rows = Readers::rows_of_key(key, array);
          rows.what != Readers::RowsOf::neither)
        result[key] =
          take_rows(array,
                    rows.axis,
                    rows.what == Readers::RowsOf::vertices ? vertices : cells);
    return result;
  }

  template <int dim>
  void
  keep_part(CaseData<dim>      &data,
            QualityReport<dim> &quality,
            const MPI_Comm     &comm)
  {
    data.mesh            = part_of_this_rank(data.mesh, comm);
    const auto &vertices = data.mesh.part.vertex_number,
               &cells    = data.mesh.part.cell_number;
    data.arrays          = take_rows<dim>(data.arrays, vertices, cells);
    std::vector<unsigned int> component;
    std::vector<char>         surface;
    for (const unsigned int k : cells)
      component.push_back(quality.component_of_cell[k]);
    for (const unsigned int v : vertices)
      surface.push_back(quality.surface_vertex[v]);
    quality.component_of_cell = std::move(component);
    quality.surface_vertex    = std::move(surface);
  }

  template <int dim>
  CaseData<dim>
  join_parts(const std::vector<CaseData<dim>> &parts)
  {
    if (parts.size() == 1)
      return parts[0];
    // One after the other, then each number once.
    CaseData<dim> all;
    all.source       = parts[0].source;
    all.notes        = parts[0].notes;
    PartOfMesh &p    = all.mesh.part;
    p.n_all_vertices = parts[0].mesh.part.n_all_vertices;
    p.n_all_cells    = parts[0].mesh.part.n_all_cells;
    const auto add   = [](auto &to, const auto &from) {
      to.insert(to.end(), from.begin(), from.end());
    };
    std::vector<std::pair<BoundaryFace<dim>, unsigned int>> faces;
    for (const auto &other : parts)
      {
        const unsigned int offset = all.mesh.vertices.size();
        add(all.mesh.vertices, other.mesh.vertices);
        add(all.mesh.labels, other.mesh.labels);
        add(p.vertex_number, other.mesh.part.vertex_number);
        add(p.cell_number, other.mesh.part.cell_number);
        add(p.owner, other.mesh.part.owner);
        add(p.surface_faces, other.mesh.part.surface_faces);
        for (auto cell : other.mesh.cells)
          {
            for (unsigned int &v : cell)
              v += offset;
            all.mesh.cells.push_back(cell);
          }
        for (auto face : other.mesh.boundary_faces)
          {
            for (unsigned int &v : face.vertices)
              v += offset;
            all.mesh.boundary_faces.push_back(face);
          }
        for (const auto &[key, array] : other.arrays)
          if (const auto it = all.arrays.find(key); it != all.arrays.end())
            it->second =
              append(it->second, array, Readers::rows_of_key(key, array).axis);
          else
            all.arrays[key] = array;
      }
    const auto first_of_each = [](const std::vector<unsigned int> &number) {
      std::vector<unsigned int> order(number.size());
      std::iota(order.begin(), order.end(), 0u);
      std::stable_sort(order.begin(),
                       order.end(),
                       [&](const unsigned int a, const unsigned int b) {
                         return number[a] < number[b];
                       });
      order.erase(std::unique(order.begin(),
                              order.end(),
                              [&](const unsigned int a, const unsigned int b) {
                                return number[a] == number[b];
                              }),
                  order.end());
      return order;
    };
    const auto vertices = first_of_each(p.vertex_number),
               cells    = first_of_each(p.cell_number);
    CaseData<dim> joined;
    joined.source    = all.source;
    joined.notes     = all.notes;
    joined.arrays    = take_rows<dim>(all.arrays, vertices, cells);
    PartOfMesh &q    = joined.mesh.part;
    q.n_all_vertices = p.n_all_vertices;
    q.n_all_cells    = p.n_all_cells;
    for (const unsigned int v : vertices)
      {
        joined.mesh.vertices.push_back(all.mesh.vertices[v]);
        q.vertex_number.push_back(p.vertex_number[v]);
      }
    const auto place = [&](const unsigned int v) {
      return place_in(q.vertex_number, p.vertex_number[v]);
    };
    for (const unsigned int k : cells)
      {
        auto cell = all.mesh.cells[k];
        for (unsigned int &v : cell)
          v = place(v);
        joined.mesh.cells.push_back(cell);
        joined.mesh.labels.push_back(all.mesh.labels[k]);
        q.cell_number.push_back(p.cell_number[k]);
        q.owner.push_back(p.owner[k]);
        q.surface_faces.push_back(p.surface_faces[k]);
      }
    auto &list = joined.mesh.boundary_faces;
    for (auto face : all.mesh.boundary_faces)
      {
        for (unsigned int &v : face.vertices)
          v = place(v);
        std::sort(face.vertices.begin(), face.vertices.end());
        list.push_back(face);
      }
    std::sort(list.begin(), list.end(), [](const auto &a, const auto &b) {
      return std::tie(a.vertices, a.id) < std::tie(b.vertices, b.id);
    });
    list.erase(std::unique(list.begin(),
                           list.end(),
                           [](const auto &a, const auto &b) {
                             return std::tie(a.vertices, a.id) ==
                                    std::tie(b.vertices, b.id);
                           }),
               list.end());
    return joined;
  }

  template <int dim>
  void
  create_triangulation(
    const SerialMesh<dim>                          &part,
    parallel::fullydistributed::Triangulation<dim> &triangulation)
  {
    TriangulationDescription::Description<dim, dim> description;
    description.comm      = triangulation.get_communicator();
    description.settings  = TriangulationDescription::default_setting;
    description.smoothing = Triangulation<dim>::none;
    description.cell_infos.resize(1);
    const unsigned int me =
      Utilities::MPI::this_mpi_process(triangulation.get_communicator());
    // A rank without cells of its own has none at all.
    if (std::count(part.part.owner.begin(), part.part.owner.end(), me) > 0)
      {
        description.coarse_cell_vertices = part.vertices;
        for (const unsigned int k : along_a_curve(part))
          {
            CellData<dim> cell;
            cell.vertices.assign(part.cells[k].begin(), part.cells[k].end());
            cell.material_id = 0; // labels are kept by place
            description.coarse_cells.push_back(cell);
            const types::coarse_cell_id id = part.part.cell_number[k];
            description.coarse_cell_index_to_coarse_cell_id.push_back(id);
            TriangulationDescription::CellData<dim> info;
            info.id                 = CellId(id, {}).template to_binary<dim>();
            info.subdomain_id       = part.part.owner[k];
            info.level_subdomain_id = part.part.owner[k];
            info.manifold_id        = numbers::flat_manifold_id;
            if constexpr (dim >= 2)
              info.manifold_line_ids.fill(numbers::flat_manifold_id);
            info.manifold_quad_ids.fill(numbers::flat_manifold_id);
            description.cell_infos[0].push_back(info);
          }
      }
    triangulation.create_triangulation(description);
  }

  template <int dim>
  SerialMesh<dim>
  whole_mesh(const SerialMesh<dim> &part,
             const MPI_Comm        &comm,
             const bool             on_root_only)
  {
    if (part.is_whole())
      return part;
    const auto gather = [&](const auto &mine) {
      return on_root_only ? Utilities::MPI::gather(comm, mine, 0)
                          : Utilities::MPI::all_gather(comm, mine);
    };
    const unsigned int        me = Utilities::MPI::this_mpi_process(comm);
    std::vector<double>       x;
    std::vector<unsigned int> cells, faces;
    std::vector<char>         mine(part.vertices.size(), 0);
    for (unsigned int k = 0; k < part.cells.size(); ++k)
      if (part.part.owner[k] == me)
        {
          cells.push_back(part.cell_number(k));
          cells.push_back(static_cast<unsigned int>(part.labels[k]));
          for (const unsigned int v : part.cells[k])
            {
              cells.push_back(part.vertex_number(v));
              mine[v] = 1;
            }
        }
    for (unsigned int v = 0; v < mine.size(); ++v)
      if (mine[v])
        {
          x.push_back(part.vertex_number(v));
          x.insert(x.end(),
                   part.vertices[v].begin_raw(),
                   part.vertices[v].end_raw());
        }
    for (const auto &face : part.boundary_faces)
      {
        faces.push_back(face.id);
        for (const unsigned int v : face.vertices)
          faces.push_back(part.vertex_number(v));
      }
    SerialMesh<dim> whole;
    if (!on_root_only || me == 0)
      {
        whole.vertices.resize(part.n_all_vertices());
        whole.cells.resize(part.n_all_cells());
        whole.labels.resize(part.n_all_cells());
      }
    for (const auto &from : gather(x))
      for (std::size_t i = 0; i < from.size(); i += dim + 1)
        for (unsigned int d = 0; d < dim; ++d)
          whole.vertices[static_cast<unsigned int>(from[i])][d] =
            from[i + 1 + d];
    for (const auto &from : gather(cells))
      for (std::size_t i = 0; i < from.size(); i += dim + 3)
        {
          whole.labels[from[i]] = static_cast<int>(from[i + 1]);
          for (unsigned int a = 0; a < dim + 1; ++a)
            whole.cells[from[i]][a] = from[i + 2 + a];
        }
    std::set<std::pair<std::array<unsigned int, dim>, unsigned int>> ids;
    for (const auto &from : gather(faces))
      for (std::size_t i = 0; i < from.size(); i += dim + 1)
        {
          std::array<unsigned int, dim> v;
          std::copy(from.begin() + i + 1,
                    from.begin() + i + 1 + dim,
                    v.begin());
          std::sort(v.begin(), v.end());
          ids.insert({v, from[i]});
        }
    for (const auto &[v, id] : ids)
      whole.boundary_faces.push_back({v, id});
    return whole;
  }

  template <int dim>
  void
  broadcast_mesh(SerialMesh<dim> &mesh, const MPI_Comm &comm)
  {
    broadcast_plain(mesh.vertices, comm);
    broadcast_plain(mesh.cells, comm);
    broadcast_plain(mesh.labels, comm);
    broadcast_plain(mesh.boundary_faces, comm);
  }

#define INSTANTIATE(dim)                                                      \
  template std::vector<unsigned int> partition_cells(const SerialMesh<dim> &, \
                                                     const unsigned int);     \
  template class MeshParts<dim>;                                              \
  template SerialMesh<dim> part_of_this_rank(const SerialMesh<dim> &,         \
                                             const MPI_Comm &);               \
  template void            keep_part(CaseData<dim> &,                         \
                                     QualityReport<dim> &,                    \
                                     const MPI_Comm &);                       \
  template NpzArrays       take_rows<dim>(const NpzArrays &,                  \
                                    const std::vector<unsigned int> &,  \
                                    const std::vector<unsigned int> &); \
  template CaseData<dim>   join_parts(const std::vector<CaseData<dim>> &);    \
  template void            create_triangulation(                              \
               const SerialMesh<dim> &,                                       \
               parallel::fullydistributed::Triangulation<dim> &);             \
  template SerialMesh<dim> whole_mesh(const SerialMesh<dim> &,                \
                                      const MPI_Comm &,                       \
                                      const bool);                            \
  template void            broadcast_mesh(SerialMesh<dim> &, const MPI_Comm &);

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
