#include <palpate/forces/external/obstacles.h>

#include <algorithm>
#include <cmath>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /**
     * Coulomb friction of the ground, smooth at rest (doc/theory.md 10a): a
     * surface node that presses with N = -k b'(d) is held back by
     * mu N v_t/s, s = sqrt(|v_t|^2 + v_0^2), v_t its velocity along the
     * ground. mu N s is the dissipation.
     */
    template <int dim>
    class Friction : public VelocityForce<dim>
    {
    public:
      using T1      = Tensor<1, dim>;
      using T2      = Tensor<2, dim>;
      using Contact = typename Obstacles<dim>::Contact;

      static void
      declare_parameters(ParameterHandler &prm)
      {
        Obstacles<dim>::declare_parameters(prm);
        prm.declare_entry("Ground friction",
                          "0",
                          Patterns::Double(0),
                          "Coefficient of Coulomb friction, in motions.");
        prm.declare_entry("Friction speed",
                          "1e-3",
                          Patterns::Double(),
                          "Speed [m/s] well above which friction is that of "
                          "Coulomb, and below which it fades to nothing.");
      }

      void
      parse_parameters(Parameters &parameters) override
      {
        coefficient = parameters.get_double("Ground friction");
        if (coefficient == 0)
          return;
        obstacles.parse_parameters(parameters);
        if (obstacles.empty())
          parameters.fail("Ground friction",
                          "expected Ground planes or Ground spheres beside it");
        speed = parameters.get_double("Friction speed");
        if (!(speed > 0))
          parameters.fail("Friction speed", "expected a positive speed");
      }

      bool
      is_active() const override
      {
        return coefficient > 0;
      }

      double
      dissipation(const Context<dim> &c) const override
      {
        double sum = 0;
        for_each_slip(c, [&](const Slip &slip) {
          sum += slip.pressure(c) * (slip.s - speed);
        });
        return coefficient_of(c) * sum;
      }

      /// @throw SolverError if a node is not above the ground
      void
      residual(const Context<dim> &c, Vector &h) const override
      {
        for_each_slip(c, [&](const Slip &slip) {
          add_at_node<dim>(h, slip.node(), slip.force(c));
        });
      }

      void
      add_tangent(const Context<dim> &c,
                  const Tangent       kind,
                  TangentMatrix<dim> &K) const override
      {
        NodeBlocks<dim> diagonal(K);
        for_each_slip(c, [&](const Slip &slip) {
          diagonal.add(slip.node(),
                       c.velocity_rate * slip.by_velocity(c) +
                         (kind == Tangent::consistent ? slip.by_place(c)
                                                      : T2()));
        });
      }

      void
      apply_tangent(const Context<dim> &c,
                    const Vector       &du,
                    Vector             &dh) const override
      {
        for_each_slip(c, [&](const Slip &slip) {
          add_at_node<dim>(dh,
                           slip.node(),
                           slip.tangent(c) * at_node<dim>(du, slip.node()));
        });
      }

      void
      apply_transposed_tangent(const Context<dim> &c,
                               const Vector       &lambda,
                               Vector             &g) const override
      {
        for_each_slip(c, [&](const Slip &slip) {
          add_at_node<dim>(g,
                           slip.node(),
                           at_node<dim>(lambda, slip.node()) * slip.tangent(c));
        });
      }

      void
      velocity_vjp(const Context<dim> &c,
                   const Vector       &lambda,
                   Vector             &g) const override
      {
        for_each_slip(c, [&](const Slip &slip) {
          add_at_node<dim>(g,
                           slip.node(),
                           slip.by_velocity(c) *
                             at_node<dim>(lambda, slip.node()));
        });
      }

      bool
      limits_explicit_steps() const override
      {
        return false;
      }

      /// mu N/(m v_0) where the kick mu N/m takes all of s.
      double
      chatter_rate(const Context<dim> &c,
                   const Vector       &mass,
                   const double        kick) const override
      {
        double rate = 0;
        for_each_slip(c, [&](const Slip &slip) {
          const unsigned int i = slip.node() * dim;
          if (c.constrained[i])
            return;
          const double deceleration =
            coefficient_of(c) * slip.pressure(c) / mass.local_element(i);
          if (kick * deceleration > slip.s)
            rate = std::max(rate, deceleration / speed);
        });
        return rate;
      }

      // The force is mu k times something.
      void
      field_jvp(const Context<dim> &c,
                const Fields       &direction,
                Vector             &dh) const override
      {
        double relative = 0;
        for (const char *name : {coefficient_name, stiffness_name})
          if (direction.has(name))
            relative += direction[name][0] / c.fields[name][0];
        if (relative != 0)
          for_each_slip(c, [&](const Slip &slip) {
            add_at_node<dim>(dh, slip.node(), relative * slip.force(c));
          });
      }
      void
      field_vjp(const Context<dim> &c,
                const Vector       &lambda,
                FieldDuals         &g) const override
      {
        if (!g.has(coefficient_name) && !g.has(stiffness_name))
          return;
        double sum = 0;
        for_each_slip(c, [&](const Slip &slip) {
          sum += slip.force(c) * at_node<dim>(lambda, slip.node());
        });
        for (const char *name : {coefficient_name, stiffness_name})
          if (g.has(name))
            g[name][0] += sum / c.fields[name][0];
      }

      bool
      works_on_networks() const override
      {
        return true;
      }
      std::vector<std::string>
      field_names() const override
      {
        return {coefficient_name, stiffness_name};
      }
      void
      add_fields(const Discretization<dim> &,
                 const std::vector<Snapshot<dim>> &,
                 const CaseData<dim> &,
                 const std::vector<std::string> &,
                 Fields &fields) const override
      {
        fields[coefficient_name] = body_field(coefficient);
        fields[stiffness_name]   = body_field(obstacles.stiffness);
      }

    private:
      static constexpr const char *coefficient_name = "ground_friction";
      static constexpr const char *stiffness_name   = "ground_stiffness";

      static double
      coefficient_of(const Context<dim> &c)
      {
        return c.fields[coefficient_name][0];
      }

      /// A node in contact with its velocity v along the ground.
      struct Slip
      {
        const Contact &contact;
        Barrier        barrier;
        T1             v, along; ///< velocity, its part along the ground
        double         s;

        unsigned int
        node() const
        {
          return contact.node;
        }
        double
        pressure(const Context<dim> &c) const
        {
          return -c.fields[stiffness_name][0] * barrier.first;
        }
        T1
        force(const Context<dim> &c) const
        {
          return coefficient_of(c) * pressure(c) / s * along;
        }
        /// Of the force by v_t.
        T2
        by_slip(const Context<dim> &c) const
        {
          T2 A = outer_product(along, along) / (-s * s);
          for (unsigned int d = 0; d < dim; ++d)
            A[d][d] += 1;
          return coefficient_of(c) * pressure(c) / s * A;
        }
        T2
        by_velocity(const Context<dim> &c) const
        {
          T2 T = -1. * outer_product(contact.normal, contact.normal);
          for (unsigned int d = 0; d < dim; ++d)
            T[d][d] += 1;
          return by_slip(c) * T;
        }
        /// The pressure grows with depth, and the normal n turns by H du: by
        /// that v_t changes by -(n . v) H du - n (H v . du).
        T2
        by_place(const Context<dim> &c) const
        {
          const T1 &n    = contact.normal;
          T2        turn = (n * v) * contact.curvature() +
                    outer_product(n, contact.curvature() * v);
          return -coefficient_of(c) * c.fields[stiffness_name][0] *
                   barrier.second / s * outer_product(along, n) -
                 by_slip(c) * turn;
        }
        T2
        tangent(const Context<dim> &c) const
        {
          return by_place(c) + c.velocity_rate * by_velocity(c);
        }
      };

      template <typename Function>
      void
      for_each_slip(const Context<dim> &c, const Function &f) const
      {
        obstacles.for_each_contact(c, [&](const Contact &contact) {
          const T1 v     = at_node<dim>(c.state.v, contact.node);
          const T1 along = v - (contact.normal * v) * contact.normal;
          f(Slip{contact,
                 obstacles.barrier(c, contact),
                 v,
                 along,
                 std::sqrt(along.norm_square() + speed * speed)});
        });
      }

      Obstacles<dim> obstacles;
      double         coefficient = 0, speed = 1e-3;
    };

    const char *friction_description =
      "Coulomb friction of the ground, smooth at rest";
    const Registry<Force<2>>::Entry<Friction<2>>
      friction_2d("ground friction", friction_description, "load");
    const Registry<Force<3>>::Entry<Friction<3>>
      friction_3d("ground friction", friction_description, "load");
  } // namespace
} // namespace Palpate
