#ifndef palpate_parameterizations_parameterization_h
#define palpate_parameterizations_parameterization_h

#include <palpate/core/fields.h>
#include <palpate/core/parameters.h>
#include <palpate/core/registry.h>
#include <palpate/geometry/discretization.h>

#include <functional>

namespace Palpate
{
  /// An unknown that belongs to no cell, as the log shows it: "label 1".
  struct NamedValue
  {
    std::string name;
    double      value;
    std::string unit = "Pa"; ///< that of the stiffness
  };

  /**
   * Maps unknowns q to fields. q is spread over the ranks: each rank holds
   * n_local() entries (per-cell unknowns with their cells, unknowns that belong
   * to no cell on rank 0). Every registered one is Taylor-tested by ctest.
   */
  template <int dim>
  class Parameterization
  {
  public:
    using Q = std::vector<double>;

    virtual ~Parameterization() = default;

    virtual void
    parse_parameters(Parameters &parameters) = 0;

    /// Names of the fields apply() sets.
    virtual std::vector<std::string>
    field_names() const
    {
      return {"stiffness"};
    }

    /// Fields of the case it reads ("hounsfield": hu_tetra_mean).
    virtual std::vector<std::string>
    input_fields() const
    {
      return {};
    }

    /// Once per mesh. @param initial start of all fields, ghosted.
    virtual void
    bind(const Discretization<dim> &discretization, const Fields &initial) = 0;

    virtual unsigned int
    n_local() const = 0;
    /// The start; within the bounds.
    virtual Q
    initial() const = 0;
    virtual void
    bounds(Q &lower, Q &upper) const = 0;
    /// Weights of the inner product sum_i w_i q_i r_i (volume fractions).
    virtual Q
    weights() const = 0;

    /// Fields at q, ghosts included. Collective, as all below.
    virtual void
    apply(const Q &q, Fields &fields) const = 0;
    /// Derivative of the fields along dq.
    virtual void
    jvp(const Q &q, const Q &dq, Fields &dfields) const = 0;
    /// g = (dfields/dq)^T duals (this rank's entries).
    virtual void
    vjp(const Q &q, const FieldDuals &duals, Q &g) const = 0;
    /// jvp() and vjp() at one q.
    struct Linearization
    {
      std::function<void(const Q &dq, Fields &dfields)>  jvp;
      std::function<void(const FieldDuals &duals, Q &g)> vjp;
    };
    /// For many products at one q, whose common part may be computed once; to
    /// be overridden if jvp() or vjp() call it. The functions hold while this
    /// does, until the next bind().
    virtual Linearization
    linearize(const Q &q) const
    {
      return {[this, q](const Q &dq, Fields &dfields) { jvp(q, dq, dfields); },
              [this, q](const FieldDuals &duals, Q &g) { vjp(q, duals, g); }};
    }
    /// g += derivative of vjp(q, duals) along dq at fixed duals.
    virtual void
    second_vjp(const Q          &q,
               const Q          &dq,
               const FieldDuals &duals,
               Q                &g) const = 0;

    /// Move a point for Taylor tests, and shorten their direction, so that no
    /// kink lies between q and q + dq; nothing to do where there are none.
    virtual void
    make_smooth(Q &q, Q &dq) const
    {
      (void)q;
      (void)dq;
    }

    /// Unknowns that belong to no cell. Collective.
    virtual std::vector<NamedValue>
    named_values(const Q &q) const = 0;

    /// 1 for owned cells whose stiffness no unknown changes (fixed labels).
    virtual std::vector<char>
    fixed_cells() const = 0;

    /// Share of the unknowns' values at a bound (or beyond, where a value is a
    /// sum of unknowns). Collective.
    virtual double
    share_at_bound(const Q &q) const = 0;
  };

  template <>
  std::map<std::string, Registry<Parameterization<2>>::Item> &
  Registry<Parameterization<2>>::items();
  template <>
  std::map<std::string, Registry<Parameterization<3>>::Item> &
  Registry<Parameterization<3>>::items();
} // namespace Palpate

#endif
