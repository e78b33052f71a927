#ifndef palpate_drivers_taylor_tests_h
#define palpate_drivers_taylor_tests_h

#include <palpate/core/taylor.h>
#include <palpate/drivers/taylor_sample.h>
#include <palpate/forces/force.h>
#include <palpate/inverse/reduced_functional.h>

namespace Palpate
{
  /// One line of a verification: which derivative of what, and how it did.
  struct Verification
  {
    std::string  term, derivative;
    TaylorResult taylor;
    bool
    passed(const double lowest = 1.95, const double highest = 2.05) const
    {
      return taylor.passed(lowest, highest);
    }
  };

  /// A number in [-1, 1] that depends on seed and index only, so that tests are
  /// the same on any number of ranks.
  double
  random_number(const unsigned int seed, const unsigned long index);

  /// A nodal vector of such numbers times @p size, ghosted.
  template <int dim>
  Vector
  random_vector(const Discretization<dim> &discretization,
                const unsigned int         seed,
                const double               size);

  /// mean * exp(size * random) per cell, ghosted.
  template <int dim>
  Field
  random_field(const Discretization<dim> &discretization,
               const unsigned int         seed,
               const double               mean,
               const double               size);

  /// g . d over all fields that both have. Collective.
  template <int dim>
  double
  dot(const Discretization<dim> &discretization,
      const FieldDuals          &g,
      const Fields              &d);

  /**
   * All derivatives of a force at a random state (by default of about 10 %
   * strain) and random fields: energy -> residual -> tangent (assembled and
   * matrix-free), field derivative and its transpose, second derivatives.
   * Collective.
   */
  template <int dim>
  std::vector<Verification>
  verify_force(const std::string  &name,
               const Force<dim>   &force,
               const Context<dim> &context,
               const unsigned int  seed,
               const TestPoint    &point = {});

  /// value -> gradients -> Hessian products, by state and by fields.
  template <int dim>
  std::vector<Verification>
  verify_objective(const std::string    &name,
                   const Objective<dim> &objective,
                   const Context<dim>   &context,
                   const unsigned int    seed,
                   const TestPoint      &point = {});

  /// fields -> jvp, vjp against jvp, second_vjp. @p parameterization is bound.
  template <int dim>
  std::vector<Verification>
  verify_parameterization(const std::string           &name,
                          const Parameterization<dim> &parameterization,
                          const Discretization<dim>   &discretization,
                          const unsigned int           seed);

  /// value -> gradient -> Hessian product of the whole reduced functional, and
  /// the symmetry of the Hessian ("symmetry": |v.Hw - w.Hv| / |v.Hw|).
  template <int dim>
  std::vector<Verification>
  verify_reduced(ReducedFunctional<dim>    &functional,
                 const std::vector<double> &q,
                 const MPI_Comm            &comm,
                 const unsigned int         seed,
                 const double               size = 0.3);
} // namespace Palpate

#endif
