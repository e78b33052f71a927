#ifndef palpate_core_types_h
#define palpate_core_types_h

#include <deal.II/lac/la_parallel_vector.h>
#include <deal.II/lac/trilinos_sparse_matrix.h>

namespace Palpate
{
  /// Nodal vectors (displacement, residual, adjoint): owned DoFs first, then
  /// ghosts; entry node * dim + component in local numbering.
  using Vector = dealii::LinearAlgebra::distributed::Vector<double>;

  /**
   * A copy with its ghost entries. deal.II's copy constructor leaves the ghosts
   * out, so that a copied vector reads zeros there: use this wherever the copy
   * is read cell by cell. Collective.
   */
  inline Vector
  ghosted_copy(const Vector &v)
  {
    Vector copy;
    if (!v.has_ghost_elements())
      {
        copy = v;
        copy.update_ghost_values();
        return copy;
      }
    copy.reinit(v, true);
    for (unsigned int i = 0;
         i < v.locally_owned_size() + v.get_partitioner()->n_ghost_indices();
         ++i)
      copy.local_element(i) = v.local_element(i);
    copy.set_ghost_state(true);
    return copy;
  }

  using SparseMatrix = dealii::TrilinosWrappers::SparseMatrix;
} // namespace Palpate

#endif
