#ifndef palpate_time_integration_integrator_h
#define palpate_time_integration_integrator_h

#include <palpate/equilibrium/static_equilibrium.h>
#include <palpate/forces/inertia.h>

#include <functional>

namespace Palpate
{
  struct TimeParameters
  {
    std::string  integrator = "bdf2";
    double       step = 0, end = 0; ///< [s]
    unsigned int substeps     = 1;
    unsigned int output_every = 1; ///< steps
    bool         is_explicit = false, lumped = false;
    double       damping_rate = 0; ///< [1/s]

    static void
    declare_parameters(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters);
    unsigned int
    n_steps() const;
  };

  /**
   * A body whose motion is computed: the forces of an equilibrium, which has
   * one snapshot, its prescribed values, and this inertia among the forces.
   */
  template <int dim>
  struct MovingBody
  {
    StaticEquilibrium<dim>    &equilibrium;
    InertiaForce<dim>         &inertia;
    const Discretization<dim> &discretization;
    const std::vector<char>   &constrained;
    Snapshot<dim>             &snapshot;
    Fields                     fields;
    /// Set the constrained entries of a ghosted displacement for a time [s].
    std::function<void(const double time, Vector &u)> prescribe;

    Context<dim>
    context(const State &state) const
    {
      return {discretization, state, fields, snapshot, constrained};
    }
    /// f = -h of all forces but the inertia, 0 on constrained DoFs; the state
    /// is ghosted. Collective.
    void
    force(const State &state, Vector &f) const;

    /// [J]
    struct Energy
    {
      double kinetic = 0, elastic = 0, loads = 0;
      double
      total() const
      {
        return kinetic + elastic + loads;
      }
    };
    Energy
    energy(const State &state) const;
  };

  /**
   * One way to step in time (doc/theory.md 9, 10). Registered: a new one is one
   * file. Steps are collective.
   */
  template <int dim>
  class Integrator
  {
  public:
    virtual ~Integrator() = default;

    /// Take the body (kept by reference) and the initial state.
    /// @throw InputError if the step is too long to be stable.
    virtual void
    start(MovingBody<dim>      &body,
          const TimeParameters &parameters,
          const State          &initial) = 0;

    /// Move the state on by one time step. @throw SolverError
    virtual void
    step(State &state) = 0;

    /// Energy taken out by damping since start() [J]. Collective.
    virtual double
    dissipated() const
    {
      return 0;
    }

    /// Explicit ones need a lumped mass.
    virtual bool
    is_explicit() const = 0;

    /// What start() found out, for the log.
    std::string note;
  };

  template <>
  std::map<std::string, Registry<Integrator<2>>::Item> &
  Registry<Integrator<2>>::items();
  template <>
  std::map<std::string, Registry<Integrator<3>>::Item> &
  Registry<Integrator<3>>::items();

  /// The longest stable step 2/omega of symplectic Euler and Verlet at a state
  /// [s], omega the highest frequency of the lumped body (power iteration),
  /// less 2 %.
  template <int dim>
  double
  stable_step(const MovingBody<dim> &body, const State &state);
} // namespace Palpate

#endif
