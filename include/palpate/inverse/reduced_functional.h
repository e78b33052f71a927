#ifndef palpate_inverse_reduced_functional_h
#define palpate_inverse_reduced_functional_h

#include <palpate/equilibrium/state_problem.h>
#include <palpate/objectives/objective.h>
#include <palpate/parameterizations/parameterization.h>

#include <functional>

namespace Palpate
{
  /// An objective with its weight and its name in the parameter file.
  template <int dim>
  struct WeightedTerm
  {
    std::unique_ptr<Objective<dim>> objective;
    double                          weight;
    std::string                     name;
    /// Of each snapshot, where they are not equal.
    std::vector<double> share = {};

    /// What snapshot s of S counts, for terms that see the state.
    double
    share_of(const unsigned int s, const unsigned int S) const
    {
      return share.empty() ? 1. / S : share[s];
    }
  };

  /**
   * J(q) = mean over snapshots of sum_i w_i J_i(u_s(q), fields(q)) with exact
   * gradient (one adjoint solve per snapshot) and Hessian product (two
   * incremental solves per snapshot); doc/theory.md 5. Knows no optimizer. The
   * last two points are kept, so that going back to one costs no solve.
   */
  template <int dim>
  class ReducedFunctional
  {
  public:
    using Q = std::vector<double>;

    /// All arguments are kept by reference. @param fixed_fields fields the
    /// parameterization does not set (density).
    ReducedFunctional(StateProblem<dim>                    &problem,
                      const Parameterization<dim>          &parameterization,
                      const std::vector<WeightedTerm<dim>> &terms,
                      const Fields                         &fixed_fields,
                      const MPI_Comm                       &comm);

    double
    value(const Q &q);
    /// Raw derivative dJ/dq (dual), this rank's entries.
    void
    gradient(const Q &q, Q &g);
    /// H v (dual). Call needs no value() or gradient() before.
    void
    hessian(const Q &q, const Q &v, const bool gauss_newton, Q &Hv);
    /// v -> R v (dual), the positive (Gauss-Newton) Hessian at q of the terms
    /// that do not see the state; empty without such terms. No solves.
    std::function<void(const Q &v, Q &Rv)>
    field_hessian(const Q &q) const;

    /// Weighted contribution of each term at the last point; they sum to the
    /// value.
    const std::vector<double> &
    parts() const
    {
      return current.parts;
    }
    /// dJ/dfields at the last point after gradient(): entries of owned cells.
    const FieldDuals &
    field_gradient() const
    {
      return *current.duals;
    }
    /// The part of it that does not go through the state.
    const FieldDuals &
    direct_field_gradient() const
    {
      return *current.direct_duals;
    }
    const Fields &
    fields() const
    {
      return current.fields;
    }
    /// The last point itself.
    const Q &
    point() const
    {
      return current.q;
    }
    /// Adjoint states at the last point.
    const std::vector<Vector> &
    adjoints() const
    {
      return current.adjoints;
    }
    /// Go to q (solve if it is not one of the two last points).
    void
    evaluate(const Q &q);

    /// Everything a restart needs to continue exactly: this rank's part of the
    /// last two points.
    std::vector<double>
    checkpoint() const;
    void
    restore(const std::vector<double> &data);

    StateProblem<dim>           &problem;
    const Parameterization<dim> &parameterization;

  private:
    struct Point
    {
      Q    q;
      bool valid        = false;
      bool has_gradient = false;
      /// The gradient was computed before a restart: deriving it again is no
      /// work the run had to do.
      bool                        rederive = false;
      Fields                      fields;
      std::vector<Vector>         states, adjoints;
      std::vector<double>         parts;
      double                      value = 0;
      std::shared_ptr<FieldDuals> duals, direct_duals;
    };
    bool
    same(const Q &a, const Q &b) const;
    /// The fixed fields and those of the current point.
    Fields
    all_fields() const;
    void
    measure();
    void
    differentiate();

    const std::vector<WeightedTerm<dim>> &terms;
    const Fields                         &fixed_fields;
    const MPI_Comm                        comm;
    Point                                 current, previous;
  };
} // namespace Palpate

#endif
