#include <palpate/parameterizations/log_linear.h>

#include <algorithm>
#include <memory>
#include <set>

namespace Palpate
{
  using namespace dealii;

  template <>
  std::map<std::string, Registry<Parameterization<2>>::Item> &
  Registry<Parameterization<2>>::items()
  {
    static std::map<std::string, Item> all;
    return all;
  }

  template <>
  std::map<std::string, Registry<Parameterization<3>>::Item> &
  Registry<Parameterization<3>>::items()
  {
    static std::map<std::string, Item> all;
    return all;
  }

  template <int dim>
  void
  LogLinear<dim>::declare_parameters(ParameterHandler &prm)
  {
    StiffnessBounds::declare_parameters(prm);
    prm.declare_entry("Deviation factor",
                      "20",
                      Patterns::Double(),
                      "global (or per label) plus per cell: the largest factor "
                      "between a cell and its group.");
  }

  template <int dim>
  void
  LogLinear<dim>::parse_parameters(Parameters &parameters)
  {
    limits.parse_parameters(parameters);
    if ((with_global || with_labels) && with_cells)
      {
        const double factor = parameters.get_double("Deviation factor");
        if (!(factor > 1))
          parameters.fail("Deviation factor", "expected a value above 1");
        range = std::log(factor);
      }
  }

  template <int dim>
  void
  LogLinear<dim>::bind(const Discretization<dim> &discretization,
                       const Fields              &initial)
  {
    D                          = &discretization;
    const Field        &start  = initial["stiffness"];
    const std::set<int> labels = limits.free_labels(*D);

    group_label.clear();
    if (with_labels)
      group_label.assign(labels.begin(), labels.end());
    n_groups = with_labels ? group_label.size() : with_global ? 1 : 0;

    const unsigned int n = D->n_cells();
    base.assign(n, 0.);
    free_cell.assign(n, 1);
    group.assign(n, -1);
    cell_start.resize(n);
    // Volume, and volume times log start, of every group.
    std::vector<double> sums(2 * n_groups + 1, 0.);
    n_free_cells = 0;
    for (unsigned int k = 0; k < n; ++k)
      {
        const int label = D->label(k);
        cell_start[k]   = std::log(start[k]);
        free_cell[k]    = (labels.count(label) > 0);
        if (!free_cell[k])
          base[k] = cell_start[k];
        else if (n_groups > 0)
          group[k] = with_labels ? std::lower_bound(group_label.begin(),
                                                    group_label.end(),
                                                    label) -
                                     group_label.begin()
                                 : 0;
        if (k < D->n_owned_cells())
          {
            sums.back() += D->volume[k];
            if (group[k] >= 0)
              {
                sums[2 * group[k]] += D->volume[k];
                sums[2 * group[k] + 1] += D->volume[k] * cell_start[k];
              }
            if (with_cells && free_cell[k])
              ++n_free_cells;
          }
      }
    Utilities::MPI::sum(sums, D->comm, sums);
    total_volume = sums.back();
    group_volume.resize(n_groups);
    group_start.resize(n_groups);
    for (unsigned int i = 0; i < n_groups; ++i)
      {
        group_volume[i] = sums[2 * i];
        group_start[i]  = sums[2 * i + 1] / sums[2 * i];
      }
    n_on_root = (Utilities::MPI::this_mpi_process(D->comm) == 0 ? n_groups : 0);
  }

  template <int dim>
  typename LogLinear<dim>::Q
  LogLinear<dim>::initial() const
  {
    const double lower = std::log(limits.lower), upper = std::log(limits.upper);
    const auto   clamp = [&](const double x) {
      return std::min(std::max(x, lower), upper);
    };
    Q q;
    for (unsigned int i = 0; i < n_on_root; ++i)
      q.push_back(clamp(group_start[i]));
    if (with_cells)
      for (unsigned int k = 0; k < D->n_owned_cells(); ++k)
        if (free_cell[k])
          q.push_back(
            group[k] < 0
              ? clamp(cell_start[k])
              : std::min(std::max(cell_start[k] - clamp(group_start[group[k]]),
                                  -range),
                         range));
    return q;
  }

  template <int dim>
  void
  LogLinear<dim>::bounds(Q &lower, Q &upper) const
  {
    lower.assign(n_local(), std::log(limits.lower));
    upper.assign(n_local(), std::log(limits.upper));
    if (n_groups > 0 && with_cells)
      for (unsigned int i = n_on_root; i < n_local(); ++i)
        {
          lower[i] = -range;
          upper[i] = range;
        }
  }

  template <int dim>
  typename LogLinear<dim>::Q
  LogLinear<dim>::weights() const
  {
    Q w;
    for (unsigned int i = 0; i < n_on_root; ++i)
      w.push_back(group_volume[i] / total_volume);
    if (with_cells)
      for (unsigned int k = 0; k < D->n_owned_cells(); ++k)
        if (free_cell[k])
          w.push_back(D->volume[k] / total_volume);
    return w;
  }

  template <int dim>
  std::vector<double>
  LogLinear<dim>::multiply(const Q &q) const
  {
    std::vector<double> groups(n_groups, 0.);
    for (unsigned int i = 0; i < n_on_root; ++i)
      groups[i] = q[i];
    if (n_groups > 0)
      MPI_Bcast(groups.data(), n_groups, MPI_DOUBLE, 0, D->comm);
    Field        x(D->n_cells());
    unsigned int next = n_on_root;
    for (unsigned int k = 0; k < D->n_owned_cells(); ++k)
      if (with_cells && free_cell[k])
        x[k] = q[next++];
    if (with_cells)
      D->update_ghosts(x);
    for (unsigned int k = 0; k < D->n_cells(); ++k)
      if (group[k] >= 0)
        x[k] += groups[group[k]];
    return x.values;
  }

  template <int dim>
  void
  LogLinear<dim>::transpose_multiply(const std::vector<double> &cells,
                                     Q                         &g) const
  {
    g.assign(n_local(), 0.);
    std::vector<double> groups(n_groups, 0.);
    unsigned int        next = n_on_root;
    for (unsigned int k = 0; k < D->n_owned_cells(); ++k)
      {
        if (group[k] >= 0)
          groups[group[k]] += cells[k];
        if (with_cells && free_cell[k])
          g[next++] = cells[k];
      }
    Utilities::MPI::sum(groups, D->comm, groups);
    for (unsigned int i = 0; i < n_on_root; ++i)
      g[i] = groups[i];
  }

  template <int dim>
  void
  LogLinear<dim>::apply(const Q &q, Fields &fields) const
  {
    const auto x     = multiply(q);
    Field     &alpha = fields["stiffness"];
    alpha            = Field(D->n_cells());
    for (unsigned int k = 0; k < D->n_cells(); ++k)
      alpha[k] = std::exp(base[k] + x[k]);
  }

  template <int dim>
  typename Parameterization<dim>::Linearization
  LogLinear<dim>::linearize(const Q &q) const
  {
    const auto fields = std::make_shared<Fields>();
    apply(q, *fields);
    return {[this, fields](const Q &dq, Fields &dfields) {
              const auto dx     = multiply(dq);
              Field     &dalpha = dfields["stiffness"];
              dalpha            = (*fields)["stiffness"];
              for (unsigned int k = 0; k < D->n_cells(); ++k)
                dalpha[k] *= dx[k];
            },
            [this, fields](const FieldDuals &duals, Q &g) {
              std::vector<double> gx(D->n_owned_cells());
              const Field        &alpha   = (*fields)["stiffness"];
              const Field        &g_alpha = duals["stiffness"];
              for (unsigned int k = 0; k < D->n_owned_cells(); ++k)
                gx[k] = alpha[k] * g_alpha[k];
              transpose_multiply(gx, g);
            }};
  }

  template <int dim>
  void
  LogLinear<dim>::jvp(const Q &q, const Q &dq, Fields &dfields) const
  {
    linearize(q).jvp(dq, dfields);
  }

  template <int dim>
  void
  LogLinear<dim>::vjp(const Q &q, const FieldDuals &duals, Q &g) const
  {
    linearize(q).vjp(duals, g);
  }

  template <int dim>
  void
  LogLinear<dim>::second_vjp(const Q          &q,
                             const Q          &dq,
                             const FieldDuals &duals,
                             Q                &g) const
  {
    Fields dfields;
    jvp(q, dq, dfields);
    std::vector<double> gx(D->n_owned_cells());
    const Field &dalpha = dfields["stiffness"], &g_alpha = duals["stiffness"];
    for (unsigned int k = 0; k < D->n_owned_cells(); ++k)
      gx[k] = dalpha[k] * g_alpha[k];
    Q add;
    transpose_multiply(gx, add);
    for (unsigned int i = 0; i < n_local(); ++i)
      g[i] += add[i];
  }

  template <int dim>
  std::vector<NamedValue>
  LogLinear<dim>::named_values(const Q &q) const
  {
    std::vector<double> groups(n_groups, 0.);
    for (unsigned int i = 0; i < n_on_root; ++i)
      groups[i] = std::exp(q[i]);
    if (n_groups > 0)
      MPI_Bcast(groups.data(), n_groups, MPI_DOUBLE, 0, D->comm);
    std::vector<NamedValue> result;
    for (unsigned int i = 0; i < n_groups; ++i)
      result.push_back({with_labels ? "label " + std::to_string(group_label[i])
                                    : std::string("global"),
                        groups[i]});
    return result;
  }

  template <int dim>
  std::vector<char>
  LogLinear<dim>::fixed_cells() const
  {
    std::vector<char> fixed(D->n_owned_cells());
    for (unsigned int k = 0; k < D->n_owned_cells(); ++k)
      fixed[k] = !free_cell[k];
    return fixed;
  }

  template <int dim>
  double
  LogLinear<dim>::share_at_bound(const Q &q) const
  {
    Fields fields;
    apply(q, fields);
    double at = 0;
    for (unsigned int k = 0; k < D->n_owned_cells(); ++k)
      at += (fields["stiffness"][k] <= limits.lower * (1 + 1e-9) ||
             fields["stiffness"][k] >= limits.upper * (1 - 1e-9));
    return D->sum(at) / D->n_global_cells();
  }

  template class LogLinear<2>;
  template class LogLinear<3>;

  namespace
  {
    template <int dim>
    struct PerCell : LogLinear<dim>
    {
      PerCell()
        : LogLinear<dim>(false, false, true)
      {}
    };
    template <int dim>
    struct PerLabel : LogLinear<dim>
    {
      PerLabel()
        : LogLinear<dim>(false, true, false)
      {}
    };
    template <int dim>
    struct Global : LogLinear<dim>
    {
      Global()
        : LogLinear<dim>(true, false, false)
      {}
    };
    template <int dim>
    struct GlobalPlusPerCell : LogLinear<dim>
    {
      GlobalPlusPerCell()
        : LogLinear<dim>(true, false, true)
      {}
    };

    template <int dim>
    struct PerLabelPlusPerCell : LogLinear<dim>
    {
      PerLabelPlusPerCell()
        : LogLinear<dim>(false, true, true)
      {}
    };

    template <int dim>
    struct Entries
    {
      template <typename T>
      using Entry = typename Registry<Parameterization<dim>>::template Entry<T>;

      Entry<PerCell<dim>>  per_cell{"per cell", "log alpha of every cell"};
      Entry<PerLabel<dim>> per_label{"per label", "log alpha of every label"};
      Entry<Global<dim>>   global{"global", "one log alpha for the body"};
      Entry<GlobalPlusPerCell<dim>> sum{
        "global plus per cell",
        "one log alpha plus a deviation of every cell (alpha may leave the bounds "
        "by Deviation factor)"};
      Entry<PerLabelPlusPerCell<dim>> label_sum{
        "per label plus per cell",
        "log alpha of every label plus a deviation of every cell (likewise)"};
    };
    const Entries<2> entries_2d;
    const Entries<3> entries_3d;
  } // namespace
} // namespace Palpate
