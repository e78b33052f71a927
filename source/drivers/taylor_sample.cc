#include <palpate/drivers/taylor_sample.h>
#include <palpate/drivers/taylor_tests.h>

#include <cmath>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// x + t y, ghosts included.
    void
    combine(Vector &result, const Vector &x, const double t, const Vector &y)
    {
      for (unsigned int i = 0;
           i < x.locally_owned_size() + x.get_partitioner()->n_ghost_indices();
           ++i)
        result.local_element(i) = x.local_element(i) + t * y.local_element(i);
      result.set_ghost_state(true);
    }

    /// Of a cell, as if all were alike; of a spring its mean length [m].
    template <int dim>
    double
    mean_edge(const Discretization<dim> &D)
    {
      double volume = 0, length = 0;
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          const unsigned int *n = &D.cell_nodes[k * D.nodes_per_cell];
          volume += D.volume[k];
          length += D.node_position(n[0]).distance(D.node_position(n[1]));
        }
      const double mean_length = D.sum(length) / D.n_global_cells();
      const double mean_volume = D.sum(volume) / D.n_global_cells();
      return D.is_network()
               ? mean_length
               : std::pow(mean_volume * (dim == 3 ? 6 : 2), 1. / dim);
    }
  } // namespace

  template <int dim>
  TaylorSample<dim>::TaylorSample(const Context<dim>             &c,
                                  const std::vector<std::string> &names,
                                  const unsigned int              seed,
                                  const TestPoint                &point)
    : D(c.discretization)
    , base(c)
  {
    // No cell is turned inside out: edge nodes are twice as close.
    const double size = point.size * 0.1 * mean_edge(D) / (D.degree * D.degree);
    u                 = random_vector(D, seed, size);
    v                 = random_vector(D, seed + 6, 5 * size);
    du                = random_vector(D, seed + 1, size);
    lambda            = random_vector(D, seed + 2, 1);
    if (point.at_state)
      for (const auto part : {&State::u, &State::v})
        if ((c.state.*part).size() > 0)
          {
            const Vector here = ghosted_copy(c.state.*part);
            Vector      &to   = part == &State::u ? u : v;
            combine(to, here, 1, ghosted_copy(to));
          }
    fields = c.fields;
    add_missing_fields(names);
    move_fields(seed, point.size);
  }

  template <int dim>
  void
  TaylorSample<dim>::add_missing_fields(const std::vector<std::string> &names)
  {
    // One value for the body: terms with more need their field in the context.
    for (const auto &name : names)
      if (!fields.has(name))
        {
          Field &f = fields[name];
          f        = usual_place(name) == Place::body
                       ? body_field(1000.)
                       : Field(usual_place(name) == Place::vertices ? D.n_nodes()
                                                             : D.n_cells(),
                        name == "poisson_ratio" ? 0.25 : 1000.);
          f.place  = usual_place(name);
        }
  }

  template <int dim>
  void
  TaylorSample<dim>::move_fields(const unsigned int seed, const double size)
  {
    const Fields start = fields;
    for (const auto &[name, field] : start)
      {
        const unsigned int n = field.n_components;
        Field             &f = fields[name];
        Field             &d = dfields[name];
        d                    = f;
        for (unsigned int i = 0; i < f.values.size(); ++i)
          {
            const unsigned long index =
              f.place == Place::cells
                ? static_cast<unsigned long>(D.cell_id[i / n]) * n + i % n
              : f.place == Place::vertices ? D.node_vertices[i][0]
                                           : i;
            // One has a range, all others are positive.
            if (name == "poisson_ratio")
              {
                const double room = 0.3 * size * std::min(0.5 - f[i], 1 + f[i]);
                f[i] += room * random_number(seed + 3, index);
                d[i] = room * random_number(seed + 5, index);
                continue;
              }
            f[i] *= std::exp(0.5 * size * random_number(seed + 3, index));
            d[i] = f[i] * 0.5 * size * random_number(seed + 5, index);
          }
      }
  }

  template <int dim>
  Context<dim>
  TaylorSample<dim>::at(const double t, const double s, const double r)
  {
    const double rate = 20; // [1/s]
    moved.u           = D.make_vector();
    moved.v           = D.make_vector();
    combine(moved.u, u, t, du);
    combine(moved.v, v, rate * t + r, du);
    moved_fields = fields;
    for (const auto &[name, d] : dfields)
      for (std::size_t i = 0; i < d.values.size(); ++i)
        moved_fields[name][i] += s * d[i];
    return {D, moved, moved_fields, base.snapshot, base.constrained, rate};
  }

  template class TaylorSample<2>;
  template class TaylorSample<3>;
} // namespace Palpate
