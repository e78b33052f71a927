#include <palpate/core/errors.h>
#include <palpate/forces/springs/edge_springs.h>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  void
  EdgeSprings<dim>::declare_parameters(ParameterHandler &prm)
  {
    prm.declare_entry("Rest length ratio",
                      "1",
                      Patterns::Double(),
                      "edge springs: rest lengths over the pack's "
                      "rest_length or, where it has none, the lengths of the "
                      "network.");
  }

  template <int dim>
  void
  EdgeSprings<dim>::parse_parameters(Parameters &parameters)
  {
    rest_length_ratio = parameters.get_double("Rest length ratio");
    if (!(rest_length_ratio >= 0 && rest_length_ratio < 1e6))
      parameters.fail("Rest length ratio", "expected a value of at least 0");
  }

  template <int dim>
  void
  EdgeSprings<dim>::add_fields(const Discretization<dim> &D,
                               const std::vector<Snapshot<dim>> &,
                               const CaseData<dim> &data,
                               const std::vector<std::string> &,
                               Fields &fields) const
  {
    const auto         &m = D.mesh;
    std::vector<double> length;
    const auto          given = data.arrays.find(rest_length_name);
    for (std::size_t k = 0; k < m.springs.size(); ++k)
      {
        const double now =
          m.vertices[m.springs[k][0]].distance(m.vertices[m.springs[k][1]]);
        length.push_back(rest_length_ratio * (given != data.arrays.end()
                                                ? given->second.values[k]
                                                : now));
        if (!(length[k] == 0 || now > 1e-9 * length[k]))
          throw InputError(data.source,
                           "spring " + std::to_string(k) +
                             " between vertices " +
                             std::to_string(m.springs[k][0]) + " and " +
                             std::to_string(m.springs[k][1]) +
                             " has length 0 and a rest length above, expected "
                             "a direction");
      }
    fields[rest_length_name] = D.scatter_cells(length);
  }

  template <int dim>
  Tensor<1, dim>
  EdgeSprings<dim>::difference(const Discretization<dim> &D,
                               const Vector              &v,
                               const unsigned int         k)
  {
    const unsigned int *n = &D.cell_nodes[2 * k];
    T1                  d;
    for (unsigned int i = 0; i < dim; ++i)
      d[i] = v.local_element(n[0] * dim + i) - v.local_element(n[1] * dim + i);
    return d;
  }

  template <int dim>
  void
  EdgeSprings<dim>::add(const Discretization<dim> &D,
                        const unsigned int         k,
                        const T1                  &f,
                        Vector                    &h)
  {
    for (unsigned int end = 0; end < 2; ++end)
      if (const unsigned int n = D.cell_nodes[2 * k + end];
          n < D.n_owned_nodes())
        for (unsigned int i = 0; i < dim; ++i)
          h.local_element(n * dim + i) += end == 0 ? f[i] : -f[i];
  }

  template <int dim>
  EdgeSpring<dim>
  EdgeSprings<dim>::spring(const Context<dim> &c, const unsigned int k) const
  {
    const auto           &D = c.discretization;
    const unsigned int   *n = &D.cell_nodes[2 * k];
    const EdgeSpring<dim> s(c.fields["stiffness"][k],
                            c.fields[rest_length_name][k],
                            D.node_position(n[0]) - D.node_position(n[1]) +
                              difference(D, c.state.u, k));
    if (!s.is_valid())
      throw SolverError("spring " + std::to_string(D.cell_id[k]) +
                        " between vertices " +
                        std::to_string(D.node_vertices[n[0]][0]) + " and " +
                        std::to_string(D.node_vertices[n[1]][0]) +
                        " has shrunk to length 0, where it has no direction");
    return s;
  }

  template <int dim>
  double
  EdgeSprings<dim>::energy(const Context<dim> &c) const
  {
    double sum = 0;
    for (unsigned int k = 0; k < c.discretization.n_owned_cells(); ++k)
      sum += spring(c, k).energy();
    return sum;
  }

  template <int dim>
  void
  EdgeSprings<dim>::residual(const Context<dim> &c, Vector &h) const
  {
    for (unsigned int k = 0; k < c.discretization.n_cells(); ++k)
      add(c.discretization, k, spring(c, k).force(), h);
  }

  template <int dim>
  void
  EdgeSprings<dim>::add_tangent(const Context<dim> &c,
                                const Tangent       kind,
                                TangentMatrix<dim> &K) const
  {
    for (unsigned int k = 0; k < c.discretization.n_cells(); ++k)
      {
        const auto     s = spring(c, k);
        Tensor<2, dim> block;
        for (unsigned int j = 0; j < dim; ++j)
          {
            T1 e;
            e[j]            = 1;
            const T1 column = kind == Tangent::consistent ? s.tangent(e)
                              : kind == Tangent::positive
                                ? s.positive_tangent(e)
                                : s.k * s.n[j] * s.n;
            for (unsigned int i = 0; i < dim; ++i)
              block[i][j] = column[i];
          }
        for (unsigned int a = 0; a < 2; ++a)
          for (unsigned int b = 0; b < 2; ++b)
            K.add_block(k, a, b, a == b ? block : -block);
      }
  }

  template <int dim>
  void
  EdgeSprings<dim>::apply_tangent(const Context<dim> &c,
                                  const Vector       &du,
                                  Vector             &dh) const
  {
    const auto &D = c.discretization;
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      add(D, k, spring(c, k).tangent(difference(D, du, k)), dh);
  }

  // The force is k (|d| - l) n.
  template <int dim>
  void
  EdgeSprings<dim>::field_jvp(const Context<dim> &c,
                              const Fields       &direction,
                              Vector             &dh) const
  {
    const auto &D    = c.discretization;
    const bool  by_k = direction.has("stiffness"),
               by_l  = direction.has(rest_length_name);
    for (unsigned int k = 0; (by_k || by_l) && k < D.n_cells(); ++k)
      {
        const auto s = spring(c, k);
        double     f = 0;
        if (by_k)
          f += (s.length - s.l) * direction["stiffness"][k];
        if (by_l)
          f -= s.k * direction[rest_length_name][k];
        add(D, k, f * s.n, dh);
      }
  }

  template <int dim>
  void
  EdgeSprings<dim>::field_vjp(const Context<dim> &c,
                              const Vector       &lambda,
                              FieldDuals         &g) const
  {
    const auto &D    = c.discretization;
    const bool  by_k = g.has("stiffness"), by_l = g.has(rest_length_name);
    for (unsigned int k = 0; (by_k || by_l) && k < D.n_owned_cells(); ++k)
      {
        const auto   s     = spring(c, k);
        const double along = s.n * difference(D, lambda, k);
        if (by_k)
          g["stiffness"][k] += (s.length - s.l) * along;
        if (by_l)
          g[rest_length_name][k] -= s.k * along;
      }
  }

  template <int dim>
  void
  EdgeSprings<dim>::second_vjp(const Context<dim> &c,
                               const Vector       &lambda,
                               const Vector       &du,
                               const Fields       &dfields,
                               Vector             &g_state,
                               FieldDuals         &g_fields) const
  {
    const auto &D  = c.discretization;
    const auto  of = [](const auto &all, const char *name) {
      return all.has(name);
    };
    const bool dk_given = of(dfields, "stiffness"),
               dl_given = of(dfields, rest_length_name),
               by_k     = of(g_fields, "stiffness"),
               by_l     = of(g_fields, rest_length_name);
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      {
        const auto   s = spring(c, k);
        const T1     L = difference(D, lambda, k), v = difference(D, du, k);
        const double dk = dk_given ? dfields["stiffness"][k] : 0.,
                     dl = dl_given ? dfields[rest_length_name][k] : 0.;
        // Of phi = k (|d| - l) n . L.
        T1 g = s.second(L, v) + dk / s.k * s.tangent(L);
        if (s.length > 0)
          g -= dl * s.k / s.length * s.across(L);
        add(D, k, g, g_state);
        if (k >= D.n_owned_cells())
          continue;
        const double across = s.length > 0 ? (s.across(L) * v) / s.length : 0.;
        if (by_k)
          g_fields["stiffness"][k] += s.tangent(L) * v / s.k - dl * (s.n * L);
        if (by_l)
          g_fields[rest_length_name][k] -= s.k * across + dk * (s.n * L);
      }
  }

  template class EdgeSprings<2>;
  template class EdgeSprings<3>;

  namespace
  {
    const char *edge_springs_description =
      "linear springs along the edges of a network";
    const Registry<Force<2>>::Entry<EdgeSprings<2>>
      edge_springs_2d("edge springs", edge_springs_description);
    const Registry<Force<3>>::Entry<EdgeSprings<3>>
      edge_springs_3d("edge springs", edge_springs_description);
  } // namespace
} // namespace Palpate
