#ifndef palpate_parameterizations_per_spring_h
#define palpate_parameterizations_per_spring_h

#include <palpate/parameterizations/bounds.h>
#include <palpate/parameterizations/parameterization.h>

#include <algorithm>
#include <cmath>
#include <memory>

namespace Palpate
{
  /**
   * log k of every axial spring, dim per cell: "spring_stiffness" = exp(q)
   * [N/m]. The field "stiffness" [Pa], which the regularizers of the stiffness
   * see, follows as alpha_k = alpha_k(start) times the geometric mean of k over
   * the cell's springs, relative to the start. Springs of fixed labels keep
   * their start.
   */
  template <int dim>
  class PerSpring : public Parameterization<dim>
  {
  public:
    using Q = typename Parameterization<dim>::Q;

    StiffnessBounds limits;

    static void
    declare_parameters(dealii::ParameterHandler &prm)
    {
      StiffnessBounds::declare_parameters(prm);
    }

    void
    parse_parameters(Parameters &parameters) override
    {
      limits.parse_parameters(parameters);
    }

    std::vector<std::string>
    field_names() const override
    {
      return {"spring_stiffness", "stiffness"};
    }

    void
    bind(const Discretization<dim> &discretization,
         const Fields              &initial) override
    {
      D                          = &discretization;
      const std::set<int> labels = limits.free_labels(*D);
      start                      = initial["spring_stiffness"];
      start_alpha                = initial["stiffness"];
      free_cell.assign(D->n_cells(), 0);
      n_free       = 0;
      total_volume = 0;
      for (unsigned int k = 0; k < D->n_cells(); ++k)
        {
          free_cell[k] = labels.count(D->label(k));
          if (k < D->n_owned_cells())
            {
              n_free += dim * free_cell[k];
              total_volume += D->volume[k];
            }
        }
      total_volume = D->sum(total_volume);
    }

    unsigned int
    n_local() const override
    {
      return n_free;
    }

    Q
    initial() const override
    {
      Q q;
      for_free([&](const unsigned int, const unsigned int i) {
        q.push_back(
          std::log(std::min(std::max(start[i], limits.lower), limits.upper)));
      });
      return q;
    }

    void
    bounds(Q &lower, Q &upper) const override
    {
      lower.assign(n_free, std::log(limits.lower));
      upper.assign(n_free, std::log(limits.upper));
    }

    Q
    weights() const override
    {
      Q w;
      for_free([&](const unsigned int k, const unsigned int) {
        w.push_back(D->volume[k] / (dim * total_volume));
      });
      return w;
    }

    void
    apply(const Q &q, Fields &fields) const override
    {
      Field       &spring = fields["spring_stiffness"];
      Field       &alpha  = fields["stiffness"];
      unsigned int next   = 0;
      spring              = start;
      for_free([&](const unsigned int, const unsigned int i) {
        spring[i] = std::exp(q[next++]);
      });
      D->update_ghosts(spring);
      alpha = start_alpha;
      for (unsigned int k = 0; k < D->n_cells(); ++k)
        {
          double sum = 0;
          for (unsigned int i = k * dim; i < (k + 1) * dim; ++i)
            sum += std::log(spring[i] / start[i]);
          alpha[k] *= std::exp(sum / dim);
        }
    }

    typename Parameterization<dim>::Linearization
    linearize(const Q &q) const override
    {
      const auto fields = std::make_shared<Fields>();
      apply(q, *fields);
      return {[this, fields](const Q &dq, Fields &dfields) {
                const Field &spring  = (*fields)["spring_stiffness"];
                const Field &alpha   = (*fields)["stiffness"];
                Field       &dspring = dfields["spring_stiffness"];
                Field       &dalpha  = dfields["stiffness"];
                unsigned int next    = 0;
                dspring              = Field(D->n_cells(), 0., dim);
                for_free([&](const unsigned int, const unsigned int i) {
                  dspring[i] = spring[i] * dq[next++];
                });
                D->update_ghosts(dspring);
                dalpha = Field(D->n_cells());
                for (unsigned int k = 0; k < D->n_cells(); ++k)
                  for (unsigned int i = k * dim; i < (k + 1) * dim; ++i)
                    dalpha[k] += alpha[k] / dim * dspring[i] / spring[i];
              },
              [this, fields](const FieldDuals &duals, Q &g) {
                const Field &spring   = (*fields)["spring_stiffness"];
                const Field &alpha    = (*fields)["stiffness"];
                const Field &g_spring = duals["spring_stiffness"];
                const Field &g_alpha  = duals["stiffness"];
                g.clear();
                for_free([&](const unsigned int k, const unsigned int i) {
                  g.push_back(spring[i] * g_spring[i] +
                              alpha[k] / dim * g_alpha[k]);
                });
              }};
    }

    void
    jvp(const Q &q, const Q &dq, Fields &dfields) const override
    {
      linearize(q).jvp(dq, dfields);
    }

    void
    vjp(const Q &q, const FieldDuals &duals, Q &g) const override
    {
      linearize(q).vjp(duals, g);
    }

    void
    second_vjp(const Q          &q,
               const Q          &dq,
               const FieldDuals &duals,
               Q                &g) const override
    {
      Fields dfields;
      jvp(q, dq, dfields);
      unsigned int next = 0;
      for_free([&](const unsigned int k, const unsigned int i) {
        g[next++] +=
          dfields["spring_stiffness"][i] * duals["spring_stiffness"][i] +
          dfields["stiffness"][k] / dim * duals["stiffness"][k];
      });
    }

    std::vector<NamedValue>
    named_values(const Q &) const override
    {
      return {};
    }

    std::vector<char>
    fixed_cells() const override
    {
      std::vector<char> fixed(D->n_owned_cells());
      for (unsigned int k = 0; k < D->n_owned_cells(); ++k)
        fixed[k] = !free_cell[k];
      return fixed;
    }

    double
    share_at_bound(const Q &q) const override
    {
      double at = 0;
      for (const double x : q)
        at += (x <= std::log(limits.lower) + 1e-9 ||
               x >= std::log(limits.upper) - 1e-9);
      return D->sum(at) / D->sum(n_free);
    }

  private:
    /// Call f(cell, entry of the spring) for the springs of this rank's
    /// unknowns, in order.
    template <typename Function>
    void
    for_free(const Function &f) const
    {
      for (unsigned int k = 0; k < D->n_owned_cells(); ++k)
        if (free_cell[k])
          for (unsigned int i = k * dim; i < (k + 1) * dim; ++i)
            f(k, i);
    }

    const Discretization<dim> *D = nullptr;
    Field                      start, start_alpha;
    std::vector<char>          free_cell; ///< per local cell
    unsigned int               n_free       = 0;
    double                     total_volume = 0;
  };
} // namespace Palpate

#endif
