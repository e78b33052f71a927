// Memory bandwidth as the solver sees it: every rank streams arrays of its
// own that do not fit into any cache. Prints one JSON line, GB/s over all
// ranks: `triad` (a = b + s c, 24 bytes per entry counted, as STREAM does) and
// `read` (sum of b, 8 bytes per entry: a matrix product mostly reads).
#include <boost/program_options.hpp>
#include <mpi.h>

#include <algorithm>
#include <iostream>
#include <vector>

namespace
{
  template <typename Work>
  double
  best_seconds(const unsigned int repeat, const Work &work)
  {
    double best = 1e300;
    for (unsigned int i = 0; i < repeat; ++i)
      {
        MPI_Barrier(MPI_COMM_WORLD);
        const double start = MPI_Wtime();
        work();
        double seconds = MPI_Wtime() - start;
        MPI_Allreduce(
          MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
        best = std::min(best, seconds);
      }
    return best;
  }

  void
  measure(const unsigned int mebibytes, const unsigned int repeat)
  {
    int rank, ranks;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    const std::size_t   n = std::size_t(mebibytes) * (1 << 17);
    std::vector<double> a(n, 0.), b(n, 1.), c(n, 2.);
    double              sum   = 0;
    const double        triad = best_seconds(repeat, [&]() {
      for (std::size_t i = 0; i < n; ++i)
        a[i] = b[i] + 3. * c[i];
    });
    const double        read  = best_seconds(repeat, [&]() {
      double s[8] = {0, 0, 0, 0, 0, 0, 0, 0}; // eight sums hide the latency
      for (std::size_t i = 0; i < n; i += 8)
        for (unsigned int j = 0; j < 8; ++j)
          s[j] += a[i + j];
      for (const double x : s)
        sum += x;
    });
    if (rank == 0)
      std::cout << "{\"ranks\": " << ranks
                << ", \"mebibytes_per_array\": " << mebibytes
                << ", \"triad\": " << 24e-9 * n * ranks / triad
                << ", \"read\": " << 8e-9 * n * ranks / read
                << ", \"correct\": "
                << (sum == 7. * n * repeat ? "true" : "false") << "}"
                << std::endl;
  }
} // namespace

int
main(int argc, char **argv)
{
  namespace po           = boost::program_options;
  unsigned int mebibytes = 256, repeat = 10;
  MPI_Init(&argc, &argv);
  int rank, code = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  po::options_description options("usage: bandwidth [options]");
  options.add_options()("help", "this text")(
    "mebibytes",
    po::value(&mebibytes)->default_value(mebibytes),
    "of each of the three arrays of a rank")(
    "repeat", po::value(&repeat)->default_value(repeat), "the best counts");
  try
    {
      po::variables_map given;
      po::store(po::parse_command_line(argc, argv, options), given);
      po::notify(given);
      if (given.count("help"))
        {
          if (rank == 0)
            std::cout << options;
        }
      else if (mebibytes < 1 || mebibytes > 65536 || repeat < 1)
        throw po::error("--mebibytes and --repeat: expected positive numbers");
      else
        measure(mebibytes, repeat);
    }
  catch (const std::exception &e)
    {
      if (rank == 0)
        std::cerr << "bandwidth: error: " << e.what() << std::endl;
      code = 2;
    }
  MPI_Finalize();
  return code;
}
