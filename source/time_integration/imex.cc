#include <palpate/core/errors.h>
#include <palpate/forces/springs/edge_springs.h>
#include <palpate/time_integration/implicit_springs.h>
#include <palpate/time_integration/integrator.h>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /**
     * Implicit springs, explicit other forces (doc/theory.md 14):
     *
     *   M (u+ - u - h v)/h^2 = f_springs(u+) + f(u, v),  v+ = (u+ - u)/h.
     *
     * Every rank solves the springs of the whole network, to the same bits; the
     * other forces are spread over the ranks.
     */
    template <int dim>
    class Imex : public Integrator<dim>
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
      bool
      uses_equilibrium() const override
      {
        return false;
      }

      void
      start(MovingBody<dim>      &moving,
            const TimeParameters &parameters,
            const State &) override
      {
        body    = &moving;
        times   = &parameters;
        h       = parameters.step;
        springs = dynamic_cast<const EdgeSprings<dim> *>(
          body->equilibrium.forces[0].get());
        if (springs == nullptr)
          throw EntryError("Time/Integrator",
                           "imex solves for springs, expected Model/Type = "
                           "edge springs");
        settings.iterations = parameters.local_global_iterations;
        settings.newton     = parameters.newton_finish;
        settings.tolerance  = parameters.step_tolerance;
        this->lost = this->chatter = 0;
        const auto &D              = body->discretization;
        Vector      fixed          = D.make_vector();
        for (unsigned int i = 0; i < D.n_owned_nodes() * dim; ++i)
          fixed.local_element(i) = body->constrained[i];
        std::vector<char> is_fixed;
        const auto        flags = D.gather_vertices(fixed);
        for (std::size_t i = 0; i < flags.size(); i += dim)
          is_fixed.push_back(flags[i] > 0.5);
        solver = std::make_unique<ImplicitSprings<dim>>(
          D.mesh.springs,
          D.gather_cells(body->fields["stiffness"]),
          D.gather_cells(body->fields[EdgeSprings<dim>::rest_length_name]),
          D.gather_vertices(body->mass_field()),
          is_fixed,
          h);
        reference.clear();
        for (const auto &x : D.mesh.vertices)
          reference.insert(reference.end(), x.begin_raw(), x.end_raw());
        this->note = "Cholesky factor of the springs: " +
                     std::to_string(solver->n_nonzeros()) + " entries";
      }

      std::shared_ptr<const State>
      step(const History &past) override
      {
        const auto  &D    = body->discretization;
        const State &last = *past[0];
        const auto  &mass = body->mass_field();
        Vector       f = D.make_vector(), y = D.make_vector();
        this->lost += h * body->force(last, f, springs);
        for (unsigned int i = 0; i < D.n_owned_nodes() * dim; ++i)
          y.local_element(i) = last.u.local_element(i) +
                               h * last.v.local_element(i) +
                               h * h * f.local_element(i) / mass[i / dim];
        auto next  = std::make_shared<State>();
        next->time = times->after(last.time);
        next->u    = ghosted_copy(y);
        body->prescribe(next->time, next->u);
        for (unsigned int i = 0; i < D.n_owned_nodes() * dim; ++i)
          if (body->constrained[i])
            y.local_element(i) = next->u.local_element(i);
        auto place = D.gather_vertices(y);
        for (std::size_t i = 0; i < place.size(); ++i)
          place[i] += reference[i];
        std::vector<double> all;
        solver->solve(place, all, settings);
        Vector w = D.make_vector();
        set(all, w);
        // Without differences of places, whose rounding h would divide.
        Vector v = D.make_vector();
        for (unsigned int i = 0; i < D.n_owned_nodes() * dim; ++i)
          {
            y.local_element(i) += w.local_element(i);
            v.local_element(i) =
              body->constrained[i]
                ? (y.local_element(i) - last.u.local_element(i)) / h
                : last.v.local_element(i) +
                    h * f.local_element(i) / mass[i / dim] +
                    w.local_element(i) / h;
          }
        next->u = ghosted_copy(y);
        next->v = ghosted_copy(v);
        if (!std::isfinite(next->v.l2_norm()))
          throw SolverError("the motion became infinite");
        if (body->equilibrium.depends_on_velocity())
          this->watch_chatter(*body,
                              *next,
                              body->inertia.mass.diagonal(mass),
                              h);
        return next;
      }

      void
      reverse(const History         &past,
              const State           &next,
              std::deque<StateDual> &duals,
              FieldDuals            &g) override
      {
        const auto        &D    = body->discretization;
        const State       &last = *past[0];
        const unsigned int n    = D.n_owned_nodes() * dim;
        // u+ by all it came from: (M/h^2 + K_s) du+ = M (du + h dv)/h^2 + df.
        Vector by_u = D.make_vector();
        for (unsigned int i = 0; i < n; ++i)
          {
            const double by_v = duals[0].v.local_element(i) / h;
            duals[1].u.local_element(i) -= by_v;
            by_u.local_element(i) = duals[0].u.local_element(i) + by_v;
          }
        auto place = D.gather_vertices(next.u), b = D.gather_vertices(by_u);
        for (std::size_t i = 0; i < place.size(); ++i)
          place[i] += reference[i];
        std::vector<double> z;
        solver->solve_tangent(place, b, z);
        Vector      lambda = D.make_vector(), a = D.make_vector();
        const auto &mass = body->mass_field();
        set(z, lambda);
        for (unsigned int i = 0; i < n; ++i)
          {
            const double w = mass[i / dim] * lambda.local_element(i) / (h * h);
            duals[1].u.local_element(i) += w;
            duals[1].v.local_element(i) += h * w;
          }
        lambda *= -1;
        lambda.update_ghost_values();
        springs->field_vjp(body->context(next), lambda, g);
        const auto c    = body->context(last);
        Vector     by_x = D.make_vector(), by_v = D.make_vector();
        for (const auto &force : body->equilibrium.forces)
          if (force.get() != springs && force.get() != &body->inertia)
            {
              force->vjp(c, lambda, by_x, g);
              force->velocity_vjp(c, lambda, by_v);
            }
        for (unsigned int i = 0; i < n; ++i)
          if (!body->constrained[i])
            {
              duals[1].u.local_element(i) += by_x.local_element(i);
              duals[1].v.local_element(i) += by_v.local_element(i);
            }
        if (const auto &name = body->inertia.mass.field_name; g.has(name))
          {
            for (unsigned int i = 0; i < D.n_nodes() * dim; ++i)
              a.local_element(i) =
                (next.v.local_element(i) - last.v.local_element(i)) / h;
            a.set_ghost_state(true);
            body->inertia.mass.vjp(lambda, a, g[name]);
          }
      }

      unsigned int
      n_reverse_vectors(const TimeParameters &) const override
      {
        return 5;
      }

    private:
      /// Local entries, ghosts included, of an array of the whole network.
      void
      set(const std::vector<double> &all, Vector &x) const
      {
        const auto &D = body->discretization;
        x.zero_out_ghost_values();
        for (unsigned int i = 0; i < D.n_nodes() * dim; ++i)
          x.local_element(i) =
            all[std::size_t(D.node_vertices[i / dim][0]) * dim + i % dim];
        x.set_ghost_state(true);
      }

      MovingBody<dim>                        *body    = nullptr;
      const TimeParameters                   *times   = nullptr;
      const EdgeSprings<dim>                 *springs = nullptr;
      double                                  h       = 0;
      typename ImplicitSprings<dim>::Settings settings;
      std::unique_ptr<ImplicitSprings<dim>>   solver;
      std::vector<double>                     reference; ///< (N * dim) [m]
    };

    const char *imex_description =
      "springs of a network implicit, other forces explicit; first order";
    const Registry<Integrator<2>>::Entry<Imex<2>> imex_2d("imex",
                                                          imex_description);
    const Registry<Integrator<3>>::Entry<Imex<3>> imex_3d("imex",
                                                          imex_description);
  } // namespace
} // namespace Palpate
