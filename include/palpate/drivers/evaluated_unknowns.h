#ifndef palpate_drivers_evaluated_unknowns_h
#define palpate_drivers_evaluated_unknowns_h

#include <palpate/parameterizations/parameterization.h>

#include <memory>

namespace Palpate
{
  /// The fields of Parameterization/More unknowns alone, those of a body in
  /// Lame's parameters included; null if there are none. @throw InputError
  template <int dim>
  std::unique_ptr<Parameterization<dim>>
  read_more_unknowns(Parameters &parameters);

  /**
   * Whether `evaluate` is asked for the stiffness that Parameterization starts
   * with, and not for that of the section Stiffness: an entry of it that says
   * something of the stiffness has another value than its default.
   */
  bool
  stiffness_is_of_parameterization(Parameters &parameters);

  /**
   * What `evaluate` derives by: the stiffness of every spring where these have
   * one of their own, else of every cell, both without bounds, and @p more
   * (which may be null). @param start all fields. Bound. Collective.
   */
  template <int dim>
  std::unique_ptr<Parameterization<dim>>
  evaluated_unknowns(const Discretization<dim>               &discretization,
                     const Fields                            &start,
                     std::unique_ptr<Parameterization<dim>> &&more);
} // namespace Palpate

#endif
