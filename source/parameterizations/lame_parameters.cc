#include <palpate/parameterizations/lame_parameters.h>

#include <algorithm>
#include <memory>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    const std::string lambda_name = "lame_lambda", mu_name = "lame_mu",
                      E_name = "stiffness", nu_name = "poisson_ratio";

    /// E and nu with their derivatives by lambda (0) and mu (1).
    struct Moduli
    {
      double E, nu, E_by[2], nu_by[2];

      Moduli(const double lambda, const double mu)
        : s(lambda + mu)
        , a(lambda / s)
        , b(mu / s)
      {
        E        = b * (3 * lambda + 2 * mu);
        nu       = a / 2;
        E_by[0]  = b * b;
        E_by[1]  = 2 + a * a;
        nu_by[0] = b / (2 * s);
        nu_by[1] = -a / (2 * s);
      }
      /// Derivatives of dual . (E, nu) by lambda and mu along a direction.
      std::array<double, 2>
      second(const double dlambda,
             const double dmu,
             const double by_E,
             const double by_nu) const
      {
        const double ds = (dlambda + dmu) / s, da = dlambda / s - a * ds,
                     db = dmu / s - b * ds;
        return {{by_E * 2 * b * db + by_nu * (db - b * ds) / (2 * s),
                 by_E * 2 * a * da - by_nu * (da - a * ds) / (2 * s)}};
      }

    private:
      const double s, a, b;
    };
  } // namespace

  template <int dim>
  bool
  LameParameters<dim>::is_needed(const Parameterization<dim> &p)
  {
    const auto names = p.field_names();
    return std::any_of(names.begin(), names.end(), [](const auto &name) {
      return name == lambda_name || name == mu_name;
    });
  }

  template <int dim>
  std::vector<std::string>
  LameParameters<dim>::field_names() const
  {
    std::vector<std::string> names = {E_name, nu_name};
    for (const auto &name : inner->field_names())
      if (name != lambda_name && name != mu_name)
        names.push_back(name);
    return names;
  }

  template <int dim>
  void
  LameParameters<dim>::bind(const Discretization<dim> &D, const Fields &initial)
  {
    const Field &E = initial[E_name], &nu = initial[nu_name];
    lambda = mu = E;
    for (unsigned int k = 0; k < E.values.size(); ++k)
      {
        lambda[k] = E[k] * nu[k] / ((1 + nu[k]) * (1 - 2 * nu[k]));
        mu[k]     = E[k] / (2 * (1 + nu[k]));
      }
    Fields with_lame       = initial;
    with_lame[lambda_name] = lambda;
    with_lame[mu_name]     = mu;
    inner->bind(D, with_lame);
  }

  template <int dim>
  Fields
  LameParameters<dim>::at(const Q &q) const
  {
    Fields lame;
    lame[lambda_name] = lambda;
    lame[mu_name]     = mu;
    inner->apply(q, lame);
    return lame;
  }

  template <int dim>
  void
  LameParameters<dim>::apply(const Q &q, Fields &fields) const
  {
    const Fields lame = at(q);
    Field        E = lambda, nu = lambda;
    for (unsigned int k = 0; k < E.values.size(); ++k)
      {
        const Moduli m(lame[lambda_name][k], lame[mu_name][k]);
        E[k]  = m.E;
        nu[k] = m.nu;
      }
    for (const auto &[name, field] : lame)
      if (name != lambda_name && name != mu_name)
        fields[name] = field;
    fields[E_name]  = E;
    fields[nu_name] = nu;
  }

  template <int dim>
  typename Parameterization<dim>::Linearization
  LameParameters<dim>::linearize(const Q &q) const
  {
    const auto found  = std::make_shared<const Fields>(at(q));
    const auto inside = inner->linearize(q);
    return {[this, found, inside](const Q &dq, Fields &dfields) {
              const Field &lambda_at = (*found)[lambda_name];
              const Field &mu_at     = (*found)[mu_name];
              Fields       d;
              inside.jvp(dq, d);
              Field dE = lambda;
              dE.values.assign(dE.values.size(), 0.);
              Field dnu = dE;
              for (unsigned int i = 0; i < 2; ++i)
                {
                  const auto &name = i == 0 ? lambda_name : mu_name;
                  if (!d.has(name))
                    continue;
                  const Field &dx = d[name];
                  for (unsigned int k = 0; k < dE.values.size(); ++k)
                    {
                      const Moduli m(lambda_at[k], mu_at[k]);
                      dE[k] += m.E_by[i] * dx[k];
                      dnu[k] += m.nu_by[i] * dx[k];
                    }
                }
              for (const auto &[name, field] : d)
                if (name != lambda_name && name != mu_name)
                  dfields[name] = field;
              dfields[E_name]  = dE;
              dfields[nu_name] = dnu;
            },
            [this, found, inside](const FieldDuals &duals, Q &g) {
              inside.vjp(pull_back(*found, duals), g);
            }};
  }

  template <int dim>
  void
  LameParameters<dim>::jvp(const Q &q, const Q &dq, Fields &dfields) const
  {
    linearize(q).jvp(dq, dfields);
  }

  template <int dim>
  FieldDuals
  LameParameters<dim>::pull_back(const Fields     &lame,
                                 const FieldDuals &duals) const
  {
    FieldDuals inside(lame);
    for (const auto &[name, field] : duals)
      if (inside.has(name))
        inside[name] = field;
    for (unsigned int k = 0; k < lambda.values.size(); ++k)
      {
        const Moduli m(lame[lambda_name][k], lame[mu_name][k]);
        for (unsigned int i = 0; i < 2; ++i)
          {
            double &g = inside[i == 0 ? lambda_name : mu_name][k];
            if (duals.has(E_name))
              g += m.E_by[i] * duals[E_name][k];
            if (duals.has(nu_name))
              g += m.nu_by[i] * duals[nu_name][k];
          }
      }
    return inside;
  }

  template <int dim>
  FieldDuals
  LameParameters<dim>::by_unknowns(const Parameterization<dim> &p,
                                   const Q                     &q,
                                   const FieldDuals            &duals)
  {
    const auto *lame = dynamic_cast<const LameParameters<dim> *>(&p);
    if (!lame)
      return duals;
    const Fields     fields = lame->at(q);
    const FieldDuals all    = lame->pull_back(fields, duals);
    Fields           found;
    for (const auto &name : lame->inner->field_names())
      found[name] = fields[name];
    FieldDuals result(found);
    for (const auto &[name, field] : found)
      result[name] = all[name];
    return result;
  }

  template <int dim>
  void
  LameParameters<dim>::vjp(const Q &q, const FieldDuals &duals, Q &g) const
  {
    linearize(q).vjp(duals, g);
  }

  template <int dim>
  void
  LameParameters<dim>::second_vjp(const Q          &q,
                                  const Q          &dq,
                                  const FieldDuals &duals,
                                  Q                &g) const
  {
    const Fields lame = at(q);
    Fields       d;
    inner->jvp(q, dq, d);
    inner->second_vjp(q, dq, pull_back(lame, duals), g);
    // And by the change of the derivatives of E and nu.
    FieldDuals change(lame);
    for (unsigned int k = 0; k < lambda.values.size(); ++k)
      {
        const Moduli m(lame[lambda_name][k], lame[mu_name][k]);
        const auto both = m.second(d.has(lambda_name) ? d[lambda_name][k] : 0.,
                                   d.has(mu_name) ? d[mu_name][k] : 0.,
                                   duals.has(E_name) ? duals[E_name][k] : 0.,
                                   duals.has(nu_name) ? duals[nu_name][k] : 0.);
        change[lambda_name][k] = both[0];
        change[mu_name][k]     = both[1];
      }
    Q more;
    inner->vjp(q, change, more);
    for (unsigned int i = 0; i < g.size(); ++i)
      g[i] += more[i];
  }

  template class LameParameters<2>;
  template class LameParameters<3>;
} // namespace Palpate
