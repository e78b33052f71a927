#ifndef palpate_core_taylor_h
#define palpate_core_taylor_h

#include <functional>
#include <string>
#include <vector>

namespace Palpate
{
  /**
   * Outcome of a Taylor test of a derivative along a direction: the remainder
   * r(t) = f(q + t v) - f(q) - t df.v = e t + C t^2 + ... must fall with rate 2
   * over decades of t until it reaches the round-off of f, or stay there
   * because f is linear. A derivative that is wrong by a little (e) shows at
   * small t only, where the rate drops to 1; the test asks for e itself, by
   * Richardson's extrapolation of r(t) / t to t = 0, which does not mind a
   * large curvature C.
   */
  struct TaylorResult
  {
    double rate = 0; ///< observed, over the best three (else two) decades
    double best = 0; ///< smallest |difference quotient - df.v| / |df.v|
    /// |e| / |df.v| where it stands out of round-off and of the curvature, else
    /// 0: the derivative is wrong by that much.
    double offset    = 0;
    bool   round_off = false; ///< nothing but round-off in the remainder
    /// Steps and the norms of the remainder, the largest step first.
    std::vector<double> steps, remainders;

    bool
    passed(const double lowest = 1.95, const double highest = 2.05) const
    {
      return offset == 0 && (round_off || (rate >= lowest && rate <= highest));
    }
    /// "rate 2.00, agreement 3e-9" or "exact to round-off".
    std::string
    text() const;
  };

  /// Values of a remainder on this rank, and the norm over all ranks.
  using Remainder = std::function<std::vector<double>(double)>;
  using Norm      = std::function<double(const std::vector<double> &)>;

  /**
   * @param remainder r(t), with signs, for a step t; collective if norm() is
   * @param norm of r and of sums of it
   * @param scale size of the value, for the round-off limit
   * @param slope size of the derivative along the direction
   * @param largest_step the first t; 12 steps or more follow, each 10^(-1/2)
   * smaller, and three near 1e-11 of it, where round-off is all there is
   */
  TaylorResult
  taylor_test(const Remainder &remainder,
              const Norm      &norm,
              const double     scale,
              const double     slope,
              const double     largest_step = 1);

  /// Of a number, the same on all ranks.
  TaylorResult
  taylor_test(const std::function<double(double)> &remainder,
              const double                         scale,
              const double                         slope,
              const double                         largest_step = 1);
} // namespace Palpate

#endif
