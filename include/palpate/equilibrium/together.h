#ifndef palpate_equilibrium_together_h
#define palpate_equilibrium_together_h

#include <deal.II/base/mpi.h>

#include <palpate/core/errors.h>

#include <string>

namespace Palpate
{
  /// Call f, which may fail on some rank (a collapsed spring): then all fail.
  /// Collective. @throw SolverError the first rank's that failed
  template <typename Function>
  void
  together(const MPI_Comm &comm, const Function &f)
  {
    std::string message;
    try
      {
        f();
      }
    catch (const SolverError &e)
      {
        message = e.what();
      }
    if (dealii::Utilities::MPI::max(message.empty() ? 0 : 1, comm) == 0)
      return;
    for (const auto &m : dealii::Utilities::MPI::all_gather(comm, message))
      if (!m.empty())
        throw SolverError(m);
  }
} // namespace Palpate

#endif
