#include <palpate/core/errors.h>
#include <palpate/forces/force.h>

#include <cmath>
#include <limits>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// The barrier of a distance d below the reach r (doc/theory.md 11):
    /// b = -(d - r)^2 log(d/r), twice continuously differentiable at r.
    struct Barrier
    {
      double energy, first, second, third;
      Barrier(const double d, const double r)
      {
        const double x = d - r, log = std::log(d / r);
        energy = -x * x * log;
        first  = -(2 * x * log + x * x / d);
        second = -(2 * log + 4 * x / d - x * x / (d * d));
        third  = -(2 / d + 4 * r / (d * d) - 2 * x * r / (d * d * d));
      }
    };

    /**
     * Planes and spheres that repel the surface nodes of the body, each with
     * the energy k b(d) of its distance d: nothing from the reach on, without
     * bound at the ground. The stiffness k [N/m] is that of a node.
     */
    template <int dim>
    class Ground : public Force<dim>
    {
    public:
      using T1 = Tensor<1, dim>;
      using T2 = Tensor<2, dim>;

      static void
      declare_parameters(ParameterHandler &prm)
      {
        prm.declare_entry("Ground planes",
                          "",
                          Patterns::Anything(),
                          "Planes that the surface stays above: point [m] and "
                          "upward normal, \"0, 0, 0, 0, 0, 1; ...\".");
        prm.declare_entry("Ground spheres",
                          "",
                          Patterns::Anything(),
                          "Spheres that the surface stays outside of: centre "
                          "and radius [m], \"0, 0, -1, 0.5; ...\"; inside, if "
                          "the radius is negative.");
        prm.declare_entry("Ground reach",
                          "1e-3",
                          Patterns::Double(),
                          "Distance [m] below which the ground repels.");
        prm.declare_entry("Ground stiffness",
                          "1000",
                          Patterns::Double(),
                          "k of the barrier -k (d - reach)^2 log(d/reach) of a "
                          "surface node [N/m].");
      }

      void
      parse_parameters(Parameters &parameters) override
      {
        for (const auto &v : numbers("Ground planes", 2 * dim, parameters))
          {
            Obstacle o;
            for (unsigned int d = 0; d < dim; ++d)
              {
                o.centre[d] = v[d];
                o.normal[d] = v[dim + d];
              }
            if (!(o.normal.norm() > 0))
              parameters.fail("Ground planes", "expected a normal");
            o.normal /= o.normal.norm();
            obstacles.push_back(o);
          }
        for (const auto &v : numbers("Ground spheres", dim + 1, parameters))
          {
            Obstacle o;
            for (unsigned int d = 0; d < dim; ++d)
              o.centre[d] = v[d];
            o.radius = v[dim];
            if (o.radius == 0)
              parameters.fail("Ground spheres", "expected a radius");
            obstacles.push_back(o);
          }
        if (!is_active())
          return;
        reach     = parameters.get_double("Ground reach");
        stiffness = parameters.get_double("Ground stiffness");
        if (!(reach > 0))
          parameters.fail("Ground reach", "expected a positive distance");
        if (!(stiffness > 0))
          parameters.fail("Ground stiffness", "expected a positive value");
      }

      bool
      is_active() const override
      {
        return !obstacles.empty();
      }

      double
      energy(const Context<dim> &c) const override
      {
        double sum = 0;
        for_each_contact(c, [&](const Contact &contact) {
          sum += contact.distance > 0
                   ? stiffness_of(c) * Barrier(contact.distance, reach).energy
                   : std::numeric_limits<double>::infinity();
        });
        return sum;
      }

      /// @throw SolverError if a node is not above the ground
      void
      residual(const Context<dim> &c, Vector &h) const override
      {
        const double k = stiffness_of(c);
        for_each_contact(c, [&](const Contact &contact) {
          const auto b = barrier(c, contact);
          add(h, contact.node, k * b.first * contact.normal);
        });
      }

      void
      add_tangent(const Context<dim> &c,
                  const Tangent       kind,
                  TangentMatrix<dim> &K) const override
      {
        const auto  &D = c.discretization;
        const double k = stiffness_of(c);
        // Any cell of a node leads to the node's place in the matrix.
        std::vector<unsigned int> place(D.n_nodes());
        for (unsigned int i = 0; i < D.n_cells() * D.nodes_per_cell; ++i)
          place[D.cell_nodes[i]] = i;
        for_each_contact(c, [&](const Contact &contact) {
          const auto         b = barrier(c, contact);
          const unsigned int i = place[contact.node];
          T2                 block =
            k * b.second * outer_product(contact.normal, contact.normal);
          if (kind == Tangent::consistent || b.first * contact.bend > 0)
            block += k * b.first * contact.curvature();
          K.add_block(i / D.nodes_per_cell,
                      i % D.nodes_per_cell,
                      i % D.nodes_per_cell,
                      block);
        });
      }

      void
      apply_tangent(const Context<dim> &c,
                    const Vector       &du,
                    Vector             &dh) const override
      {
        const double k = stiffness_of(c);
        for_each_contact(c, [&](const Contact &contact) {
          add(dh, contact.node, k * tangent(c, contact, du));
        });
      }

      void
      field_jvp(const Context<dim> &c,
                const Fields       &direction,
                Vector             &dh) const override
      {
        if (!direction.has(name_of_stiffness))
          return;
        const double dk = direction[name_of_stiffness][0];
        for_each_contact(c, [&](const Contact &contact) {
          add(dh,
              contact.node,
              dk * barrier(c, contact).first * contact.normal);
        });
      }
      void
      field_vjp(const Context<dim> &c,
                const Vector       &lambda,
                FieldDuals         &g) const override
      {
        if (!g.has(name_of_stiffness))
          return;
        double &sum = g[name_of_stiffness][0];
        for_each_contact(c, [&](const Contact &contact) {
          sum += barrier(c, contact).first *
                 (contact.normal * at(lambda, contact.node));
        });
      }

      /// With n the normal, H = (I - n n^T)/rho and
      /// H'[v] = -(H (n . v) + (H v) n^T + n (H v)^T)/rho.
      void
      second_vjp(const Context<dim> &c,
                 const Vector       &lambda,
                 const Vector       &du,
                 const Fields       &dfields,
                 Vector             &g_state,
                 FieldDuals         &g_fields) const override
      {
        const double k = stiffness_of(c), dk = dfields.has(name_of_stiffness)
                                                 ? dfields[name_of_stiffness][0]
                                                 : 0.;
        double       unused = 0, &by_k = g_fields.has(name_of_stiffness)
                                           ? g_fields[name_of_stiffness][0]
                                           : unused;
        for_each_contact(c, [&](const Contact &contact) {
          const auto   b = barrier(c, contact);
          const auto  &n = contact.normal;
          const T2     H = contact.curvature();
          const T1     v = at(du, contact.node), l = at(lambda, contact.node);
          const T1     Hv = H * v, Hl = H * l;
          const double nv = n * v, nl = n * l;
          T1           g = b.third * nv * nl * n +
                 b.second * (nl * Hv + (Hv * l) * n + nv * Hl);
          g -= b.first * contact.bend * (nv * Hl + nl * Hv + (Hv * l) * n);
          const T1 K_lambda = tangent(c, contact, lambda);
          add(g_state, contact.node, k * g + dk * K_lambda);
          by_k += K_lambda * v;
        });
      }

      Depends
      tangent_depends_on() const override
      {
        Depends d;
        d.state = true;
        return d;
      }
      bool
      scales_with_stiffness() const override
      {
        return false;
      }
      std::vector<std::string>
      field_names() const override
      {
        return {name_of_stiffness};
      }
      void
      add_fields(const Discretization<dim> &,
                 const std::vector<Snapshot<dim>> &,
                 const CaseData<dim> &,
                 const std::vector<std::string> &,
                 Fields &fields) const override
      {
        fields[name_of_stiffness] = body_field(stiffness);
      }

    private:
      static constexpr const char *name_of_stiffness = "ground_stiffness";

      double
      stiffness_of(const Context<dim> &c) const
      {
        return c.fields[name_of_stiffness][0];
      }

      /// A plane through its centre, or a sphere.
      struct Obstacle
      {
        T1     centre, normal;
        double radius = 0; ///< 0: a plane
      };

      /// A surface node within reach of an obstacle.
      struct Contact
      {
        unsigned int node;
        double       distance;
        T1           normal;
        double       bend; ///< 1/rho, signed; 0 for a plane
        T2
        curvature() const
        {
          T2 H = -bend * outer_product(normal, normal);
          for (unsigned int d = 0; d < dim; ++d)
            H[d][d] += bend;
          return H;
        }
      };

      static std::vector<std::vector<double>>
      numbers(const std::string &entry,
              const unsigned int n,
              Parameters        &parameters)
      {
        const std::string expected =
          "expected " + std::to_string(n) + " numbers each, \"a, b, ...; ...\"";
        std::vector<std::vector<double>> all;
        for (const auto &item :
             Utilities::split_string_list(parameters.get(entry), ';'))
          if (!item.empty())
            {
              try
                {
                  all.push_back(Utilities::string_to_double(
                    Utilities::split_string_list(item, ',')));
                }
              catch (const ExceptionBase &)
                {
                  parameters.fail(entry, expected);
                }
              if (all.back().size() != n)
                parameters.fail(entry, expected);
              for (const double v : all.back())
                if (!std::isfinite(v))
                  parameters.fail(entry, expected + ", all finite");
            }
        return all;
      }

      static T1
      at(const Vector &u, const unsigned int node)
      {
        T1 v;
        for (unsigned int d = 0; d < dim; ++d)
          v[d] = u.local_element(node * dim + d);
        return v;
      }
      static void
      add(Vector &h, const unsigned int node, const T1 &f)
      {
        for (unsigned int d = 0; d < dim; ++d)
          h.local_element(node * dim + d) += f[d];
      }

      template <typename Function>
      void
      for_each_contact(const Context<dim> &c, const Function &f) const
      {
        const auto &D = c.discretization;
        for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
          if (D.surface_node[n])
            for (const Obstacle &o : obstacles)
              {
                const T1 x =
                  D.node_position(n) - Point<dim>(o.centre) + at(c.state.u, n);
                Contact contact{n, x * o.normal, o.normal, 0};
                if (o.radius != 0)
                  {
                    const double sign = o.radius > 0 ? 1 : -1;
                    contact.distance  = sign * x.norm() - o.radius;
                    contact.normal    = sign / x.norm() * x;
                    contact.bend      = sign / x.norm();
                  }
                if (contact.distance < reach)
                  f(contact);
              }
      }

      Barrier
      barrier(const Context<dim> &c, const Contact &contact) const
      {
        if (!(contact.distance > 0))
          {
            const auto &v = c.discretization.node_vertices[contact.node];
            throw SolverError("vertex " + std::to_string(v[0]) + " is " +
                              std::to_string(-contact.distance) +
                              " m below the ground: try smaller steps or more "
                              "Loads/Ground stiffness");
          }
        return Barrier(contact.distance, reach);
      }

      /// The tangent of one contact for k = 1, times v.
      T1
      tangent(const Context<dim> &c,
              const Contact      &contact,
              const Vector       &direction) const
      {
        const auto b = barrier(c, contact);
        const T1   v = at(direction, contact.node);
        return b.second * (contact.normal * v) * contact.normal +
               b.first * (contact.curvature() * v);
      }

      std::vector<Obstacle> obstacles;
      double                reach = 1e-3, stiffness = 1000;
    };

    const char *description =
      "planes and spheres that repel the surface by a smooth barrier";
    const Registry<Force<2>>::Entry<Ground<2>>
      ground_2d("ground", description, "load");
    const Registry<Force<3>>::Entry<Ground<3>>
      ground_3d("ground", description, "load");
  } // namespace
} // namespace Palpate
