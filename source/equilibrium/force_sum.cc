#include <palpate/equilibrium/force_sum.h>
#include <palpate/equilibrium/together.h>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  double
  ForceSum<dim>::energy(const Context<dim> &c) const
  {
    double sum = 0;
    together(c.discretization.comm, [&]() {
      for (const auto &force : forces)
        sum += (is_scaled(*force) ? load_part : 1.) * force->energy(c);
    });
    return c.discretization.sum(sum);
  }

  template <int dim>
  template <typename Function>
  void
  ForceSum<dim>::add_all(const Context<dim> &c,
                         const Function     &f,
                         Vector             &y) const
  {
    together(c.discretization.comm, [&]() {
      for (const auto &force : forces)
        if (is_scaled(*force))
          {
            Vector whole = c.discretization.make_vector();
            f(*force, whole);
            for (unsigned int i = 0; i < y.locally_owned_size(); ++i)
              y.local_element(i) += load_part * whole.local_element(i);
          }
        else
          f(*force, y);
    });
  }

  template <int dim>
  void
  ForceSum<dim>::residual(const Context<dim> &c, Vector &h) const
  {
    add_all(
      c, [&](const Force<dim> &force, Vector &y) { force.residual(c, y); }, h);
  }

  template <int dim>
  void
  ForceSum<dim>::apply_tangent(const Context<dim> &c,
                               const Vector       &du,
                               Vector             &dh) const
  {
    add_all(
      c,
      [&](const Force<dim> &force, Vector &y) {
        force.apply_tangent(c, du, y);
      },
      dh);
  }

  template <int dim>
  void
  ForceSum<dim>::add_tangent(const Context<dim> &c,
                             const Tangent       kind,
                             TangentMatrix<dim> &K) const
  {
    // K + part * K_loads without a second matrix.
    if (load_part != 1)
      K.scale(1 / load_part);
    together(c.discretization.comm, [&]() {
      for (const auto &force : forces)
        if (is_scaled(*force))
          force->add_tangent(c, kind, K);
    });
    if (load_part != 1)
      K.scale(load_part);
    together(c.discretization.comm, [&]() {
      for (const auto &force : forces)
        if (!is_scaled(*force))
          force->add_tangent(c, kind, K);
    });
  }

  template class ForceSum<2>;
  template class ForceSum<3>;
} // namespace Palpate
