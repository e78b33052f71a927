#include <palpate/forces/external/loads.h>

#include <set>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  double
  DeadLoad<dim>::energy(const Context<dim> &c) const
  {
    Vector h = c.discretization.make_vector();
    this->residual(c, h);
    double sum = 0;
    for (unsigned int i = 0; i < c.discretization.n_owned_nodes() * dim; ++i)
      sum += h.local_element(i) * c.state.u.local_element(i);
    return sum;
  }

  template <int dim>
  void
  Gravity<dim>::declare_parameters(ParameterHandler &prm)
  {
    prm.declare_entry("Gravity",
                      "0, 0, 0",
                      Patterns::List(Patterns::Double(), 0, 3),
                      "Acceleration [m/s^2].");
  }

  template <int dim>
  void
  Gravity<dim>::parse_parameters(Parameters &parameters)
  {
    const auto g = parameters.get_doubles("Gravity");
    if (g.size() != dim && g.size() != 3)
      parameters.fail("Gravity",
                      "expected " + std::to_string(dim) + " components");
    for (unsigned int d = 0; d < dim; ++d)
      gravity[d] = g[d];
  }

  namespace
  {
    /// "mass" [kg] at the vertices of a network, else "density".
    template <int dim>
    std::string
    mass_name(const Context<dim> &c)
    {
      return c.discretization.is_network() ? "mass" : "density";
    }
  } // namespace

  template <int dim>
  void
  Gravity<dim>::add_weight(const Context<dim> &c,
                           const Field        &density,
                           Vector             &h) const
  {
    const auto &D = c.discretization;
    if (D.is_network())
      {
        for (unsigned int i = 0; i < D.n_owned_nodes() * dim; ++i)
          h.local_element(i) -= density[i / dim] * gravity[i % dim];
        return;
      }
    std::vector<Tensor<1, dim>> out(D.nodes_per_cell);
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      {
        for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
          out[a] = -density[k] * D.volume[k] * D.mean_shape[a] * gravity;
        D.scatter(out, k, h);
      }
  }

  template <int dim>
  void
  Gravity<dim>::residual(const Context<dim> &c, Vector &h) const
  {
    add_weight(c, c.fields[mass_name(c)], h);
  }

  template <int dim>
  void
  Gravity<dim>::field_jvp(const Context<dim> &c,
                          const Fields       &direction,
                          Vector             &dh) const
  {
    if (direction.has(mass_name(c)))
      add_weight(c, direction[mass_name(c)], dh);
  }

  template <int dim>
  void
  Gravity<dim>::field_vjp(const Context<dim> &c,
                          const Vector       &lambda,
                          FieldDuals         &g) const
  {
    if (!g.has(mass_name(c)))
      return;
    const auto &D          = c.discretization;
    Field      &by_density = g[mass_name(c)];
    if (D.is_network())
      {
        for (unsigned int i = 0; i < D.n_owned_nodes() * dim; ++i)
          by_density[i / dim] -= gravity[i % dim] * lambda.local_element(i);
        return;
      }
    std::vector<Tensor<1, dim>> l;
    for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
      {
        D.gather(lambda, k, l);
        for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
          by_density[k] -= D.volume[k] * D.mean_shape[a] * (gravity * l[a]);
      }
  }

  template <int dim>
  void
  Gravity<dim>::second_vjp(const Context<dim> &,
                           const Vector &,
                           const Vector &,
                           const Fields &,
                           Vector &,
                           FieldDuals &) const
  {} // linear in the density, independent of u

  template <int dim>
  void
  SurfaceLoad<dim>::residual(const Context<dim> &c, Vector &h) const
  {
    const auto                 &D = c.discretization;
    std::vector<Tensor<1, dim>> out(D.nodes_per_cell);
    for (const auto &face : D.boundary_faces)
      {
        // Those of all ids of a face add, as it is there with each of them.
        const auto it = loads.find(face.id);
        if (it == loads.end())
          continue;
        const Tensor<1, dim> t = traction(it->second, face.normal);
        for (auto &o : out)
          o = Tensor<1, dim>();
        for (unsigned int i = 0; i < face.nodes.size(); ++i)
          out[face.nodes[i]] = -face.area * face.weights[i] * t;
        D.scatter(out, face.cell, h);
      }
  }

  template <int dim>
  void
  SurfaceLoad<dim>::check(const Discretization<dim> &D,
                          const Parameters          &parameters) const
  {
    std::set<unsigned int> ids;
    for (const auto &face : D.boundary_faces)
      ids.insert(face.id);
    for (const auto &load : loads)
      if (Utilities::MPI::max(static_cast<unsigned int>(ids.count(load.first)),
                              D.comm) == 0)
        parameters.fail(entry(),
                        "no face of the mesh has id " +
                          std::to_string(load.first));
  }

  template <int dim>
  void
  SurfaceLoad<dim>::drop_zeros()
  {
    for (auto it = loads.begin(); it != loads.end();)
      {
        double size = 0;
        for (const double v : it->second)
          size += std::abs(v);
        it = (size > 0 ? std::next(it) : loads.erase(it));
      }
  }

  template <int dim>
  void
  Traction<dim>::declare_parameters(ParameterHandler &prm)
  {
    prm.declare_entry("Traction",
                      "",
                      Patterns::Anything(),
                      "Force per reference area [Pa] by boundary id, "
                      "\"3: 0, 0, -50; 4: ...\".");
  }

  template <int dim>
  void
  Traction<dim>::parse_parameters(Parameters &parameters)
  {
    this->loads = parameters.get_map(entry(), dim);
    this->drop_zeros();
  }

  template <int dim>
  Tensor<1, dim>
  Traction<dim>::traction(const std::vector<double> &value,
                          const Tensor<1, dim> &) const
  {
    Tensor<1, dim> t;
    for (unsigned int d = 0; d < dim; ++d)
      t[d] = value[d];
    return t;
  }

  template <int dim>
  void
  Pressure<dim>::declare_parameters(ParameterHandler &prm)
  {
    prm.declare_entry("Pressure",
                      "",
                      Patterns::Anything(),
                      "Pressure [Pa] pushing against the surface, by boundary "
                      "id, \"3: 500\". A dead load: it keeps the direction of "
                      "the undeformed normal.");
  }

  template <int dim>
  void
  Pressure<dim>::parse_parameters(Parameters &parameters)
  {
    this->loads = parameters.get_map(entry(), 1);
    this->drop_zeros();
  }

  template <int dim>
  Tensor<1, dim>
  Pressure<dim>::traction(const std::vector<double> &value,
                          const Tensor<1, dim>      &normal) const
  {
    return -value[0] * normal;
  }

#define INSTANTIATE(dim)                                                   \
  template class DeadLoad<dim>;                                            \
  template class Gravity<dim>;                                             \
  template class SurfaceLoad<dim>;                                         \
  template class Traction<dim>;                                            \
  template class Pressure<dim>;                                            \
  namespace                                                                \
  {                                                                        \
    const Registry<Force<dim>>::Entry<Gravity<dim>>                        \
      gravity_##dim("gravity",                                             \
                    "weight of the body, by its density field",            \
                    "load");                                               \
    const Registry<Force<dim>>::Entry<Traction<dim>>                       \
      traction_##dim("traction",                                           \
                     "force per reference area on boundary ids",           \
                     "load");                                              \
    const Registry<Force<dim>>::Entry<Pressure<dim>>                       \
      pressure_##dim("pressure", "dead pressure on boundary ids", "load"); \
  }

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
