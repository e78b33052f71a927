#include <palpate/time_integration/checkpoints.h>

#include <algorithm>
#include <cmath>

namespace Palpate
{
  namespace
  {
    /// Steps that s states and r repetitions of a step can take back: the
    /// binomial coefficient (s + r over s), not beyond a large number.
    double
    reach(const unsigned int s, const unsigned int r)
    {
      double c = 1;
      for (unsigned int i = 1; i <= s && c < 1e15; ++i)
        c *= double(r + i) / i;
      return std::round(c);
    }
  } // namespace

  CheckpointPlan::CheckpointPlan(const Kind         kind,
                                 const unsigned int n_steps,
                                 const unsigned int n_slots)
    : kind(kind)
    , n_steps(n_steps)
    , n_slots(n_slots)
  {
    // The shortest segments that fit: n/k - 1 beginnings and k - 1 inside.
    while (kind == Kind::evenly && every < n_steps &&
           (n_steps + every - 1) / every - 1 + every - 1 > n_slots)
      ++every;
  }

  unsigned int
  CheckpointPlan::n_needed(const Kind kind, const unsigned int n_steps)
  {
    if (kind == Kind::all)
      return n_steps - 1;
    if (kind == Kind::binomial)
      return 0;
    unsigned int least = n_steps - 1;
    for (unsigned int k = 1; k <= n_steps; ++k)
      least = std::min(least, (n_steps + k - 1) / k - 1 + k - 1);
    return least;
  }

  unsigned int
  CheckpointPlan::split(const unsigned int first,
                        const unsigned int last,
                        const unsigned int free) const
  {
    const double n = last - first;
    unsigned int r = 1;
    while (reach(free + 1, r) < n)
      ++r;
    // Both parts within their reach (the first one is gone through once more).
    const double m =
      std::max(n - reach(free, r),
               std::min(reach(free + 1, r - 1), n - reach(free, r - 1)));
    return first + static_cast<unsigned int>(m);
  }

  bool
  CheckpointPlan::keeps(const unsigned int step) const
  {
    if (kind == Kind::all)
      return true;
    if (kind == Kind::evenly)
      return step % every == 0;
    unsigned int first = 0, free = n_slots;
    while (free > 0 && n_steps - first > 1 && first < step)
      {
        if (free >= n_steps - first - 1)
          return true;
        first = split(first, n_steps, free--);
      }
    return step == first;
  }

  void
  CheckpointPlan::reverse(const Actions &actions) const
  {
    if (kind == Kind::evenly)
      {
        // Segments from the last to the first; slots inside for all of one.
        for (unsigned int i = (n_steps + every - 1) / every; i-- > 0;)
          {
            const unsigned int first = i * every,
                               last  = std::min(n_steps, first + every);
            reverse(first, last, last - first - 1, false, actions);
            if (first > 0)
              actions.forget(first);
          }
        return;
      }
    reverse(0, n_steps, n_slots, true, actions);
  }

  void
  CheckpointPlan::reverse(const unsigned int first,
                          const unsigned int last,
                          const unsigned int free,
                          const bool         kept,
                          const Actions     &actions) const
  {
    if (free >= last - first - 1) // all of them
      {
        if (!kept && last - first > 1)
          actions.advance(first, last - 1, true);
        for (unsigned int step = last; step-- > first;)
          {
            actions.take_back(step);
            if (step > first)
              actions.forget(step);
          }
        return;
      }
    if (free == 0) // from the first state again and again
      {
        for (unsigned int step = last; step-- > first;)
          {
            if (step > first)
              actions.advance(first, step, false);
            actions.take_back(step);
            if (step > first)
              actions.forget(step);
          }
        return;
      }
    const unsigned int middle = split(first, last, free);
    if (!kept)
      actions.advance(first, middle, false);
    reverse(middle, last, free - 1, kept, actions);
    actions.forget(middle);
    reverse(first, middle, free, false, actions);
  }

  unsigned long
  CheckpointPlan::n_again() const
  {
    unsigned long n = 0;
    reverse({[&](const unsigned int first, const unsigned int last, bool) {
               n += last - first;
             },
             [](unsigned int) {},
             [](unsigned int) {}});
    return n;
  }

  std::string
  CheckpointPlan::text() const
  {
    const std::string n = std::to_string(n_steps);
    if (kind == Kind::all)
      return "the states of all " + n + " steps are kept";
    const std::string again = ", " + std::to_string(n_again()) +
                              " steps are computed again for a gradient";
    if (kind == Kind::evenly)
      return "every " + std::to_string(every) + "th state of " + n +
             " steps is kept" + again;
    return "binomial: " + std::to_string(n_slots) + " states of " + n +
           " steps are kept at a time" + again;
  }
} // namespace Palpate
