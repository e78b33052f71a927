#ifndef palpate_objectives_log_field_objective_h
#define palpate_objectives_log_field_objective_h

#include <palpate/objectives/objective.h>

namespace Palpate
{
  /**
   * A term in x = log alpha per cell. Derived classes give value, gradient and
   * Hessian product in x; the chain rule to the stiffness field is done here.
   */
  template <int dim>
  class LogFieldObjective : public Objective<dim>
  {
  public:
    double
    value(const Context<dim> &c) const override
    {
      return log_value(c.discretization, log_of(c));
    }

    void
    field_gradient(const Context<dim> &c,
                   const double        factor,
                   FieldDuals         &g) const override
    {
      if (!g.has(name))
        return;
      const Field x = log_of(c);
      Field       gx(x.values.size());
      log_gradient(c.discretization, x, gx);
      const Field &alpha = c.fields[name];
      Field       &dual  = g[name];
      for (unsigned int k = 0; k < c.discretization.n_owned_cells(); ++k)
        dual[k] += factor * gx[k] / alpha[k];
    }

    void
    hessian(const Context<dim> &c,
            const double        factor,
            const Vector &,
            const Fields &dfields,
            const bool    gauss_newton,
            Vector &,
            FieldDuals &g_fields) const override
    {
      if (!dfields.has(name) || !g_fields.has(name))
        return;
      const Field &alpha = c.fields[name], &dalpha = dfields[name];
      Field       &dual = g_fields[name];
      const Field  x    = log_of(c);
      Field gx(x.values.size()), hx(x.values.size()), dx(x.values.size());
      for (std::size_t k = 0; k < x.values.size(); ++k)
        dx[k] = dalpha[k] / alpha[k];
      log_gradient(c.discretization, x, gx);
      log_hessian(c.discretization, x, dx, gauss_newton, hx);
      for (unsigned int k = 0; k < c.discretization.n_owned_cells(); ++k)
        dual[k] += factor * (hx[k] - gx[k] * dx[k]) / alpha[k];
    }

    typename Objective<dim>::FieldProduct
    positive_hessian(const Context<dim> &c, const double factor) const override
    {
      const auto product = positive_log_hessian(c.discretization, log_of(c));
      return [this, c, factor, product](const Fields &dfields,
                                        FieldDuals   &g_fields) {
        if (!dfields.has(name) || !g_fields.has(name))
          return;
        const Field &alpha = c.fields[name], &dalpha = dfields[name];
        Field       &dual = g_fields[name];
        Field        dx(alpha.values.size()), hx(alpha.values.size());
        for (std::size_t k = 0; k < dx.values.size(); ++k)
          dx[k] = dalpha[k] / alpha[k];
        product(dx, hx);
        for (unsigned int k = 0; k < c.discretization.n_owned_cells(); ++k)
          dual[k] += factor * hx[k] / alpha[k];
      };
    }

    bool
    depends_on_state() const override
    {
      return false;
    }

  protected:
    virtual double
    log_value(const Discretization<dim> &D, const Field &x) const = 0;
    virtual void
    log_gradient(const Discretization<dim> &D,
                 const Field               &x,
                 Field                     &g) const = 0;
    virtual void
    log_hessian(const Discretization<dim> &D,
                const Field               &x,
                const Field               &dx,
                const bool                 gauss_newton,
                Field                     &h) const = 0;

    /// hx += R dx, the positive substitute of the Hessian in x.
    virtual std::function<void(const Field &dx, Field &hx)>
    positive_log_hessian(const Discretization<dim> &D, const Field &x) const
    {
      return [this, &D, x](const Field &dx, Field &hx) {
        log_hessian(D, x, dx, true, hx);
      };
    }

    std::string name = "stiffness";

  private:
    Field
    log_of(const Context<dim> &c) const
    {
      Field x = c.fields[name];
      for (double &v : x.values)
        v = std::log(v);
      return x;
    }
  };
} // namespace Palpate

#endif
