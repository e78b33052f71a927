#ifndef palpate_equilibrium_static_equilibrium_h
#define palpate_equilibrium_static_equilibrium_h

#include <deal.II/base/conditional_ostream.h>

#include <palpate/equilibrium/force_sum.h>
#include <palpate/equilibrium/linear_solver.h>
#include <palpate/equilibrium/state_problem.h>
#include <palpate/equilibrium/symmetric_factorization.h>
#include <palpate/forces/force.h>

namespace Palpate
{
  struct NewtonParameters
  {
    double       relative_tolerance = 1e-10;
    unsigned int maximum_iterations = 50;
    unsigned int load_steps         = 1;
    Tangent      tangent            = Tangent::consistent; ///< of the steps

    static void
    declare_parameters(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters);
  };

  /**
   * h(u, fields) = 0 on free DoFs, u prescribed on constrained ones, for every
   * snapshot. Where no force's tangent depends on state or frames, one matrix
   * and one set-up serve all snapshots; a linear h is one linear solve, else
   * Newton with backtracking on the energy.
   */
  template <int dim>
  class StaticEquilibrium : public StateProblem<dim>
  {
  public:
    StaticEquilibrium(const Discretization<dim>                 &discretization,
                      const std::vector<char>                   &constrained,
                      const std::vector<Snapshot<dim>>          &snapshots,
                      std::vector<std::unique_ptr<Force<dim>>> &&forces,
                      const SolverParameters           &solver_parameters,
                      const NewtonParameters           &newton_parameters,
                      const dealii::ConditionalOStream &log);

    unsigned int
    n_snapshots() const override
    {
      return snapshots.size();
    }
    void
    solve(const Fields &fields) override;
    /**
     * solve() for the next step of a motion, from the state at hand only, to a
     * residual relative to the forces there: its inertia is that of the whole
     * way gone. @param same_tangent nothing a linear tangent depends on has
     * changed: it is kept with its solver
     */
    void
    solve_step(const Fields &fields, const bool same_tangent);
    /// In the steps that follow v = rate u + offset (ghosted), for forces that
    /// depend on the velocity.
    void
    set_velocity(const double rate, const Vector &offset);
    /// Go to a step that solve_step() found, for its adjoint solve. @param
    /// same_tangent as there
    void
    linearize(const Fields &fields, const Vector &u, const bool same_tangent);
    Context<dim>
    context(const unsigned int s) const override
    {
      return {discretization,
              state[s],
              fields,
              snapshots[s],
              constrained,
              velocity_rate};
    }
    void
    solve_adjoint(const unsigned int s,
                  const Vector      &rhs,
                  Vector            &lambda) override;
    void
    solve_adjoints(const std::vector<Vector> &rhs,
                   std::vector<Vector>       &lambda) override;
    void
    solve_incremental(const unsigned int s,
                      const Vector      &rhs,
                      const bool         transposed,
                      Vector            &x) override;
    void
    add_balance(const unsigned int s, Vector &h) const override;
    double
    negligible_force(const unsigned int s) const override
    {
      return negligible_force(context(s));
    }
    double
    negligible_force(const Context<dim> &context) const
    {
      return std::max(1e-9 * norm_of_forces(context, true),
                      10 * rounding_of_residual(context));
    }
    void
    field_jvp(const unsigned int s,
              const Fields      &direction,
              Vector            &dh) const override;
    void
    field_vjp(const unsigned int s,
              const Vector      &lambda,
              FieldDuals        &g) const override;
    void
    second_vjp(const unsigned int s,
               const Vector      &lambda,
               const Vector      &du,
               const Fields      &dfields,
               Vector            &g_state,
               FieldDuals        &g_fields) const override;
    void
    restore(const Fields &fields, const std::vector<Vector> &states) override;
    std::vector<Vector>
    states() const override;
    void
    set_states(const std::vector<Vector> &states) override;
    void
    set_tolerance(const double relative_tolerance) override
    {
      tolerance = relative_tolerance;
    }

    /**
     * Linear equilibria with one matrix: keep the coarser levels of multigrid
     * from one solve() to the next while conjugate gradients need less than
     * this times the iterations for a decimal that they needed with new levels.
     * 0, as at the start: never.
     */
    void
    set_reuse_limit(const double limit)
    {
      reuse_limit = systems.size() == 1 && is_linear() ? limit : 0.;
    }
    /// The fields the levels were made for, and how well they serve.
    std::vector<double>
    solver_state() const override;
    void
    restore_solver_state(const std::vector<double> &data) override;

    /// |h| over free DoFs of snapshot s [N].
    double
    residual_norm(const unsigned int s) const
    {
      return residual_norms[s];
    }

    /// Relative residuals of the last Newton solve of its last load step.
    const std::vector<double> &
    newton_residuals() const
    {
      return residual_history;
    }
    /// Those of all its load steps.
    const std::vector<std::vector<double>> &
    residuals_of_load_steps() const
    {
      return load_step_residuals;
    }
    /// How often a direct factorization stepped in for adjoint or incremental
    /// solves with a tangent that conjugate gradients cannot solve.
    unsigned int n_direct = 0;
    bool
    assumes_small_strain() const;
    /// True if a force of this body may do no work in some deformation.
    bool
    may_have_zero_energy_modes() const;

    /// The lowest modes of the undeformed body in snapshot s. Collective.
    LowestModes<dim>
    lowest_modes(const Fields      &fields,
                 const unsigned int s,
                 const unsigned int n);

    /// Negative eigenvalues of the tangent at the present state: 0 where the
    /// equilibrium is stable. Collective.
    unsigned long
    n_negative_modes(const unsigned int s);
    bool
    is_linear() const
    {
      return !depends.state;
    }
    bool
    depends_on_velocity() const
    {
      return depends.velocity;
    }
    std::string
    solver_description() const
    {
      return systems[0]->solver.description(symmetric);
    }

    const std::vector<std::unique_ptr<Force<dim>>> forces;

  private:
    /// One matrix with its solver, and what it was assembled for.
    struct System
    {
      System(const Discretization<dim> &discretization,
             const std::vector<char>   &constrained,
             const SolverParameters    &parameters)
        : matrix(discretization, constrained)
        , solver(parameters)
      {}
      TangentMatrix<dim> matrix;
      LinearSolver<dim>  solver;
      bool               current = false; ///< tangent of the present state
      bool               kept    = false; ///< levels of earlier fields
      /// A direct solver, where the other one met an indefinite matrix.
      std::unique_ptr<LinearSolver<dim>> direct;
    };

    System &
    system(const unsigned int s)
    {
      return *systems[systems.size() == 1 ? 0 : s];
    }

    void
    solve_snapshots(const Fields &new_fields, const bool same_tangent);
    /// What a residual is compared with in a motion: the norm of the
    /// forces one by one, not less than the rounding of @p rest, the norm of
    /// all at zero displacement.
    double
    size_in_motion(const Context<dim> &context,
                   const double        rest,
                   const double        tolerance) const;
    /// Norm of the forces one by one, with what holds them on held DoFs or
    /// without it [N]. Collective.
    double
    norm_of_forces(const Context<dim> &context, const bool held) const;
    /// What rounding of the positions makes of the residual: the norm of the
    /// tangent times a vector of that size and of random signs [N].
    double
    rounding_of_residual(const Context<dim> &context) const;
    /// h on free DoFs (0 elsewhere).
    void
    residual(const Context<dim> &context, Vector &h) const;
    /// All forces, with the part of the loads that is in force.
    ForceSum<dim>
    sum() const
    {
      return ForceSum<dim>(forces, load_factor);
    }
    /// The velocity of a displacement, where it matters.
    void
    follow(State &state) const;
    /// @param keep levels of the preconditioner made for other fields serve
    void
    assemble(const unsigned int  s,
             const Context<dim> &context,
             const Tangent       kind,
             const bool          keep = false);
    void
    set_up(System &sys, const bool keep = false);
    /// Assemble @p share times the consistent tangent plus the rest of the
    /// positive one, and set up the solver.
    void
    assemble_blend(const unsigned int  s,
                   const Context<dim> &context,
                   const double        share,
                   const bool          keep);
    void
    clear_constrained(Vector &v) const;
    /// What the tangent at a failed state says, for the error.
    std::string
    buckling(const unsigned int s);
    /// Snapshots that share a matrix.
    void
    solve_linear(const std::vector<unsigned int> &together);
    /// LinearSolver::solve(), again with new levels where kept ones fail.
    unsigned int
    solve_linear_systems(System                            &sys,
                         const std::vector<Vector *>       &x,
                         const std::vector<const Vector *> &b,
                         const std::vector<double>         &tolerances,
                         const bool                         transposed);
    void
    assemble_for_adjoint(const unsigned int s);
    void
    solve_nonlinear(const unsigned int s);
    void
    solve_system(const unsigned int s,
                 const Vector      &rhs,
                 const bool         transposed,
                 Vector            &x);

    const Discretization<dim>        &discretization;
    const std::vector<char>          &constrained;
    const std::vector<Snapshot<dim>> &snapshots;
    const SolverParameters           &solver_parameters;
    SolverParameters                  direct_parameters;
    const NewtonParameters           &newton_parameters;
    const dealii::ConditionalOStream &log;
    Depends                           depends;
    Tangent                           adjoint_tangent = Tangent::consistent;
    double                            tolerance;
    double                            reuse_limit   = 0;
    bool                              in_motion     = false;
    bool                              symmetric     = true;
    double                            velocity_rate = 0;
    Vector                            velocity_offset;
    Fields                            levels_of; ///< fields of the levels
    /// Part of the external forces in force (load steps).
    double                               load_factor = 1;
    Fields                               fields;
    std::vector<State>                   state;
    std::vector<double>                  residual_norms, residual_history;
    std::vector<std::vector<double>>     load_step_residuals;
    std::vector<std::unique_ptr<System>> systems;
  };
} // namespace Palpate

#endif
