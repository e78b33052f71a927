#include <palpate/core/errors.h>
#include <palpate/core/formula.h>
#include <palpate/forces/charges/vertex_charges.h>
#include <palpate/forces/matrix_free_force.h>
#include <palpate/forces/node_values.h>

#include <cmath>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /**
     * A given electric field e(x, t) acts on the charges of the vertices where
     * they are: F_i = q_i e(x_i, t) (doc/theory.md 13). It need not have a
     * potential. Its derivative by the place is a difference of fourth order
     * over a ten-thousandth of the body's size.
     */
    class ExternalField : public MatrixFreeForce<3>
    {
    public:
      static constexpr int dim = 3;
      using T1                 = Tensor<1, dim>;
      using T2                 = Tensor<2, dim>;

      static void
      declare_parameters(ParameterHandler &prm)
      {
        VertexCharges::declare_parameters(prm);
        prm.declare_entry("External field",
                          "",
                          Patterns::Anything(),
                          "Electric field [V/m] by component as formulas of x, "
                          "y, z [m] and the time t [s], \"y/z; x/z; 0\"; it "
                          "acts on Charge.");
      }

      void
      parse_parameters(Parameters &parameters) override
      {
        const std::string entry = "External field";
        if (parameters.get(entry).empty())
          return;
        own.parse_parameters(parameters);
        if (!own.any())
          parameters.fail(entry, "expected Loads/Charge beside it");
        field = read_formula<dim>(entry, parameters, dim, true);
      }

      bool
      is_active() const override
      {
        return field != nullptr;
      }
      bool
      works_on_networks() const override
      {
        return true;
      }
      bool
      has_potential() const override
      {
        return false;
      }
      bool
      has_symmetric_tangent() const override
      {
        return false;
      }
      void
      check(const Discretization<dim> &D,
            const Parameters          &parameters) const override
      {
        own.check(D, parameters);
      }
      std::vector<std::string>
      field_names() const override
      {
        return {own.field_name()};
      }
      void
      add_fields(const Discretization<dim> &D,
                 const std::vector<Snapshot<dim>> &,
                 const CaseData<dim> &data,
                 const std::vector<std::string> &,
                 Fields &fields) const override
      {
        own.add_fields(D, data, fields);
      }

      double
      energy(const Context<dim> &) const override
      {
        return 0;
      }

      void
      residual(const Context<dim> &c, Vector &h) const override
      {
        add_forces(c, c.fields[VertexCharges::field_name(c.discretization)], h);
      }

      void
      apply_tangent(const Context<dim> &c,
                    const Vector       &du,
                    Vector             &dh) const override
      {
        const double step = step_of(c.discretization);
        for_each_vertex(c,
                        [&](const unsigned int n, const double q, const T1 &x) {
                          add_at_node<dim>(dh,
                                           n,
                                           -q * (gradient(c, n, x, step) *
                                                 at_node<dim>(du, n)));
                        });
      }
      void
      apply_transposed_tangent(const Context<dim> &c,
                               const Vector       &lambda,
                               Vector             &g) const override
      {
        const double step = step_of(c.discretization);
        for_each_vertex(
          c, [&](const unsigned int n, const double q, const T1 &x) {
            add_at_node<dim>(g,
                             n,
                             -q * (transpose(gradient(c, n, x, step)) *
                                   at_node<dim>(lambda, n)));
          });
      }

      void
      field_jvp(const Context<dim> &c,
                const Fields       &direction,
                Vector             &dh) const override
      {
        const auto name = VertexCharges::field_name(c.discretization);
        if (direction.has(name))
          add_forces(c, direction[name], dh);
      }

      void
      field_vjp(const Context<dim> &c,
                const Vector       &lambda,
                FieldDuals         &g) const override
      {
        const auto name = VertexCharges::field_name(c.discretization);
        if (!g.has(name))
          return;
        std::vector<double> by_q(c.discretization.n_owned_nodes(), 0.);
        for_each_vertex(c, [&](const unsigned int n, double, const T1 &x) {
          by_q[n] = -(value(c, n, x) * at_node<dim>(lambda, n));
        });
        VertexCharges::add_vjp(c.discretization, by_q, g[name]);
      }

    private:
      /// f(node, its charge, where it is now)
      template <typename Function>
      void
      for_each_vertex(const Context<dim> &c, const Function &f) const
      {
        const auto &D = c.discretization;
        const auto  q =
          VertexCharges::charges(D, c.fields[VertexCharges::field_name(D)]);
        field->set_time(c.state.time);
        for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
          if (D.is_vertex(n))
            f(n, q[n], T1(D.node_position(n)) + at_node<dim>(c.state.u, n));
      }

      void
      add_forces(const Context<dim> &c, const Field &charge, Vector &h) const
      {
        const auto q = VertexCharges::charges(c.discretization, charge);
        for_each_vertex(c, [&](const unsigned int n, double, const T1 &x) {
          add_at_node<dim>(h, n, -q[n] * value(c, n, x));
        });
      }

      T1
      at(const Point<dim> &place) const
      {
        T1 e;
        for (unsigned int d = 0; d < dim; ++d)
          e[d] = field->value(place, d);
        return e;
      }
      T1
      value(const Context<dim> &c, const unsigned int node, const T1 &x) const
      {
        const T1 e = at(Point<dim>(x));
        if (!std::isfinite(e.norm_square()))
          throw SolverError(
            "the external field is not finite at vertex " +
            std::to_string(c.discretization.node_vertices[node][0]));
        return e;
      }

      /// Row d: the derivative of component d.
      T2
      gradient(const Context<dim> &c,
               const unsigned int  node,
               const T1           &x,
               const double        step) const
      {
        const auto beside = [&](const unsigned int j, const double way) {
          Point<dim> place(x);
          place[j] += way;
          return at(place);
        };
        T2 G;
        for (unsigned int j = 0; j < dim; ++j)
          {
            const T1 e = (8. * (beside(j, step) - beside(j, -step)) -
                          (beside(j, 2 * step) - beside(j, -2 * step))) /
                         (12 * step);
            if (!std::isfinite(e.norm_square()))
              throw SolverError(
                "the external field has no derivative at vertex " +
                std::to_string(c.discretization.node_vertices[node][0]) +
                ": it is not finite everywhere within " +
                std::to_string(2 * step) + " m of it");
            for (unsigned int i = 0; i < dim; ++i)
              G[i][j] = e[i];
          }
        return G;
      }

      /// A ten-thousandth of the body's size, but not lost beside the places.
      /// Collective.
      static double
      step_of(const Discretization<dim> &D)
      {
        std::vector<double> largest(2 * dim, -1e300); // x and -x
        for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
          for (unsigned int d = 0; d < dim; ++d)
            {
              const double x     = D.node_position(n)[d];
              largest[2 * d]     = std::max(largest[2 * d], x);
              largest[2 * d + 1] = std::max(largest[2 * d + 1], -x);
            }
        Utilities::MPI::max(largest, D.comm, largest);
        double square = 0, far = 0;
        for (unsigned int d = 0; d < dim; ++d)
          {
            square += std::pow(largest[2 * d] + largest[2 * d + 1], 2);
            far = std::max(
              {far, std::abs(largest[2 * d]), std::abs(largest[2 * d + 1])});
          }
        const double step = std::max(1e-4 * std::sqrt(square), 1e-6 * far);
        return step > 0 ? step : 1e-4;
      }

      VertexCharges                  own;
      std::shared_ptr<Function<dim>> field; ///< null: none
    };

    const Registry<Force<3>>::Entry<ExternalField> external_field_3d(
      "external field",
      "a given electric field acts on the charges of the body",
      "load");
  } // namespace
} // namespace Palpate
