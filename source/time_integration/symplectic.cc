#include <palpate/core/errors.h>
#include <palpate/time_integration/integrator.h>

#include <cmath>
#include <cstdio>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// What the explicit integrators share: substeps with a lumped mass.
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
        substeps = parameters.substeps;
        h        = parameters.step / substeps;
        rate     = parameters.damping_rate;
        mass     = body->inertia.mass.diagonal(body->fields["density"]);
        f        = body->discretization.make_vector();
        lost     = 0;

        const double limit = stable_step(*body, initial);
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

      void
      step(State &state) override
      {
        const double start = state.time;
        for (unsigned int i = 0; i < substeps; ++i)
          {
            substep(state);
            state.time = start + (i + 1) * h;
          }
        if (!std::isfinite(state.v.l2_norm()))
          throw SolverError("the motion became infinite: the step is not "
                            "stable, try more Time/Substeps");
      }

      double
      dissipated() const override
      {
        return body->discretization.sum(lost);
      }

    protected:
      virtual void
      substep(State &state) = 0;

      /// v <- factor (v + dt M^-1 f) on free DoFs.
      void
      push(State &state, const double dt, const double factor)
      {
        const bool damped = factor < 1;
        for (unsigned int i = 0; i < f.locally_owned_size(); ++i)
          {
            if (body->constrained[i])
              continue;
            double      &v = state.v.local_element(i);
            const double next =
              v + dt * f.local_element(i) / mass.local_element(i);
            v = factor * next;
            if (damped)
              lost += 0.5 * mass.local_element(i) * (next * next - v * v);
          }
      }

      /// x <- x + h v; constrained DoFs follow what is prescribed.
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
        body->prescribe(state.time + h, state.u);
        for (unsigned int i = 0; i < n; ++i)
          if (body->constrained[i])
            state.v.local_element(i) =
              (state.u.local_element(i) - before[i]) / h;
      }

      static std::string
      text(const double x)
      {
        char buffer[32];
        std::snprintf(buffer, sizeof(buffer), "%.3g", x);
        return buffer;
      }

      MovingBody<dim>    *body     = nullptr;
      unsigned int        substeps = 1;
      double              h = 0, rate = 0;
      double              lost = 0; ///< by damping, this rank's part [J]
      Vector              mass, f;
      std::vector<double> before;
    };

    /// v+ = c (v + h M^-1 f(x)), x+ = x + h v+, c = exp(-rate h) (doc/theory.md
    /// 10).
    template <int dim>
    class SymplecticEuler : public Explicit<dim>
    {
      void
      substep(State &state) override
      {
        this->body->force(state, this->f);
        this->push(state, this->h, std::exp(-this->rate * this->h));
        this->drift(state);
      }
    };

    /// Velocity Verlet: half a kick, a drift, half a kick; half of the damping
    /// in each kick.
    template <int dim>
    class VelocityVerlet : public Explicit<dim>
    {
    public:
      void
      start(MovingBody<dim>      &body,
            const TimeParameters &parameters,
            const State          &initial) override
      {
        Explicit<dim>::start(body, parameters, initial);
        body.force(initial, this->f);
      }

    private:
      void
      substep(State &state) override
      {
        const double c = std::exp(-0.5 * this->rate * this->h);
        this->push(state, 0.5 * this->h, c);
        this->drift(state);
        this->body->force(state, this->f);
        this->push(state, 0.5 * this->h, c);
      }
    };

    const char *euler  = "explicit, first order, keeps energy bounded";
    const char *verlet = "explicit, second order, keeps energy bounded";
    const Registry<Integrator<2>>::Entry<SymplecticEuler<2>>
      s2("symplectic euler", euler);
    const Registry<Integrator<3>>::Entry<SymplecticEuler<3>>
      s3("symplectic euler", euler);
    const Registry<Integrator<2>>::Entry<VelocityVerlet<2>>
      v2("velocity verlet", verlet);
    const Registry<Integrator<3>>::Entry<VelocityVerlet<3>>
      v3("velocity verlet", verlet);
  } // namespace
} // namespace Palpate
