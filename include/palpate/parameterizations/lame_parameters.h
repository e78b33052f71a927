#ifndef palpate_parameterizations_lame_parameters_h
#define palpate_parameterizations_lame_parameters_h

#include <palpate/parameterizations/parameterization.h>

#include <memory>

namespace Palpate
{
  /**
   * Unknowns of the fields "lame_lambda" and "lame_mu" [Pa], one of them or
   * both, for models that ask for Young's modulus and Poisson ratio:
   * E = mu (3 lambda + 2 mu)/(lambda + mu), nu = lambda/(2 (lambda + mu)). It
   * wraps what finds those two, and whatever other fields that finds.
   */
  template <int dim>
  class LameParameters : public Parameterization<dim>
  {
  public:
    using Q = typename Parameterization<dim>::Q;

    explicit LameParameters(std::unique_ptr<Parameterization<dim>> &&inner)
      : inner(std::move(inner))
    {}

    /// True if a parameterization finds one of the two.
    static bool
    is_needed(const Parameterization<dim> &p);

    /// Derivatives by the fields that @p p finds, of those by the fields it
    /// sets: by lambda or mu in the place of E and nu if it is one of these.
    static FieldDuals
    by_unknowns(const Parameterization<dim> &p,
                const Q                     &q,
                const FieldDuals            &duals);

    void
    parse_parameters(Parameters &) override
    {}
    std::vector<std::string>
    field_names() const override;
    std::vector<std::string>
    input_fields() const override
    {
      return inner->input_fields();
    }
    void
    bind(const Discretization<dim> &discretization,
         const Fields              &initial) override;
    unsigned int
    n_local() const override
    {
      return inner->n_local();
    }
    Q
    initial() const override
    {
      return inner->initial();
    }
    void
    bounds(Q &lower, Q &upper) const override
    {
      inner->bounds(lower, upper);
    }
    Q
    weights() const override
    {
      return inner->weights();
    }
    void
    apply(const Q &q, Fields &fields) const override;
    void
    jvp(const Q &q, const Q &dq, Fields &dfields) const override;
    void
    vjp(const Q &q, const FieldDuals &duals, Q &g) const override;
    typename Parameterization<dim>::Linearization
    linearize(const Q &q) const override;
    void
    second_vjp(const Q          &q,
               const Q          &dq,
               const FieldDuals &duals,
               Q                &g) const override;
    void
    make_smooth(Q &q, Q &dq) const override
    {
      inner->make_smooth(q, dq);
    }
    std::vector<NamedValue>
    named_values(const Q &q) const override
    {
      return inner->named_values(q);
    }
    std::vector<char>
    fixed_cells() const override
    {
      return inner->fixed_cells();
    }
    double
    share_at_bound(const Q &q) const override
    {
      return inner->share_at_bound(q);
    }

  private:
    /// Lambda and mu at q, with all else that is found there.
    Fields
    at(const Q &q) const;
    /// Derivatives by them and by all else, of those by E and nu.
    FieldDuals
    pull_back(const Fields &lame, const FieldDuals &duals) const;

    std::unique_ptr<Parameterization<dim>> inner;
    Field                                  lambda, mu; ///< the start
  };
} // namespace Palpate

#endif
