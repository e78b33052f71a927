#ifndef palpate_forces_material_force_h
#define palpate_forces_material_force_h

#include <palpate/forces/force.h>

namespace Palpate
{
  /**
   * The force of a material: integral of P(H) : grad w, cell by cell. A
   * Material knows stress and its derivatives and nothing of meshes; its energy
   * is linear in one per-cell field p. It provides, for a displacement gradient
   * H and a frame R (column l is e_l), per unit volume:
   * - `double energy(H, R, p)`,
   * - `Tensor stress(H, R, p)`: P = d energy / dH,
   * - `Tensor stress_derivative(H, dH, R, p)`: dP/dH [dH],
   * - `Tensor stress_second_derivative(H, dH1, dH2, R, p)`,
   * - `Tensor positive_derivative(H, dH, R, p)`: a positive semidefinite
   *   substitute of stress_derivative, without the terms in the stress,
   * - `static constexpr bool is_linear`, `bool depends_on_frame()`,
   * - `Tensor tangent_block(g_a, g_b, R, p)`: for linear materials only, the
   *   block of the element matrix per unit volume.
   */
  template <int dim, typename Material>
  class MaterialForce : public Force<dim>
  {
  public:
    using Tensor2 = dealii::Tensor<2, dim>;

    Material    material;
    std::string field = "stiffness"; ///< name of the field p

    double
    energy(const Context<dim> &c) const override
    {
      const auto &D   = c.discretization;
      const auto &p   = c.fields[field];
      double      sum = 0;
      Cells       u(c.state.u);
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          u.load(D, k);
          for (unsigned int q = 0; q < D.n_q; ++q)
            sum += D.JxW(k, q) *
                   material.energy(D.displacement_gradient(u.values, k, q),
                                   c.snapshot.frames[k],
                                   p[k]);
        }
      return sum;
    }

    void
    residual(const Context<dim> &c, Vector &h) const override
    {
      const auto &p = c.fields[field];
      Cells       u(c.state.u);
      loop(c, h, u, [&](const unsigned int k, const unsigned int q) {
        return material.stress(c.discretization.displacement_gradient(u.values,
                                                                      k,
                                                                      q),
                               c.snapshot.frames[k],
                               p[k]);
      });
    }

    void
    apply_tangent(const Context<dim> &c,
                  const Vector       &du,
                  Vector             &dh) const override
    {
      const auto &p = c.fields[field];
      Cells       u(c.state.u), d(du);
      loop(
        c,
        dh,
        u,
        [&](const unsigned int k, const unsigned int q) {
          return material.stress_derivative(
            c.discretization.displacement_gradient(u.values, k, q),
            c.discretization.displacement_gradient(d.values, k, q),
            c.snapshot.frames[k],
            p[k]);
        },
        &d);
    }

    void
    field_jvp(const Context<dim> &c,
              const Fields       &direction,
              Vector             &dh) const override
    {
      if (!direction.has(field))
        return;
      const auto &p = direction[field];
      Cells       u(c.state.u);
      loop(c, dh, u, [&](const unsigned int k, const unsigned int q) {
        return material.stress(c.discretization.displacement_gradient(u.values,
                                                                      k,
                                                                      q),
                               c.snapshot.frames[k],
                               p[k]);
      });
    }

    void
    field_vjp(const Context<dim> &c,
              const Vector       &lambda,
              FieldDuals         &g) const override
    {
      if (!g.has(field))
        return;
      const auto &D   = c.discretization;
      Field      &out = g[field];
      Cells       u(c.state.u), l(lambda);
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          u.load(D, k);
          l.load(D, k);
          for (unsigned int q = 0; q < D.n_q; ++q)
            out[k] += D.JxW(k, q) *
                      scalar_product(
                        material.stress(D.displacement_gradient(u.values, k, q),
                                        c.snapshot.frames[k],
                                        1.),
                        D.displacement_gradient(l.values, k, q));
        }
    }

    void
    second_vjp(const Context<dim> &c,
               const Vector       &lambda,
               const Vector       &du,
               const Fields       &dfields,
               Vector             &g_state,
               FieldDuals         &g_fields) const override
    {
      const auto  &D  = c.discretization;
      const Field &p  = c.fields[field];
      const Field *dp = dfields.has(field) ? &dfields[field] : nullptr;
      Cells        u(c.state.u), l(lambda), d(du);
      const auto   gradient =
        [&](const Cells &x, const unsigned int k, const unsigned int q) {
          return D.displacement_gradient(x.values, k, q);
        };
      loop(
        c,
        g_state,
        u,
        [&](const unsigned int k, const unsigned int q) {
          const Tensor2 H = gradient(u, k, q), L = gradient(l, k, q);
          const auto   &R = c.snapshot.frames[k];
          Tensor2       result;
          if (!Material::is_linear)
            result = material.stress_second_derivative(
              H, gradient(d, k, q), L, R, p[k]);
          if (dp)
            result += material.stress_derivative(H, L, R, (*dp)[k]);
          return result;
        },
        &l,
        &d);
      if (!g_fields.has(field))
        return;
      Field &out = g_fields[field];
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          u.load(D, k);
          l.load(D, k);
          d.load(D, k);
          for (unsigned int q = 0; q < D.n_q; ++q)
            out[k] +=
              D.JxW(k, q) *
              scalar_product(material.stress_derivative(gradient(u, k, q),
                                                        gradient(d, k, q),
                                                        c.snapshot.frames[k],
                                                        1.),
                             gradient(l, k, q));
        }
    }

    void
    add_tangent(const Context<dim> &c,
                const Tangent       kind,
                TangentMatrix<dim> &K) const override
    {
      const auto        &D  = c.discretization;
      const auto        &p  = c.fields[field];
      const unsigned int nn = D.nodes_per_cell;
      if constexpr (Material::is_linear)
        {
          (void)kind; // a linear material's tangent is positive
          for (unsigned int k = 0; k < D.n_cells(); ++k)
            for (unsigned int a = 0; a < nn; ++a)
              for (unsigned int b = 0; b <= a; ++b)
                {
                  Tensor2 block;
                  for (unsigned int q = 0; q < D.n_q; ++q)
                    block += material.tangent_block(D.gradients(k, q)[a],
                                                    D.gradients(k, q)[b],
                                                    c.snapshot.frames[k],
                                                    p[k] * D.JxW(k, q));
                  K.add_block(k, a, b, block);
                  if (a != b)
                    K.add_block(k, b, a, transpose(block));
                }
        }
      else
        {
          std::vector<Tensor2> column(nn);
          Cells                u(c.state.u);
          for (unsigned int k = 0; k < D.n_cells(); ++k)
            {
              u.load(D, k);
              std::vector<Tensor2> blocks(nn * nn);
              for (unsigned int q = 0; q < D.n_q; ++q)
                {
                  const Tensor2 H = D.displacement_gradient(u.values, k, q);
                  const auto   *g = D.gradients(k, q);
                  for (unsigned int b = 0; b < nn; ++b)
                    for (unsigned int j = 0; j < dim; ++j)
                      {
                        Tensor2 dH;
                        dH[j] = g[b];
                        const Tensor2 dP =
                          kind == Tangent::consistent
                            ? material.stress_derivative(H,
                                                         dH,
                                                         c.snapshot.frames[k],
                                                         p[k])
                            : material.positive_derivative(H,
                                                           dH,
                                                           c.snapshot.frames[k],
                                                           p[k]);
                        for (unsigned int a = 0; a < nn; ++a)
                          {
                            const dealii::Tensor<1, dim> f = dP * g[a];
                            for (unsigned int i = 0; i < dim; ++i)
                              blocks[a * nn + b][i][j] += D.JxW(k, q) * f[i];
                          }
                      }
                }
              for (unsigned int a = 0; a < nn; ++a)
                for (unsigned int b = 0; b < nn; ++b)
                  K.add_block(k, a, b, blocks[a * nn + b]);
            }
        }
    }

    Depends
    tangent_depends_on() const override
    {
      Depends d;
      d.state  = !Material::is_linear;
      d.frames = material.depends_on_frame();
      return d;
    }

    bool
    scales_with_stiffness() const override
    {
      return true;
    }

    bool
    assumes_small_strain() const override
    {
      return Material::is_linear;
    }

    std::vector<std::string>
    field_names() const override
    {
      return {field};
    }

  private:
    /// Nodal values of the cell at hand.
    struct Cells
    {
      explicit Cells(const Vector &vector)
        : vector(vector)
      {}
      void
      load(const Discretization<dim> &D, const unsigned int k)
      {
        D.gather(vector, k, values);
      }
      const Vector                       &vector;
      std::vector<dealii::Tensor<1, dim>> values;
    };

    /// result_a += sum_q JxW stress(k, q) g_a over all local cells.
    template <typename Stress>
    void
    loop(const Context<dim> &c,
         Vector             &result,
         Cells              &u,
         const Stress       &stress,
         Cells              *second = nullptr,
         Cells              *third  = nullptr) const
    {
      const auto                         &D = c.discretization;
      std::vector<dealii::Tensor<1, dim>> out(D.nodes_per_cell);
      for (unsigned int k = 0; k < D.n_cells(); ++k)
        {
          for (Cells *x : {&u, second, third})
            if (x != nullptr)
              x->load(D, k);
          for (auto &o : out)
            o = dealii::Tensor<1, dim>();
          for (unsigned int q = 0; q < D.n_q; ++q)
            {
              const Tensor2 P = D.JxW(k, q) * stress(k, q);
              const auto   *g = D.gradients(k, q);
              for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
                out[a] += P * g[a];
            }
          D.scatter(out, k, result);
        }
    }
  };
} // namespace Palpate

#endif
