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
    std::vector<double> share     = {};
    double              power     = 1;
    bool                is_factor = false; ///< of the sum of the others

    /// What snapshot s of S counts, for terms that see the state.
    double
    share_of(const unsigned int s, const unsigned int S) const
    {
      return share.empty() ? 1. / S : share[s];
    }
  };

  /**
   * The outer function of the terms A_i, each a mean over snapshots or times:
   * J = (sum of w_i A_i^p_i over the summands) times (product of w_i A_i^p_i
   * over the factors); no summands count as 1 (doc/theory.md 12).
   */
  template <int dim>
  class OuterFunction
  {
  public:
    explicit OuterFunction(const std::vector<WeightedTerm<dim>> &terms);

    /// w_i A_i^p_i, 0 for terms of weight 0. @throw SolverError where the power
    /// has no value or no derivative
    std::vector<double>
    parts(const std::vector<double> &A) const;
    /// J by its parts.
    double
    value(const std::vector<double> &parts) const;
    /// dJ/dA_i
    std::vector<double>
    gradient(const std::vector<double> &A) const;
    /// (d2J/dA2) dA
    std::vector<double>
    hessian(const std::vector<double> &A, const std::vector<double> &dA) const;
    /// Just a weighted sum.
    bool
    is_linear() const;

  private:
    /// Derivatives of a part, 1 or 2.
    double
    slope(const unsigned int i, const double A) const;
    double
    bend(const unsigned int i, const double A) const;

    const std::vector<WeightedTerm<dim>> &terms;
  };

  /**
   * J(q) = f(A_1, A_2, ...), f the outer function (by default a weighted sum)
   * of the means over snapshots A_i of J_i(u_s(q), fields(q)), with exact
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
    /// @param gauss_newton positive: of the outer function the slopes above 0
    void
    hessian(const Q &q, const Q &v, const bool gauss_newton, Q &Hv);
    /**
     * The terms that do not see the state, at any q and without solves: the
     * sum of slope_i A_i over those with a positive slope, its gradient (dual)
     * and a positive approximation of its Hessian (v -> R v, dual).
     * @param slopes of the outer function, one per term
     */
    double
    direct_value(const Q &q, const std::vector<double> &slopes) const;
    void
    direct_gradient(const Q &q, const std::vector<double> &slopes, Q &g) const;
    std::function<void(const Q &v, Q &Rv)>
    direct_hessian(const Q &q, const std::vector<double> &slopes) const;
    bool
    has_direct_terms() const;
    /// Whether term i counts and does not see the state.
    bool
    is_direct(const unsigned int i) const;

    /// Weighted contribution of each term at the last point: OuterFunction
    /// makes the value of them, by default their sum.
    const std::vector<double> &
    parts() const
    {
      return current.parts;
    }
    /// The terms' means A_i there.
    const std::vector<double> &
    means() const
    {
      return current.means;
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
    const OuterFunction<dim>     outer;

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
      std::vector<double>         means, parts; ///< A_i, w_i A_i^p_i
      double                      value = 0;
      std::shared_ptr<FieldDuals> duals, direct_duals;
    };
    bool
    same(const Q &a, const Q &b) const;
    /// For terms that do not see the state.
    Context<dim>
    stateless(const Fields &fields) const;
    /// The fixed fields and those of the current point.
    Fields
    all_fields() const;
    void
    measure();
    void
    differentiate();
    /// dA_i along a change of the states and fields.
    std::vector<double>
    changes_of_means(const std::vector<Vector> &du,
                     const Fields              &dfields) const;

    const std::vector<WeightedTerm<dim>> &terms;
    const Fields                         &fixed_fields;
    const MPI_Comm                        comm;
    Point                                 current, previous;
  };
} // namespace Palpate

#endif
