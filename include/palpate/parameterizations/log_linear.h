#ifndef palpate_parameterizations_log_linear_h
#define palpate_parameterizations_log_linear_h

#include <palpate/parameterizations/bounds.h>
#include <palpate/parameterizations/parameterization.h>

namespace Palpate
{
  /**
   * log alpha_k = base_k + sum of parts: one unknown per cell, per label or for
   * the whole body. Cells of fixed labels keep their start. Bounds are on q, no
   * clip. With a part per label or for the whole body alone, q is log alpha of
   * that region and base is 0; a per-cell part beside a global one is a
   * deviation.
   */
  template <int dim>
  class LogLinear : public Parameterization<dim>
  {
  public:
    using Q = typename Parameterization<dim>::Q;

    LogLinear(const bool global, const bool per_label, const bool per_cell)
      : with_global(global)
      , with_labels(per_label)
      , with_cells(per_cell)
    {}

    static void
    declare_parameters(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters) override;
    void
    bind(const Discretization<dim> &discretization,
         const Fields              &initial) override;
    unsigned int
    n_local() const override
    {
      return n_on_root + n_free_cells;
    }
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
    std::vector<NamedValue>
    named_values(const Q &q) const override;
    std::vector<char>
    fixed_cells() const override;
    double
    share_at_bound(const Q &q) const override;

    StiffnessBounds limits;
    double          range = 3; ///< log of Deviation factor

  private:
    /// A q per local cell (ghosts included).
    std::vector<double>
    multiply(const Q &q) const;
    /// A^T of values on owned cells.
    void
    transpose_multiply(const std::vector<double> &cells, Q &g) const;

    const bool                 with_global, with_labels, with_cells;
    const Discretization<dim> *D = nullptr;

    std::vector<double> base;      ///< per local cell
    std::vector<char>   free_cell; ///< per local cell
    std::vector<int>    group;     ///< per local cell, -1: none
    std::vector<int>    group_label;
    std::vector<double> group_volume, group_start;
    std::vector<double> cell_start; ///< log start per local cell
    double              total_volume = 0;
    unsigned int        n_groups = 0, n_on_root = 0, n_free_cells = 0;
  };
} // namespace Palpate

#endif
