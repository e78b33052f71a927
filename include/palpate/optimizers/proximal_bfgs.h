#ifndef palpate_optimizers_proximal_bfgs_h
#define palpate_optimizers_proximal_bfgs_h

#include <palpate/optimizers/compact_bfgs.h>

namespace Palpate
{
  /**
   * Minimise f + c within bounds, c the part that costs no solves, by a
   * proximal quasi-Newton method (Lee, Sun, Saunders 2014; doc/theory.md 6).
   * Every step minimises the model
   *
   *   df . s + 1/2 s . (B + sigma W) s + c(q + s)
   *
   * by trust_region(), until its projected gradient is 0.3 of the first. B are
   * the last BFGS pairs of f over CompactBfgs::by_unknown(theta), theta =
   * |y|/|s| of the last one; c (if there is any) is there as it is, however
   * bent, so that the number of steps is that of f. sigma is 0 until a step
   * disappoints. Where f bends down along a step, the pair is damped (Powell
   * 1978) so that B there falls to a fifth: steps grow. No unknown moves
   * further than a reach, which is 2 at first, doubles where it held back a
   * good step, and is cut where a trial value is far off or there is none.
   * @param stored_pairs of B
   * @param model_iterations of trust_region(), at most; if they are rejected,
   * 50
   * @param go_on is shown every iterate, also that after a rejected step, and
   * says whether to look for another. Collective.
   */
  void
  proximal_bfgs(SmoothFunction                           &function,
                const std::vector<double>                &start,
                const std::vector<double>                &lower,
                const std::vector<double>                &upper,
                const std::shared_ptr<const VectorSpace> &space,
                const unsigned int                        stored_pairs,
                const unsigned int                        model_iterations,
                const std::function<bool(const OptimizerIteration &)> &go_on);
} // namespace Palpate

#endif
