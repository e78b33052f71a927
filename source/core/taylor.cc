#include <palpate/core/taylor.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace Palpate
{
  TaylorResult
  taylor_test(const std::function<double(double)> &remainder,
              const double                         scale,
              const double                         slope,
              const double                         largest_step)
  {
    TaylorResult result;
    result.round_off    = true;
    result.best         = 1e300;
    const double factor = std::sqrt(0.1);
    double       t      = largest_step;
    for (unsigned int i = 0; i < 13; ++i, t *= factor)
      {
        const double r = remainder(t);
        result.steps.push_back(t);
        result.remainders.push_back(r);
        if (!(r <= 1e-11 * std::max(scale, t * slope)))
          result.round_off = false;
        result.best = std::min(result.best, r / (t * std::max(slope, 1e-300)));
      }
    // Three decades are seven points. The rate is that of the window closest to
    // 2 above round-off; a wrong derivative can hide there behind a strongly
    // curved function, but not in the agreement at the smallest step.
    std::size_t last = 0;
    while (last + 1 < result.steps.size() &&
           result.remainders[last + 1] > 1e-13 * scale)
      ++last;
    for (std::size_t i = 0; i + 6 <= last; ++i)
      {
        const double rate =
          std::log(result.remainders[i] / result.remainders[i + 6]) /
          std::log(result.steps[i] / result.steps[i + 6]);
        if (std::abs(rate - 2) < std::abs(result.rate - 2))
          result.rate = rate;
      }
    result.at_smallest_step =
      result.remainders[last] / (result.steps[last] * std::max(scale, slope));
    return result;
  }

  std::string
  TaylorResult::text() const
  {
    std::ostringstream out;
    out.precision(3);
    if (round_off)
      out << "exact to round-off, agreement " << best;
    else
      out << "rate " << rate << ", agreement " << best;
    return out.str();
  }
} // namespace Palpate
