// Loaded before MPI (LD_PRELOAD) into a program of several ranks: compares
// every collective call on all ranks of its communicator before it is made. A
// call under a condition that ranks see differently ends the program at once,
// with what each rank was about to do and from where, instead of hanging or
// mixing up data. Ranks that wait for each other in different communicators, or
// for messages, are named by a watchdog (COLLECTIVE_CALLS_SECONDS, default 60).

#define OMPI_SKIP_MPICXX // the old C++ bindings warn
#include <execinfo.h>
#include <mpi.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

namespace
{
  struct Call
  {
    const char   *name;
    std::uint64_t arguments; ///< that all ranks must agree in
  };
  Call          now = {"none", 0};
  unsigned long n_calls;
  int           world_rank = -1;

  void
  print_where(const char *what)
  {
    char      text[300];
    const int n = std::snprintf(text,
                                sizeof(text),
                                "collective_calls: rank %d, call %lu: %s %s "
                                "(arguments %llx)\n",
                                world_rank,
                                n_calls,
                                what,
                                now.name,
                                static_cast<unsigned long long>(now.arguments));
    if (n > 0 && write(STDERR_FILENO, text, std::strlen(text)) < 0)
      std::abort();
    void     *frames[40];
    const int depth = backtrace(frames, 40);
    backtrace_symbols_fd(frames, depth, STDERR_FILENO);
  }

  void
  on_alarm(int)
  {
    print_where("no answer for too long in");
    _exit(70);
  }

  unsigned int
  patience()
  {
    const char *given = std::getenv("COLLECTIVE_CALLS_SECONDS");
    return given ? std::atoi(given) : 60;
  }

  /// A communicator of the same ranks, for the comparison alone.
  std::map<MPI_Comm, MPI_Comm> &
  twins()
  {
    static std::map<MPI_Comm, MPI_Comm> all;
    return all;
  }

  void
  compare(const MPI_Comm comm, const Call &call)
  {
    int size = 0, is_inter = 0;
    if (comm == MPI_COMM_NULL || PMPI_Comm_size(comm, &size) != MPI_SUCCESS ||
        size < 2 || PMPI_Comm_test_inter(comm, &is_inter) != MPI_SUCCESS ||
        is_inter)
      return;
    if (world_rank < 0)
      {
        PMPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
        std::signal(SIGALRM, on_alarm);
      }
    ++n_calls;
    now = call;
    alarm(patience());
    auto &twin = twins()[comm];
    if (twin == MPI_Comm() || twin == MPI_COMM_NULL)
      PMPI_Comm_dup(comm, &twin);
    std::uint64_t hash = 1469598103934665603ull;
    for (const char *c = call.name; *c != 0; ++c)
      hash = (hash ^ static_cast<unsigned char>(*c)) * 1099511628211ull;
    hash ^= call.arguments * 0x9e3779b97f4a7c15ull;
    const std::uint64_t mine[2] = {hash, ~hash};
    std::uint64_t       least[2];
    PMPI_Allreduce(mine, least, 2, MPI_UINT64_T, MPI_MIN, twin);
    if (least[0] != ~least[1])
      {
        print_where("ranks disagree; here");
        sleep(1); // for the others to say theirs
        _exit(71);
      }
  }

  std::uint64_t
  bytes(const int count, const MPI_Datatype type)
  {
    int size = 0;
    PMPI_Type_size(type, &size);
    return static_cast<std::uint64_t>(count) * size;
  }

  struct Watch
  {
    Watch(const MPI_Comm comm, const char *name, const std::uint64_t arguments)
    {
      compare(comm, {name, arguments});
    }
    ~Watch()
    {
      alarm(0);
    }
  };
} // namespace

#define WATCH(name, arguments) const Watch watch(comm, name, arguments)

extern "C"
{
  int
  MPI_Barrier(MPI_Comm comm)
  {
    WATCH("Barrier", 0);
    return PMPI_Barrier(comm);
  }
  int
  MPI_Bcast(void *b, int n, MPI_Datatype t, int root, MPI_Comm comm)
  {
    WATCH("Bcast", bytes(n, t) * 64 + root);
    return PMPI_Bcast(b, n, t, root, comm);
  }
  int
  MPI_Allreduce(const void  *s,
                void        *r,
                int          n,
                MPI_Datatype t,
                MPI_Op       op,
                MPI_Comm     comm)
  {
    WATCH("Allreduce", bytes(n, t));
    return PMPI_Allreduce(s, r, n, t, op, comm);
  }
  int
  MPI_Reduce(const void  *s,
             void        *r,
             int          n,
             MPI_Datatype t,
             MPI_Op       op,
             int          root,
             MPI_Comm     comm)
  {
    WATCH("Reduce", bytes(n, t) * 64 + root);
    return PMPI_Reduce(s, r, n, t, op, root, comm);
  }
  int
  MPI_Scan(const void  *s,
           void        *r,
           int          n,
           MPI_Datatype t,
           MPI_Op       op,
           MPI_Comm     comm)
  {
    WATCH("Scan", bytes(n, t));
    return PMPI_Scan(s, r, n, t, op, comm);
  }
  int
  MPI_Exscan(const void  *s,
             void        *r,
             int          n,
             MPI_Datatype t,
             MPI_Op       op,
             MPI_Comm     comm)
  {
    WATCH("Exscan", bytes(n, t));
    return PMPI_Exscan(s, r, n, t, op, comm);
  }
  int
  MPI_Allgather(const void  *s,
                int          n,
                MPI_Datatype t,
                void        *r,
                int          m,
                MPI_Datatype u,
                MPI_Comm     comm)
  {
    WATCH("Allgather", bytes(m, u));
    return PMPI_Allgather(s, n, t, r, m, u, comm);
  }
  int
  MPI_Allgatherv(const void  *s,
                 int          n,
                 MPI_Datatype t,
                 void        *r,
                 const int   *m,
                 const int   *d,
                 MPI_Datatype u,
                 MPI_Comm     comm)
  {
    WATCH("Allgatherv", 0);
    return PMPI_Allgatherv(s, n, t, r, m, d, u, comm);
  }
  int
  MPI_Gather(const void  *s,
             int          n,
             MPI_Datatype t,
             void        *r,
             int          m,
             MPI_Datatype u,
             int          root,
             MPI_Comm     comm)
  {
    WATCH("Gather", bytes(n, t) * 64 + root);
    return PMPI_Gather(s, n, t, r, m, u, root, comm);
  }
  int
  MPI_Gatherv(const void  *s,
              int          n,
              MPI_Datatype t,
              void        *r,
              const int   *m,
              const int   *d,
              MPI_Datatype u,
              int          root,
              MPI_Comm     comm)
  {
    WATCH("Gatherv", root);
    return PMPI_Gatherv(s, n, t, r, m, d, u, root, comm);
  }
  int
  MPI_Scatter(const void  *s,
              int          n,
              MPI_Datatype t,
              void        *r,
              int          m,
              MPI_Datatype u,
              int          root,
              MPI_Comm     comm)
  {
    WATCH("Scatter", bytes(m, u) * 64 + root);
    return PMPI_Scatter(s, n, t, r, m, u, root, comm);
  }
  int
  MPI_Scatterv(const void  *s,
               const int   *n,
               const int   *d,
               MPI_Datatype t,
               void        *r,
               int          m,
               MPI_Datatype u,
               int          root,
               MPI_Comm     comm)
  {
    WATCH("Scatterv", root);
    return PMPI_Scatterv(s, n, d, t, r, m, u, root, comm);
  }
  int
  MPI_Alltoall(const void  *s,
               int          n,
               MPI_Datatype t,
               void        *r,
               int          m,
               MPI_Datatype u,
               MPI_Comm     comm)
  {
    WATCH("Alltoall", bytes(m, u));
    return PMPI_Alltoall(s, n, t, r, m, u, comm);
  }
  int
  MPI_Alltoallv(const void  *s,
                const int   *n,
                const int   *d,
                MPI_Datatype t,
                void        *r,
                const int   *m,
                const int   *e,
                MPI_Datatype u,
                MPI_Comm     comm)
  {
    WATCH("Alltoallv", 0);
    return PMPI_Alltoallv(s, n, d, t, r, m, e, u, comm);
  }
  int
  MPI_Reduce_scatter(const void  *s,
                     void        *r,
                     const int   *n,
                     MPI_Datatype t,
                     MPI_Op       op,
                     MPI_Comm     comm)
  {
    WATCH("Reduce_scatter", 0);
    return PMPI_Reduce_scatter(s, r, n, t, op, comm);
  }
  int
  MPI_Reduce_scatter_block(const void  *s,
                           void        *r,
                           int          n,
                           MPI_Datatype t,
                           MPI_Op       op,
                           MPI_Comm     comm)
  {
    WATCH("Reduce_scatter_block", bytes(n, t));
    return PMPI_Reduce_scatter_block(s, r, n, t, op, comm);
  }
  int
  MPI_Comm_dup(MPI_Comm comm, MPI_Comm *made)
  {
    WATCH("Comm_dup", 0);
    return PMPI_Comm_dup(comm, made);
  }
  int
  MPI_Comm_split(MPI_Comm comm, int color, int key, MPI_Comm *made)
  {
    WATCH("Comm_split", 0);
    return PMPI_Comm_split(comm, color, key, made);
  }
  int
  MPI_Comm_create(MPI_Comm comm, MPI_Group group, MPI_Comm *made)
  {
    WATCH("Comm_create", 0);
    return PMPI_Comm_create(comm, group, made);
  }
  int
  MPI_Comm_free(MPI_Comm *comm)
  {
    // The handle may come back for another communicator.
    const auto it = twins().find(*comm);
    if (it != twins().end())
      {
        PMPI_Comm_free(&it->second);
        twins().erase(it);
      }
    return PMPI_Comm_free(comm);
  }
  int
  MPI_File_open(MPI_Comm    comm,
                const char *name,
                int         mode,
                MPI_Info    info,
                MPI_File   *file)
  {
    WATCH("File_open", 0);
    return PMPI_File_open(comm, name, mode, info, file);
  }
  int
  MPI_Finalize()
  {
    compare(MPI_COMM_WORLD, {"Finalize", 0});
    alarm(0);
    if (std::getenv("COLLECTIVE_CALLS_COUNT") && world_rank == 0)
      std::fprintf(stderr, "collective_calls: %lu\n", n_calls);
    return PMPI_Finalize();
  }
}
