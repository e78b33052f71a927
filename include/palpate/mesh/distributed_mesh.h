#ifndef palpate_mesh_distributed_mesh_h
#define palpate_mesh_distributed_mesh_h

#include <deal.II/distributed/fully_distributed_tria.h>

#include <palpate/mesh/serial_mesh.h>

namespace Palpate
{
  /**
   * Split a serial mesh over the ranks (METIS on the cell graph), its cells
   * sorted along a space-filling curve. The vertices of a cell keep their local
   * order. Only rank 0 builds the serial triangulation. Collective.
   * @param mesh positively oriented; the same on all ranks.
   * @return the input number of every coarse cell of the result
   * (`cell->id().get_coarse_cell_id()`), by which per-cell and per-vertex
   * arrays follow any partition.
   */
  template <int dim>
  std::vector<unsigned int>
  distribute_mesh(
    const SerialMesh<dim>                                  &mesh,
    dealii::parallel::fullydistributed::Triangulation<dim> &triangulation);
  /// Send the mesh of rank 0 to all ranks. Collective.
  template <int dim>
  void
  broadcast_mesh(SerialMesh<dim> &mesh, const MPI_Comm &comm);
} // namespace Palpate

#endif
