#include <palpate/core/errors.h>
#include <palpate/forces/charges/electric_field.h>
#include <palpate/forces/charges/vertex_charges.h>
#include <palpate/forces/matrix_free_force.h>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// Coulomb's forces between the charges of a body's vertices
    /// (doc/theory.md 13): E = 1/2 sum_i q_i phi_i [J], F_i = q_i e_i.
    class CoulombForce : public MatrixFreeForce<3>
    {
    public:
      static constexpr int dim = 3;

      static void
      declare_parameters(ParameterHandler &prm)
      {
        VertexCharges::declare_parameters(prm);
        prm.declare_entry("Charge sums",
                          "direct",
                          Patterns::Selection(
                            "direct|octree|ddef|ddef published|ddef text|"
                            "ddef near|none"),
                          "Charges: over all pairs, with far ones together "
                          "(octree), or with a far field on grid points "
                          "(domain-discretized electric field, ddef: every "
                          "pair once; published, text: near ones as in the "
                          "source's listing, or its text; near: those of the "
                          "listing, the far field ignored). Derivatives are "
                          "those of the direct sum, but ddef near has its own. "
                          "none: they feel nothing but External charges and "
                          "External field.");
        prm.declare_entry("Charge grid points",
                          "2000",
                          Patterns::Integer(),
                          "ddef: Halton points in the box of the charges.");
        prm.declare_entry("Charge tolerance",
                          "1e-4",
                          Patterns::Double(),
                          "octree: of the field, relative to the sum of the "
                          "fields' sizes.");
      }

      void
      parse_parameters(Parameters &parameters) override
      {
        own.parse_parameters(parameters);
        if (!own.any())
          return;
        const std::string kind = parameters.get("Charge sums");
        if (kind == "direct")
          sums = std::make_unique<DirectSum>();
        else if (kind == "octree")
          {
            const double tolerance = parameters.get_double("Charge tolerance");
            if (!(tolerance > 0 && tolerance < 1))
              parameters.fail("Charge tolerance",
                              "expected a value between 0 and 1");
            sums = std::make_unique<OctreeSum>(tolerance,
                                               tolerance > 1e-3   ? 6
                                               : tolerance > 1e-5 ? 8
                                                                  : 10);
          }
        else if (kind != "none")
          {
            const int n_points = parameters.get_integer("Charge grid points");
            if (n_points < 1 || n_points > 10000000)
              parameters.fail("Charge grid points",
                              "expected a value between 1 and 1e7");
            using Variant = DiscretizedField::Variant;
            sums          = std::make_unique<DiscretizedField>(n_points,
                                                      kind == "ddef"
                                                                 ? Variant::consistent
                                                               : kind == "ddef text"
                                                                 ? Variant::text
                                                               : kind == "ddef near"
                                                                 ? Variant::near_only
                                                                 : Variant::listing);
          }
      }

      bool
      is_active() const override
      {
        return sums != nullptr;
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
      energy(const Context<dim> &c) const override
      {
        const Charges  all(c, field_of(c), !sums->sees_uncharged());
        FieldAtCharges field;
        if (sums->has_potential())
          sums->compute(all.charges, field, all.first, all.last);
        else // that of the direct sum
          DirectSum().compute(all.charges, field, all.first, all.last);
        double sum = 0;
        for (std::size_t i = all.first; i < all.last; ++i)
          sum += 0.5 * all.charges.q[i] * field.potential[i];
        return sum;
      }

      void
      residual(const Context<dim> &c, Vector &h) const override
      {
        const Charges  all(c, field_of(c), !sums->sees_uncharged());
        FieldAtCharges field;
        sums->compute(all.charges, field, all.first, all.last);
        add_forces(all, all.charges.q, field, h);
      }

      void
      apply_tangent(const Context<dim> &c,
                    const Vector       &du,
                    Vector             &dh) const override
      {
        const Charges all(c, field_of(c), !sums->sees_uncharged());
        differentiate(all, du, &dh);
      }

      void
      field_jvp(const Context<dim> &c,
                const Fields       &direction,
                Vector             &dh) const override
      {
        const std::string name = VertexCharges::field_name(c.discretization);
        if (!direction.has(name))
          return;
        // F = q e(q) is quadratic in q.
        const Charges all(c, field_of(c), false),
          more(c, direction[name], false);
        FieldAtCharges field;
        DirectSum      direct;
        ElectricField &law = sums->has_derivatives()
                               ? *sums
                               : static_cast<ElectricField &>(direct);
        law.compute(all.charges, field, all.first, all.last);
        add_forces(all, more.charges.q, field, dh);
        law.compute(more.charges, field, all.first, all.last);
        add_forces(all, all.charges.q, field, dh);
      }

      void
      field_vjp(const Context<dim> &c,
                const Vector       &lambda,
                FieldDuals         &g) const override
      {
        if (g.has(VertexCharges::field_name(c.discretization)))
          add_to_field(c, lambda, nullptr, g);
      }

      void
      vjp(const Context<dim> &c,
          const Vector       &lambda,
          Vector             &g_state,
          FieldDuals         &g_fields) const override
      {
        if (g_fields.has(VertexCharges::field_name(c.discretization)))
          add_to_field(c, lambda, &g_state, g_fields);
        else
          apply_tangent(c, lambda, g_state);
      }

    private:
      /// Charges of all ranks' vertices in the order of the ranks, where they
      /// are now.
      struct Charges
      {
        /// @param charged_only leave out vertices without charge
        Charges(const Context<dim> &c,
                const Field        &field,
                const bool          charged_only)
          : D(c.discretization)
        {
          const auto          q = VertexCharges::charges(D, field);
          std::vector<double> mine;
          for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
            if (D.is_vertex(n) && !(charged_only && q[n] == 0))
              {
                nodes.push_back(n);
                const Point<dim> x = D.node_position(n);
                for (unsigned int d = 0; d < dim; ++d)
                  mine.push_back(x[d] + c.state.u.local_element(n * dim + d));
                mine.push_back(q[n]);
                mine.push_back(D.node_vertices[n][0]);
              }
          const auto of_ranks   = Utilities::MPI::all_gather(D.comm, mine);
          const unsigned int me = Utilities::MPI::this_mpi_process(D.comm);
          for (unsigned int r = 0; r < of_ranks.size(); ++r)
            {
              if (r == me)
                first = charges.size();
              const auto &v = of_ranks[r];
              for (std::size_t i = 0; i < v.size(); i += dim + 2)
                {
                  charges.add(v[i], v[i + 1], v[i + 2], v[i + 3]);
                  charges.vertex.push_back(static_cast<unsigned int>(v[i + 4]));
                }
              if (r == me)
                last = charges.size();
            }
        }

        /// The values of a nodal vector at all of them.
        std::array<std::vector<double>, 3>
        gather(const Vector &v) const
        {
          std::vector<double> mine;
          for (const unsigned int n : nodes)
            for (unsigned int d = 0; d < dim; ++d)
              mine.push_back(v.local_element(n * dim + d));
          std::array<std::vector<double>, 3> result;
          for (const auto &part : Utilities::MPI::all_gather(D.comm, mine))
            for (std::size_t i = 0; i < part.size(); ++i)
              result[i % dim].push_back(part[i]);
          return result;
        }

        const Discretization<dim> &D;
        std::vector<unsigned int>  nodes; ///< local nodes of this rank's
        PointCharges               charges;
        std::size_t                first = 0, last = 0; ///< this rank's
      };

      static const Field &
      field_of(const Context<dim> &c)
      {
        return c.fields[VertexCharges::field_name(c.discretization)];
      }

      /// h -= q e
      static void
      add_forces(const Charges             &all,
                 const std::vector<double> &q,
                 const FieldAtCharges      &field,
                 Vector                    &h)
      {
        for (std::size_t i = all.first; i < all.last; ++i)
          for (unsigned int d = 0; d < dim; ++d)
            h.local_element(all.nodes[i - all.first] * dim + d) -=
              q[i] * field.e[d][i];
      }

      /// dh -= (dF/dx) w, which is symmetric. @return -w . dF/dq of all
      /// charges, those of this rank filled in
      std::vector<double>
      differentiate(const Charges &all, const Vector &w, Vector *dh) const
      {
        std::array<std::vector<double>, 3> g;
        for (auto &component : g)
          component.assign(all.charges.size(), 0.);
        std::vector<double> by_q(all.charges.size(), 0.);
        sums->add_vjp(
          all.charges, all.gather(w), g, &by_q, all.first, all.last);
        for (std::size_t i = all.first; dh != nullptr && i < all.last; ++i)
          for (unsigned int d = 0; d < dim; ++d)
            dh->local_element(all.nodes[i - all.first] * dim + d) -= g[d][i];
        for (double &v : by_q)
          v *= -1;
        return by_q;
      }

      void
      add_to_field(const Context<dim> &c,
                   const Vector       &lambda,
                   Vector             *g_state,
                   FieldDuals         &g) const
      {
        const auto         &D = c.discretization;
        const Charges       all(c, field_of(c), false);
        const auto          by_q = differentiate(all, lambda, g_state);
        std::vector<double> of_nodes(D.n_owned_nodes(), 0.);
        for (std::size_t i = all.first; i < all.last; ++i)
          of_nodes[all.nodes[i - all.first]] = by_q[i];
        VertexCharges::add_vjp(D, of_nodes, g[VertexCharges::field_name(D)]);
      }

      VertexCharges                  own;
      std::unique_ptr<ElectricField> sums; ///< null: no charges
    };

    const Registry<Force<3>>::Entry<CoulombForce>
      coulomb_3d("coulomb", "forces between charges in the body", "load");
  } // namespace
} // namespace Palpate
