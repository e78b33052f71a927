#include <palpate/core/errors.h>
#include <palpate/time_integration/integrator.h>

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

      unsigned int
      n_past() const override
      {
        return order;
      }

      void
      start(MovingBody<dim>      &moving,
            const TimeParameters &parameters,
            const State &) override
      {
        body       = &moving;
        times      = &parameters;
        dt         = parameters.step;
        c_of_last  = 0;
        this->lost = 0;
      }

      std::shared_ptr<const State>
      step(const History &past) override
      {
        const Formula      formula(past, dt);
        const bool         same = set_inertia(past, formula);
        const unsigned int n    = body->discretization.n_nodes() * dim;
        const State       &last = *past[0];

        // Start where the body would go by itself.
        const double time  = times->after(last.time);
        Vector       guess = ghosted_copy(last.u);
        for (unsigned int i = 0; i < n; ++i)
          guess.local_element(i) += dt * last.v.local_element(i);
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
            Vector again = ghosted_copy(last.u);
            body->prescribe(time, again);
            body->equilibrium.set_states({again});
            body->equilibrium.solve_step(body->fields, false);
          }
        c_of_last = formula.c;

        auto next  = std::make_shared<State>();
        next->u    = ghosted_copy(body->equilibrium.context(0).state.u);
        next->v    = ghosted_copy(last.v);
        next->time = time;
        for (unsigned int i = 0; i < n; ++i)
          {
            double v = next->u.local_element(i);
            for (unsigned int j = 0; j < formula.a.size(); ++j)
              v += formula.a[j] * past[j]->u.local_element(i);
            next->v.local_element(i) = v / (formula.b * dt);
          }
        if (body->equilibrium.depends_on_velocity())
          {
            Vector f = body->discretization.make_vector();
            this->lost += dt * body->force(*next, f);
          }
        return next;
      }


      void
      reverse(const History         &past,
              const State           &next,
              std::deque<StateDual> &duals,
              FieldDuals            &g) override
      {
        const Formula      formula(past, dt);
        const bool         same = set_inertia(past, formula);
        const auto        &D    = body->discretization;
        const unsigned int n    = D.n_owned_nodes() * dim;
        // v^i by all displacements.
        Vector by_u = duals[0].u;
        for (unsigned int i = 0; i < n; ++i)
          {
            const double by_v = duals[0].v.local_element(i) / (formula.b * dt);
            by_u.local_element(i) += by_v;
            for (unsigned int j = 0; j < formula.a.size(); ++j)
              duals[j + 1].u.local_element(i) += formula.a[j] * by_v;
          }
        // u^i by what the equilibrium knows: -lambda . dh.
        body->equilibrium.linearize(body->fields, next.u, same);
        c_of_last     = formula.c;
        Vector lambda = D.make_vector(), M_lambda = lambda;
        body->equilibrium.solve_adjoint(0, by_u, lambda);
        body->inertia.mass.vmult_add(body->mass_field(), lambda, M_lambda);
        for (unsigned int j = 0; j < formula.a.size(); ++j)
          {
            const double factor = -formula.c * formula.a[j];
            for (unsigned int i = 0; i < n; ++i)
              {
                const double w = factor * M_lambda.local_element(i);
                duals[j + 1].u.local_element(i) += w;
                duals[j + 1].v.local_element(i) += formula.b * dt * w;
              }
          }
        lambda.zero_out_ghost_values();
        lambda *= -1;
        lambda.update_ghost_values();
        body->equilibrium.field_vjp(0, lambda, g);
        if (!body->equilibrium.depends_on_velocity())
          return;
        // And by the part of v^i that earlier displacements make.
        Vector     by_v = D.make_vector();
        const auto c    = body->equilibrium.context(0);
        for (const auto &force : body->equilibrium.forces)
          force->velocity_vjp(c, lambda, by_v);
        for (unsigned int j = 0; j < formula.a.size(); ++j)
          duals[j + 1].u.add(formula.a[j] / (formula.b * dt), by_v);
      }

    private:
      /// The coefficients; the first step has one state to look back at.
      struct Formula
      {
        Formula(const History &past, const double dt)
          : a(past.size() < 2 || order == 1
                ? std::vector<double>{-1.}
                : std::vector<double>{-4. / 3, 1. / 3})
          , b(a.size() == 1 ? 1. : 2. / 3)
          , c(1 / (b * b * dt * dt))
        {}
        const std::vector<double> a;
        const double              b, c;
      };

      /// @return whether the mass in the tangent is that of the last solve
      bool
      set_inertia(const History &past, const Formula &formula)
      {
        auto              &inertia = body->inertia;
        const unsigned int n       = body->discretization.n_nodes() * dim;
        inertia.c                  = formula.c;
        Vector w                   = body->discretization.make_vector();
        for (unsigned int i = 0; i < n; ++i)
          {
            double sum = 0;
            for (unsigned int j = 0; j < formula.a.size(); ++j)
              sum +=
                formula.a[j] * (past[j]->u.local_element(i) +
                                formula.b * dt * past[j]->v.local_element(i));
            w.local_element(i) = -formula.c * sum;
          }
        w.set_ghost_state(true);
        inertia.w.swap(w);
        if (body->equilibrium.depends_on_velocity())
          {
            Vector offset = body->discretization.make_vector();
            for (unsigned int i = 0; i < n; ++i)
              for (unsigned int j = 0; j < formula.a.size(); ++j)
                offset.local_element(i) +=
                  formula.a[j] / (formula.b * dt) * past[j]->u.local_element(i);
            offset.set_ghost_state(true);
            body->equilibrium.set_velocity(1 / (formula.b * dt), offset);
          }
        return c_of_last == formula.c;
      }

      MovingBody<dim>      *body      = nullptr;
      const TimeParameters *times     = nullptr;
      double                dt        = 0;
      double                c_of_last = 0; ///< c of the tangent; 0: none
    };

    const Registry<Integrator<2>>::Entry<Bdf<2, 1>>
      implicit_euler_2d("implicit euler",
                        "first order, damps high frequencies strongly");
    const Registry<Integrator<3>>::Entry<Bdf<3, 1>>
      implicit_euler_3d("implicit euler",
                        "first order, damps high frequencies strongly");
    const Registry<Integrator<2>>::Entry<Bdf<2, 2>>
      bdf2_2d("bdf2", "second order, damps high frequencies");
    const Registry<Integrator<3>>::Entry<Bdf<3, 2>>
      bdf2_3d("bdf2", "second order, damps high frequencies");
  } // namespace
} // namespace Palpate
