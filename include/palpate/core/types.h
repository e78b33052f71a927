#ifndef palpate_core_types_h
#define palpate_core_types_h

#include <deal.II/lac/la_parallel_vector.h>
#include <deal.II/lac/trilinos_sparse_matrix.h>

namespace Palpate
{
  /// Nodal vectors (displacement, residual, adjoint): owned DoFs first, then
  /// ghosts; entry node * dim + component in local numbering.
  using Vector = dealii::LinearAlgebra::distributed::Vector<double>;

  using SparseMatrix = dealii::TrilinosWrappers::SparseMatrix;
} // namespace Palpate

#endif
