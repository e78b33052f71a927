#include <palpate/core/errors.h>
#include <palpate/time_integration/integrator.h>

#include <deque>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /**
     * BDF of order 1 or 2 (doc/theory.md 9), the first step of order 1:
     * u^i + sum_j a_j u^(i-j) = b dt v^i, M (v^i + sum_j a_j v^(i-j)) = b dt
     * f(u^i). Without v^i this is an equilibrium of f and of
     * M (c u^i - w), c = 1/(b dt)^2, w = -c sum_j a_j (u + b dt v)^(i-j).
     */
    template <int dim, unsigned int order>
    class Bdf : public Integrator<dim>
    {
    public:
      static void
      declare_parameters(ParameterHandler &)
      {}

      bool
      is_explicit() const override
      {
        return false;
      }

      void
      start(MovingBody<dim>      &moving,
            const TimeParameters &parameters,
            const State          &initial) override
      {
        body    = &moving;
        dt      = parameters.step;
        stepped = false;
        past.clear();
        remember(initial);
      }

      void
      step(State &state) override
      {
        const bool                first   = past.size() < 2 || order == 1;
        const std::vector<double> a       = first
                                              ? std::vector<double>{-1.}
                                              : std::vector<double>{-4. / 3, 1. / 3};
        const double              b       = first ? 1. : 2. / 3;
        const double              c       = 1 / (b * b * dt * dt);
        auto                     &inertia = body->inertia;
        const bool                same    = stepped && c == inertia.c;
        inertia.c                         = c;
        Vector     known                  = body->discretization.make_vector();
        const auto n = body->discretization.n_nodes() * dim;
        for (unsigned int i = 0; i < n; ++i)
          {
            double sum = 0;
            for (unsigned int j = 0; j < a.size(); ++j)
              sum += a[j] * (past[j].u.local_element(i) +
                             b * dt * past[j].v.local_element(i));
            known.local_element(i) = -c * sum;
          }
        known.set_ghost_state(true);
        inertia.w.swap(known);

        // Start where the body would go by itself.
        const double time  = state.time + dt;
        Vector       guess = ghosted_copy(state.u);
        for (unsigned int i = 0; i < n; ++i)
          guess.local_element(i) += dt * state.v.local_element(i);
        body->prescribe(time, guess);
        body->snapshot.prescribed = ghosted_copy(guess);
        body->equilibrium.set_states({guess});
        try
          {
            body->equilibrium.solve_step(body->fields, same);
          }
        catch (const SolverError &)
          {
            // The guess may be inverted; the last state is not.
            Vector last = ghosted_copy(state.u);
            body->prescribe(time, last);
            body->equilibrium.set_states({last});
            body->equilibrium.solve_step(body->fields, false);
          }
        stepped = true;

        const Vector &u = body->equilibrium.context(0).state.u;
        for (unsigned int i = 0; i < n; ++i)
          {
            double v = u.local_element(i);
            for (unsigned int j = 0; j < a.size(); ++j)
              v += a[j] * past[j].u.local_element(i);
            state.v.local_element(i) = v / (b * dt);
            state.u.local_element(i) = u.local_element(i);
          }
        state.time = time;
        remember(state);
        if (past.size() > order)
          past.pop_back();
      }

    private:
      void
      remember(const State &state)
      {
        past.emplace_front();
        copy_state(state, past.front());
      }

      MovingBody<dim>  *body    = nullptr;
      double            dt      = 0;
      bool              stepped = false; ///< the tangent is that of c
      std::deque<State> past;            ///< newest first
    };

    const Registry<Integrator<2>>::Entry<Bdf<2, 1>>
      e2("implicit euler", "first order, damps high frequencies strongly");
    const Registry<Integrator<3>>::Entry<Bdf<3, 1>>
      e3("implicit euler", "first order, damps high frequencies strongly");
    const Registry<Integrator<2>>::Entry<Bdf<2, 2>>
      b2("bdf2", "second order, damps high frequencies");
    const Registry<Integrator<3>>::Entry<Bdf<3, 2>>
      b3("bdf2", "second order, damps high frequencies");
  } // namespace
} // namespace Palpate
