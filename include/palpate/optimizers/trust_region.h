#ifndef palpate_optimizers_trust_region_h
#define palpate_optimizers_trust_region_h

#include <palpate/optimizers/compact_bfgs.h>

namespace Palpate
{
  /**
   * Minimise within bounds by the trust region of Lin and More, from ROL: the
   * steps only, when to stop is the caller's.
   * @param model of the Hessian; null: the function's own products
   * @param radius of the first step; below 0: the size of the first gradient
   * @param go_on is shown every iterate, also that after a rejected step, and
   * says whether to look for another. Collective.
   */
  void
  trust_region(SmoothFunction                           &function,
               const std::vector<double>                &start,
               const std::vector<double>                &lower,
               const std::vector<double>                &upper,
               const std::shared_ptr<const VectorSpace> &space,
               const ROL::Ptr<HessianModel>             &model,
               const unsigned int                        krylov_limit,
               const double                              radius,
               const std::function<bool(const OptimizerIteration &)> &go_on);
} // namespace Palpate

#endif
