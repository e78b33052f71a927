#include <palpate/forces/force.h>
#include <palpate/geometry/cell_batch.h>

#include <algorithm>
#include <cmath>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /**
     * Strain-rate damping (doc/theory.md 10a): stress F S with
     * S = 2 a E' + b tr(E') I, E' = sym(F^T grad v) the rate of Green's strain.
     * a and b are the fields "shear_viscosity" and "dilatational_viscosity"
     * [Pa s] of the cells. A rotating body has none.
     */
    template <int dim>
    class Viscosity : public VelocityForce<dim>
    {
    public:
      static void
      declare_parameters(ParameterHandler &prm)
      {
        for (const char *entry : {"Shear viscosity", "Dilatational viscosity"})
          prm.declare_entry(
            entry,
            "0",
            Patterns::Double(0),
            entry[0] == 'S' ? "a of the damping stress 2 a E' + b tr(E') I by "
                              "the rate E' of Green's strain, in motions "
                              "[Pa s]."
                            : "b of the damping stress [Pa s].");
      }

      void
      parse_parameters(Parameters &parameters) override
      {
        shear        = parameters.get_double("Shear viscosity");
        dilatational = parameters.get_double("Dilatational viscosity");
      }

      bool
      is_active() const override
      {
        return shear > 0 || dilatational > 0;
      }

      double
      dissipation(const Context<dim> &c) const override
      {
        const auto                 &D   = c.discretization;
        double                      sum = 0;
        const Points                point(c);
        std::vector<Tensor<1, dim>> u, v;
        for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
          {
            D.gather(c.state.u, k, u);
            D.gather(c.state.v, k, v);
            for (unsigned int q = 0; q < D.n_q; ++q)
              {
                const auto p = point(k, q, u, v);
                sum +=
                  0.5 * D.JxW(k, q) * scalar_product(p.S, p.strain(p.F, p.G));
              }
          }
        return sum;
      }

      void
      residual(const Context<dim> &c, Vector &h) const override
      {
        loop(c, c.state.v, h, [](const auto &p, const auto &) {
          return p.F * p.S;
        });
      }

      void
      apply_tangent(const Context<dim> &c,
                    const Vector       &du,
                    Vector             &dh) const override
      {
        const double rate = c.velocity_rate;
        loop(c, du, dh, [rate](const auto &p, const auto &dH) {
          return p.derivative(dH, rate);
        });
      }

      void
      apply_transposed_tangent(const Context<dim> &c,
                               const Vector       &lambda,
                               Vector             &g) const override
      {
        const double rate = c.velocity_rate;
        loop(c, lambda, g, [rate](const auto &p, const auto &L) {
          return p.transposed(L, rate);
        });
      }

      void
      velocity_vjp(const Context<dim> &c,
                   const Vector       &lambda,
                   Vector             &g) const override
      {
        loop(c, lambda, g, [](const auto &p, const auto &L) {
          return p.by_velocity(L);
        });
      }

      void
      add_tangent(const Context<dim> &c,
                  const Tangent       kind,
                  TangentMatrix<dim> &K) const override
      {
        const auto                 &D  = c.discretization;
        const unsigned int          nn = D.nodes_per_cell;
        const Points                point(c);
        std::vector<Tensor<1, dim>> u, v;
        std::vector<Tensor<2, dim>> blocks(nn * nn);
        for (unsigned int k = 0; k < D.n_cells(); ++k)
          {
            D.gather(c.state.u, k, u);
            D.gather(c.state.v, k, v);
            std::fill(blocks.begin(), blocks.end(), Tensor<2, dim>());
            for (unsigned int q = 0; q < D.n_q; ++q)
              {
                const auto  p = point(k, q, u, v);
                const auto *g = D.gradients(k, q);
                for (unsigned int b = 0; b < nn; ++b)
                  for (unsigned int j = 0; j < dim; ++j)
                    {
                      Tensor<2, dim> dH;
                      dH[j] = g[b];
                      const Tensor<2, dim> dP =
                        D.JxW(k, q) * (kind == Tangent::consistent
                                         ? p.derivative(dH, c.velocity_rate)
                                         : c.velocity_rate * p.by_velocity(dH));
                      for (unsigned int a = 0; a < nn; ++a)
                        {
                          const Tensor<1, dim> f = dP * g[a];
                          for (unsigned int i = 0; i < dim; ++i)
                            blocks[a * nn + b][i][j] += f[i];
                        }
                    }
              }
            for (unsigned int a = 0; a < nn; ++a)
              for (unsigned int b = 0; b < nn; ++b)
                K.add_block(k, a, b, blocks[a * nn + b]);
          }
      }

      void
      field_jvp(const Context<dim> &c,
                const Fields       &direction,
                Vector             &dh) const override
      {
        const unsigned int   n = c.discretization.n_cells();
        std::array<Field, 2> d;
        for (unsigned int i = 0; i < 2; ++i)
          d[i] = direction.has(names[i]) ? direction[names[i]] : Field(n, 0.);
        const auto                 &D = c.discretization;
        const Points                point(c);
        std::vector<Tensor<1, dim>> u, v, out(D.nodes_per_cell);
        for (unsigned int k = 0; k < D.n_cells(); ++k)
          {
            D.gather(c.state.u, k, u);
            D.gather(c.state.v, k, v);
            std::fill(out.begin(), out.end(), Tensor<1, dim>());
            for (unsigned int q = 0; q < D.n_q; ++q)
              {
                const auto           p = point(k, q, u, v);
                const Point<double>  other{p.F, p.G, d[0][k], d[1][k]};
                const Tensor<2, dim> P = D.JxW(k, q) * (other.F * other.S);
                for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
                  out[a] += P * D.gradients(k, q)[a];
              }
            D.scatter(out, k, dh);
          }
      }

      void
      field_vjp(const Context<dim> &c,
                const Vector       &lambda,
                FieldDuals         &g) const override
      {
        if (!g.has(names[0]) && !g.has(names[1]))
          return;
        const auto                 &D = c.discretization;
        const Points                point(c);
        std::vector<Tensor<1, dim>> u, v, l;
        for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
          {
            D.gather(c.state.u, k, u);
            D.gather(c.state.v, k, v);
            D.gather(lambda, k, l);
            for (unsigned int q = 0; q < D.n_q; ++q)
              {
                const auto           p    = point(k, q, u, v);
                const Tensor<2, dim> rate = p.strain(p.F, p.G),
                                     L    = p.strain(
                                       p.F, D.displacement_gradient(l, k, q));
                if (g.has(names[0]))
                  g[names[0]][k] += 2 * D.JxW(k, q) * scalar_product(rate, L);
                if (g.has(names[1]))
                  g[names[1]][k] += D.JxW(k, q) * trace(rate) * trace(L);
              }
          }
      }

      std::vector<std::string>
      field_names() const override
      {
        return {names[0], names[1]};
      }
      void
      add_fields(const Discretization<dim> &D,
                 const std::vector<Snapshot<dim>> &,
                 const CaseData<dim> &,
                 const std::vector<std::string> &,
                 Fields &fields) const override
      {
        fields[names[0]] = Field(D.n_cells(), shear);
        fields[names[1]] = Field(D.n_cells(), dilatational);
      }

    private:
      static constexpr std::array<const char *, 2> names{
        {"shear_viscosity", "dilatational_viscosity"}};

      template <typename Number>
      struct Point
      {
        using T2 = Tensor<2, dim, Number>;
        const T2     F, G; ///< deformation and velocity gradient
        const Number a, b;
        const T2     S = stress(strain(F, G));

        /// sym(A^T B)
        static T2
        strain(const T2 &A, const T2 &B)
        {
          T2 E;
          for (unsigned int i = 0; i < dim; ++i)
            for (unsigned int j = 0; j < dim; ++j)
              for (unsigned int m = 0; m < dim; ++m)
                E[i][j] +=
                  Number(0.5) * (A[m][i] * B[m][j] + B[m][i] * A[m][j]);
          return E;
        }
        T2
        stress(const T2 &E) const
        {
          T2           result = (a + a) * E;
          const Number t      = b * trace(E);
          for (unsigned int i = 0; i < dim; ++i)
            result[i][i] += t;
          return result;
        }
        /// Of F S along dF = dH, dG = rate dH.
        T2
        derivative(const T2 &dH, const double rate) const
        {
          return dH * S + F * stress(strain(dH, G)) +
                 Number(rate) * by_velocity(dH);
        }
        /// The transpose of derivative().
        T2
        transposed(const T2 &L, const double rate) const
        {
          return L * S + G * stress(strain(F, L)) +
                 Number(rate) * by_velocity(L);
        }
        /// Of F S along dG = dH; symmetric.
        T2
        by_velocity(const T2 &dH) const
        {
          return F * stress(strain(F, dH));
        }
      };

      /// Points of cells, by their nodal values u and v.
      struct Points
      {
        explicit Points(const Context<dim> &c)
          : D(c.discretization)
          , a(c.fields[names[0]])
          , b(c.fields[names[1]])
        {}
        Point<double>
        operator()(const unsigned int                 k,
                   const unsigned int                 q,
                   const std::vector<Tensor<1, dim>> &u,
                   const std::vector<Tensor<1, dim>> &v) const
        {
          return {D.deformation_gradient(u, k, q),
                  D.displacement_gradient(v, k, q),
                  a[k],
                  b[k]};
        }
        const Discretization<dim> &D;
        const Field               &a, &b;
      };

      /// result_a += integral of P(point, gradient of @p direction) g_a.
      template <typename Stress>
      void
      loop(const Context<dim> &c,
           const Vector       &direction,
           Vector             &result,
           const Stress       &stress) const
      {
        const auto &D = c.discretization;
        if (D.degree == 1)
          {
            const Field &a = c.fields[names[0]], &b = c.fields[names[1]];
            run_fast([&]() {
              for (unsigned int k = 0; k < D.n_cells(); k += Lanes::width)
                {
                  const CellBatch<dim> batch(D, k, D.n_cells());
                  const auto           in_cell = [&](const Field &field) {
                    return Lanes::from([&](const unsigned int l) {
                      return field[batch.cell[l]];
                    });
                  };
                  auto F = batch.gradient(c.state.u);
                  for (unsigned int d = 0; d < dim; ++d)
                    F[d][d] += Lanes(1);
                  const Point<Lanes> p{F,
                                       batch.gradient(c.state.v),
                                       in_cell(a),
                                       in_cell(b)};
                  batch.add_forces(stress(p, batch.gradient(direction)),
                                   result);
                }
            });
            return;
          }
        const Points                point(c);
        std::vector<Tensor<1, dim>> u, v, w, out(D.nodes_per_cell);
        for (unsigned int k = 0; k < D.n_cells(); ++k)
          {
            D.gather(c.state.u, k, u);
            D.gather(c.state.v, k, v);
            D.gather(direction, k, w);
            std::fill(out.begin(), out.end(), Tensor<1, dim>());
            for (unsigned int q = 0; q < D.n_q; ++q)
              {
                const Tensor<2, dim> P =
                  D.JxW(k, q) *
                  stress(point(k, q, u, v), D.displacement_gradient(w, k, q));
                for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
                  out[a] += P * D.gradients(k, q)[a];
              }
            D.scatter(out, k, result);
          }
      }

      double shear = 0, dilatational = 0;
    };

    const char *viscosity_description =
      "damping by the rate of strain, in motions";
    const Registry<Force<2>>::Entry<Viscosity<2>>
      viscosity_2d("viscosity", viscosity_description, "damping");
    const Registry<Force<3>>::Entry<Viscosity<3>>
      viscosity_3d("viscosity", viscosity_description, "damping");
  } // namespace
} // namespace Palpate
