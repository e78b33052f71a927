#include <palpate/core/errors.h>
#include <palpate/forces/external/obstacles.h>

#include <cmath>

namespace Palpate
{
  using namespace dealii;

  Barrier::Barrier(const double d, const double r)
  {
    const double x = d - r, log = std::log(d / r);
    energy = -x * x * log;
    first  = -(2 * x * log + x * x / d);
    second = -(2 * log + 4 * x / d - x * x / (d * d));
    third  = -(2 / d + 4 * r / (d * d) - 2 * x * r / (d * d * d));
  }

  template <int dim>
  void
  Obstacles<dim>::declare_parameters(ParameterHandler &prm)
  {
    prm.declare_entry("Ground planes",
                      "",
                      Patterns::Anything(),
                      "Planes that the surface stays above: point [m] and "
                      "upward normal, \"0, 0, 0, 0, 0, 1; ...\".");
    prm.declare_entry("Ground spheres",
                      "",
                      Patterns::Anything(),
                      "Spheres that the surface stays outside of: centre "
                      "and radius [m], \"0, 0, -1, 0.5; ...\"; inside, if "
                      "the radius is negative.");
    prm.declare_entry("Ground reach",
                      "1e-3",
                      Patterns::Double(),
                      "Distance [m] below which the ground repels.");
    prm.declare_entry("Ground stiffness",
                      "1000",
                      Patterns::Double(),
                      "k of the barrier -k (d - reach)^2 log(d/reach) of a "
                      "surface node [N/m].");
  }

  namespace
  {
    std::vector<std::vector<double>>
    numbers(const std::string &entry,
            const unsigned int n,
            Parameters        &parameters)
    {
      const std::string expected =
        "expected " + std::to_string(n) + " numbers each, \"a, b, ...; ...\"";
      std::vector<std::vector<double>> all;
      for (const auto &item :
           Utilities::split_string_list(parameters.get(entry), ';'))
        if (!item.empty())
          {
            try
              {
                all.push_back(Utilities::string_to_double(
                  Utilities::split_string_list(item, ',')));
              }
            catch (const ExceptionBase &)
              {
                parameters.fail(entry, expected);
              }
            if (all.back().size() != n)
              parameters.fail(entry, expected);
            for (const double v : all.back())
              if (!std::isfinite(v))
                parameters.fail(entry, expected + ", all finite");
          }
      return all;
    }
  } // namespace

  template <int dim>
  void
  Obstacles<dim>::parse_parameters(Parameters &parameters)
  {
    for (const auto &v : numbers("Ground planes", 2 * dim, parameters))
      {
        Obstacle o;
        for (unsigned int d = 0; d < dim; ++d)
          {
            o.centre[d] = v[d];
            o.normal[d] = v[dim + d];
          }
        if (!(o.normal.norm() > 0))
          parameters.fail("Ground planes", "expected a normal");
        o.normal /= o.normal.norm();
        obstacles.push_back(o);
      }
    for (const auto &v : numbers("Ground spheres", dim + 1, parameters))
      {
        Obstacle o;
        for (unsigned int d = 0; d < dim; ++d)
          o.centre[d] = v[d];
        o.radius = v[dim];
        if (o.radius == 0)
          parameters.fail("Ground spheres", "expected a radius");
        obstacles.push_back(o);
      }
    if (empty())
      return;
    reach     = parameters.get_double("Ground reach");
    stiffness = parameters.get_double("Ground stiffness");
    if (!(reach > 0))
      parameters.fail("Ground reach", "expected a positive distance");
    if (!(stiffness > 0))
      parameters.fail("Ground stiffness", "expected a positive value");
  }

  template <int dim>
  Barrier
  Obstacles<dim>::barrier(const Context<dim> &c, const Contact &contact) const
  {
    if (!(contact.distance > 0))
      {
        const auto &v = c.discretization.node_vertices[contact.node];
        throw SolverError(
          "vertex " + std::to_string(v[0]) +
          (contact.distance < 0 ? " is " + std::to_string(-contact.distance) +
                                    " m below the ground"
                                : " touches the ground") +
          ": a body starts above it, and stays there with smaller steps or more "
          "Loads/Ground stiffness");
      }
    return Barrier(contact.distance, reach);
  }

  template class Obstacles<2>;
  template class Obstacles<3>;
} // namespace Palpate
