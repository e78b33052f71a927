#ifndef palpate_time_integration_integrator_h
#define palpate_time_integration_integrator_h

#include <palpate/equilibrium/static_equilibrium.h>
#include <palpate/forces/inertia.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>

namespace Palpate
{
  struct TimeParameters
  {
    std::string  integrator = "bdf2";
    double       step = 0, end = 0; ///< [s]
    unsigned int substeps         = 1;
    unsigned int output_every     = 1;     ///< steps
    bool         automatic_output = false; ///< that follows from the others
    bool         is_explicit = false, lumped = false;
    bool         uses_equilibrium = true; ///< see Integrator
    double       damping_rate     = 0;    ///< [1/s]
    double       damping_factor   = 1;    ///< of a substep, beside no rate
    /// imex
    unsigned int local_global_iterations = 0; ///< 0: to the tolerance
    bool         newton_finish           = true;
    double       step_tolerance          = 1e-14;
    std::string  checkpoints             = "automatic";
    double       memory_limit = 4; ///< for checkpoints [GB], all ranks

    static void
    declare_parameters(dealii::ParameterHandler &prm);
    /// @param with_adjoint read what only gradients need
    void
    parse_parameters(Parameters &parameters, const bool with_adjoint);
    unsigned int
    n_steps() const;
    /// The time one step after another, without gathering rounding errors.
    double
    after(const double time) const
    {
      return (std::round(time / step) + 1) * step;
    }
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
    const Field &
    mass_field() const
    {
      return fields[inertia.mass.field_name];
    }
    /// f = -h of all forces but the inertia (and one more), 0 on constrained
    /// DoFs; the state is ghosted. Collective.
    /// @return what forces that depend on the velocity take out, on this
    /// rank's nodes [W]
    double
    force(const State      &state,
          Vector           &f,
          const Force<dim> *without = nullptr) const;

    /// Do something with every force; where one fails on some rank, all fail.
    /// Those without a matrix communicate, and come when the others are done.
    /// Collective. @throw SolverError
    void
    for_each_force(const std::function<void(const Force<dim> &)> &f) const;

    /// What each force of the equilibrium is called.
    std::vector<std::string> names = {};

    /// [J]
    struct Energy
    {
      double kinetic = 0, elastic = 0;
      /// Potentials of the loads by name, in the order of the forces.
      std::vector<std::pair<std::string, double>> loads;
      double
      total() const
      {
        double sum = kinetic + elastic;
        for (const auto &load : loads)
          sum += load.second;
        return sum;
      }
      /// For EnergyWatch.
      std::vector<double>
      list() const
      {
        std::vector<double> all = {kinetic, elastic};
        for (const auto &load : loads)
          all.push_back(load.second);
        return all;
      }
    };
    /// Collective. @throw SolverError
    Energy
    energy(const State &state) const;

    /// At time 0: the fields "initial_displacement" and "initial_velocity"
    /// (zero without them); constrained nodes have what is prescribed.
    /// @param dt a time that is short for the motion [s]
    std::shared_ptr<const State>
    initial_state(const double dt) const;
  };

  /// The states that a step starts from, newest first. They are shared, not
  /// copied, by what remembers them.
  using History = std::deque<std::shared_ptr<const State>>;

  /// Derivative of an objective by a state; owned entries.
  struct StateDual
  {
    Vector u, v;
  };

  /**
   * One way to step in time (doc/theory.md 9, 10), and to take a step's
   * derivative back. A step is a function of the history it gets and of the
   * fields, bit by bit: steps can be repeated. Registered: a new one is one
   * file. All is collective.
   */
  template <int dim>
  class Integrator
  {
  public:
    virtual ~Integrator() = default;

    /// Take the body (kept by reference) with its fields, and the initial
    /// state. @throw InputError if the step is too long to be stable.
    virtual void
    start(MovingBody<dim>      &body,
          const TimeParameters &parameters,
          const State          &initial) = 0;

    /// How many states a step looks back at, where there are that many.
    virtual unsigned int
    n_past() const
    {
      return 1;
    }

    /// The state one time step after past[0]. @throw SolverError
    virtual std::shared_ptr<const State>
    step(const History &past) = 0;

    /// Go on by a step: @p past gets its state, and loses what no step looks
    /// back at any more.
    void
    advance(History &past)
    {
      past.push_front(step(past));
      if (past.size() > n_past())
        past.pop_back();
    }

    /**
     * The adjoint of step(): from the derivative duals[0] by @p next, which
     * step() made of @p past, add to duals[j] the derivative by past[j - 1]
     * and to @p g that by the fields.
     */
    virtual void
    reverse(const History         &past,
            const State           &next,
            std::deque<StateDual> &duals,
            FieldDuals            &g) = 0;

    /// Nodal vectors that reverse() keeps for itself, for the memory plan.
    virtual unsigned int
    n_reverse_vectors(const TimeParameters &) const
    {
      return 0;
    }


    /// Explicit ones need a lumped mass.
    virtual bool
    is_explicit() const = 0;

    /// True if steps are equilibria of all forces, solved with their matrix.
    virtual bool
    uses_equilibrium() const
    {
      return !is_explicit();
    }

    /// What start() found out, for the log.
    std::string note;
    /// Energy taken out by damping and friction since start(), of this rank's
    /// nodes [J].
    double lost = 0;
    /// The longest kick that a friction got since start(), at the ends of steps
    /// and on this rank, by the longest it takes without turning a slow node
    /// around: above 2 it chatters (Force::chatter_rate()).
    double chatter = 0;

  protected:
    /// Take a state, with ghosts, into chatter. @param kick [s]
    void
    watch_chatter(const MovingBody<dim> &body,
                  const State           &state,
                  const Vector          &mass,
                  const double           kick)
    {
      if (!body.equilibrium.depends_on_velocity())
        return;
      const auto context = body.context(state);
      for (const auto &force : body.equilibrium.forces)
        chatter =
          std::max(chatter, kick * force->chatter_rate(context, mass, kick));
    }
  };

  template <>
  std::map<std::string, Registry<Integrator<2>>::Item> &
  Registry<Integrator<2>>::items();
  template <>
  std::map<std::string, Registry<Integrator<3>>::Item> &
  Registry<Integrator<3>>::items();

  /// The longest stable step of symplectic Euler and Verlet at a state [s],
  /// less 2 %: 2/omega, omega the highest frequency of the lumped body (power
  /// iteration), and shorter with damping by strain rates. @param mode start
  /// and end of the iteration; empty: a seed
  template <int dim>
  double
  stable_step(const MovingBody<dim> &body, const State &state, Vector &mode);
} // namespace Palpate

#endif
