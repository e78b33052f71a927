#ifndef palpate_forces_node_values_h
#define palpate_forces_node_values_h

#include <palpate/core/types.h>

namespace Palpate
{
  /// The value of a nodal vector at local node @p node.
  template <int dim>
  dealii::Tensor<1, dim>
  at_node(const Vector &u, const unsigned int node)
  {
    dealii::Tensor<1, dim> v;
    for (unsigned int d = 0; d < dim; ++d)
      v[d] = u.local_element(node * dim + d);
    return v;
  }

  template <int dim>
  void
  add_at_node(Vector                       &h,
              const unsigned int            node,
              const dealii::Tensor<1, dim> &f)
  {
    for (unsigned int d = 0; d < dim; ++d)
      h.local_element(node * dim + d) += f[d];
  }
} // namespace Palpate

#endif
