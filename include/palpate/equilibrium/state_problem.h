#ifndef palpate_equilibrium_state_problem_h
#define palpate_equilibrium_state_problem_h

#include <palpate/forces/context.h>

#include <cstdlib>

namespace Palpate
{
  /// Work done so far; a solve is one linear or Newton solve of one snapshot.
  struct SolveCounts
  {
    unsigned long forward = 0, adjoint = 0, incremental = 0;
    /// Of linear solves: all, and the part of adjoint solves.
    unsigned long linear_iterations = 0, adjoint_iterations = 0;
    unsigned long newton_iterations = 0, set_ups = 0;
    double        seconds_assembly = 0, seconds_setup = 0, seconds_forward = 0,
           seconds_adjoint = 0, seconds_incremental = 0;
  };

  /**
   * What the inverse layer sees of a simulation: states that depend on fields,
   * and solves with the derivative of the equations they fulfil. Static
   * equilibrium is one, a trajectory another.
   */
  template <int dim>
  class StateProblem
  {
  public:
    virtual ~StateProblem() = default;

    virtual unsigned int
    n_snapshots() const = 0;

    /// Solve all snapshots, starting from the states at hand. Collective.
    virtual void
    solve(const Fields &fields) = 0;

    /// State, fields and snapshot s after solve().
    virtual Context<dim>
    context(const unsigned int s) const = 0;

    /**
     * g -= h_q^T lambda over all snapshots, where lambda fulfils the adjoint
     * equations for dJ/du = rhs (one per snapshot; empty ones are left out):
     * the derivative of J through the states. Collective.
     * @param lambda start and result, where a snapshot has a lambda
     */
    virtual void
    add_gradient(const std::vector<Vector> &rhs,
                 std::vector<Vector>       &lambda,
                 FieldDuals                &g)
    {
      solve_adjoints(rhs, lambda);
      for (unsigned int s = 0; s < rhs.size(); ++s)
        if (rhs[s].size() > 0)
          {
            FieldDuals h = g;
            h.set_zero();
            field_vjp(s, lambda[s], h);
            g.add(-1., h);
          }
    }

    /// False: what follows up to restore() cannot be asked for.
    virtual bool
    has_second_derivatives() const
    {
      return true;
    }

    /// lambda with K^T lambda = rhs on free DoFs and 0 elsewhere, ghosted;
    /// starts from lambda.
    virtual void
    solve_adjoint(const unsigned int, const Vector &, Vector &)
    {
      refuse();
    }

    /// The same for every snapshot; an empty rhs is left out. With one matrix
    /// for all they are solved together.
    virtual void
    solve_adjoints(const std::vector<Vector> &rhs, std::vector<Vector> &lambda)
    {
      for (unsigned int s = 0; s < rhs.size(); ++s)
        if (rhs[s].size() > 0)
          solve_adjoint(s, rhs[s], lambda[s]);
    }

    /// The same with K u' = rhs, and with K^T (counted as incremental).
    virtual void
    solve_incremental(const unsigned int, const Vector &, const bool, Vector &)
    {
      refuse();
    }

    /// dh += h_q direction; g += h_q^T lambda; second derivatives as in Force.
    virtual void
    field_jvp(const unsigned int, const Fields &, Vector &) const
    {
      refuse();
    }
    virtual void
    field_vjp(const unsigned int, const Vector &, FieldDuals &) const
    {
      refuse();
    }
    virtual void
    second_vjp(const unsigned int,
               const Vector &,
               const Vector &,
               const Fields &,
               Vector &,
               FieldDuals &) const
    {
      refuse();
    }

    /**
     * @name The balance of forces at states that were found
     * What the states are determined by: 0 = balance(i) on free DoFs at every
     * one of them, in all rows. At fixed states a change of the fields that
     * leaves all balances at 0 leaves the states as they are.
     * @{
     */
    /// How many there are: snapshots, or some states along a motion.
    /// Collective.
    virtual unsigned int
    n_balances()
    {
      return n_snapshots();
    }
    /// h += the balance [N], as far as it was solved. Collective.
    virtual void
    add_balance(const unsigned int i, Vector &h) const = 0;
    /// dh += its derivative along a direction of the fields (ghosted).
    /// Collective.
    virtual void
    add_balance_jvp(const unsigned int i,
                    const Fields      &direction,
                    Vector            &dh) const
    {
      field_jvp(i, direction, dh);
    }
    /// What counts as no force in a balance: 1e-9 of all forces one by one
    /// (held DoFs, too), or ten times what rounding of positions makes of them
    /// [N]. Collective.
    virtual double
    negligible_force(const unsigned int i) const = 0;
    /// @}

    /// Go back to a solution found earlier.
    virtual void
    restore(const Fields &fields, const std::vector<Vector> &states) = 0;

    /// The states, to keep and to restore (checkpoints, trial points).
    virtual std::vector<Vector>
    states() const = 0;
    virtual void
    set_states(const std::vector<Vector> &states) = 0;

    /// Ask for another relative tolerance than the parameters'.
    virtual void
    set_tolerance(const double relative_tolerance) = 0;

    /// What the next solves depend on besides fields and states (a
    /// preconditioner made for fields before), for checkpoints.
    virtual std::vector<double>
    solver_state() const
    {
      return {};
    }
    virtual void
    restore_solver_state(const std::vector<double> &)
    {}

    SolveCounts counts;

  private:
    [[noreturn]] static void
    refuse()
    {
      AssertThrow(false, dealii::ExcNotImplemented());
      std::abort();
    }
  };
} // namespace Palpate

#endif
