#include <palpate/objectives/objective.h>

namespace Palpate
{
  using namespace dealii;

  /**
   * Ridge (doc/theory.md 4): R = 1/2 sum_s k_s^2 over all axial springs
   * [N^2/m^2] where springs have stiffnesses of their own, else
   * 1/2 sum_k alpha_k^2 over all cells [Pa^2] (springs of a network:
   * [N^2/m^2]). Plain sums, as published.
   */
  template <int dim>
  class StiffnessRidge : public Objective<dim>
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
      const Field &k   = c.fields[name(c.fields)];
      double       sum = 0;
      for (unsigned int i = 0; i < n_owned(c, k); ++i)
        sum += 0.5 * k[i] * k[i];
      return c.discretization.sum(sum);
    }

    void
    field_gradient(const Context<dim> &c,
                   const double        factor,
                   FieldDuals         &g) const override
    {
      if (!g.has(name(c.fields)))
        return;
      const Field &k = c.fields[name(c.fields)];
      for (unsigned int i = 0; i < n_owned(c, k); ++i)
        g[name(c.fields)][i] += factor * k[i];
    }

    void
    hessian(const Context<dim> &c,
            const double        factor,
            const Vector &,
            const Fields &dfields,
            const bool,
            Vector &,
            FieldDuals &g_fields) const override
    {
      const std::string field = name(c.fields);
      if (!dfields.has(field) || !g_fields.has(field))
        return;
      const Field &dk = dfields[field];
      for (unsigned int i = 0; i < n_owned(c, dk); ++i)
        g_fields[field][i] += factor * dk[i];
    }

    bool
    works_on_networks() const override
    {
      return true;
    }
    bool
    depends_on_state() const override
    {
      return false;
    }
    std::string
    column_name() const override
    {
      return "stiffness_ridge";
    }

  private:
    static std::string
    name(const Fields &fields)
    {
      return fields.has("spring_stiffness") ? "spring_stiffness" : "stiffness";
    }
    static unsigned int
    n_owned(const Context<dim> &c, const Field &field)
    {
      return c.discretization.n_owned_cells() * field.n_components;
    }
  };

  namespace
  {
    const char *stiffness_ridge_description =
      "half the sum of squared stiffnesses";
    const Registry<Objective<2>>::Entry<StiffnessRidge<2>>
      stiffness_ridge_2d("Stiffness ridge", stiffness_ridge_description);
    const Registry<Objective<3>>::Entry<StiffnessRidge<3>>
      stiffness_ridge_3d("Stiffness ridge", stiffness_ridge_description);
  } // namespace
} // namespace Palpate
