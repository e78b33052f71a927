// Ways to sum Coulomb's forces: seconds, and mean relative error of the field
// at the charges. One JSON line for each method.
//   coulomb_sums CHARGES [REPETITIONS]
#include <deal.II/base/multithread_info.h>
#include <deal.II/base/timer.h>

#include <palpate/forces/charges/electric_field.h>

#include <boost/random/mersenne_twister.hpp>
#include <boost/random/uniform_real_distribution.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>

using namespace Palpate;

namespace
{
  /// Vertices of a torus' mesh, 8 uC each: rows around it, moved a little.
  PointCharges
  torus(const std::size_t n)
  {
    boost::random::mt19937                     generator(1);
    boost::random::uniform_real_distribution<> uniform(-0.2, 0.2);
    const std::size_t around = std::max(3., std::sqrt(n / 2.5)),
                      along  = (n + around - 1) / around;
    PointCharges charges;
    for (std::size_t k = 0; k < n; ++k)
      {
        const double a = 2 * M_PI * (k / around + uniform(generator)) / along,
                     b = 2 * M_PI * (k % around + uniform(generator)) / around;
        charges.add((1 + 0.4 * std::cos(b)) * std::cos(a),
                    (1 + 0.4 * std::cos(b)) * std::sin(a),
                    0.4 * std::sin(b),
                    8e-6);
      }
    return charges;
  }

  double
  mean_relative_error(const FieldAtCharges &field, const FieldAtCharges &truth)
  {
    double      sum = 0;
    std::size_t n   = truth.potential.size();
    for (std::size_t i = 0; i < n; ++i)
      {
        double error = 0, size = 0;
        for (unsigned int d = 0; d < 3; ++d)
          {
            error += std::pow(field.e[d][i] - truth.e[d][i], 2);
            size += std::pow(truth.e[d][i], 2);
          }
        sum += std::sqrt(error / size);
      }
    return sum / n;
  }
} // namespace

int
main(int argc, char **argv)
{
  const std::size_t  n           = argc > 1 ? std::atoi(argv[1]) : 20000;
  const unsigned int repetitions = argc > 2 ? std::atoi(argv[2]) : 3;
  if (n < 2 || repetitions < 1)
    {
      std::cerr << "coulomb_sums: expected at least 2 charges\n";
      return 2;
    }
  dealii::MultithreadInfo::set_thread_limit(); // DEAL_II_NUM_THREADS
  const PointCharges charges = torus(n);
  FieldAtCharges     truth;
  double             direct_seconds = 0;
  const auto         measure = [&](const std::string                  &name,
                           ElectricField                      &method,
                           const std::function<std::string()> &more) {
    FieldAtCharges      field;
    std::vector<double> seconds;
    for (unsigned int i = 0; i < repetitions; ++i)
      {
        dealii::Timer timer;
        method.compute(charges, field);
        seconds.push_back(timer.wall_time());
      }
    std::sort(seconds.begin(), seconds.end());
    const double median = seconds[seconds.size() / 2];
    if (name == "direct")
      {
        truth          = field;
        direct_seconds = median;
      }
    std::cout << "{\"charges\": " << n << ", \"method\": \"" << name
              << "\", \"seconds\": " << median
              << ", \"of_direct\": " << median / direct_seconds
              << ", \"mean_relative_error\": "
              << mean_relative_error(field, truth) << more() << "}"
              << std::endl;
  };
  const auto nothing = []() { return std::string(); };
  DirectSum  direct;
  measure("direct", direct, nothing);
  for (const unsigned int m : {1000, 2000, 10000})
    for (const auto &[name, variant] :
         {std::make_pair("ddef listing", DiscretizedField::Variant::listing),
          std::make_pair("ddef text", DiscretizedField::Variant::text),
          std::make_pair("ddef consistent",
                         DiscretizedField::Variant::consistent),
          std::make_pair("far field ignored",
                         DiscretizedField::Variant::near_only)})
      {
        DiscretizedField method(m, variant);
        measure(std::string(name) + " m = " + std::to_string(m), method, [&]() {
          return ", \"mean_near\": " + std::to_string(method.mean_near);
        });
      }
  const auto tree = [&](const std::string &name, OctreeSum method) {
    measure(name, method, [&]() {
      return ", \"share_of_pairs\": " + std::to_string(method.share_of_pairs);
    });
  };
  for (const double angle : {0.8, 0.65, 0.5})
    for (const unsigned int order : {4, 6, 8})
      tree("octree angle " + std::to_string(angle).substr(0, 3) + " order " +
             std::to_string(order),
           OctreeSum::with_angle(angle, order));
  for (const auto &[tolerance, order] : {std::make_pair(1e-2, 6u),
                                         std::make_pair(1e-3, 8u),
                                         std::make_pair(1e-4, 10u)})
    tree("octree tolerance " + std::to_string(tolerance) + " order " +
           std::to_string(order),
         OctreeSum(tolerance, order));
}
