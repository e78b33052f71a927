#include <palpate/equilibrium/norm.h>
#include <palpate/equilibrium/together.h>
#include <palpate/time_integration/integrator.h>

#include <cmath>
#include <limits>

namespace Palpate
{
  using namespace dealii;

  template <>
  std::map<std::string, Registry<Integrator<2>>::Item> &
  Registry<Integrator<2>>::items()
  {
    static std::map<std::string, Item> all;
    return all;
  }
  template <>
  std::map<std::string, Registry<Integrator<3>>::Item> &
  Registry<Integrator<3>>::items()
  {
    static std::map<std::string, Item> all;
    return all;
  }

  void
  TimeParameters::declare_parameters(ParameterHandler &prm)
  {
    prm.declare_entry("Integrator",
                      "static",
                      Patterns::Selection(Registry<Integrator<3>>::names() +
                                          "|static"),
                      "static: no motion in time but equilibria. implicit "
                      "euler and bdf2 solve for every step; imex does so for "
                      "the springs of a network alone; the others are "
                      "explicit, with a lumped mass.");
    prm.declare_entry("Step", "0.01", Patterns::Double(), "[s].");
    prm.declare_entry("End", "1", Patterns::Double(), "[s].");
    prm.declare_entry("Substeps",
                      "1",
                      Patterns::Integer(1),
                      "Explicit steps in one step.");
    prm.declare_entry("Steps per output",
                      "0",
                      Patterns::Integer(0),
                      "0: as many as give about 50 outputs.");
    prm.declare_entry("Mass",
                      "default",
                      Patterns::Selection("default|consistent|lumped"),
                      "default: consistent for implicit, lumped for explicit "
                      "integrators.");
    prm.declare_entry("Damping rate",
                      "0",
                      Patterns::Double(0),
                      "Explicit integrators: velocities decay by "
                      "exp(-rate t) [1/s].");
    prm.declare_entry("Damping factor",
                      "1",
                      Patterns::Double(0, 1),
                      "The same as a factor of every substep, 0.99 as "
                      "published, so that the damping depends on the substep; "
                      "in place of Damping rate.");
    prm.declare_entry("Local-global iterations",
                      "0",
                      Patterns::Integer(0),
                      "imex: this many in every step; 0: to Step tolerance. "
                      "Gradients are those of the solved step.");
    prm.declare_entry("Newton finish",
                      "true",
                      Patterns::Bool(),
                      "imex: go on with Newton's method where local-global "
                      "iterations become slow.");
    prm.declare_entry("Step tolerance",
                      "1e-14",
                      Patterns::Double(),
                      "imex: forces that are left in a step, relative to those "
                      "of the springs and of inertia.");
    prm.declare_entry("Checkpoints",
                      "automatic",
                      Patterns::Selection("automatic|all|evenly|binomial"),
                      "States kept for a gradient: of all steps, every k-th "
                      "(each step is computed again once), or binomial; "
                      "automatic: the first that Memory limit allows.");
    prm.declare_entry("Memory limit",
                      "4",
                      Patterns::Double(),
                      "For these states, on all ranks together [GB].");
  }

  void
  TimeParameters::parse_parameters(Parameters &p, const bool with_adjoint)
  {
    integrator = p.get("Integrator");
    step       = p.get_double("Step");
    end        = p.get_double("End");
    if (!(step > 0) || !std::isfinite(step))
      p.fail("Step", "expected a positive time");
    if (!(end >= step) || !(end / step < 1e9))
      p.fail("End", "expected at least one Step and at most 1e9");
    if (std::abs(n_steps() * step - end) > 1e-9 * end)
      p.fail("End", "expected a multiple of Step");
    {
      const auto one   = Registry<Integrator<3>>::create(integrator);
      is_explicit      = one->is_explicit();
      uses_equilibrium = one->uses_equilibrium();
    }
    output_every     = p.get_integer("Steps per output");
    automatic_output = (output_every == 0);
    if (automatic_output)
      output_every = std::max(1u, n_steps() / 50);
    const std::string mass = p.get("Mass");
    lumped                 = (mass == "lumped" || !uses_equilibrium);
    if (!uses_equilibrium && mass == "consistent")
      p.fail("Mass", "expected lumped, which " + integrator + " needs");
    if (is_explicit)
      {
        substeps       = p.get_integer("Substeps");
        damping_rate   = p.get_double("Damping rate");
        damping_factor = p.get_double("Damping factor");
        if (!(damping_factor > 0))
          p.fail("Damping factor", "expected a value above 0, at most 1");
        if (damping_factor < 1 && damping_rate > 0)
          p.fail("Damping factor", "expected 1 beside a Damping rate");
      }
    else if (!uses_equilibrium)
      {
        local_global_iterations = p.get_integer("Local-global iterations");
        if (local_global_iterations == 0)
          {
            newton_finish  = p.get_bool("Newton finish");
            step_tolerance = p.get_double("Step tolerance");
            if (!(step_tolerance > 0 && step_tolerance < 1))
              p.fail("Step tolerance", "expected a value between 0 and 1");
          }
      }
    if (with_adjoint)
      {
        checkpoints  = p.get("Checkpoints");
        memory_limit = p.get_double("Memory limit");
        if (!(memory_limit > 0))
          p.fail("Memory limit", "expected a positive size");
      }
  }

  unsigned int
  TimeParameters::n_steps() const
  {
    return static_cast<unsigned int>(std::lround(end / step));
  }

  template <int dim>
  void
  MovingBody<dim>::for_each_force(
    const std::function<void(const Force<dim> &)> &f) const
  {
    together(discretization.comm, [&]() {
      for (const auto &force : equilibrium.forces)
        if (force->has_matrix())
          f(*force);
    });
    for (const auto &force : equilibrium.forces)
      if (!force->has_matrix())
        together(discretization.comm, [&]() { f(*force); });
  }

  template <int dim>
  double
  MovingBody<dim>::force(const State      &state,
                         Vector           &f,
                         const Force<dim> *without) const
  {
    double power = 0;
    f.zero_out_ghost_values();
    f                    = 0;
    const Context<dim> c = context(state);
    for_each_force([&](const Force<dim> &force) {
      if (&force == without)
        return;
      if (force.tangent_depends_on().velocity)
        {
          Vector part = discretization.make_vector();
          force.residual(c, part);
          for (unsigned int i = 0; i < f.locally_owned_size(); ++i)
            {
              f.local_element(i) += part.local_element(i);
              power += part.local_element(i) * state.v.local_element(i);
            }
        }
      else if (&force != &inertia)
        force.residual(c, f);
    });
    for (unsigned int i = 0; i < f.locally_owned_size(); ++i)
      f.local_element(i) = constrained[i] ? 0. : -f.local_element(i);
    return power;
  }

  template <int dim>
  typename MovingBody<dim>::Energy
  MovingBody<dim>::energy(const State &state) const
  {
    Energy result;
    Vector Mv = discretization.make_vector();
    inertia.mass.vmult_add(mass_field(), state.v, Mv);
    for (unsigned int i = 0; i < Mv.locally_owned_size(); ++i)
      result.kinetic += 0.5 * Mv.local_element(i) * state.v.local_element(i);
    const auto counts = [&](const Force<dim> &force) {
      return &force != &inertia && !force.tangent_depends_on().velocity &&
             force.has_potential();
    };
    std::map<const Force<dim> *, double> of_force;
    for_each_force([&](const Force<dim> &force) {
      if (counts(force))
        of_force[&force] = force.energy(context(state));
    });
    for (unsigned int i = 0; i < equilibrium.forces.size(); ++i)
      {
        const auto &force = equilibrium.forces[i];
        if (!counts(*force))
          continue;
        const double e = of_force[force.get()];
        if (force->scales_with_stiffness())
          result.elastic += e;
        else
          result.loads.emplace_back(i < names.size() ? names[i] : "load", e);
      }
    for (double *e : {&result.kinetic, &result.elastic})
      *e = discretization.sum(*e);
    for (auto &load : result.loads)
      load.second = discretization.sum(load.second);
    return result;
  }

  template <int dim>
  std::shared_ptr<const State>
  MovingBody<dim>::initial_state(const double dt) const
  {
    auto       result = std::make_shared<State>();
    State     &state  = *result;
    const auto read   = [&](const char *name, Vector &x) {
      x = discretization.make_vector();
      if (fields.has(name))
        for (unsigned int i = 0; i < fields[name].values.size(); ++i)
          x.local_element(i) = fields[name][i];
      x.set_ghost_state(true);
    };
    read("initial_displacement", state.u);
    read("initial_velocity", state.v);
    Vector later = ghosted_copy(state.u);
    prescribe(0, state.u);
    prescribe(1e-6 * dt, later);
    for (unsigned int i = 0; i < discretization.n_nodes() * dim; ++i)
      if (constrained[i])
        state.v.local_element(i) =
          (later.local_element(i) - state.u.local_element(i)) / (1e-6 * dt);
    return result;
  }

  namespace
  {
    /// Largest eigenvalue of M^-1 A by power iteration from @p x, on free DoFs.
    /// @param apply y += A x
    template <int dim>
    double
    largest_eigenvalue(
      const MovingBody<dim>                                 &body,
      const Vector                                          &m,
      Vector                                                &x,
      const std::function<void(const Vector &x, Vector &y)> &apply)
    {
      const auto &D = body.discretization;
      Vector      y = D.make_vector();
      if (x.size() == 0)
        {
          x = D.make_vector();
          for (unsigned int i = 0; i < x.locally_owned_size(); ++i)
            {
              const auto  &v = D.node_vertices[i / dim];
              const double n = double(v[0]) * dim + i % dim + 0.37 * v[1];
              x.local_element(i) =
                body.constrained[i] ? 0. : std::sin(12.9898 * (n + 1));
            }
        }
      x.zero_out_ghost_values();
      double rate = 0;
      for (unsigned int it = 0; it < 300; ++it)
        {
          const double size = norm_of(x);
          if (!(size > 0))
            return 0;
          x *= 1 / size;
          x.update_ghost_values();
          y.zero_out_ghost_values();
          y = 0;
          apply(x, y);
          x.zero_out_ghost_values();
          double xAx = 0, xMx = 0;
          for (unsigned int i = 0; i < x.locally_owned_size(); ++i)
            {
              xAx += x.local_element(i) * y.local_element(i);
              xMx +=
                x.local_element(i) * x.local_element(i) * m.local_element(i);
              x.local_element(i) = body.constrained[i]
                                     ? 0.
                                     : y.local_element(i) / m.local_element(i);
            }
          const double before = rate;
          rate                = D.sum(xAx) / D.sum(xMx);
          if (it > 10 && std::abs(rate - before) < 1e-5 * rate)
            break;
        }
      return rate;
    }
  } // namespace

  // A mode of frequency w whose velocity is damped at the rate c = 2 zeta w
  // is stable with symplectic Euler up to w^2 h^2 + 2 c h = 4.
  template <int dim>
  double
  stable_step(const MovingBody<dim> &body, const State &state, Vector &mode)
  {
    const auto   context = body.context(state);
    const Vector m       = body.inertia.mass.diagonal(body.mass_field());
    const double w_2 =
      largest_eigenvalue<dim>(body, m, mode, [&](const Vector &x, Vector &y) {
        body.for_each_force([&](const Force<dim> &force) {
          if (&force != &body.inertia)
            force.apply_tangent(context, x, y);
        });
      });
    double c = 0;
    if (body.equilibrium.depends_on_velocity())
      {
        Vector start;
        c = largest_eigenvalue<dim>(
          body, m, start, [&](const Vector &x, Vector &y) {
            body.for_each_force([&](const Force<dim> &force) {
              if (force.limits_explicit_steps())
                force.velocity_vjp(context, x, y);
            });
          });
      }
    // The iteration finds them from below.
    const double sum = c + std::sqrt(c * c + 4 * w_2);
    return sum > 0 ? 0.98 * 4 / sum : std::numeric_limits<double>::infinity();
  }

  template struct MovingBody<2>;
  template struct MovingBody<3>;
  template double
  stable_step(const MovingBody<2> &, const State &, Vector &);
  template double
  stable_step(const MovingBody<3> &, const State &, Vector &);
} // namespace Palpate
