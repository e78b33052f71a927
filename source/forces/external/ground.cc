#include <palpate/forces/external/obstacles.h>

#include <limits>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /**
     * Planes and spheres that repel the surface nodes of the body, each with
     * the energy k b(d) of its distance d: nothing from the reach on, without
     * bound at the ground. The stiffness k [N/m] is that of a node.
     */
    template <int dim>
    class Ground : public Force<dim>
    {
    public:
      using T1      = Tensor<1, dim>;
      using T2      = Tensor<2, dim>;
      using Contact = typename Obstacles<dim>::Contact;

      static void
      declare_parameters(ParameterHandler &prm)
      {
        Obstacles<dim>::declare_parameters(prm);
      }

      void
      parse_parameters(Parameters &parameters) override
      {
        obstacles.parse_parameters(parameters);
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
        obstacles.for_each_contact(c, [&](const Contact &contact) {
          sum += contact.distance > 0
                   ? stiffness_of(c) *
                       Barrier(contact.distance, obstacles.reach).energy
                   : std::numeric_limits<double>::infinity();
        });
        return sum;
      }

      /// @throw SolverError if a node is not above the ground
      void
      residual(const Context<dim> &c, Vector &h) const override
      {
        const double k = stiffness_of(c);
        obstacles.for_each_contact(c, [&](const Contact &contact) {
          const auto b = obstacles.barrier(c, contact);
          add_at_node<dim>(h, contact.node, k * b.first * contact.normal);
        });
      }

      void
      add_tangent(const Context<dim> &c,
                  const Tangent       kind,
                  TangentMatrix<dim> &K) const override
      {
        const double    k = stiffness_of(c);
        NodeBlocks<dim> diagonal(K);
        obstacles.for_each_contact(c, [&](const Contact &contact) {
          const auto b = obstacles.barrier(c, contact);
          T2         block =
            k * b.second * outer_product(contact.normal, contact.normal);
          if (kind == Tangent::consistent || b.first * contact.bend > 0)
            block += k * b.first * contact.curvature();
          diagonal.add(contact.node, block);
        });
      }

      void
      apply_tangent(const Context<dim> &c,
                    const Vector       &du,
                    Vector             &dh) const override
      {
        const double k = stiffness_of(c);
        obstacles.for_each_contact(c, [&](const Contact &contact) {
          add_at_node<dim>(dh, contact.node, k * tangent(c, contact, du));
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
        obstacles.for_each_contact(c, [&](const Contact &contact) {
          add_at_node<dim>(dh,
                           contact.node,
                           dk * obstacles.barrier(c, contact).first *
                             contact.normal);
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
        obstacles.for_each_contact(c, [&](const Contact &contact) {
          sum += obstacles.barrier(c, contact).first *
                 (contact.normal * at_node<dim>(lambda, contact.node));
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
        obstacles.for_each_contact(c, [&](const Contact &contact) {
          const auto  b   = obstacles.barrier(c, contact);
          const auto &n   = contact.normal;
          const T2    H   = contact.curvature();
          const T1    v   = at_node<dim>(du, contact.node),
                   l      = at_node<dim>(lambda, contact.node);
          const T1     Hv = H * v, Hl = H * l;
          const double nv = n * v, nl = n * l;
          T1           g = b.third * nv * nl * n +
                 b.second * (nl * Hv + (Hv * l) * n + nv * Hl);
          g -= b.first * contact.bend * (nv * Hl + nl * Hv + (Hv * l) * n);
          const T1 K_lambda = tangent(c, contact, lambda);
          add_at_node<dim>(g_state, contact.node, k * g + dk * K_lambda);
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
      Role
      role() const override
      {
        return Role::contact;
      }
      bool
      works_on_networks() const override
      {
        return true;
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
        fields[name_of_stiffness] = body_field(obstacles.stiffness);
      }

    private:
      static constexpr const char *name_of_stiffness = "ground_stiffness";

      double
      stiffness_of(const Context<dim> &c) const
      {
        return c.fields[name_of_stiffness][0];
      }

      /// The tangent of one contact for k = 1, times v.
      T1
      tangent(const Context<dim> &c,
              const Contact      &contact,
              const Vector       &direction) const
      {
        const auto b = obstacles.barrier(c, contact);
        const T1   v = at_node<dim>(direction, contact.node);
        return b.second * (contact.normal * v) * contact.normal +
               b.first * (contact.curvature() * v);
      }

      Obstacles<dim> obstacles;
    };

    const char *ground_description =
      "planes and spheres that repel the surface by a smooth barrier";
    const Registry<Force<2>>::Entry<Ground<2>>
      ground_2d("ground", ground_description, "load");
    const Registry<Force<3>>::Entry<Ground<3>>
      ground_3d("ground", ground_description, "load");
  } // namespace
} // namespace Palpate
