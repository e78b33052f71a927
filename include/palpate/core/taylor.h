#ifndef palpate_core_taylor_h
#define palpate_core_taylor_h

#include <functional>
#include <string>
#include <vector>

namespace Palpate
{
  /**
   * Outcome of a Taylor test: the remainder r(t) = |J(q + t v) - J(q) - t dJ.v|
   * must fall with rate 2 over three decades of t, or be at round-off
   * throughout because J is linear (or quadratic, with a second-order term).
   */
  struct TaylorResult
  {
    double rate = 0; ///< observed, over the best three decades
    double best = 0; ///< smallest |difference quotient - dJ.v| / |dJ.v|
    /// Remainder / (step * max(slope, scale)) at the smallest step above
    /// round-off.
    double at_smallest_step = 0;
    bool   round_off = false; ///< remainder below 1e-11 of the value throughout
    std::vector<double> steps, remainders;

    bool
    passed(const double lowest = 1.95, const double highest = 2.05) const
    {
      return round_off ||
             (rate >= lowest && rate <= highest && at_smallest_step < 1e-5);
    }
    /// "rate 2.00, agreement 3e-9" or "exact to round-off".
    std::string
    text() const;
  };

  /**
   * @param remainder r(t) for a step t
   * @param scale size of the value, for the round-off limit
   * @param slope size of the derivative along the direction
   * @param largest_step the first t; 13 steps follow, each 10^(-1/2) smaller
   */
  TaylorResult
  taylor_test(const std::function<double(double)> &remainder,
              const double                         scale,
              const double                         slope,
              const double                         largest_step = 1);
} // namespace Palpate

#endif
