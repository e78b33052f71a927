#include <palpate/core/interruption.h>

#include <signal.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <ctime>

namespace Palpate
{
  namespace
  {
    volatile std::sig_atomic_t received = 0, deferred = 0, acknowledged = 0,
                               on_root  = 0;
    volatile std::time_t first_received = 0;

    std::string
    name_of(const int signal)
    {
      return signal == SIGINT ? "SIGINT" : "SIGTERM";
    }

    /// Only what may be called in a signal handler.
    extern "C" void
    remember_or_end(const int signal)
    {
      if (deferred != 0 && received == 0)
        {
          received       = signal;
          first_received = std::time(nullptr);
          return;
        }
      // mpirun turns a Ctrl-C into a SIGTERM for its processes, which may have
      // got the Ctrl-C themselves: that is one event, not two.
      if (deferred != 0 && signal != received &&
          std::time(nullptr) <= first_received + 1)
        return;
      if (on_root != 0)
        {
          const char *text = signal == SIGINT
                               ? "palpate: interrupted by SIGINT\n"
                               : "palpate: interrupted by SIGTERM\n";
          // Nothing can be done if this fails.
          if (write(STDERR_FILENO, text, std::strlen(text)) < 0)
            _exit(128 + signal);
        }
      _exit(128 + signal);
    }
  } // namespace

  Interrupted::Interrupted(const int signal, const std::string &what)
    : Error("interrupted by " + name_of(signal) +
              (what.empty() ? "" : ": " + what),
            128 + signal)
  {}

  void
  Interruption::install(const bool is_root)
  {
    on_root = is_root;
    struct sigaction action;
    std::memset(&action, 0, sizeof action);
    action.sa_handler = remember_or_end;
    action.sa_flags   = SA_RESTART; // half a write is no error
    sigemptyset(&action.sa_mask);
    for (const int signal : {SIGINT, SIGTERM})
      {
        // nohup and shells' background jobs ignore SIGINT: so do we.
        struct sigaction before;
        if (sigaction(signal, nullptr, &before) == 0 &&
            before.sa_handler != SIG_IGN)
          sigaction(signal, &action, nullptr);
      }
  }

  void
  Interruption::defer(const bool on)
  {
    deferred     = on;
    acknowledged = 0;
  }

  void
  Interruption::check(const MPI_Comm &comm)
  {
    if (deferred == 0 || acknowledged != 0)
      return;
    const int signal = received_signal(comm);
    if (signal != 0)
      throw Interrupted(signal);
  }

  void
  Interruption::check_here()
  {
    if (deferred != 0 && acknowledged == 0 && received != 0)
      throw Interrupted(received);
  }

  int
  Interruption::received_signal(const MPI_Comm &comm)
  {
    return dealii::Utilities::MPI::max(static_cast<int>(received), comm);
  }

  void
  Interruption::acknowledge()
  {
    acknowledged = 1;
  }
} // namespace Palpate
