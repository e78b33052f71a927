#include <palpate/objectives/log_field_objective.h>

namespace Palpate
{
  using namespace dealii;

  /**
   * Shrinkage of every labelled region towards its mean (doc/theory.md 4):
   * R = 1/(2 V) sum_k V_k (log alpha_k - m_label(k))^2 with m the volume mean
   * of log alpha over the region. No unit.
   */
  template <int dim>
  class RegionShrinkage : public LogFieldObjective<dim>
  {
  public:
    static void
    declare_parameters(ParameterHandler &)
    {}
    void
    parse_parameters(Parameters &) override
    {}
    std::string
    column_name() const override
    {
      return "region_shrinkage";
    }

  protected:
    double
    log_value(const Discretization<dim> &D, const Field &x) const override
    {
      Field g(x.values.size());
      log_gradient(D, x, g);
      // By squares, so that rounding gives nothing below 0.
      double sum = 0, volume = 0;
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          sum += 0.5 * g[k] * g[k] / D.volume[k];
          volume += D.volume[k];
        }
      return D.sum(sum) * D.sum(volume);
    }

    void
    log_gradient(const Discretization<dim> &D,
                 const Field               &x,
                 Field                     &g) const override
    {
      const unsigned int n     = D.labels.size();
      const auto         index = [&](const unsigned int k) {
        return std::lower_bound(D.labels.begin(), D.labels.end(), D.label(k)) -
               D.labels.begin();
      };
      std::vector<double> sums(2 * n, 0.);
      double              total = 0;
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          const unsigned int i = index(k);
          sums[2 * i] += D.volume[k];
          sums[2 * i + 1] += D.volume[k] * x[k];
        }
      Utilities::MPI::sum(sums, D.comm, sums);
      for (unsigned int i = 0; i < n; ++i)
        total += sums[2 * i];
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          const unsigned int i = index(k);
          g[k] += D.volume[k] / total * (x[k] - sums[2 * i + 1] / sums[2 * i]);
        }
    }

    void
    log_hessian(const Discretization<dim> &D,
                const Field &,
                const Field &dx,
                const bool,
                Field &h) const override
    {
      log_gradient(D, dx, h); // quadratic
    }
  };

  namespace
  {
    const char *region_shrinkage_description =
      "pulls every labelled region towards its mean";
    const Registry<Objective<2>>::Entry<RegionShrinkage<2>>
      region_shrinkage_2d("Region shrinkage", region_shrinkage_description);
    const Registry<Objective<3>>::Entry<RegionShrinkage<3>>
      region_shrinkage_3d("Region shrinkage", region_shrinkage_description);
  } // namespace
} // namespace Palpate
