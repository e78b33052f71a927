#include <palpate/core/taylor.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace Palpate
{
  namespace
  {
    const double factor = std::sqrt(0.1); ///< from a step to the next

    /// r(t) / t extrapolated from pairs of steps to t = 0: e + O(t^2).
    class Extrapolation
    {
    public:
      explicit Extrapolation(const Norm &norm)
        : norm(norm)
      {}

      /// The next smaller step.
      void
      add(const double t, std::vector<double> r)
      {
        for (double &x : r)
          x /= t;
        if (n_steps > 0)
          {
            std::vector<double> now(r.size()), change(r.size());
            for (std::size_t i = 0; i < r.size(); ++i)
              now[i] = (r[i] - factor * quotient[i]) / (1 - factor);
            for (std::size_t i = 0; i < last.size(); ++i)
              change[i] = now[i] - last[i];
            changes.push_back(norm(change));
            sizes.push_back(norm(now));
            last = now;
          }
        quotient = r;
        ++n_steps;
      }

      /// Norm at pair i, made of steps i and i + 1, and that of what changed
      /// since pair i - 1.
      std::vector<double> sizes, changes;

    private:
      const Norm         &norm;
      std::vector<double> quotient, last;
      unsigned int        n_steps = 0;
    };

    /// The e that pairs of steps agree on over a decade, if none of those after
    /// them is closer to 0, and that is above what they resolve; or 0.
    double
    common_value(const Extrapolation       &pairs,
                 const std::vector<double> &resolved)
    {
      const auto &size   = pairs.sizes;
      const auto  agrees = [&](const std::size_t i) {
        return size[i] > resolved[i] && pairs.changes[i] <= 0.2 * size[i];
      };
      for (std::size_t i = 2; i < size.size(); ++i)
        if (size[i - 2] > resolved[i - 2] && agrees(i - 1) && agrees(i))
          {
            bool stays = true;
            for (std::size_t j = i + 1; j < size.size(); ++j)
              stays = stays &&
                      (resolved[j] > 0.3 * size[i] || size[j] >= 0.3 * size[i]);
            if (stays)
              return size[i];
          }
      return 0;
    }

    /// Of all windows of so many points among the first @p last + 1, the rate
    /// that is closest to 2; else @p rate.
    double
    best_rate(const TaylorResult &result,
              const std::size_t   last,
              const std::size_t   window,
              double              rate)
    {
      const auto &r = result.remainders, &t = result.steps;
      for (std::size_t i = 0; i + window <= last + 1; ++i)
        {
          const std::size_t j   = i + window - 1;
          const double      now = std::log(r[i] / r[j]) / std::log(t[i] / t[j]);
          if (std::abs(now - 2) < std::abs(rate - 2))
            rate = now;
        }
      return rate;
    }
  } // namespace

  TaylorResult
  taylor_test(const Remainder &remainder,
              const Norm      &norm,
              const double     scale,
              const double     slope,
              const double     largest_step)
  {
    TaylorResult result;
    // Where nothing but rounding is left, of f and of its arguments.
    double noise = 0;
    for (const double t : {1e-11, 3e-12, 1e-12})
      noise = std::max(noise, norm(remainder(t * largest_step)));
    Extrapolation       pairs(norm);
    std::vector<double> resolved;
    result.round_off = true;
    result.best      = 1e300;
    double t = largest_step, quotient = 0; // largest r / t
    // On below 1e-6 while the quotients still fall.
    for (unsigned int i = 0;
         i < 13 || (i < 17 && pairs.sizes.back() > resolved.back());
         ++i, t *= factor)
      {
        const auto   values = remainder(t);
        const double r      = norm(values);
        pairs.add(t, values);
        result.steps.push_back(t);
        result.remainders.push_back(r);
        quotient = std::max(quotient, r / t);
        if (i > 0)
          resolved.push_back(
            std::max(30 * noise / t, 1e-10 * std::max(slope, quotient)));
        if (!(r <= 1e-11 * std::max(scale, t * slope)))
          result.round_off = false;
        result.best = std::min(result.best, r / (t * std::max(slope, 1e-300)));
      }
    // Rates of what stands out of round-off.
    std::size_t n_above = 0;
    while (n_above < result.steps.size() &&
           result.remainders[n_above] > 10 * noise)
      ++n_above;
    if (n_above < 3 && noise <= 1e-11 * std::max(scale, slope))
      result.round_off = true;
    if (n_above > 0)
      {
        result.rate = best_rate(result, n_above - 1, 7, 0);
        if (result.rate < 1.9)
          result.rate = best_rate(result, n_above - 1, 5, result.rate);
        if (n_above < 5 && noise <= 1e-11 * std::max(scale, slope))
          result.rate = best_rate(result, n_above - 1, n_above, result.rate);
      }
    result.offset = common_value(pairs, resolved) / std::max(slope, 1e-300);
    return result;
  }

  TaylorResult
  taylor_test(const std::function<double(double)> &remainder,
              const double                         scale,
              const double                         slope,
              const double                         largest_step)
  {
    return taylor_test(
      [&](const double t) { return std::vector<double>{remainder(t)}; },
      [](const std::vector<double> &r) { return std::abs(r[0]); },
      scale,
      slope,
      largest_step);
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
    if (offset > 0)
      out << ", wrong by " << offset << " of the derivative";
    return out.str();
  }
} // namespace Palpate
