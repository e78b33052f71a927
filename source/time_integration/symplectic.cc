#include <palpate/core/errors.h>
#include <palpate/time_integration/integrator.h>

#include <cmath>
#include <cstdio>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /**
     * What the explicit integrators share: substeps with a lumped mass, made of
     * kicks v <- c (v + h M^-1 f(x)) and drifts x <- x + h v of the free DoFs;
     * constrained ones follow what is prescribed.
     */
    template <int dim>
    class Explicit : public Integrator<dim>
    {
    public:
      static void
      declare_parameters(ParameterHandler &)
      {}

      bool
      is_explicit() const override
      {
        return true;
      }

      void
      start(MovingBody<dim>      &moving,
            const TimeParameters &parameters,
            const State          &initial) override
      {
        body     = &moving;
        times    = &parameters;
        substeps = parameters.substeps;
        h        = parameters.step / substeps;
        damping  = damping_of(parameters);
        mass     = body->inertia.mass.diagonal(body->mass_field());
        f        = body->discretization.make_vector();
        f_of.reset();
        this->lost = this->chatter = 0;

        const double limit = stable_step(*body, initial, mode);
        this->note =
          "substep " + text(h) + " s, stable up to about " + text(limit) + " s";
        if (h > limit)
          throw EntryError("Time/Substeps",
                           "the substep of " + text(h) +
                             " s is not stable, expected at most " +
                             text(limit) + " s, which takes " +
                             std::to_string(static_cast<long>(
                               std::ceil(parameters.step / (0.9 * limit)))) +
                             " substeps");
      }

      std::shared_ptr<const State>
      step(const History &past) override
      {
        auto state = std::make_shared<State>();
        copy_state(*past[0], *state);
        if (f_of != past[0])
          find_force(*state);
        const double start = state->time;
        for (unsigned int i = 0; i < substeps; ++i)
          {
            substep(*state, [](const State &, const Vector &) {});
            state->time = start + (i + 1) * h;
          }
        state->time = times->after(start);
        if (!std::isfinite(state->v.l2_norm()))
          throw SolverError("the motion became infinite: the step is not "
                            "stable, try more Time/Substeps");
        state->v.update_ghost_values();
        this->watch_chatter(*body, *state, mass, h / kicks_per_substep());
        f_of = state;
        return state;
      }

      void
      reverse(const History &past,
              const State &,
              std::deque<StateDual> &duals,
              FieldDuals            &g) override
      {
        // The substeps once more, keeping what every kick starts from.
        State state;
        copy_state(*past[0], state);
        f_of.reset();
        find_force(state);
        kicks.resize(substeps * kicks_per_substep());
        const bool by_more = g.has(body->inertia.mass.field_name) ||
                             g.has("damping_rate") || g.has("damping_factor") ||
                             body->equilibrium.depends_on_velocity();
        std::size_t  kick  = 0;
        const double start = state.time;
        for (unsigned int i = 0; i < substeps; ++i)
          {
            substep(state, [&](const State &s, const Vector &force) {
              Kick &k = kicks[kick++];
              if (k.u.size() == 0)
                k.u = k.v = k.f = body->discretization.make_vector();
              copy(s.u, k.u);
              if (by_more)
                {
                  copy(s.v, k.v);
                  k.f = force;
                }
              k.time = s.time;
            });
            state.time = start + (i + 1) * h;
          }
        Vector u_bar = duals[0].u, v_bar = duals[0].v;
        for (Vector *bar : {&u_bar, &v_bar})
          for (unsigned int i = 0; i < bar->locally_owned_size(); ++i)
            if (body->constrained[i])
              bar->local_element(i) = 0;
        reverse_substeps(u_bar, v_bar, g);
        duals[1].u += u_bar;
        duals[1].v += v_bar;
      }

      unsigned int
      n_reverse_vectors(const TimeParameters &parameters) const override
      {
        return 3 * parameters.substeps * kicks_per_substep();
      }


    protected:
      /// Velocities fall to exp(-rate t) of_substep^n in n substeps of time t.
      struct Damping
      {
        double rate = 0, of_substep = 1;
        /// @param time [s]. @param share of a substep
        double
        factor(const double time, const double share) const
        {
          return std::exp(-rate * time) * std::pow(of_substep, share);
        }
      };

      using Record = std::function<void(const State &, const Vector &f)>;

      /// Move on; @p f is the force of the state before and after. @param
      /// record is told of every kick what it starts from
      virtual void
      substep(State &state, const Record &record) = 0;
      virtual unsigned int
      kicks_per_substep() const = 0;
      /// The adjoint of all substeps of @p kicks.
      virtual void
      reverse_substeps(Vector &u_bar, Vector &v_bar, FieldDuals &g) = 0;

      /// What the fields say, else the parameters.
      Damping
      damping_of(const TimeParameters &parameters) const
      {
        const auto field = [&](const char *name, const double otherwise) {
          return body->fields.has(name) ? body->fields[name][0] : otherwise;
        };
        return {field("damping_rate", parameters.damping_rate),
                field("damping_factor", parameters.damping_factor)};
      }

      /// f of a state whose velocity has no ghosts yet.
      void
      find_force(State &state)
      {
        if (body->equilibrium.depends_on_velocity())
          state.v.update_ghost_values();
        power = body->force(state, f);
      }

      /// v <- factor (v + dt M^-1 f) on free DoFs.
      void
      push(State &state, const double dt, const double factor)
      {
        const bool damped = factor < 1;
        this->lost += dt * power;
        for (unsigned int i = 0; i < f.locally_owned_size(); ++i)
          {
            if (body->constrained[i])
              continue;
            double      &v = state.v.local_element(i);
            const double next =
              v + dt * f.local_element(i) / mass.local_element(i);
            v = factor * next;
            if (damped)
              this->lost += 0.5 * mass.local_element(i) * (next * next - v * v);
          }
      }

      /// x <- x + h v, to the time after; constrained DoFs follow what is
      /// prescribed.
      void
      drift(State &state)
      {
        const unsigned int n = body->discretization.n_nodes() * dim;
        before.resize(n);
        for (unsigned int i = 0; i < n; ++i)
          before[i] = state.u.local_element(i);
        state.v.update_ghost_values();
        for (unsigned int i = 0; i < n; ++i)
          state.u.local_element(i) += h * state.v.local_element(i);
        state.time += h; // forces may know the time
        body->prescribe(state.time, state.u);
        for (unsigned int i = 0; i < n; ++i)
          if (body->constrained[i])
            state.v.local_element(i) =
              (state.u.local_element(i) - before[i]) / h;
      }

      /// What a kick starts from.
      struct Kick
      {
        Vector u, v, f;
        double time = 0;
      };

      /**
       * The adjoint of push() of @p kick: v_bar becomes that before it, and
       * w += dt M^-1 (that before the force), by which reverse_force() goes
       * on. Constrained entries of v_bar are 0 and stay so.
       */
      void
      reverse_push(const Kick  &kick,
                   const double dt,
                   const double share, ///< of the substep, in the damping
                   Vector      &v_bar,
                   Vector      &w,
                   FieldDuals  &g) const
      {
        const double factor = damping.factor(share * h, share);
        const bool   with_damping =
          g.has("damping_rate") || g.has("damping_factor");
        double by_factor = 0;
        for (unsigned int i = 0; i < v_bar.locally_owned_size(); ++i)
          {
            double      &bar = v_bar.local_element(i);
            const double m   = mass.local_element(i);
            if (with_damping)
              by_factor += bar * (kick.v.local_element(i) +
                                  dt * kick.f.local_element(i) / m);
            bar *= factor;
            w.local_element(i) += dt * bar / m;
          }
        if (g.has("damping_rate"))
          g["damping_rate"][0] -= share * h * factor * by_factor;
        if (g.has("damping_factor"))
          g["damping_factor"][0] +=
            share * factor / damping.of_substep * by_factor;
      }

      /// u_bar += (df/du)^T w, v_bar += (df/dv)^T w and
      /// g += (df/dfields - dM/dfields M^-1 f)^T w at the place of a kick; w
      /// becomes 0.
      void
      reverse_force(const Kick &kick,
                    Vector     &w,
                    Vector     &u_bar,
                    Vector     &v_bar,
                    FieldDuals &g)
      {
        w *= -1;
        w.update_ghost_values();
        copy(kick.u, here.u);
        here.time = kick.time;
        u_bar.zero_out_ghost_values();
        v_bar.zero_out_ghost_values();
        if (body->equilibrium.depends_on_velocity())
          copy(kick.v, here.v);
        const auto c = body->context(here);
        for (const auto &force : body->equilibrium.forces)
          if (force.get() != &body->inertia)
            {
              force->vjp(c, w, u_bar, g);
              force->velocity_vjp(c, w, v_bar);
            }
        for (unsigned int i = 0; i < u_bar.locally_owned_size(); ++i)
          if (body->constrained[i])
            u_bar.local_element(i) = v_bar.local_element(i) = 0;
        if (g.has(body->inertia.mass.field_name))
          {
            Vector a = ghosted_copy(kick.f);
            for (unsigned int i = 0; i < a.locally_owned_size(); ++i)
              a.local_element(i) /= mass.local_element(i);
            a.update_ghost_values();
            body->inertia.mass.vjp(w, a, g[body->inertia.mass.field_name]);
          }
        w.zero_out_ghost_values();
        w = 0;
      }

      /// With ghosts, into the same storage.
      static void
      copy(const Vector &from, Vector &to)
      {
        if (to.size() == 0)
          to.reinit(from, true);
        for (unsigned int i = 0;
             i < from.locally_owned_size() +
                   from.get_partitioner()->n_ghost_indices();
             ++i)
          to.local_element(i) = from.local_element(i);
        to.set_ghost_state(true);
      }

      static std::string
      text(const double x)
      {
        char buffer[32];
        std::snprintf(buffer, sizeof(buffer), "%.3g", x);
        return buffer;
      }

      MovingBody<dim>             *body     = nullptr;
      const TimeParameters        *times    = nullptr;
      unsigned int                 substeps = 1;
      double                       h        = 0;
      Damping                      damping;
      double                       power = 0; ///< lost to f, this rank's [W]
      Vector                       mass, f, mode;
      std::shared_ptr<const State> f_of; ///< f is the force of this state
      std::vector<Kick>            kicks;

    private:
      State               here;
      std::vector<double> before;
    };

    /// v+ = c (v + h M^-1 f(x)), x+ = x + h v+, c = exp(-rate h) or given
    /// (doc/theory.md 10).
    template <int dim>
    class SymplecticEuler : public Explicit<dim>
    {
      using typename Explicit<dim>::Record;

      void
      substep(State &state, const Record &record) override
      {
        record(state, this->f);
        this->push(state, this->h, this->damping.factor(this->h, 1));
        this->drift(state);
        this->find_force(state);
      }

      unsigned int
      kicks_per_substep() const override
      {
        return 1;
      }

      void
      reverse_substeps(Vector &u_bar, Vector &v_bar, FieldDuals &g) override
      {
        Vector w = this->body->discretization.make_vector();
        for (unsigned int i = this->substeps; i-- > 0;)
          {
            const auto &kick = this->kicks[i];
            v_bar.add(this->h, u_bar);
            this->reverse_push(kick, this->h, 1, v_bar, w, g);
            this->reverse_force(kick, w, u_bar, v_bar, g);
          }
      }
    };

    /// Velocity Verlet: half a kick, a drift, half a kick; half of the damping
    /// in each kick. Each kick takes a force of the velocity before it, so that
    /// with such forces the order is one.
    template <int dim>
    class VelocityVerlet : public Explicit<dim>
    {
      using typename Explicit<dim>::Record;

      void
      substep(State &state, const Record &record) override
      {
        const double c = this->damping.factor(0.5 * this->h, 0.5);
        if (this->body->equilibrium.depends_on_velocity())
          this->find_force(state); // the last kick changed it
        record(state, this->f);
        this->push(state, 0.5 * this->h, c);
        this->drift(state);
        this->find_force(state);
        record(state, this->f);
        this->push(state, 0.5 * this->h, c);
      }

      unsigned int
      kicks_per_substep() const override
      {
        return 2;
      }

      void
      reverse_substeps(Vector &u_bar, Vector &v_bar, FieldDuals &g) override
      {
        Vector       w    = this->body->discretization.make_vector();
        const double half = 0.5 * this->h;
        for (unsigned int i = this->substeps; i-- > 0;)
          {
            const auto &first = this->kicks[2 * i],
                       &last  = this->kicks[2 * i + 1];
            // At the place between two substeps two kicks meet: w has both,
            // unless their velocities matter.
            this->reverse_push(last, half, 0.5, v_bar, w, g);
            this->reverse_force(last, w, u_bar, v_bar, g);
            v_bar.add(this->h, u_bar);
            this->reverse_push(first, half, 0.5, v_bar, w, g);
            if (i == 0 || this->body->equilibrium.depends_on_velocity())
              this->reverse_force(first, w, u_bar, v_bar, g);
          }
      }
    };

    const char *euler_description =
      "explicit, first order, keeps energy bounded";
    const char *verlet_description =
      "explicit, second order, keeps energy bounded";
    const Registry<Integrator<2>>::Entry<SymplecticEuler<2>>
      symplectic_euler_2d("symplectic euler", euler_description);
    const Registry<Integrator<3>>::Entry<SymplecticEuler<3>>
      symplectic_euler_3d("symplectic euler", euler_description);
    const Registry<Integrator<2>>::Entry<VelocityVerlet<2>>
      velocity_verlet_2d("velocity verlet", verlet_description);
    const Registry<Integrator<3>>::Entry<VelocityVerlet<3>>
      velocity_verlet_3d("velocity verlet", verlet_description);
  } // namespace
} // namespace Palpate
