#ifndef palpate_mesh_distributed_mesh_h
#define palpate_mesh_distributed_mesh_h

#include <deal.II/distributed/fully_distributed_tria.h>

#include <palpate/mesh/serial_mesh.h>

namespace Palpate
{
  /**
   * Split a serial mesh over the ranks (METIS on the cell graph). Cell k of the
   * input is the coarse cell k of the result
   * (`cell->id().get_coarse_cell_id()`), and the vertices of a cell keep their
   * local order, which is how per-cell and per-vertex arrays follow any
   * partition. Only rank 0 builds the serial triangulation. Collective.
   * @param mesh positively oriented; the same on all ranks.
   */
  template <int dim>
  void
  distribute_mesh(
    const SerialMesh<dim>                                  &mesh,
    dealii::parallel::fullydistributed::Triangulation<dim> &triangulation);
  /// Send the mesh of rank 0 to all ranks. Collective.
  template <int dim>
  void
  broadcast_mesh(SerialMesh<dim> &mesh, const MPI_Comm &comm);
} // namespace Palpate

#endif
