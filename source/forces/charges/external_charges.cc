#include <palpate/core/errors.h>
#include <palpate/core/formula.h>
#include <palpate/forces/charges/field_at_points.h>
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
     * Point charges Q_j that move along given paths X_j(t), and act on those of
     * the vertices (doc/theory.md 13): E = k_c sum_ij q_i Q_j/|x_i - X_j(t)|.
     * The field "external_charge" has their strengths.
     */
    class ExternalCharges
      : public MatrixFreeForce<3>
      , public HasPointCharges
    {
    public:
      static constexpr int         dim  = 3;
      static constexpr const char *name = "external_charge";
      using T1                          = Tensor<1, dim>;

      static void
      declare_parameters(ParameterHandler &prm)
      {
        VertexCharges::declare_parameters(prm);
        prm.declare_entry("External charges",
                          "",
                          Patterns::Anything(),
                          "Charges outside, on given paths: \"Q: x, y, z; "
                          "...\", Q [C], the place [m] by formulas of the time "
                          "t [s].");
      }

      void
      parse_parameters(Parameters &parameters) override
      {
        const std::string entry = "External charges",
                          text  = parameters.get(entry);
        if (text.empty())
          return;
        own.parse_parameters(parameters);
        if (!own.any())
          parameters.fail(entry, "expected Loads/Charge beside them");
        for (const auto &item : split_formulas(text, ';'))
          {
            if (item.empty())
              continue;
            const auto   two   = split_formulas(item, ':');
            char        *end   = nullptr;
            const double Q     = std::strtod(two[0].c_str(), &end);
            const auto   where = two.size() == 2 ? split_formulas(two[1], ',')
                                                 : std::vector<std::string>();
            const auto   path =
              where.size() == dim
                  ? make_formula<1>("t",
                                  where[0] + ";" + where[1] + ";" + where[2],
                                  dim,
                                  false)
                  : nullptr;
            if (two[0].empty() || *end != 0 || !std::isfinite(Q) ||
                path == nullptr)
              parameters.fail(entry,
                              "'" + item +
                                "', expected a charge and three formulas of "
                                "t, \"-42e-6: 0.3*cos(t), 0.3*sin(t), 0\"");
            strengths.push_back(Q);
            paths.push_back(path);
          }
        if (paths.empty())
          parameters.fail(entry, "'" + text + "': expected charges or nothing");
      }

      bool
      is_active() const override
      {
        return !paths.empty();
      }
      bool
      works_on_networks() const override
      {
        return true;
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
        return {own.field_name(), name};
      }
      void
      add_fields(const Discretization<dim> &D,
                 const std::vector<Snapshot<dim>> &,
                 const CaseData<dim> &data,
                 const std::vector<std::string> &,
                 Fields &fields) const override
      {
        own.add_fields(D, data, fields);
        Field &Q = fields[name];
        Q        = Field(1, 0., strengths.size());
        Q.place  = Place::body;
        Q.values = strengths;
      }

      double
      energy(const Context<dim> &c) const override
      {
        double sum = 0;
        for_each_pair(c, [&](const Pair &p) {
          sum += coulomb_constant * p.q * p.Q / p.distance;
        });
        return sum;
      }

      void
      residual(const Context<dim> &c, Vector &h) const override
      {
        for_each_pair(c, [&](const Pair &p) {
          add_at_node<dim>(h, p.node, -p.q * p.Q * p.field());
        });
      }

      void
      apply_tangent(const Context<dim> &c,
                    const Vector       &du,
                    Vector             &dh) const override
      {
        for_each_pair(c, [&](const Pair &p) {
          add_at_node<dim>(dh,
                           p.node,
                           -p.q * p.Q *
                             p.field_derivative(at_node<dim>(du, p.node)));
        });
      }

      void
      field_jvp(const Context<dim> &c,
                const Fields       &direction,
                Vector             &dh) const override
      {
        const auto         &D    = c.discretization;
        const std::string   of_q = VertexCharges::field_name(D);
        std::vector<double> dq;
        if (direction.has(of_q))
          dq = VertexCharges::charges(D, direction[of_q]);
        for_each_pair(c, [&](const Pair &p) {
          double d = 0;
          if (!dq.empty())
            d += dq[p.node] * p.Q;
          if (direction.has(name))
            d += p.q * direction[name][p.j];
          add_at_node<dim>(dh, p.node, -d * p.field());
        });
      }

      void
      field_vjp(const Context<dim> &c,
                const Vector       &lambda,
                FieldDuals         &g) const override
      {
        const auto         &D    = c.discretization;
        const std::string   of_q = VertexCharges::field_name(D);
        std::vector<double> by_q(D.n_owned_nodes(), 0.);
        for_each_pair(c, [&](const Pair &p) {
          const double e = -(p.field() * at_node<dim>(lambda, p.node));
          by_q[p.node] += p.Q * e;
          if (g.has(name))
            g[name][p.j] += p.q * e;
        });
        if (g.has(of_q))
          VertexCharges::add_vjp(D, by_q, g[of_q]);
      }

      PointCharges
      point_charges(const Context<dim> &c) const override
      {
        PointCharges charges;
        for (unsigned int j = 0; j < paths.size(); ++j)
          {
            const T1 X = place(c, j);
            charges.add(X[0], X[1], X[2], c.fields[name][j]);
          }
        return charges;
      }

    private:
      struct Pair
      {
        unsigned int node, j;
        double       q, Q, distance;
        T1           n; ///< from the external charge to the vertex

        /// Of a unit charge there.
        T1
        field() const
        {
          return coulomb_constant / (distance * distance) * n;
        }
        T1
        field_derivative(const T1 &dx) const
        {
          return coulomb_constant / (distance * distance * distance) *
                 (dx - 3 * (n * dx) * n);
        }
      };

      /// Where external charge j is. @throw SolverError
      T1
      place(const Context<dim> &c, const unsigned int j) const
      {
        T1 X;
        for (unsigned int d = 0; d < dim; ++d)
          X[d] = paths[j]->value(Point<1>(c.state.time), d);
        if (!std::isfinite(X.norm_square()))
          throw SolverError("external charge " + std::to_string(j) +
                            " is not at a finite place at " +
                            std::to_string(c.state.time) + " s");
        return X;
      }

      /// All external charges with this rank's vertices.
      template <typename Function>
      void
      for_each_pair(const Context<dim> &c, const Function &f) const
      {
        const auto &D = c.discretization;
        const auto  q =
          VertexCharges::charges(D, c.fields[VertexCharges::field_name(D)]);
        for (unsigned int j = 0; j < paths.size(); ++j)
          {
            const T1 X = place(c, j);
            for (unsigned int node = 0; node < D.n_owned_nodes(); ++node)
              if (D.is_vertex(node))
                {
                  const T1 d = D.node_position(node) - Point<dim>(X) +
                               at_node<dim>(c.state.u, node);
                  const double distance = d.norm();
                  if (!(distance > 1e-150))
                    throw SolverError("vertex " +
                                      std::to_string(D.node_vertices[node][0]) +
                                      " is at the place of external charge " +
                                      std::to_string(j));
                  f(Pair{node,
                         j,
                         q[node],
                         c.fields[name][j],
                         distance,
                         d / distance});
                }
          }
      }
      VertexCharges                             own;
      std::vector<double>                       strengths; ///< [C]
      std::vector<std::shared_ptr<Function<1>>> paths;     ///< of t
    };

    const Registry<Force<3>>::Entry<ExternalCharges>
      external_charges_3d("external charges",
                          "charges on given paths act on those of the body",
                          "load");
  } // namespace
} // namespace Palpate
