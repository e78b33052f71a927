#ifndef palpate_drivers_admissible_start_h
#define palpate_drivers_admissible_start_h

#include <palpate/drivers/taylor_sample.h>
#include <palpate/forces/force.h>
#include <palpate/inverse/reduced_functional.h>

namespace Palpate
{
  /// How far from the case's own start derivatives are tested: the largest of
  /// 1, 1/2, 1/4, ... of the usual perturbation where all that is tested
  /// exists.
  struct AdmissibleSize
  {
    double      size = 1;
    std::string why; ///< what a larger one failed with; empty if it is 1
  };

  /**
   * For tests of forces and objectives at the state and the fields of a
   * context, along their directions. Collective. @throw ComputationError with
   * what fails if the context itself is nowhere admissible
   */
  template <int dim>
  AdmissibleSize
  admissible_size(const std::vector<std::unique_ptr<Force<dim>>> &forces,
                  const std::vector<WeightedTerm<dim>>           &terms,
                  const Context<dim>                             &context,
                  const unsigned int                              seed);

  /**
   * For tests of a reduced functional at start + size dq along size v: the
   * body must follow both. Collective. @throw ComputationError if it does not
   * follow the start itself
   */
  template <int dim>
  AdmissibleSize
  admissible_size(ReducedFunctional<dim>    &functional,
                  const std::vector<double> &start,
                  const std::vector<double> &dq,
                  const std::vector<double> &v);
} // namespace Palpate

#endif
