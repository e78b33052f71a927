// What a product with the pairs of BFGS costs: x -> S (S^T x) with the columns
// of S in 16 bits (ShortColumns), and the same by BLAS in single precision.
// Serial. Prints one JSON line, medians of seconds; `difference` is the largest
// one of the results, relative.
#include <deal.II/base/mpi.h>
#include <deal.II/lac/lapack_full_matrix.h>

#include <palpate/drivers/taylor_tests.h>
#include <palpate/optimizers/short_columns.h>

#include <boost/program_options.hpp>

#include <algorithm>
#include <iostream>

using namespace Palpate;

namespace
{
  template <typename Work>
  double
  median_seconds(const int repeat, const Work &work)
  {
    std::vector<double> seconds;
    for (int i = 0; i < repeat; ++i)
      {
        const double start = MPI_Wtime();
        work();
        seconds.push_back(MPI_Wtime() - start);
      }
    std::nth_element(seconds.begin(),
                     seconds.begin() + repeat / 2,
                     seconds.end());
    return seconds[repeat / 2];
  }

  void
  measure(const int n, const int n_columns, const int repeat)
  {
    ShortColumns                    columns;
    dealii::LAPACKFullMatrix<float> matrix(n, n_columns);
    for (int j = 0; j < n_columns; ++j)
      {
        std::vector<double> column(n);
        for (int i = 0; i < n; ++i)
          column[i] = matrix(i, j) = random_number(j + 1, i);
        columns.push_back(1., column);
      }
    std::vector<double> x(n), y(n), products(n_columns);
    for (int i = 0; i < n; ++i)
      x[i] = random_number(0, i);
    const double ours = median_seconds(repeat, [&]() {
      std::fill(y.begin(), y.end(), 0.);
      columns.multiply(x, products.data());
      columns.add(products.data(), y);
    });

    dealii::Vector<float> x_float(x.begin(), x.end()), y_float(n),
      products_float(n_columns);
    const double blas       = median_seconds(repeat, [&]() {
      matrix.Tvmult(products_float, x_float);
      matrix.vmult(y_float, products_float);
    });
    double       difference = 0, size = 0;
    for (int i = 0; i < n; ++i)
      {
        difference = std::max(difference, std::abs(y[i] - y_float[i]));
        size       = std::max(size, std::abs(y[i]));
      }
    std::cout << "{\"rows\": " << n << ", \"columns\": " << n_columns
              << ", \"seconds\": " << ours << ", \"blas\": " << blas
              << ", \"ratio\": " << blas / ours
              << ", \"difference\": " << difference / size << "}" << std::endl;
  }
} // namespace

int
main(int argc, char **argv)
{
  namespace po = boost::program_options;
  int n = 150000, n_columns = 160, repeat = 15;

  dealii::Utilities::MPI::MPI_InitFinalize mpi(argc, argv, 1);
  po::options_description options("usage: stored_pairs [options]");
  options.add_options()("help", "this text")("rows",
                                             po::value(&n)->default_value(n),
                                             "unknowns of a rank")(
    "columns",
    po::value(&n_columns)->default_value(n_columns),
    "two for each pair")("repeat",
                         po::value(&repeat)->default_value(repeat),
                         "the median counts");
  try
    {
      po::variables_map given;
      po::store(po::parse_command_line(argc, argv, options), given);
      po::notify(given);
      if (given.count("help"))
        std::cout << options;
      else if (n < 1 || n_columns < 1 || repeat < 1)
        throw po::error(
          "--rows, --columns and --repeat: expected positive numbers");
      else
        measure(n, n_columns, repeat);
    }
  catch (const std::exception &e)
    {
      std::cerr << "stored_pairs: error: " << e.what() << std::endl;
      return 2;
    }
  return 0;
}
