#include <palpate/core/errors.h>
#include <palpate/core/text.h>
#include <palpate/parameterizations/field_unknowns.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <stdexcept>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  const std::map<std::string, typename FieldUnknowns<dim>::Known> &
  FieldUnknowns<dim>::known_fields()
  {
    static const std::map<std::string, Known> all = {
      {"poisson_ratio", {"", 0.01, 0.49, false}},
      {"density", {"kg/m^3", 1, 1e5, true}},
      {"damping_rate", {"1/s", 1e-6, 1e6, true}},
      {"damping_factor", {"", 0.5, 1, false}},
      {"lame_lambda", {"Pa", 1, 1e9, true}},
      {"lame_mu", {"Pa", 1, 1e9, true}},
      {"shear_viscosity", {"Pa s", 1e-6, 1e9, true}},
      {"dilatational_viscosity", {"Pa s", 1e-6, 1e9, true}},
      {"ground_stiffness", {"N/m", 1e-6, 1e12, true}},
      {"ground_friction", {"", 1e-4, 10, true}},
      {"charge_density", {"C/m^3", -1e6, 1e6, false, true}},
      {"charge", {"C", -1e3, 1e3, false, true}},
      {"external_charge", {"C", -1e3, 1e3, false, true}},
      {"mass", {"kg", 1e-9, 1e6, true}},
      {"rest_length", {"m", 1e-9, 1e6, true}},
      {"initial_displacement", {"m", -1e6, 1e6, false}},
      {"initial_velocity", {"m/s", -1e6, 1e6, false}}};
    return all;
  }

  template <int dim>
  FieldUnknowns<dim>::FieldUnknowns(const std::string &name,
                                    const std::string &spread,
                                    const double       lower,
                                    const double       upper)
    : name(name)
    , spread(spread)
    , lower(lower)
    , upper(upper)
    , known(known_fields().at(name))
    , own(spread == "per cell" || spread == "per vertex")
  {
    const std::map<Place, std::vector<std::string>> spreads = {
      {Place::cells, {"global", "per label", "per cell"}},
      {Place::nodes, {"translation", "rigid", "per vertex"}},
      {Place::vertices, {"global", "per label", "per vertex"}},
      {Place::body, {"global", "each"}}};
    const auto &allowed = spreads.at(usual_place(name));
    if (std::find(allowed.begin(), allowed.end(), spread) == allowed.end())
      {
        throw std::invalid_argument("expected one of " +
                                    Text::enumerate(allowed, ", ") + " for " +
                                    name + Text::did_you_mean(spread, allowed));
      }
  }

  template <int dim>
  std::vector<std::unique_ptr<FieldUnknowns<dim>>>
  FieldUnknowns<dim>::read(Parameters &parameters)
  {
    std::vector<std::unique_ptr<FieldUnknowns<dim>>> all;
    // "name: spread, lower, upper; ..."
    const auto &known = known_fields();
    for (const auto &item :
         Utilities::split_string_list(parameters.get("More unknowns"), ';'))
      {
        if (item.empty())
          continue;
        const auto               two = Utilities::split_string_list(item, ':');
        const auto               it  = known.find(two[0]);
        std::vector<std::string> names;
        for (const auto &k : known)
          names.push_back(k.first);
        if (two.size() != 2 || it == known.end())
          parameters.fail("More unknowns",
                          "'" + item +
                            "', expected \"name: spread, lower, upper\" with "
                            "a name of " +
                            Text::enumerate(names, ", ") +
                            (it == known.end()
                               ? Text::did_you_mean(two[0], names)
                               : ""));
        const auto words     = Utilities::split_string_list(two[1], ',');
        double     limits[2] = {it->second.lower, it->second.upper};
        for (unsigned int i = 1; i < words.size(); ++i)
          {
            char *end = nullptr;
            if (i < 3)
              limits[i - 1] = std::strtod(words[i].c_str(), &end);
            if (i > 2 || words.size() != 3 || words[i].empty() || *end != 0 ||
                !std::isfinite(limits[i - 1]))
              parameters.fail("More unknowns",
                              "'" + item + "', expected no or two bounds");
          }
        if (two[0] == "poisson_ratio" && !(limits[0] > -1 && limits[1] < 0.5))
          parameters.fail("More unknowns",
                          "'" + item + "', expected bounds between -1 and 0.5");
        if (two[0] == "damping_factor" && !(limits[0] > 0 && limits[1] <= 1))
          parameters.fail("More unknowns",
                          "'" + item + "', expected bounds between 0 and 1");
        if (!(limits[0] < limits[1]) || (it->second.log && !(limits[0] > 0)))
          parameters.fail("More unknowns",
                          "'" + item + "', expected rising" +
                            (it->second.log ? " positive" : "") + " bounds");
        for (const auto &part : all)
          if (part->name == two[0])
            parameters.fail("More unknowns", two[0] + " stands there twice");
        try
          {
            all.push_back(std::make_unique<FieldUnknowns<dim>>(
              two[0], words[0], limits[0], limits[1]));
          }
        catch (const std::invalid_argument &e)
          {
            parameters.fail("More unknowns", "'" + item + "', " + e.what());
          }
      }
    return all;
  }

  template <int dim>
  template <typename Function>
  void
  FieldUnknowns<dim>::for_each_group(const unsigned int i,
                                     const Function    &f) const
  {
    if (own)
      return;
    if (shape.place == Place::cells || shape.place == Place::vertices)
      f(spread == "per label" ? label[i] : 0, 1.);
    else if (shape.place == Place::body)
      f(spread == "each" ? i : 0, 1.);
    else
      {
        const unsigned int d = i % dim;
        f(d, 1.);
        if (spread != "rigid")
          return;
        // omega x r
        const Tensor<1, dim> r = D->node_position(i / dim) - centre;
        if constexpr (dim == 2)
          f(2, d == 0 ? -r[1] : r[0]);
        else
          {
            f(3 + (d + 1) % 3, r[(d + 2) % 3]);
            f(3 + (d + 2) % 3, -r[(d + 1) % 3]);
          }
      }
  }

  template <int dim>
  void
  FieldUnknowns<dim>::bind(const Discretization<dim> &discretization,
                           const Fields              &initial)
  {
    D     = &discretization;
    shape = initial[name];
    labels.clear();
    label.clear();
    if (spread == "per label")
      {
        const bool of_vertices = (shape.place == Place::vertices);
        labels                 = D->labels;
        if (of_vertices)
          {
            const std::set<int> all(D->mesh.vertex_labels.begin(),
                                    D->mesh.vertex_labels.end());
            labels.assign(all.begin(), all.end());
          }
        for (unsigned int i = 0; i < shape.values.size(); ++i)
          label.push_back(
            std::lower_bound(labels.begin(),
                             labels.end(),
                             of_vertices ? D->node_label(i) : D->label(i)) -
            labels.begin());
      }
    n_groups        = own                       ? 0
                      : spread == "per label"   ? labels.size()
                      : spread == "translation" ? dim
                      : spread == "rigid"       ? dim * (dim + 1) / 2
                      : spread == "each"        ? shape.values.size()
                                                : 1;
    const bool root = Utilities::MPI::this_mpi_process(D->comm) == 0;
    n_on_root       = root ? n_groups : 0;
    n_own           = own ? D->n_owned_values(shape) : 0;
    // The volume that belongs to a node, and the mean position.
    Vector volume = D->make_vector();
    for (unsigned int k = 0; k < D->n_cells(); ++k)
      {
        Tensor<1, dim> part;
        for (unsigned int d = 0; d < dim; ++d)
          part[d] = D->volume[k] / D->nodes_per_cell;
        D->scatter(std::vector<Tensor<1, dim>>(D->nodes_per_cell, part),
                   k,
                   volume);
      }
    std::vector<double> sums(dim + 1, 0.);
    for (unsigned int n = 0; n < D->n_owned_nodes(); ++n)
      {
        const double v = volume.local_element(n * dim);
        for (unsigned int d = 0; d < dim; ++d)
          sums[d] += v * D->node_position(n)[d];
        sums[dim] += v;
      }
    Utilities::MPI::sum(sums, D->comm, sums);
    for (unsigned int d = 0; d < dim; ++d)
      centre[d] = sums[d] / sums[dim];

    std::vector<double> x = shape.values;
    scale                 = 1;
    if (known.scaled)
      {
        double largest = 0;
        for (const double v : x)
          largest = std::max(largest, std::abs(v));
        largest = Utilities::MPI::max(largest, D->comm);
        if (largest == 0)
          throw EntryError(
            "Parameterization/More unknowns",
            name + " starts at 0, where nothing tells its size (and forces "
                   "between charges, quadratic in them, have no derivative); "
                   "expected another start in Loads");
        scale = largest;
      }
    for (double &v : x)
      {
        if (known.log && !(v > 0))
          throw EntryError("Parameterization/More unknowns",
                           "the start of " + name +
                             " is not positive, expected a value > 0");
        v = known.log ? std::log(v) : v / scale;
      }
    // Start of a group: the mean over its values by volume; a body that turns
    // starts with its mean velocity.
    const unsigned int  n = D->n_owned_values(shape);
    std::vector<double> mean(2 * n_groups, 0.);
    double              size  = 0;
    const auto          share = [&](const unsigned int i) {
      return shape.place == Place::cells      ? D->volume[i]
                      : shape.place == Place::body     ? (root ? 1. : 0.)
                      : shape.place == Place::vertices ? 1.
                                                       : volume.local_element(i);
    };
    for (unsigned int i = 0; i < n; ++i)
      {
        size += share(i);
        for_each_group(i, [&](const unsigned int group, const double factor) {
          if (shape.place == Place::nodes && group >= dim)
            return;
          mean[2 * group] += share(i) * factor;
          mean[2 * group + 1] += share(i) * factor * x[i];
        });
      }
    Utilities::MPI::sum(mean, D->comm, mean);
    size = D->sum(size);
    start.clear();
    weight.clear();
    for (unsigned int group = 0; group < n_on_root; ++group)
      {
        const bool turns = mean[2 * group] == 0;
        start.push_back(turns ? 0. : mean[2 * group + 1] / mean[2 * group]);
        weight.push_back(shape.place == Place::cells ||
                             shape.place == Place::vertices
                           ? mean[2 * group] / size
                           : 1.);
      }
    for (unsigned int i = 0; i < n_own; ++i)
      {
        start.push_back(x[i]);
        weight.push_back(share(i) / size);
      }
    const auto Aq = multiply(start);
    base.resize(x.size());
    for (unsigned int i = 0; i < x.size(); ++i)
      base[i] = own ? 0. : x[i] - Aq[i];
    // The bounds are those of the values, wherever in a group.
    lowest.assign(n_groups, 0.);
    highest.assign(n_groups, 0.);
    for (unsigned int i = 0; i < n; ++i)
      for_each_group(i, [&](const unsigned int group, double) {
        lowest[group]  = std::min(lowest[group], base[i]);
        highest[group] = std::max(highest[group], base[i]);
      });
    Utilities::MPI::min(lowest, D->comm, lowest);
    Utilities::MPI::max(highest, D->comm, highest);
    // Within the bounds, on whatever rank.
    Q low, high;
    bounds(low, high);
    double beyond = 0;
    for (unsigned int i = 0; i < start.size(); ++i)
      beyond += start[i] < low[i] || start[i] > high[i];
    if (D->sum(beyond) > 0)
      throw EntryError("Parameterization/More unknowns",
                       "the start of " + name +
                         " is not within its bounds, expected values from " +
                         std::to_string(lower) + " to " +
                         std::to_string(upper));
  }

  template <int dim>
  void
  FieldUnknowns<dim>::bounds(Q &low, Q &high) const
  {
    low.assign(n_local(), known.log ? std::log(lower) : lower / scale);
    high.assign(n_local(), known.log ? std::log(upper) : upper / scale);
    if (shape.place != Place::nodes)
      for (unsigned int i = 0; i < n_on_root; ++i)
        {
          low[i] -= lowest[i];
          high[i] -= highest[i];
        }
  }

  template <int dim>
  typename FieldUnknowns<dim>::Q
  FieldUnknowns<dim>::weights() const
  {
    return weight;
  }

  template <int dim>
  std::vector<double>
  FieldUnknowns<dim>::multiply(const Q &q) const
  {
    std::vector<double> groups(n_groups, 0.), x(shape.values.size(), 0.);
    for (unsigned int i = 0; i < n_on_root; ++i)
      groups[i] = q[i];
    if (n_groups > 0)
      MPI_Bcast(groups.data(), n_groups, MPI_DOUBLE, 0, D->comm);
    if (!own)
      for (unsigned int i = 0; i < x.size(); ++i)
        for_each_group(i, [&](const unsigned int group, const double factor) {
          x[i] += factor * groups[group];
        });
    else if (shape.place == Place::cells)
      {
        Field all(D->n_cells());
        std::copy(q.begin() + n_on_root, q.end(), all.values.begin());
        D->update_ghosts(all);
        x = all.values;
      }
    else if (shape.place == Place::vertices)
      {
        Field all = shape;
        std::copy(q.begin() + n_on_root, q.end(), all.values.begin());
        D->update_ghosts(all);
        x = all.values;
      }
    else
      {
        Vector all = D->make_vector();
        for (unsigned int i = 0; i < n_own; ++i)
          all.local_element(i) = q[n_on_root + i];
        all.update_ghost_values();
        for (unsigned int i = 0; i < x.size(); ++i)
          x[i] = all.local_element(i);
      }
    return x;
  }

  template <int dim>
  void
  FieldUnknowns<dim>::transpose_multiply(const std::vector<double> &values,
                                         Q                         &g) const
  {
    std::vector<double> groups(n_groups, 0.);
    for (unsigned int i = 0; i < values.size(); ++i)
      for_each_group(i, [&](const unsigned int group, const double factor) {
        groups[group] += factor * values[i];
      });
    Utilities::MPI::sum(groups, D->comm, groups);
    g.assign(groups.begin(), groups.begin() + n_on_root);
    if (own)
      g.insert(g.end(), values.begin(), values.end());
  }

  template <int dim>
  void
  FieldUnknowns<dim>::apply(const Q &q, Fields &fields) const
  {
    const auto x     = multiply(q);
    Field     &field = fields[name];
    field            = shape;
    for (unsigned int i = 0; i < x.size(); ++i)
      field[i] =
        known.log ? std::exp(base[i] + x[i]) : scale * (base[i] + x[i]);
  }

  template <int dim>
  typename Parameterization<dim>::Linearization
  FieldUnknowns<dim>::linearize(const Q &q) const
  {
    const auto fields = std::make_shared<Fields>();
    apply(q, *fields);
    return {[this, fields](const Q &dq, Fields &dfields) {
              const auto   dx    = multiply(dq);
              const Field &at    = (*fields)[name];
              Field       &field = dfields[name];
              field              = shape;
              for (unsigned int i = 0; i < dx.size(); ++i)
                field[i] = slope(at, i) * dx[i];
            },
            [this, fields](const FieldDuals &duals, Q &g) {
              const Field        &at = (*fields)[name], &dual = duals[name];
              std::vector<double> gx(D->n_owned_values(shape));
              for (unsigned int i = 0; i < gx.size(); ++i)
                gx[i] = slope(at, i) * dual[i];
              transpose_multiply(gx, g);
            }};
  }

  template <int dim>
  void
  FieldUnknowns<dim>::jvp(const Q &q, const Q &dq, Fields &dfields) const
  {
    linearize(q).jvp(dq, dfields);
  }

  template <int dim>
  void
  FieldUnknowns<dim>::vjp(const Q &q, const FieldDuals &duals, Q &g) const
  {
    linearize(q).vjp(duals, g);
  }

  template <int dim>
  void
  FieldUnknowns<dim>::second_vjp(const Q          &q,
                                 const Q          &dq,
                                 const FieldDuals &duals,
                                 Q                &g) const
  {
    if (!known.log)
      return;
    Fields dfields;
    jvp(q, dq, dfields);
    std::vector<double> gx(D->n_owned_values(shape));
    for (unsigned int i = 0; i < gx.size(); ++i)
      gx[i] = dfields[name][i] * duals[name][i];
    Q add;
    transpose_multiply(gx, add);
    for (unsigned int i = 0; i < g.size(); ++i)
      g[i] += add[i];
  }

  template <int dim>
  std::vector<NamedValue>
  FieldUnknowns<dim>::named_values(const Q &q) const
  {
    std::vector<double> groups(n_groups, 0.);
    for (unsigned int i = 0; i < n_on_root; ++i)
      groups[i] = known.log ? std::exp(q[i]) : scale * q[i];
    if (n_groups > 0)
      MPI_Bcast(groups.data(), n_groups, MPI_DOUBLE, 0, D->comm);
    std::vector<NamedValue> result;
    const std::string       axes = "xyz";
    for (unsigned int i = 0; i < n_groups; ++i)
      {
        std::string which;
        if (!labels.empty())
          which = " label " + std::to_string(labels[i]);
        else if (spread == "each")
          which = " " + std::to_string(i);
        else if (shape.place == Place::nodes)
          which = i < dim    ? std::string(" ") + axes[i]
                  : dim == 2 ? std::string(" added rotation")
                             : std::string(" added rotation ") + axes[i - dim];
        const bool        turns = shape.place == Place::nodes && i >= dim;
        const std::string turn  = name == "initial_velocity" ? "1/s" : "";
        result.push_back({name + which, groups[i], turns ? turn : known.unit});
      }
    return result;
  }

  template <int dim>
  double
  FieldUnknowns<dim>::share_at_bound(const Q &q) const
  {
    Q low, high;
    bounds(low, high);
    std::vector<double> counts = {0., double(q.size())};
    for (unsigned int i = 0; i < q.size(); ++i)
      {
        const double room = 1e-9 * (high[i] - low[i]);
        counts[0] += q[i] <= low[i] + room || q[i] >= high[i] - room;
      }
    Utilities::MPI::sum(counts, D->comm, counts);
    return counts[0] / counts[1];
  }

  template <int dim>
  void
  FieldUnknowns<dim>::make_smooth(Q &q, Q &dq) const
  {
    double size = 1;
    if (name == "initial_displacement") // a part of a cell's edge
      {
        double volume = 0;
        for (unsigned int k = 0; k < D->n_owned_cells(); ++k)
          volume += D->volume[k];
        size = 0.1 * std::pow(D->sum(volume) / D->n_global_cells(), 1. / dim);
      }
    else if (!known.log)
      size = 0.1;
    for (unsigned int i = 0; i < q.size(); ++i)
      {
        q[i] = start[i] + size * (q[i] - start[i]);
        dq[i] *= size;
      }
  }

  template <int dim>
  template <typename Function, typename... Vectors>
  void
  Combined<dim>::for_each_part(const Function &f, Vectors &...vectors) const
  {
    std::size_t at = 0;
    for (const auto &part : parts)
      {
        const std::size_t n     = part->n_local();
        const auto        piece = [&](const Q &v) {
          return v.empty() ? Q(n) : Q(v.begin() + at, v.begin() + at + n);
        };
        std::array<Q, sizeof...(Vectors)> pieces = {{piece(vectors)...}};
        f(*part, pieces);
        std::size_t i          = 0;
        const auto  write_back = [&](auto &v) {
          if constexpr (!std::is_const_v<std::remove_reference_t<decltype(v)>>)
            std::copy(pieces[i].begin(), pieces[i].end(), v.begin() + at);
          ++i;
        };
        (write_back(vectors), ...);
        at += n;
      }
  }

  template <int dim>
  std::vector<std::string>
  Combined<dim>::field_names() const
  {
    std::vector<std::string> all;
    for (const auto &part : parts)
      for (const auto &name : part->field_names())
        all.push_back(name);
    return all;
  }

  template <int dim>
  std::vector<std::string>
  Combined<dim>::input_fields() const
  {
    std::vector<std::string> all;
    for (const auto &part : parts)
      for (const auto &name : part->input_fields())
        all.push_back(name);
    return all;
  }

  template <int dim>
  void
  Combined<dim>::bind(const Discretization<dim> &D, const Fields &initial)
  {
    for (const auto &part : parts)
      part->bind(D, initial);
  }

  template <int dim>
  unsigned int
  Combined<dim>::n_local() const
  {
    unsigned int n = 0;
    for (const auto &part : parts)
      n += part->n_local();
    return n;
  }

  template <int dim>
  typename Combined<dim>::Q
  Combined<dim>::initial() const
  {
    Q q(n_local());
    for_each_part([](const auto &part, auto &p) { p[0] = part.initial(); }, q);
    return q;
  }

  template <int dim>
  void
  Combined<dim>::bounds(Q &lower, Q &upper) const
  {
    lower.assign(n_local(), 0.);
    upper = lower;
    for_each_part([](const auto &part, auto &p) { part.bounds(p[0], p[1]); },
                  lower,
                  upper);
  }

  template <int dim>
  typename Combined<dim>::Q
  Combined<dim>::weights() const
  {
    Q w(n_local());
    for_each_part([](const auto &part, auto &p) { p[0] = part.weights(); }, w);
    return w;
  }

  template <int dim>
  void
  Combined<dim>::apply(const Q &q, Fields &fields) const
  {
    for_each_part([&](const auto &part, auto &p) { part.apply(p[0], fields); },
                  q);
  }

  template <int dim>
  void
  Combined<dim>::jvp(const Q &q, const Q &dq, Fields &dfields) const
  {
    linearize(q).jvp(dq, dfields);
  }

  template <int dim>
  void
  Combined<dim>::vjp(const Q &q, const FieldDuals &duals, Q &g) const
  {
    linearize(q).vjp(duals, g);
  }

  template <int dim>
  typename Parameterization<dim>::Linearization
  Combined<dim>::linearize(const Q &q) const
  {
    std::vector<typename Parameterization<dim>::Linearization> all;
    for_each_part([&](const auto &part,
                      auto       &p) { all.push_back(part.linearize(p[0])); },
                  q);
    return {[this, all](const Q &dq, Fields &dfields) {
              auto next = all.begin();
              for_each_part([&](const auto &,
                                auto &p) { (next++)->jvp(p[0], dfields); },
                            dq);
            },
            [this, all](const FieldDuals &duals, Q &g) {
              auto next = all.begin();
              g.assign(n_local(), 0.);
              for_each_part([&](const auto &,
                                auto &p) { (next++)->vjp(duals, p[0]); },
                            g);
            }};
  }

  template <int dim>
  void
  Combined<dim>::second_vjp(const Q          &q,
                            const Q          &dq,
                            const FieldDuals &duals,
                            Q                &g) const
  {
    for_each_part([&](const auto &part,
                      auto &p) { part.second_vjp(p[0], p[1], duals, p[2]); },
                  q,
                  dq,
                  g);
  }

  template <int dim>
  void
  Combined<dim>::make_smooth(Q &q, Q &dq) const
  {
    for_each_part(
      [](const auto &part, auto &p) { part.make_smooth(p[0], p[1]); }, q, dq);
  }

  template <int dim>
  std::vector<NamedValue>
  Combined<dim>::named_values(const Q &q) const
  {
    std::vector<NamedValue> all;
    for_each_part(
      [&](const auto &part, auto &p) {
        const auto some = part.named_values(p[0]);
        all.insert(all.end(), some.begin(), some.end());
      },
      q);
    return all;
  }

  template <int dim>
  double
  Combined<dim>::share_at_bound(const Q &q) const
  {
    double most = 0;
    for_each_part(
      [&](const auto &part, auto &p) {
        most = std::max(most, part.share_at_bound(p[0]));
      },
      q);
    return most;
  }

  template class FieldUnknowns<2>;
  template class FieldUnknowns<3>;
  template class Combined<2>;
  template class Combined<3>;
} // namespace Palpate
