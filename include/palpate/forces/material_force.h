#ifndef palpate_forces_material_force_h
#define palpate_forces_material_force_h

#include <palpate/core/errors.h>
#include <palpate/forces/force.h>
#include <palpate/forces/stress_law.h>
#include <palpate/geometry/cell_batch.h>

#include <array>

namespace Palpate
{
  /// The entry that several materials share.
  inline void
  declare_poisson_ratio(dealii::ParameterHandler &prm)
  {
    prm.declare_entry("Poisson ratio",
                      "0.4",
                      dealii::Patterns::Double(),
                      "nu. sms: sets kappa/alpha = 4 nu / (1 - 2 nu); with "
                      "Shear ratio = 2 the material is isotropic with "
                      "E = 4 alpha (1 + nu).");
  }

  /// The modulus of a material that has one: the field "stiffness".
  struct StiffnessModulus
  {
    static constexpr std::array<const char *, 1> field_names{{"stiffness"}};
    /// What the fields are in a cell.
    template <typename Number = double>
    using InCell = std::array<Number, 1>;

    static double
    values(const InCell<> &f)
    {
      return f[0];
    }
    static double
    derivative(const InCell<> &, const InCell<> &df)
    {
      return df[0];
    }
    /// g += (d values/df)^T dual
    static void
    add_vjp(const InCell<> &, const double dual, InCell<> &g)
    {
      g[0] += dual;
    }
    /// g += (d^2 values/df^2 [df])^T dual
    static void
    add_second_vjp(const InCell<> &, const double, const InCell<> &, InCell<> &)
    {}
    /// The values of a function that is linear in the modulus, for its unit.
    template <typename Function>
    static double
    by_unit(const Function &f)
    {
      return f(1.);
    }
  };

  /// What a MaterialForce asks at one point, for materials that keep nothing
  /// from one question to the next.
  template <int dim, typename Material>
  struct MaterialPoint
  {
    using T2 = dealii::Tensor<2, dim>;
    const Material &material;
    const T2        H, &R;

    double
    energy(const double p) const
    {
      return material.energy(H, R, p);
    }
    T2
    stress(const double p) const
    {
      return material.stress(H, R, p);
    }
    double
    by_moduli(const T2 &L) const
    {
      return scalar_product(stress(1.), L);
    }
    T2
    derivative(const T2 &dH, const double p) const
    {
      return material.stress_derivative(H, dH, R, p);
    }
    T2
    positive_derivative(const T2 &dH, const double p) const
    {
      return material.positive_derivative(H, dH, R, p);
    }
    T2
    second_derivative(const T2 &dH1, const T2 &dH2, const double p) const
    {
      return material.stress_second_derivative(H, dH1, dH2, R, p);
    }
    bool
    is_valid() const
    {
      return true;
    }
  };

  /**
   * The force of a material: integral of P(H) : grad w, cell by cell. A
   * Material knows stress and its derivatives and nothing of meshes; its energy
   * is linear in its moduli p, which `Material::Moduli` finds from per-cell
   * fields (StiffnessModulus, ElasticModuli). It provides
   * `point(H, R)` for a displacement gradient H and a frame R (column l is
   * e_l), an object with, per unit volume:
   * - `double energy(p)`; infinite where the material does not exist,
   * - `Tensor stress(p)`: P = d energy / dH,
   * - `by_moduli(L)`: derivatives of P : L by the moduli,
   * - `Tensor derivative(dH, p)`: dP/dH [dH],
   * - `Tensor positive_derivative(dH, p)`: a positive semidefinite substitute,
   * - `Tensor second_derivative(dH1, dH2, p)`,
   * - `bool is_valid()`: false where there is no stress (inverted),
   *
   * and itself `static constexpr bool is_linear`, `has_lanes` (points work with
   * Lanes, without a frame), `bool depends_on_frame()`,
   * and, for linear materials only, `Tensor tangent_block(g_a, g_b, R, p)`: the
   * block of the element matrix per unit volume.
   */
  template <int dim, typename Material>
  class MaterialForce
    : public Force<dim>
    , public StressLaw<dim>
  {
  public:
    using Tensor2 = dealii::Tensor<2, dim>;
    using Moduli  = typename Material::Moduli;

    Material material;

    double
    energy(const Context<dim> &c) const override
    {
      const auto   &D = c.discretization;
      const InCells p(c.fields);
      double        sum = 0;
      Cells         u(c.state.u);
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          u.load(D, k);
          const auto moduli = Moduli::values(p(k));
          for (unsigned int q = 0; q < D.n_q; ++q)
            sum +=
              D.JxW(k, q) *
              material
                .point(D.displacement_gradient(u.values, k, q), frame(c, k))
                .energy(moduli);
        }
      return sum;
    }

    /// @throw SolverError where the material does not exist (inverted cells)
    void
    residual(const Context<dim> &c, Vector &h) const override
    {
      if constexpr (Material::has_lanes)
        if (c.discretization.degree == 1)
          {
            require_valid(c, lanes(c, [&](const auto &point, const auto &b) {
                            b.batch.add_forces(point.stress(b.moduli()), h);
                          }));
            return;
          }
      const InCells p(c.fields);
      Cells         u(c.state.u);
      loop(c, h, u, [&](const unsigned int k, const unsigned int q) {
        const auto point = at(c, u, k, q);
        require_valid(c, point, k);
        return point.stress(Moduli::values(p(k)));
      });
    }

    void
    apply_tangent(const Context<dim> &c,
                  const Vector       &du,
                  Vector             &dh) const override
    {
      if constexpr (Material::has_lanes)
        if (c.discretization.degree == 1)
          {
            lanes(c, [&](const auto &point, const auto &b) {
              b.batch.add_forces(point.derivative(b.batch.gradient(du),
                                                  b.moduli()),
                                 dh);
            });
            return;
          }
      const InCells p(c.fields);
      Cells         u(c.state.u), d(du);
      loop(
        c,
        dh,
        u,
        [&](const unsigned int k, const unsigned int q) {
          return at(c, u, k, q)
            .derivative(gradient(c, d, k, q), Moduli::values(p(k)));
        },
        &d);
    }

    void
    field_jvp(const Context<dim> &c,
              const Fields       &direction,
              Vector             &dh) const override
    {
      const InCells p(c.fields), dp(direction);
      if (!dp.any())
        return;
      Cells u(c.state.u);
      loop(c, dh, u, [&](const unsigned int k, const unsigned int q) {
        return at(c, u, k, q).stress(Moduli::derivative(p(k), dp(k)));
      });
    }

    void
    vjp(const Context<dim> &c,
        const Vector       &lambda,
        Vector             &g_state,
        FieldDuals         &g_fields) const override
    {
      if constexpr (Material::has_lanes)
        if (c.discretization.degree == 1)
          {
            const Duals out(g_fields);
            const bool  any = out.any();
            lanes(c, [&](const auto &point, const auto &b) {
              const auto L = b.batch.gradient(lambda);
              b.batch.add_forces(point.derivative(L, b.moduli()), g_state);
              if (any)
                b.add_field_vjp(point, L, out);
            });
            return;
          }
      Force<dim>::vjp(c, lambda, g_state, g_fields);
    }

    void
    field_vjp(const Context<dim> &c,
              const Vector       &lambda,
              FieldDuals         &g) const override
    {
      const Duals out(g);
      if (!out.any())
        return;
      if constexpr (Material::has_lanes)
        if (c.discretization.degree == 1)
          {
            lanes(c, [&](const auto &point, const auto &b) {
              b.add_field_vjp(point, b.batch.gradient(lambda), out);
            });
            return;
          }
      const auto   &D = c.discretization;
      const InCells p(c.fields);
      Cells         u(c.state.u), l(lambda);
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          u.load(D, k);
          l.load(D, k);
          typename Moduli::template InCell<> sum{};
          for (unsigned int q = 0; q < D.n_q; ++q)
            {
              const auto    point = at(c, u, k, q);
              const Tensor2 L     = D.JxW(k, q) * gradient(c, l, k, q);
              Moduli::add_vjp(p(k), point.by_moduli(L), sum);
            }
          out.add(k, sum);
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
      const auto   &D = c.discretization;
      const InCells p(c.fields), dp(dfields);
      Cells         u(c.state.u), l(lambda), d(du);
      loop(
        c,
        g_state,
        u,
        [&](const unsigned int k, const unsigned int q) {
          const Tensor2 L      = gradient(c, l, k, q);
          const auto    point  = at(c, u, k, q);
          Tensor2       result = point.second_derivative(gradient(c, d, k, q),
                                                   L,
                                                   Moduli::values(p(k)));
          if (dp.any())
            result += point.derivative(L, Moduli::derivative(p(k), dp(k)));
          return result;
        },
        &l,
        &d);
      const Duals out(g_fields);
      if (!out.any())
        return;
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          u.load(D, k);
          l.load(D, k);
          d.load(D, k);
          typename Moduli::template InCell<> sum{};
          for (unsigned int q = 0; q < D.n_q; ++q)
            {
              const auto    point = at(c, u, k, q);
              const Tensor2 L     = D.JxW(k, q) * gradient(c, l, k, q),
                            dH    = gradient(c, d, k, q);
              Moduli::add_vjp(p(k),
                              Moduli::by_unit([&](const auto &unit) {
                                return scalar_product(point.derivative(dH,
                                                                       unit),
                                                      L);
                              }),
                              sum);
              if (dp.any())
                Moduli::add_second_vjp(p(k), point.by_moduli(L), dp(k), sum);
            }
          out.add(k, sum);
        }
    }

    void
    add_tangent(const Context<dim> &c,
                const Tangent       kind,
                TangentMatrix<dim> &K) const override
    {
      const auto        &D = c.discretization;
      const InCells      p(c.fields);
      const unsigned int nn = D.nodes_per_cell;
      if constexpr (Material::has_lanes && !Material::is_linear)
        if (D.degree == 1 && kind == Tangent::consistent)
          {
            require_valid(c, lanes(c, [&](const auto &point, const auto &b) {
                            b.add_tangent(point, K);
                          }));
            return;
          }
      if constexpr (Material::is_linear)
        {
          (void)kind; // a linear material's tangent is positive
          for (unsigned int k = 0; k < D.n_cells(); ++k)
            {
              const auto moduli = Moduli::values(p(k));
              for (unsigned int a = 0; a < nn; ++a)
                for (unsigned int b = 0; b <= a; ++b)
                  {
                    Tensor2 block;
                    for (unsigned int q = 0; q < D.n_q; ++q)
                      block += material.tangent_block(D.gradients(k, q)[a],
                                                      D.gradients(k, q)[b],
                                                      frame(c, k),
                                                      moduli * D.JxW(k, q));
                    K.add_block(k, a, b, block);
                    if (a != b)
                      K.add_block(k, b, a, transpose(block));
                  }
            }
        }
      else
        {
          std::vector<Tensor2> blocks(nn * nn);
          Cells                u(c.state.u);
          for (unsigned int k = 0; k < D.n_cells(); ++k)
            {
              u.load(D, k);
              std::fill(blocks.begin(), blocks.end(), Tensor2());
              const auto moduli = Moduli::values(p(k));
              for (unsigned int q = 0; q < D.n_q; ++q)
                {
                  const auto point = at(c, u, k, q);
                  require_valid(c, point, k);
                  const auto *g = D.gradients(k, q);
                  for (unsigned int b = 0; b < nn; ++b)
                    for (unsigned int j = 0; j < dim; ++j)
                      {
                        Tensor2 dH;
                        dH[j] = g[b];
                        const Tensor2 dP =
                          D.JxW(k, q) *
                          (kind == Tangent::consistent
                             ? point.derivative(dH, moduli)
                             : point.positive_derivative(dH, moduli));
                        for (unsigned int a = 0; a < nn; ++a)
                          {
                            const dealii::Tensor<1, dim> f = dP * g[a];
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
      return {Moduli::field_names.begin(), Moduli::field_names.end()};
    }

    std::vector<std::string>
    stress_fields() const override
    {
      return field_names();
    }
    bool
    is_for_small_strain() const override
    {
      return Material::is_linear;
    }
    Tensor2
    stress(const Context<dim> &c,
           const unsigned int  k,
           const Tensor2      &H) const override
    {
      return material.point(H, frame(c, k))
        .stress(Moduli::values(InCells(c.fields)(k)));
    }
    Tensor2
    stress_by_gradient(const Context<dim> &c,
                       const unsigned int  k,
                       const Tensor2      &H,
                       const Tensor2      &dH) const override
    {
      return material.point(H, frame(c, k))
        .derivative(dH, Moduli::values(InCells(c.fields)(k)));
    }
    Tensor2
    stress_by_fields(const Context<dim> &c,
                     const unsigned int  k,
                     const Tensor2      &H,
                     const Fields       &dfields) const override
    {
      return material.point(H, frame(c, k))
        .stress(Moduli::derivative(InCells(c.fields)(k), InCells(dfields)(k)));
    }
    void
    add_stress_vjp(const Context<dim> &c,
                   const unsigned int  k,
                   const Tensor2      &H,
                   const Tensor2      &W,
                   FieldDuals         &g) const override
    {
      typename Moduli::template InCell<> sum{};
      Moduli::add_vjp(InCells(c.fields)(k),
                      material.point(H, frame(c, k)).by_moduli(W),
                      sum);
      Duals(g).add(k, sum);
    }
    Tensor2
    second_by_gradient(const Context<dim> &c,
                       const unsigned int  k,
                       const Tensor2      &H,
                       const Tensor2      &W,
                       const Tensor2      &dH,
                       const Fields       &dfields) const override
    {
      const auto p     = InCells(c.fields)(k);
      const auto point = material.point(H, frame(c, k));
      return point.second_derivative(dH, W, Moduli::values(p)) +
             point.derivative(W, Moduli::derivative(p, InCells(dfields)(k)));
    }
    void
    add_second_by_fields(const Context<dim> &c,
                         const unsigned int  k,
                         const Tensor2      &H,
                         const Tensor2      &W,
                         const Tensor2      &dH,
                         const Fields       &dfields,
                         FieldDuals         &g) const override
    {
      const auto                         p     = InCells(c.fields)(k);
      const auto                         point = material.point(H, frame(c, k));
      typename Moduli::template InCell<> sum{};
      Moduli::add_vjp(p,
                      Moduli::by_unit([&](const auto &unit) {
                        return scalar_product(point.derivative(dH, unit), W);
                      }),
                      sum);
      Moduli::add_second_vjp(p, point.by_moduli(W), InCells(dfields)(k), sum);
      Duals(g).add(k, sum);
    }

  private:
    /// The moduli's fields, or a direction of them (0 where it has none).
    class InCells
    {
    public:
      explicit InCells(const Fields &fields)
      {
        for (std::size_t i = 0; i < field.size(); ++i)
          if (fields.has(Moduli::field_names[i]))
            field[i] = &fields[Moduli::field_names[i]];
      }
      typename Moduli::template InCell<>
      operator()(const unsigned int k) const
      {
        typename Moduli::template InCell<> result{};
        for (std::size_t i = 0; i < field.size(); ++i)
          if (field[i] != nullptr)
            result[i] = (*field[i])[k];
        return result;
      }
      bool
      any() const
      {
        return field != decltype(field){};
      }

    private:
      std::array<const Field *, Moduli::field_names.size()> field{};
    };

    /// The derivatives by these fields that are asked for.
    class Duals
    {
    public:
      explicit Duals(FieldDuals &g)
      {
        for (std::size_t i = 0; i < field.size(); ++i)
          if (g.has(Moduli::field_names[i]))
            field[i] = &g[Moduli::field_names[i]];
      }
      void
      add(const unsigned int                        k,
          const typename Moduli::template InCell<> &g) const
      {
        for (std::size_t i = 0; i < field.size(); ++i)
          if (field[i] != nullptr)
            (*field[i])[k] += g[i];
      }
      bool
      any() const
      {
        return field != decltype(field){};
      }

    private:
      std::array<Field *, Moduli::field_names.size()> field{};
    };

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

    /// Eight cells with the fields of their moduli.
    struct MaterialBatch
    {
      MaterialBatch(const Discretization<dim> &D,
                    const InCells             &p,
                    const unsigned int         first)
        : batch(D, first, D.n_cells())
      {
        std::array<typename Moduli::template InCell<>, Lanes::width> each;
        for (unsigned int l = 0; l < Lanes::width; ++l)
          each[l] = p(batch.cell[l]);
        for (std::size_t i = 0; i < in_cell.size(); ++i)
          in_cell[i] =
            Lanes::from([&](const unsigned int l) { return each[l][i]; });
      }
      auto
      moduli() const
      {
        return Moduli::values(in_cell);
      }
      template <typename Point>
      void
      add_tangent(const Point &point, TangentMatrix<dim> &K) const
      {
        constexpr unsigned int                             nn = dim + 1;
        std::array<dealii::Tensor<2, dim, Lanes>, nn * nn> blocks;
        const auto                                         m = moduli();
        for (unsigned int b = 0; b < nn; ++b)
          for (unsigned int j = 0; j < dim; ++j)
            {
              dealii::Tensor<2, dim, Lanes> dH;
              dH[j]         = batch.g[b];
              const auto dP = batch.volume * point.derivative(dH, m);
              for (unsigned int a = 0; a < nn; ++a)
                for (unsigned int i = 0; i < dim; ++i)
                  for (unsigned int d = 0; d < dim; ++d)
                    blocks[a * nn + b][i][j] += dP[i][d] * batch.g[a][d];
            }
        for (unsigned int l = 0; l < batch.count; ++l)
          for (unsigned int a = 0; a < nn; ++a)
            for (unsigned int b = 0; b < nn; ++b)
              {
                Tensor2 block;
                for (unsigned int i = 0; i < dim; ++i)
                  for (unsigned int j = 0; j < dim; ++j)
                    block[i][j] = blocks[a * nn + b][i][j][l];
                K.add_block(batch.cell[l], a, b, block);
              }
      }
      template <typename Point>
      void
      add_field_vjp(const Point                       &point,
                    const typename CellBatch<dim>::T2 &L,
                    const Duals                       &out) const
      {
        typename Moduli::template InCell<Lanes> sum{};
        const auto                              VL = batch.volume * L;
        Moduli::add_vjp(in_cell, point.by_moduli(VL), sum);
        for (unsigned int l = 0; l < batch.count; ++l)
          if (batch.cell[l] < batch.D.n_owned_cells())
            {
              typename Moduli::template InCell<> one;
              for (std::size_t i = 0; i < one.size(); ++i)
                one[i] = sum[i][l];
              out.add(batch.cell[l], one);
            }
      }

      const CellBatch<dim>                    batch;
      typename Moduli::template InCell<Lanes> in_cell;
    };

    /// f(point, cells) for all local cells, eight at a time. @return the first
    /// cell of eight of which one is not valid, left out; n_cells() if none
    template <typename Function>
    unsigned int
    lanes(const Context<dim> &c, const Function &f) const
    {
      const auto   &D = c.discretization;
      const InCells p(c.fields);
      unsigned int  invalid = D.n_cells();
      run_fast([&]() {
        for (unsigned int k = 0; k < D.n_cells(); k += Lanes::width)
          {
            const MaterialBatch b(D, p, k);
            const auto          point =
              material.point(b.batch.gradient(c.state.u), Tensor2());
            if (point.is_valid())
              f(point, b);
            else
              invalid = std::min(invalid, k);
          }
      });
      return invalid;
    }

    /// @param first of eight cells. @throw SolverError for the invalid one
    void
    require_valid(const Context<dim> &c, const unsigned int first) const
    {
      Cells u(c.state.u);
      for (unsigned int k = first;
           k < std::min(first + Lanes::width, c.discretization.n_cells());
           ++k)
        {
          u.load(c.discretization, k);
          require_valid(c, at(c, u, k, 0), k);
        }
    }

    static const Tensor2 &
    frame(const Context<dim> &c, const unsigned int k)
    {
      return c.snapshot.frames[k];
    }

    static Tensor2
    gradient(const Context<dim> &c,
             const Cells        &x,
             const unsigned int  k,
             const unsigned int  q)
    {
      return c.discretization.displacement_gradient(x.values, k, q);
    }

    auto
    at(const Context<dim> &c,
       const Cells        &u,
       const unsigned int  k,
       const unsigned int  q) const
    {
      return material.point(gradient(c, u, k, q), frame(c, k));
    }

    template <typename Point>
    static void
    require_valid(const Context<dim> &c, const Point &point, const unsigned k)
    {
      if (!point.is_valid())
        throw SolverError(
          "cell " + std::to_string(c.discretization.cell_id[k]) +
          " is inverted (det F <= 0), where the material has no stress: try "
          "smaller load or time steps");
    }

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
