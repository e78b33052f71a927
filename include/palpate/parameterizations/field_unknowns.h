#ifndef palpate_parameterizations_field_unknowns_h
#define palpate_parameterizations_field_unknowns_h

#include <palpate/parameterizations/parameterization.h>

namespace Palpate
{
  /**
   * Unknowns of one field other than the stiffness. With x the values of the
   * field, or their logarithms where those are positive by nature, x = x_start
   * - A q_start + A q: one q for the body, per label, per cell or per vertex;
   * for fields of the nodes a translation, or with it a rotation about the mean
   * position.
   */
  template <int dim>
  class FieldUnknowns : public Parameterization<dim>
  {
  public:
    using Q = typename Parameterization<dim>::Q;

    /**
     * @param spread global, per label or per cell; for nodes: translation,
     * rigid or per vertex; for vertices: global, per label or per vertex; for
     * the body: global or each
     * @param lower,upper bounds of the values
     * @throw std::invalid_argument what is expected instead of the spread
     */
    FieldUnknowns(const std::string &name,
                  const std::string &spread,
                  const double       lower,
                  const double       upper);

    /// Fields that can be unknown, with their usual bounds; log: positive.
    /// Scaled ones are unknown in units of the largest value at the start.
    struct Known
    {
      std::string unit;
      double      lower, upper;
      bool        log;
      bool        scaled = false;
    };
    static const std::map<std::string, Known> &
    known_fields();

    /// Those of the entry "More unknowns": "name: spread, lower, upper; ...".
    /// @throw InputError
    static std::vector<std::unique_ptr<FieldUnknowns>>
    read(Parameters &parameters);

    void
    parse_parameters(Parameters &) override
    {}
    std::vector<std::string>
    field_names() const override
    {
      return {name};
    }
    /// @throw EntryError if the start is not within the bounds
    void
    bind(const Discretization<dim> &discretization,
         const Fields              &initial) override;
    unsigned int
    n_local() const override
    {
      return n_on_root + n_own;
    }
    Q
    initial() const override
    {
      return start;
    }
    void
    bounds(Q &lower, Q &upper) const override;
    Q
    weights() const override;
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
    std::vector<NamedValue>
    named_values(const Q &q) const override;
    /// None: it knows nothing of the stiffness.
    std::vector<char>
    fixed_cells() const override
    {
      return std::vector<char>(D->n_owned_cells(), 0);
    }
    double
    share_at_bound(const Q &q) const override;
    /// Values with a unit or a range stay close to their start: no cell is
    /// turned inside out.
    void
    make_smooth(Q &q, Q &dq) const override;

  private:
    /// A q for all local values, and A^T of owned values.
    std::vector<double>
    multiply(const Q &q) const;
    void
    transpose_multiply(const std::vector<double> &values, Q &g) const;
    /// Group and factor of value i in the unknowns on the root.
    template <typename Function>
    void
    for_each_group(const unsigned int i, const Function &f) const;
    /// dx -> dvalue at the values of @p field.
    double
    slope(const Field &field, const unsigned int i) const
    {
      return known.log ? field[i] : scale;
    }

    const std::string          name, spread;
    const double               lower, upper;
    const Known                known;
    const bool                 own; ///< an unknown per cell or per nodal value
    const Discretization<dim> *D     = nullptr;
    double                     scale = 1;
    Field                      shape; ///< of the field
    std::vector<double>        base;  ///< x_start - A q_start
    std::vector<int>           label; ///< per local cell, index
    std::vector<int>           labels;
    dealii::Point<dim>         centre;
    std::vector<double>        lowest, highest; ///< base in every group
    Q                          start, weight;
    unsigned int               n_groups = 0, n_on_root = 0, n_own = 0;
  };

  /// Several parameterizations of different fields, one after the other.
  template <int dim>
  class Combined : public Parameterization<dim>
  {
  public:
    using Q = typename Parameterization<dim>::Q;

    explicit Combined(
      std::vector<std::unique_ptr<Parameterization<dim>>> &&parts)
      : parts(std::move(parts))
    {}

    void
    parse_parameters(Parameters &) override
    {}
    std::vector<std::string>
    field_names() const override;
    std::vector<std::string>
    input_fields() const override;
    void
    bind(const Discretization<dim> &discretization,
         const Fields              &initial) override;
    unsigned int
    n_local() const override;
    Q
    initial() const override;
    void
    bounds(Q &lower, Q &upper) const override;
    Q
    weights() const override;
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
    make_smooth(Q &q, Q &dq) const override;
    std::vector<NamedValue>
    named_values(const Q &q) const override;
    std::vector<char>
    fixed_cells() const override
    {
      return parts[0]->fixed_cells();
    }
    double
    share_at_bound(const Q &q) const override;

  private:
    /// f(part, its piece of each vector), pieces written back.
    template <typename Function, typename... Vectors>
    void
    for_each_part(const Function &f, Vectors &...vectors) const;

    std::vector<std::unique_ptr<Parameterization<dim>>> parts;
  };
} // namespace Palpate

#endif
