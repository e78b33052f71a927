#include <palpate/objectives/objective.h>

namespace Palpate
{
  template <int dim>
  void
  Objective<dim>::state_gradient(const Context<dim> &,
                                 const double,
                                 Vector &) const
  {}

  template <int dim>
  void
  Objective<dim>::field_gradient(const Context<dim> &,
                                 const double,
                                 FieldDuals &) const
  {}

  template <int dim>
  typename Objective<dim>::FieldProduct
  Objective<dim>::positive_hessian(const Context<dim> &context,
                                   const double        factor) const
  {
    const auto duals = std::make_shared<FieldDuals>(context.fields);
    field_gradient(context, factor, *duals);
    return [this, context, factor, duals](const Fields &dfields,
                                          FieldDuals   &result) {
      Vector none;
      hessian(context, factor, none, dfields, true, none, result);
      for (const auto &[name, d] : dfields)
        {
          if (name == "poisson_ratio")
            continue;
          const Field &g = (*duals)[name], &f = context.fields[name];
          Field       &R = result[name];
          for (std::size_t k = 0; k < d.values.size(); ++k)
            if (g[k] != 0)
              R[k] += g[k] / f[k] * d[k];
        }
    };
  }

  template class Objective<2>;
  template class Objective<3>;

  template <>
  std::map<std::string, Registry<Objective<2>>::Item> &
  Registry<Objective<2>>::items()
  {
    static std::map<std::string, Item> all;
    return all;
  }

  template <>
  std::map<std::string, Registry<Objective<3>>::Item> &
  Registry<Objective<3>>::items()
  {
    static std::map<std::string, Item> all;
    return all;
  }
} // namespace Palpate
