#include <palpate/core/errors.h>
#include <palpate/core/moduli.h>
#include <palpate/objectives/objective.h>

namespace Palpate
{
  using namespace dealii;

  /**
   * Sum over all pairs of neighbours t, t' (both orders) of
   * (1 - lambda_t'/lambda_t)^2 + (1 - mu_t'/mu_t)^2 (doc/theory.md 12), with
   * Lame's moduli of the fields "stiffness" (E) and "poisson_ratio". No unit.
   */
  template <int dim>
  class MaterialSmoothing : public Objective<dim>
  {
  public:
    static void
    declare_parameters(ParameterHandler &)
    {}
    void
    parse_parameters(Parameters &) override
    {}

    double
    value(const Context<dim> &c) const override
    {
      const auto m   = moduli(c);
      double     sum = 0, wrong = 0;
      for (unsigned int k = 0; k < c.discretization.n_owned_cells(); ++k)
        wrong += !(m[k].lambda > 0);
      if (c.discretization.sum(wrong) > 0)
        throw EntryError("Objective/Material smoothing",
                         "lambda is not positive everywhere, expected Poisson "
                         "ratios (and their bounds) above 0");
      for_each_pair(c, [&](const unsigned int t, const unsigned int other) {
        if (t < c.discretization.n_owned_cells())
          {
            const Lame<> a = m[t], b = m[other];
            sum += std::pow(1 - b.lambda / a.lambda, 2) +
                   std::pow(1 - b.mu / a.mu, 2);
          }
      });
      return c.discretization.sum(sum);
    }

    void
    field_gradient(const Context<dim> &c,
                   const double        factor,
                   FieldDuals         &g) const override
    {
      add(c, by_moduli(c), factor, g);
    }

    void
    hessian(const Context<dim> &c,
            const double        factor,
            const Vector &,
            const Fields &dfields,
            const bool    gauss_newton,
            Vector &,
            FieldDuals &g) const override
    {
      const auto         &D = c.discretization;
      const auto          m = moduli(c);
      const auto          f = in_cells(c, c.fields), df = in_cells(c, dfields);
      std::vector<Lame<>> dm(D.n_cells()), change(D.n_cells());
      for (unsigned int k = 0; k < D.n_cells(); ++k)
        dm[k] = ElasticModuli::derivative(f[k], df[k]);
      for_each_pair(c, [&](const unsigned int t, const unsigned int other) {
        const Lame<> a = m[t], b = m[other];
        curve(a.lambda,
              b.lambda,
              dm[t].lambda,
              dm[other].lambda,
              gauss_newton,
              change[t].lambda,
              change[other].lambda);
        curve(a.mu,
              b.mu,
              dm[t].mu,
              dm[other].mu,
              gauss_newton,
              change[t].mu,
              change[other].mu);
      });
      add(c, change, factor, g);
      const auto by = by_moduli(c);
      if (gauss_newton)
        {
          // By log E it is that of the linearized terms alone: callers add
          // g/E, for E is a logarithm's.
          if (g.has("stiffness") && dfields.has("stiffness"))
            {
              Field &by_E = g["stiffness"];
              for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
                {
                  ElasticModuli::InCell<> sum{};
                  ElasticModuli::add_vjp(f[k], by[k] * factor, sum);
                  by_E[k] -= sum[0] / f[k][0] * df[k][0];
                }
            }
          return;
        }
      std::vector<ElasticModuli::InCell<>> sums(D.n_owned_cells());
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        ElasticModuli::add_second_vjp(f[k], by[k] * factor, df[k], sums[k]);
      add(sums, g);
    }

    bool
    depends_on_state() const override
    {
      return false;
    }
    std::vector<std::string>
    field_names() const override
    {
      return {"stiffness", "poisson_ratio"};
    }
    std::string
    column_name() const override
    {
      return "material_smoothing";
    }

  private:
    /// The fields of all local cells; 0 where there is none.
    static std::vector<ElasticModuli::InCell<>>
    in_cells(const Context<dim> &c, const Fields &f)
    {
      std::vector<ElasticModuli::InCell<>> all(c.discretization.n_cells());
      for (unsigned int i = 0; i < ElasticModuli::field_names.size(); ++i)
        if (f.has(ElasticModuli::field_names[i]))
          {
            const Field &field = f[ElasticModuli::field_names[i]];
            for (unsigned int k = 0; k < all.size(); ++k)
              all[k][i] = field[k];
          }
      return all;
    }
    static std::vector<Lame<>>
    moduli(const Context<dim> &c)
    {
      std::vector<Lame<>> all;
      for (const auto &f : in_cells(c, c.fields))
        all.push_back(ElasticModuli::values(f));
      return all;
    }

    /// f(t, t') for all faces between local cells of which one is owned.
    template <typename Function>
    static void
    for_each_pair(const Context<dim> &c, const Function &f)
    {
      for (const auto &face : c.discretization.interior_faces)
        {
          f(face.cells[0], face.cells[1]);
          f(face.cells[1], face.cells[0]);
        }
    }

    /// Derivatives of (1 - b/a)^2.
    static void
    slope(const double a, const double b, double &by_a, double &by_b)
    {
      const double r = b / a;
      by_a += 2 * (1 - r) * r / a;
      by_b -= 2 * (1 - r) / a;
    }
    /// Their changes along (da, db); positive: those of (1 - r) linearized.
    static void
    curve(const double a,
          const double b,
          const double da,
          const double db,
          const bool   positive,
          double      &change_a,
          double      &change_b)
    {
      const double r = b / a, dr = (db - r * da) / a;
      change_a -= 2 * dr * r / a;
      change_b += 2 * dr / a;
      if (positive)
        return;
      change_a += 2 * (1 - r) * (dr - r * da / a) / a;
      change_b += 2 * (1 - r) * da / (a * a);
    }

    std::vector<Lame<>>
    by_moduli(const Context<dim> &c) const
    {
      const auto          m = moduli(c);
      std::vector<Lame<>> by(c.discretization.n_cells());
      for_each_pair(c, [&](const unsigned int t, const unsigned int other) {
        const Lame<> a = m[t], b = m[other];
        slope(a.lambda, b.lambda, by[t].lambda, by[other].lambda);
        slope(a.mu, b.mu, by[t].mu, by[other].mu);
      });
      return by;
    }

    /// g += factor * (d moduli / d fields)^T by
    static void
    add(const Context<dim>        &c,
        const std::vector<Lame<>> &by,
        const double               factor,
        FieldDuals                &g)
    {
      const auto                           f = in_cells(c, c.fields);
      std::vector<ElasticModuli::InCell<>> sums(
        c.discretization.n_owned_cells());
      for (unsigned int k = 0; k < sums.size(); ++k)
        ElasticModuli::add_vjp(f[k], by[k] * factor, sums[k]);
      add(sums, g);
    }
    static void
    add(const std::vector<ElasticModuli::InCell<>> &sums, FieldDuals &g)
    {
      for (unsigned int i = 0; i < ElasticModuli::field_names.size(); ++i)
        if (g.has(ElasticModuli::field_names[i]))
          {
            Field &field = g[ElasticModuli::field_names[i]];
            for (unsigned int k = 0; k < sums.size(); ++k)
              field[k] += sums[k][i];
          }
    }
  };

  namespace
  {
    const char *material_smoothing_description =
      "jumps of Lame's moduli between neighbours";
    const Registry<Objective<2>>::Entry<MaterialSmoothing<2>>
      material_smoothing_2d("Material smoothing",
                            material_smoothing_description);
    const Registry<Objective<3>>::Entry<MaterialSmoothing<3>>
      material_smoothing_3d("Material smoothing",
                            material_smoothing_description);
  } // namespace
} // namespace Palpate
