#include <palpate/core/clones.h>
#include <palpate/optimizers/weighted_vector.h>

namespace Palpate
{
  namespace
  {
    constexpr std::size_t lanes = 16; // sums that do not wait for each other

    PALPATE_CLONES double
    product(const std::size_t n, const double *a, const double *b)
    {
      double      sums[lanes] = {};
      std::size_t i           = 0;
      for (; i + lanes <= n; i += lanes)
        for (std::size_t l = 0; l < lanes; ++l)
          sums[l] += a[i + l] * b[i + l];
      double sum = 0;
      for (; i < n; ++i)
        sum += a[i] * b[i];
      for (const double s : sums)
        sum += s;
      return sum;
    }
  } // namespace

  double
  local_product(const std::vector<double> &a, const std::vector<double> &b)
  {
    return product(a.size(), a.data(), b.data());
  }
} // namespace Palpate
