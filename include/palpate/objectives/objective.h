#ifndef palpate_objectives_objective_h
#define palpate_objectives_objective_h

#include <palpate/core/parameters.h>
#include <palpate/core/registry.h>
#include <palpate/forces/context.h>
#include <palpate/forces/stress_law.h>

#include <functional>

namespace Palpate
{

  /**
   * One term of J(u, fields). Values are global (collective calls); gradients
   * are added to owned nodes and owned cells. Weights are applied by the
   * caller. Every registered objective is Taylor-tested by ctest.
   */
  template <int dim>
  class Objective
  {
  public:
    virtual ~Objective() = default;

    virtual void
    parse_parameters(Parameters &parameters) = 0;

    /// The material of the body, null if it has no stress: once, before
    /// anything else is asked of a term that counts. @throw InputError if the
    /// term needs one
    virtual void
    use_material(const StressLaw<dim> *)
    {}

    virtual double
    value(const Context<dim> &context) const = 0;

    /// g += factor * dJ/du
    virtual void
    state_gradient(const Context<dim> &context,
                   const double        factor,
                   Vector             &g) const;

    /// g += factor * dJ/dfields
    virtual void
    field_gradient(const Context<dim> &context,
                   const double        factor,
                   FieldDuals         &g) const;

    /**
     * Second derivatives along a direction:
     * g_state += factor (J_uu du + J_uq dfields),
     * g_fields += factor (J_qu du + J_qq dfields).
     * @param gauss_newton a positive substitute, where the term has one.
     */
    virtual void
    hessian(const Context<dim> &context,
            const double        factor,
            const Vector       &du,
            const Fields       &dfields,
            const bool          gauss_newton,
            Vector             &g_state,
            FieldDuals         &g_fields) const = 0;

    /// g_fields += R dfields
    using FieldProduct =
      std::function<void(const Fields &dfields, FieldDuals &g_fields)>;
    /**
     * For terms that do not see the state: factor times a positive
     * approximation of the Hessian by the fields at this point, that by the
     * logarithms of all but poisson_ratio: J_ff + diag(J_f / f). What does not
     * depend on the direction is best computed here, once.
     * @param context what it refers to lives as long as what is returned; keep
     * a copy of the context itself
     */
    virtual FieldProduct
    positive_hessian(const Context<dim> &context, const double factor) const;

    virtual bool
    depends_on_state() const = 0;

    /// True if it needs no more of a body than its vertices.
    virtual bool
    works_on_networks() const
    {
      return false;
    }

    /// True if snapshots without an observation cannot be used.
    virtual bool
    needs_observation() const
    {
      return false;
    }

    /// Fields this term cannot do without.
    virtual std::vector<std::string>
    field_names() const
    {
      return {"stiffness"};
    }

    /// Column of history.csv and key of summary.json.
    virtual std::string
    column_name() const = 0;
  };

  template <>
  std::map<std::string, Registry<Objective<2>>::Item> &
  Registry<Objective<2>>::items();
  template <>
  std::map<std::string, Registry<Objective<3>>::Item> &
  Registry<Objective<3>>::items();
} // namespace Palpate

#endif
