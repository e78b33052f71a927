#ifndef palpate_geometry_stretch_h
#define palpate_geometry_stretch_h

#include <deal.II/base/symmetric_tensor.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace Palpate
{
  /// Principal stretches of a deformation gradient, descending.
  template <int dim>
  std::array<double, dim>
  principal_stretches(const dealii::Tensor<2, dim> &F)
  {
    auto stretches = eigenvalues(symmetrize(transpose(F) * F));
    for (double &s : stretches)
      s = std::sqrt(std::max(0., s));
    return stretches;
  }

  /// Largest |principal stretch - 1|, compression included.
  template <int dim>
  double
  largest_strain(const std::array<double, dim> &stretches)
  {
    double largest = 0;
    for (const double s : stretches)
      largest = std::max(largest, std::abs(s - 1));
    return largest;
  }
} // namespace Palpate

#endif
