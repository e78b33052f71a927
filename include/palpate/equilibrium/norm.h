#ifndef palpate_equilibrium_norm_h
#define palpate_equilibrium_norm_h

#include <deal.II/base/mpi.h>

#include <palpate/core/types.h>

#include <cmath>

namespace Palpate
{
  /// Euclidean norm; unlike deal.II's in Debug it may be inf or NaN, which
  /// solvers report in words of their own. Collective.
  inline double
  norm_of(const Vector &v)
  {
    double sum = 0;
    for (unsigned int i = 0; i < v.locally_owned_size(); ++i)
      sum += v.local_element(i) * v.local_element(i);
    return std::sqrt(
      dealii::Utilities::MPI::sum(sum, v.get_mpi_communicator()));
  }
} // namespace Palpate

#endif
