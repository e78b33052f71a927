#include <deal.II/grid/grid_tools.h>
#include <deal.II/grid/tria_description.h>

#include <palpate/mesh/distributed_mesh.h>

#include <algorithm>
#include <numeric>

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
  } // namespace

  template <int dim>
  std::vector<unsigned int>
  distribute_mesh(const SerialMesh<dim>                          &mesh,
                  parallel::fullydistributed::Triangulation<dim> &triangulation)
  {
    const auto         order   = along_a_curve(mesh);
    const MPI_Comm     comm    = triangulation.get_communicator();
    const unsigned int n_ranks = Utilities::MPI::n_mpi_processes(comm);

    const auto generate = [&](Triangulation<dim> &serial) {
      std::vector<CellData<dim>> cells(mesh.cells.size());
      for (std::size_t k = 0; k < cells.size(); ++k)
        {
          const auto &vertices = mesh.cells[order[k]];
          cells[k].vertices.assign(vertices.begin(), vertices.end());
          cells[k].material_id = 0; // labels are kept by cell number
        }
      SubCellData faces;
      for (const auto &f : mesh.boundary_faces)
        {
          CellData<dim - 1> face(dim);
          face.vertices.assign(f.vertices.begin(), f.vertices.end());
          face.boundary_id = f.id;
          if constexpr (dim == 3)
            faces.boundary_quads.push_back(face);
          else
            faces.boundary_lines.push_back(face);
        }
      serial.create_triangulation(mesh.vertices, cells, faces);
    };
    const auto partition =
      [&](Triangulation<dim> &serial, const MPI_Comm, const unsigned int) {
        if (n_ranks > 1 && serial.n_active_cells() >= n_ranks)
          GridTools::partition_triangulation(n_ranks,
                                             serial,
                                             SparsityTools::Partitioner::metis);
        else
          for (const auto &cell : serial.active_cell_iterators())
            cell->set_subdomain_id(
              std::min<unsigned int>(cell->active_cell_index(), n_ranks - 1));
      };
    triangulation.create_triangulation(
      TriangulationDescription::Utilities::
        create_description_from_triangulation_in_groups<dim, dim>(
          generate, partition, comm, n_ranks));
    return order;
  }

  namespace
  {
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
  } // namespace

  template <int dim>
  void
  broadcast_mesh(SerialMesh<dim> &mesh, const MPI_Comm &comm)
  {
    broadcast_plain(mesh.vertices, comm);
    broadcast_plain(mesh.cells, comm);
    broadcast_plain(mesh.labels, comm);
    broadcast_plain(mesh.boundary_faces, comm);
  }

  template void
  broadcast_mesh(SerialMesh<2> &, const MPI_Comm &);
  template void
  broadcast_mesh(SerialMesh<3> &, const MPI_Comm &);
  template std::vector<unsigned int>
  distribute_mesh(const SerialMesh<2> &,
                  parallel::fullydistributed::Triangulation<2> &);
  template std::vector<unsigned int>
  distribute_mesh(const SerialMesh<3> &,
                  parallel::fullydistributed::Triangulation<3> &);
} // namespace Palpate
