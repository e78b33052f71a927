#include <palpate/core/errors.h>
#include <palpate/parameterizations/graph_network.h>

#include <boost/random/mersenne_twister.hpp>
#include <boost/random/normal_distribution.hpp>

#include <algorithm>
#include <cmath>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  void
  GraphNetwork<dim>::declare_parameters(ParameterHandler &prm)
  {
    StiffnessBounds::declare_parameters(prm);
    declare_network(prm);
    prm.declare_entry("Seed",
                      "42",
                      Patterns::Integer(0),
                      "graph network: of the weights' start.");
  }

  template <int dim>
  void
  GraphNetwork<dim>::declare_network(ParameterHandler &prm)
  {
    StiffnessBounds::declare_range(prm);
    prm.declare_entry("Hidden width",
                      "16",
                      Patterns::Integer(0, 1024),
                      "graph network: hidden units; 0: the linear map only.");
    prm.declare_entry("Linear map",
                      "learned",
                      Patterns::Selection("learned|fixed|none"),
                      "graph network: log alpha = a + b HU beside the network; "
                      "starts from the bounds at the ends of the HU range.");
    prm.declare_entry("Initial weight scale",
                      "0.01",
                      Patterns::Double(0),
                      "graph network: standard deviation of the weights' "
                      "start; biases start at 0.");
    prm.declare_entry("Smoothing passes",
                      "0",
                      Patterns::Integer(0, 100),
                      "graph network: how often HU are averaged with those of "
                      "the neighbors first.");
  }

  template <int dim>
  void
  GraphNetwork<dim>::parse_parameters(Parameters &parameters)
  {
    description.limits.parse_parameters(parameters);
    parse_network(parameters);
    if (description.width > 0)
      description.seed = parameters.get_integer("Seed");
  }

  template <int dim>
  void
  GraphNetwork<dim>::parse_network(Parameters &parameters)
  {
    description.limits.parse_range(parameters);
    description.width      = parameters.get_integer("Hidden width");
    description.linear_map = parameters.get("Linear map");
    if (description.width > 0)
      description.weight_scale = parameters.get_double("Initial weight scale");
    description.smoothing = parameters.get_integer("Smoothing passes");
  }

  template <int dim>
  void
  GraphNetwork<dim>::bind(const Discretization<dim> &discretization,
                          const Fields              &initial)
  {
    D                         = &discretization;
    on_root                   = Utilities::MPI::this_mpi_process(D->comm) == 0;
    const unsigned int n      = D->n_owned_cells();
    const auto         labels = description.limits.free_labels(*D);
    free_cell.resize(n);
    start_log.resize(n);
    for (unsigned int k = 0; k < n; ++k)
      {
        free_cell[k] = labels.count(D->label(k)) > 0;
        start_log[k] = std::log(initial["stiffness"][k]);
      }

    std::vector<std::vector<unsigned int>> beside(n);
    for (const auto &face : D->interior_faces)
      for (unsigned int i = 0; i < 2; ++i)
        if (face.cells[i] < n)
          beside[face.cells[i]].push_back(face.cells[1 - i]);
    offsets = {0};
    neighbors.clear();
    for (auto &list : beside)
      {
        // In input numbering, so that sums do not depend on the ranks.
        std::sort(list.begin(), list.end(), [&](const auto a, const auto b) {
          return D->cell_id[a] < D->cell_id[b];
        });
        neighbors.insert(neighbors.end(), list.begin(), list.end());
        offsets.push_back(neighbors.size());
      }

    const Field &input = initial["hounsfield"];
    hu.assign(input.values.begin(), input.values.begin() + n);
    for (unsigned int i = 0; i < description.smoothing; ++i)
      {
        const auto sums = neighbor_sum(hu);
        for (unsigned int k = 0; k < n; ++k)
          hu[k] = (hu[k] + sums[k]) / (1 + offsets[k + 1] - offsets[k]);
      }
    double sum = 0, squares = 0, low = 1e300, high = -1e300;
    for (const double h : hu)
      {
        sum += h;
        low  = std::min(low, h);
        high = std::max(high, h);
      }
    const double M = D->n_global_cells(), mean = D->sum(sum) / M;
    for (const double h : hu)
      squares += (h - mean) * (h - mean);
    const double deviation = std::sqrt(D->sum(squares) / M);
    x.resize(n);
    for (unsigned int k = 0; k < n; ++k)
      x[k] = (hu[k] - mean) / (deviation + 1e-6);
    ax = neighbor_sum(x);
    if (!description.hu_known)
      {
        description.hu_low  = Utilities::MPI::min(low, D->comm);
        description.hu_high = Utilities::MPI::max(high, D->comm);
      }
  }

  template <int dim>
  typename GraphNetwork<dim>::Parts
  GraphNetwork<dim>::parts() const
  {
    const unsigned int F = description.width;
    return {0, F, 2 * F, 3 * F, 4 * F, 5 * F, 5 * F + 1};
  }

  template <int dim>
  typename GraphNetwork<dim>::Q
  GraphNetwork<dim>::start() const
  {
    Q                                          q(n_unknowns(), 0.);
    const Parts                                p = parts();
    boost::random::mt19937                     generator(description.seed);
    boost::random::normal_distribution<double> normal;
    for (const unsigned int part :
         {p.neighbors1, p.self1, p.neighbors2, p.self2})
      for (unsigned int f = 0; f < description.width; ++f)
        q[part + f] = description.weight_scale * normal(generator);
    const double lower  = std::log(description.limits.lower),
                 upper  = std::log(description.limits.upper),
                 middle = (lower + upper) / 2;
    if (description.linear_map == "learned")
      {
        q[p.linear]     = middle;
        q[p.linear + 1] = upper - middle;
      }
    if (description.linear_map == "none")
      q[p.bias2] = middle;
    return q;
  }

  template <int dim>
  std::vector<char>
  GraphNetwork<dim>::decays() const
  {
    std::vector<char> flags(n_unknowns(), 0);
    const Parts       p = parts();
    for (const unsigned int part :
         {p.neighbors1, p.self1, p.neighbors2, p.self2})
      std::fill_n(flags.begin() + part, description.width, 1);
    return flags;
  }

  template <int dim>
  std::pair<double, double>
  GraphNetwork<dim>::linear_map(const Q &q) const
  {
    if (description.linear_map == "none")
      return {0., 0.};
    const double lower = std::log(description.limits.lower),
                 upper = std::log(description.limits.upper);
    double middle = (lower + upper) / 2, rise = upper - middle;
    if (description.linear_map == "learned")
      {
        middle = q[parts().linear];
        rise   = q[parts().linear + 1];
      }
    const double half = (description.hu_high - description.hu_low) / 2,
                 b    = half > 0 ? rise / half : 0;
    return {middle - b * (description.hu_low + half), b};
  }

  template <int dim>
  typename GraphNetwork<dim>::Q
  GraphNetwork<dim>::initial() const
  {
    return on_root ? start() : Q();
  }

  template <int dim>
  void
  GraphNetwork<dim>::bounds(Q &lower, Q &upper) const
  {
    lower.assign(n_local(), -1e20);
    upper.assign(n_local(), 1e20);
  }

  template <int dim>
  typename GraphNetwork<dim>::Q
  GraphNetwork<dim>::whole(const Q &q) const
  {
    Q all = q;
    all.resize(n_unknowns());
    MPI_Bcast(all.data(), all.size(), MPI_DOUBLE, 0, D->comm);
    return all;
  }

  template <int dim>
  std::vector<double>
  GraphNetwork<dim>::neighbor_sum(const std::vector<double> &owned) const
  {
    Field field(D->n_cells());
    std::copy(owned.begin(), owned.end(), field.values.begin());
    D->update_ghosts(field);
    std::vector<double> sums(owned.size(), 0.);
    for (std::size_t k = 0; k < sums.size(); ++k)
      for (std::size_t i = offsets[k]; i < offsets[k + 1]; ++i)
        sums[k] += field[neighbors[i]];
    return sums;
  }

  template <int dim>
  typename GraphNetwork<dim>::Pass
  GraphNetwork<dim>::pass(const Q &q, const Q *dq) const
  {
    const unsigned int  n = D->n_owned_cells(), F = description.width;
    const Parts         p = parts();
    Pass                r;
    std::vector<double> message(n, 0.), dmessage(dq ? n : 0, 0.);
    r.H.resize(n * F);
    r.active.resize(n * F);
    r.dH.resize(dq ? n * F : 0);
    for (unsigned int k = 0; k < n; ++k)
      for (unsigned int f = 0; f < F; ++f)
        {
          const std::size_t i = static_cast<std::size_t>(k) * F + f;
          const auto        z = [&](const Q &w) {
            return w[p.bias1 + f] + ax[k] * w[p.neighbors1 + f] +
                   x[k] * w[p.self1 + f];
          };
          const double value = z(q);
          r.active[i]        = value > 0;
          r.H[i]             = std::max(value, 0.);
          message[k] += r.H[i] * q[p.neighbors2 + f];
          if (dq)
            {
              r.dH[i] = r.active[i] ? z(*dq) : 0.;
              dmessage[k] += r.dH[i] * q[p.neighbors2 + f] +
                             r.H[i] * (*dq)[p.neighbors2 + f];
            }
        }
    const auto [a, b] = linear_map(q);
    r.t               = neighbor_sum(message);
    if (dq)
      r.dt = neighbor_sum(dmessage);
    const double lower = std::log(description.limits.lower),
                 upper = std::log(description.limits.upper);
    // The linear map is linear in q, so this is its derivative along dq.
    std::pair<double, double> dab(0., 0.);
    if (dq && description.linear_map == "learned")
      dab = linear_map(*dq);
    r.side.resize(n);
    for (unsigned int k = 0; k < n; ++k)
      {
        r.t[k] += q[p.bias2] + a + b * hu[k];
        if (dq)
          r.dt[k] += (*dq)[p.bias2] + dab.first + dab.second * hu[k];
        for (unsigned int f = 0; f < F; ++f)
          {
            const std::size_t i = static_cast<std::size_t>(k) * F + f;
            r.t[k] += r.H[i] * q[p.self2 + f];
            if (dq)
              r.dt[k] += r.dH[i] * q[p.self2 + f] + r.H[i] * (*dq)[p.self2 + f];
          }
        // On a bound up to rounding: a linear map puts cells there.
        const double round = 1e-12 * (1 + std::abs(r.t[k]));
        r.side[k]          = !free_cell[k]                      ? Side::fixed
                             : std::abs(r.t[k] - lower) < round ? Side::on_lower
                             : std::abs(r.t[k] - upper) < round ? Side::on_upper
                             : r.t[k] > lower && r.t[k] < upper ? Side::within
                                                                : Side::beyond;
        r.t[k] = free_cell[k] ? std::min(std::max(r.t[k], lower), upper)
                              : start_log[k];
      }
    return r;
  }

  template <int dim>
  bool
  GraphNetwork<dim>::passes(const Side side, const double way)
  {
    return side == Side::within || (side == Side::on_lower && way > 0) ||
           (side == Side::on_upper && way < 0);
  }

  template <int dim>
  void
  GraphNetwork<dim>::apply(const Q &q, Fields &fields) const
  {
    const Pass r     = pass(whole(q), nullptr);
    Field     &alpha = fields["stiffness"];
    alpha            = Field(D->n_cells());
    for (std::size_t k = 0; k < r.t.size(); ++k)
      alpha[k] = std::exp(r.t[k]);
    D->update_ghosts(alpha);
  }

  template <int dim>
  void
  GraphNetwork<dim>::jvp(const Q &q, const Q &dq, Fields &dfields) const
  {
    const Q    direction = whole(dq);
    const Pass r         = pass(whole(q), &direction);
    Field     &dalpha    = dfields["stiffness"];
    dalpha               = Field(D->n_cells());
    for (std::size_t k = 0; k < r.t.size(); ++k)
      dalpha[k] = passes(r.side[k], r.dt[k]) ? std::exp(r.t[k]) * r.dt[k] : 0.;
    D->update_ghosts(dalpha);
  }

  template <int dim>
  void
  GraphNetwork<dim>::to_root(const std::vector<double> &sums,
                             Q                         &g,
                             const bool                 add) const
  {
    std::vector<double> all(sums.size());
    Utilities::MPI::sum(sums, D->comm, all);
    if (!add)
      g.assign(n_local(), 0.);
    for (unsigned int i = 0; i < n_local(); ++i)
      g[i] += all[i];
  }

  template <int dim>
  void
  GraphNetwork<dim>::vjp(const Q &q, const FieldDuals &duals, Q &g) const
  {
    const unsigned int  n = D->n_owned_cells(), F = description.width;
    const Parts         p   = parts();
    const Q             all = whole(q);
    const Pass          r   = pass(all, nullptr);
    std::vector<double> gt(n), sums(n_unknowns(), 0.);
    for (unsigned int k = 0; k < n; ++k)
      gt[k] = passes(r.side[k], -duals["stiffness"][k])
                ? std::exp(r.t[k]) * duals["stiffness"][k]
                : 0.;
    // A is symmetric: its transpose is the same sum.
    const auto agt = neighbor_sum(gt);
    for (unsigned int k = 0; k < n; ++k)
      {
        sums[p.bias2] += gt[k];
        add_linear(gt[k], k, sums);
        for (unsigned int f = 0; f < F; ++f)
          {
            const std::size_t i = static_cast<std::size_t>(k) * F + f;
            sums[p.neighbors2 + f] += r.H[i] * agt[k];
            sums[p.self2 + f] += r.H[i] * gt[k];
            const double gz = r.active[i] ? all[p.neighbors2 + f] * agt[k] +
                                              all[p.self2 + f] * gt[k]
                                          : 0.;
            sums[p.bias1 + f] += gz;
            sums[p.neighbors1 + f] += ax[k] * gz;
            sums[p.self1 + f] += x[k] * gz;
          }
      }
    to_root(sums, g, false);
  }

  template <int dim>
  void
  GraphNetwork<dim>::second_vjp(const Q          &q,
                                const Q          &dq,
                                const FieldDuals &duals,
                                Q                &g) const
  {
    const unsigned int  n = D->n_owned_cells(), F = description.width;
    const Parts         p   = parts();
    const Q             all = whole(q), d = whole(dq);
    const Pass          r = pass(all, &d);
    std::vector<double> gt(n), dgt(n), sums(n_unknowns(), 0.);
    for (unsigned int k = 0; k < n; ++k)
      if (passes(r.side[k], -duals["stiffness"][k]))
        {
          gt[k]  = std::exp(r.t[k]) * duals["stiffness"][k];
          dgt[k] = gt[k] * r.dt[k];
        }
    const auto agt = neighbor_sum(gt), dagt = neighbor_sum(dgt);
    for (unsigned int k = 0; k < n; ++k)
      {
        sums[p.bias2] += dgt[k];
        add_linear(dgt[k], k, sums);
        for (unsigned int f = 0; f < F; ++f)
          {
            const std::size_t i = static_cast<std::size_t>(k) * F + f;
            sums[p.neighbors2 + f] += r.dH[i] * agt[k] + r.H[i] * dagt[k];
            sums[p.self2 + f] += r.dH[i] * gt[k] + r.H[i] * dgt[k];
            const double dgz = r.active[i] ? all[p.neighbors2 + f] * dagt[k] +
                                               d[p.neighbors2 + f] * agt[k] +
                                               all[p.self2 + f] * dgt[k] +
                                               d[p.self2 + f] * gt[k]
                                           : 0.;
            sums[p.bias1 + f] += dgz;
            sums[p.neighbors1 + f] += ax[k] * dgz;
            sums[p.self1 + f] += x[k] * dgz;
          }
      }
    to_root(sums, g, true);
  }

  template <int dim>
  void
  GraphNetwork<dim>::add_linear(const double         gt,
                                const unsigned int   k,
                                std::vector<double> &sums) const
  {
    if (description.linear_map != "learned")
      return;
    const double half = (description.hu_high - description.hu_low) / 2;
    sums[parts().linear] += gt;
    if (half > 0)
      sums[parts().linear + 1] +=
        gt * (hu[k] - description.hu_low - half) / half;
  }

  template <int dim>
  void
  GraphNetwork<dim>::make_smooth(Q &q, Q &dq) const
  {
    // Every hidden unit is on or off in all cells, by its bias; what is before
    // the clip is near the middle of the bounds.
    const unsigned int F = description.width;
    const Parts        p = parts();
    Q                  w = whole(q), d = whole(dq);
    for (unsigned int f = 0; f < F; ++f)
      {
        double largest = 0;
        for (unsigned int k = 0; k < D->n_owned_cells(); ++k)
          largest = std::max(largest,
                             std::abs(ax[k] * w[p.neighbors1 + f] +
                                      x[k] * w[p.self1 + f]));
        largest        = Utilities::MPI::max(largest, D->comm);
        w[p.bias1 + f] = (f % 2 == 0 ? 1 : -1) * (0.5 + 1.5 * largest);
        w[p.neighbors2 + f] *= 0.02;
        w[p.self2 + f] *= 0.02;
      }
    const double lower = std::log(description.limits.lower),
                 upper = std::log(description.limits.upper);
    if (description.linear_map == "learned")
      {
        w[p.linear]     = (lower + upper) / 2;
        w[p.linear + 1] = 0.1 * (upper - lower);
      }
    const Pass here = pass(w, nullptr);
    for (double size = 1; size > 1e-6; size *= 0.5)
      {
        Q moved = w;
        for (std::size_t i = 0; i < w.size(); ++i)
          moved[i] += size * d[i];
        const Pass there = pass(moved, nullptr);
        if (Utilities::MPI::max(
              here.active == there.active && here.side == there.side ? 0 : 1,
              D->comm) == 0)
          {
            for (double &v : d)
              v *= size;
            break;
          }
      }
    if (on_root)
      {
        q  = w;
        dq = d;
      }
  }

  template <int dim>
  std::vector<char>
  GraphNetwork<dim>::fixed_cells() const
  {
    std::vector<char> fixed;
    for (const char c : free_cell)
      fixed.push_back(!c);
    return fixed;
  }

  template <int dim>
  double
  GraphNetwork<dim>::share_at_bound(const Q &q) const
  {
    const Pass r       = pass(whole(q), nullptr);
    double     clipped = 0;
    for (std::size_t k = 0; k < r.t.size(); ++k)
      clipped += free_cell[k] && r.side[k] != Side::within;
    return D->sum(clipped) / D->n_global_cells();
  }

  template class GraphNetwork<2>;
  template class GraphNetwork<3>;

  namespace
  {
    const char *graph_network_description =
      "a graph network and a linear map from the Hounsfield units of the cells";
    const Registry<Parameterization<2>>::Entry<GraphNetwork<2>>
      graph_network_2d("graph network", graph_network_description);
    const Registry<Parameterization<3>>::Entry<GraphNetwork<3>>
      graph_network_3d("graph network", graph_network_description);
  } // namespace
} // namespace Palpate
