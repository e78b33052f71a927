#ifndef palpate_time_integration_trajectory_h
#define palpate_time_integration_trajectory_h

#include <palpate/time_integration/checkpoints.h>
#include <palpate/time_integration/energy_watch.h>
#include <palpate/time_integration/integrator.h>

#include <map>

namespace Palpate
{
  /**
   * A motion as the inverse layer sees it: its snapshots are the states at
   * given steps, and gradients go back through all steps (doc/theory.md 9, 10,
   * 12). There are no second derivatives.
   */
  template <int dim>
  class Trajectory : public StateProblem<dim>
  {
  public:
    /**
     * @param body,parameters,snapshots kept by reference
     * @param steps of the snapshots, increasing
     * @param with_gradients false: nothing is kept for them
     * @throw EntryError if the memory limit is too small
     */
    Trajectory(MovingBody<dim>                  &body,
               const TimeParameters             &parameters,
               const std::vector<Snapshot<dim>> &snapshots,
               const std::vector<unsigned int>  &steps,
               const bool                        with_gradients = true);

    unsigned int
    n_snapshots() const override
    {
      return snapshots.size();
    }
    void
    solve(const Fields &fields) override;
    Context<dim>
    context(const unsigned int s) const override
    {
      return {body.discretization,
              states_at[s],
              body.fields,
              snapshots[s],
              body.constrained};
    }
    void
    add_gradient(const std::vector<Vector> &rhs,
                 std::vector<Vector>       &lambda,
                 FieldDuals                &g) override;
    /**
     * Some states along the motion, at each of which M a + h(u, v) = 0 gives
     * the acceleration a (lumped masses do: scaling all masses of a part of the
     * body changes M a in the same way). Runs the motion if restore() left it
     * out; that counts as no solve.
     */
    unsigned int
    n_balances() override;
    /// Nothing: a is what balances.
    void
    add_balance(const unsigned int, Vector &) const override
    {}
    void
    add_balance_jvp(const unsigned int i,
                    const Fields      &direction,
                    Vector            &dh) const override;
    double
    negligible_force(const unsigned int i) const override
    {
      return body.equilibrium.negligible_force(body.context(*samples[i]));
    }
    void
    restore(const Fields &fields, const std::vector<Vector> &states) override;
    std::vector<Vector>
    states() const override;
    void
    set_states(const std::vector<Vector> &states) override;
    void
    set_tolerance(const double relative_tolerance) override
    {
      body.equilibrium.set_tolerance(relative_tolerance);
    }
    bool
    has_second_derivatives() const override
    {
      return false;
    }

    /// What a run keeps, for the log.
    std::string
    description() const;
    /// The integrator's note of the last run.
    const std::string &
    note() const
    {
      return integrator->note;
    }

    /// Go the way of the last solve() or restore() once more, looking at its
    /// energy; no solve is counted. Collective. @throw SolverError
    void
    watch();
    /// What watch() saw.
    const EnergyWatch &
    energy() const
    {
      return energies;
    }
    /// Integrator::chatter of the last run.
    double
    chatter() const
    {
      return integrator->chatter;
    }

    const CheckpointPlan plan;

  private:
    static CheckpointPlan
    make_plan(const MovingBody<dim> &body,
              const TimeParameters  &parameters,
              const bool             with_gradients);
    /// Those of the implicit steps.
    void
    count_solves();
    /// Of assembly and set-up in the implicit steps not counted yet.
    double
    seconds_of_matrices() const;

    MovingBody<dim>                  &body;
    const TimeParameters             &parameters;
    const std::vector<Snapshot<dim>> &snapshots;
    const std::vector<unsigned int>   steps;
    std::unique_ptr<Integrator<dim>>  integrator;
    std::vector<State>                states_at; ///< of the snapshots
    /// Histories before steps, and the last state; empty without a run.
    std::map<unsigned int, History> kept;
    std::shared_ptr<const State>    last;
    /// A few states of the last run, for n_balances().
    std::vector<std::shared_ptr<const State>> samples;
    bool                                      started = false;
    const bool                                keeps_states;
    bool                                      watches = false;
    EnergyWatch                               energies;
    SolveCounts                               counted; ///< of the steps, so far
  };
} // namespace Palpate

#endif
