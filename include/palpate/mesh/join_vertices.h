#ifndef palpate_mesh_join_vertices_h
#define palpate_mesh_join_vertices_h

#include <palpate/mesh/serial_mesh.h>

namespace Palpate
{
  /**
   * Make one vertex of those that lie closer together than a tolerance [m], as
   * at interfaces whose nodes are doubled. The first of them stays, with its
   * rows of the arrays; displacements of the others must be the same to the
   * tolerance. The numbers of the vertices are then ours (has_own_numbers), and
   * a note says how many went.
   * @throw InputError for a cell that would lose a vertex, and rows that differ
   */
  template <int dim>
  void
  join_vertices(CaseData<dim> &data, const double tolerance);

  /// Every cell has its own vertices, as in files of discontinuous fields, and
  /// some lie exactly on others.
  template <int dim>
  bool
  is_discontinuous(const SerialMesh<dim> &mesh);
} // namespace Palpate

#endif
