#ifndef palpate_core_interruption_h
#define palpate_core_interruption_h

#include <deal.II/base/mpi.h>

#include <palpate/core/errors.h>

#include <string>

namespace Palpate
{
  /// The run was told to stop: SIGINT (Ctrl-C) or SIGTERM. Exit code 128 + the
  /// signal's number, 130 or 143.
  class Interrupted : public Error
  {
  public:
    explicit Interrupted(const int signal, const std::string &what = "");
    Interrupted(const std::string &message, const int exit_code)
      : Error(message, exit_code)
    {}
  };

  /**
   * SIGINT and SIGTERM. While nothing is written, the process says so in one
   * line (rank 0) and ends at once. Between defer(true) and defer(false) the
   * first signal is only remembered: the next safe point, which is at most a
   * linear solve or a time step away, throws Interrupted on all ranks,
   * whichever of them got it. A second signal ends the process.
   */
  namespace Interruption
  {
    /// Take over both signals.
    void
    install(const bool is_root);

    /// Whether signals wait for a safe point.
    void
    defer(const bool on);

    /// A safe point. Collective. @throw Interrupted on all ranks if one of them
    /// got a signal that was not acknowledged.
    void
    check(const MPI_Comm &comm);

    /// The same in work that one rank does while the others wait for it
    /// (run_on_root()).
    void
    check_here();

    /// From here on nothing is given up: what is left to do (writing the best
    /// iterate, or a result that is complete) runs to its end, whatever signal
    /// has come or comes. To be called on all ranks.
    void
    acknowledge();

    /// The signal that some rank got, or 0. Collective.
    int
    received_signal(const MPI_Comm &comm);
  } // namespace Interruption
} // namespace Palpate

#endif
