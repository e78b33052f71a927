#include <deal.II/grid/grid_tools.h>
#include <deal.II/grid/tria_description.h>

#include <palpate/mesh/distributed_mesh.h>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  void
  distribute_mesh(const SerialMesh<dim>                          &mesh,
                  parallel::fullydistributed::Triangulation<dim> &triangulation)
  {
    const MPI_Comm     comm    = triangulation.get_communicator();
    const unsigned int n_ranks = Utilities::MPI::n_mpi_processes(comm);

    const auto generate = [&](Triangulation<dim> &serial) {
      std::vector<CellData<dim>> cells(mesh.cells.size());
      for (std::size_t k = 0; k < cells.size(); ++k)
        {
          cells[k].vertices.assign(mesh.cells[k].begin(), mesh.cells[k].end());
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
  template void
  distribute_mesh(const SerialMesh<2> &,
                  parallel::fullydistributed::Triangulation<2> &);
  template void
  distribute_mesh(const SerialMesh<3> &,
                  parallel::fullydistributed::Triangulation<3> &);
} // namespace Palpate
