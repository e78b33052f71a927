#ifndef palpate_output_operators_h
#define palpate_output_operators_h

#include <palpate/core/npz.h>
#include <palpate/geometry/discretization.h>

namespace Palpate
{
  /**
   * The operators of the intersection-point springs (doc/theory.md 1) in the
   * numbering of the input, whatever the number of ranks. Of M cells and N
   * vertices, linear elements; with point p = 2 dim k + 2 l + s for the end of
   * axis l of cell k in direction +e_l (s = 0) or -e_l (s = 1), and spring
   * j = dim k + l:
   * - C (2 dim M, N): weights of the vertices in the points
   * - L0 (M, dim): rest lengths [m]
   * - B (2 dim^2 M, dim N): positions of the vertices to those of the points
   * - M (dim^2 M, 2 dim^2 M): points to spring vectors, + minus -
   * - A0 = M B (dim^2 M, dim N)
   * where component d of vertex, point or spring i is row or column dim i + d.
   * A matrix X is in compressed rows: X_data, X_indices (ascending in a row),
   * X_indptr, X_shape.
   * @param frames of the local cells
   * @param rest_length of the local cells, dim each; null: the geometric ones
   * @return on rank 0; elsewhere nothing. Collective.
   */
  template <int dim>
  NpzArrays
  spring_operators(const Discretization<dim>                 &discretization,
                   const std::vector<dealii::Tensor<2, dim>> &frames,
                   const Field                               *rest_length);
} // namespace Palpate

#endif
