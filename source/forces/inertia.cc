#include <palpate/forces/inertia.h>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  Mass<dim>::Mass(const Discretization<dim> &discretization, const bool lumped)
    : field_name(discretization.is_network() ? "mass" : "density")
    , discretization(discretization)
    , lumped(lumped || discretization.is_network())
    , element(discretization.mass_matrix)
  {
    if (!lumped || discretization.is_network())
      return;
    const unsigned int n     = discretization.nodes_per_cell;
    double             trace = 0;
    for (unsigned int a = 0; a < n; ++a)
      trace += element[a * n + a];
    for (unsigned int a = 0; a < n; ++a)
      for (unsigned int b = 0; b < n; ++b)
        element[a * n + b] = (a == b ? element[a * n + a] / trace : 0.);
  }

  template <int dim>
  void
  Mass<dim>::vmult_add(const Field &density, const Vector &a, Vector &Ma) const
  {
    const auto        &D = discretization;
    const unsigned int n = D.nodes_per_cell;
    if (D.is_network())
      {
        for (unsigned int i = 0; i < D.n_owned_nodes() * dim; ++i)
          Ma.local_element(i) += density[i / dim] * a.local_element(i);
        return;
      }
    std::vector<Tensor<1, dim>> in, out(n);
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      {
        D.gather(a, k, in);
        const double m = density[k] * D.volume[k];
        for (unsigned int i = 0; i < n; ++i)
          {
            out[i] = Tensor<1, dim>();
            for (unsigned int j = 0; j < n; ++j)
              out[i] += m * element[i * n + j] * in[j];
          }
        D.scatter(out, k, Ma);
      }
  }

  template <int dim>
  void
  Mass<dim>::vjp(const Vector &a, const Vector &b, Field &g) const
  {
    const auto        &D = discretization;
    const unsigned int n = D.nodes_per_cell;
    if (D.is_network())
      {
        for (unsigned int i = 0; i < D.n_owned_nodes() * dim; ++i)
          g[i / dim] += a.local_element(i) * b.local_element(i);
        return;
      }
    std::vector<Tensor<1, dim>> at_a, at_b;
    for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
      {
        D.gather(a, k, at_a);
        D.gather(b, k, at_b);
        for (unsigned int i = 0; i < n; ++i)
          for (unsigned int j = 0; j < n; ++j)
            g[k] += D.volume[k] * element[i * n + j] * (at_a[i] * at_b[j]);
      }
  }

  template <int dim>
  void
  Mass<dim>::add_to(const Field        &density,
                    const double        factor,
                    TangentMatrix<dim> &K) const
  {
    const auto        &D = discretization;
    const unsigned int n = D.nodes_per_cell;
    if (D.is_network())
      {
        NodeBlocks<dim> blocks(K);
        for (unsigned int i = 0; i < D.n_owned_nodes(); ++i)
          {
            Tensor<2, dim> block;
            for (unsigned int d = 0; d < dim; ++d)
              block[d][d] = factor * density[i];
            blocks.add(i, block);
          }
        return;
      }
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      for (unsigned int a = 0; a < n; ++a)
        for (unsigned int b = 0; b < n; ++b)
          {
            Tensor<2, dim> block;
            for (unsigned int d = 0; d < dim; ++d)
              block[d][d] =
                factor * density[k] * D.volume[k] * element[a * n + b];
            K.add_block(k, a, b, block);
          }
  }

  template <int dim>
  Vector
  Mass<dim>::diagonal(const Field &density) const
  {
    Assert(lumped, ExcInternalError());
    Vector ones = discretization.make_vector(), result = ones;
    ones = 1.;
    ones.update_ghost_values();
    vmult_add(density, ones, result);
    result.update_ghost_values();
    return result;
  }

  template <int dim>
  Vector
  InertiaForce<dim>::acceleration(const Vector &u) const
  {
    Vector a = ghosted_copy(u);
    for (unsigned int i = 0;
         i < a.locally_owned_size() + a.get_partitioner()->n_ghost_indices();
         ++i)
      a.local_element(i) = c * u.local_element(i) - w.local_element(i);
    return a;
  }

  template <int dim>
  double
  InertiaForce<dim>::energy(const Context<dim> &context) const
  {
    const Vector a  = acceleration(context.state.u);
    Vector       Ma = context.discretization.make_vector();
    mass.vmult_add(context.fields[mass.field_name], a, Ma);
    double sum = 0;
    for (unsigned int i = 0; i < a.locally_owned_size(); ++i)
      sum += a.local_element(i) * Ma.local_element(i);
    return 0.5 * sum / c;
  }

  template <int dim>
  void
  InertiaForce<dim>::residual(const Context<dim> &context, Vector &h) const
  {
    mass.vmult_add(context.fields[mass.field_name],
                   acceleration(context.state.u),
                   h);
  }

  template <int dim>
  void
  InertiaForce<dim>::add_tangent(const Context<dim> &context,
                                 const Tangent,
                                 TangentMatrix<dim> &K) const
  {
    mass.add_to(context.fields[mass.field_name], c, K);
  }

  template <int dim>
  void
  InertiaForce<dim>::apply_tangent(const Context<dim> &context,
                                   const Vector       &du,
                                   Vector             &dh) const
  {
    Vector a = ghosted_copy(du);
    a *= c;
    a.update_ghost_values();
    mass.vmult_add(context.fields[mass.field_name], a, dh);
  }

  template <int dim>
  void
  InertiaForce<dim>::field_jvp(const Context<dim> &context,
                               const Fields       &direction,
                               Vector             &dh) const
  {
    if (direction.has(mass.field_name))
      mass.vmult_add(direction[mass.field_name],
                     acceleration(context.state.u),
                     dh);
  }

  template <int dim>
  void
  InertiaForce<dim>::field_vjp(const Context<dim> &context,
                               const Vector       &lambda,
                               FieldDuals         &g) const
  {
    if (g.has(mass.field_name))
      mass.vjp(lambda, acceleration(context.state.u), g[mass.field_name]);
  }

  template <int dim>
  void
  InertiaForce<dim>::second_vjp(const Context<dim> &,
                                const Vector &lambda,
                                const Vector &du,
                                const Fields &dfields,
                                Vector       &g_state,
                                FieldDuals   &g_fields) const
  {
    Vector scaled = ghosted_copy(lambda);
    scaled *= c;
    scaled.update_ghost_values();
    if (dfields.has(mass.field_name))
      mass.vmult_add(dfields[mass.field_name], scaled, g_state);
    if (g_fields.has(mass.field_name))
      mass.vjp(scaled, du, g_fields[mass.field_name]);
  }

  template class Mass<2>;
  template class Mass<3>;
  template class InertiaForce<2>;
  template class InertiaForce<3>;
} // namespace Palpate
