#ifndef palpate_forces_external_obstacles_h
#define palpate_forces_external_obstacles_h

#include <palpate/forces/force.h>
#include <palpate/forces/node_values.h>

namespace Palpate
{
  /// The barrier of a distance d below the reach r (doc/theory.md 10a):
  /// b = -(d - r)^2 log(d/r), twice continuously differentiable at r.
  struct Barrier
  {
    double energy, first, second, third;
    Barrier(const double d, const double r);
  };

  /**
   * Planes and spheres near which surface nodes are in contact: what the ground
   * and its friction share. Later contacts, of a body with another, are pairs
   * of the same distance, normal and curvature.
   */
  template <int dim>
  class Obstacles
  {
  public:
    using T1 = dealii::Tensor<1, dim>;
    using T2 = dealii::Tensor<2, dim>;

    /// A surface node within reach of an obstacle.
    struct Contact
    {
      unsigned int node;
      double       distance; ///< [m]
      T1           normal;   ///< away from the obstacle
      double       bend;     ///< 1/rho, signed; 0 for a plane
      /// d normal / d position
      T2
      curvature() const
      {
        T2 H = -bend * outer_product(normal, normal);
        for (unsigned int d = 0; d < dim; ++d)
          H[d][d] += bend;
        return H;
      }
    };

    static void
    declare_parameters(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters);

    bool
    empty() const
    {
      return obstacles.empty();
    }

    /// f(contact) for all owned nodes of the surface within reach.
    template <typename Function>
    void
    for_each_contact(const Context<dim> &c, const Function &f) const
    {
      const auto &D = c.discretization;
      for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
        if (D.surface_node[n])
          for (const Obstacle &o : obstacles)
            {
              const T1 x = D.node_position(n) - dealii::Point<dim>(o.centre) +
                           at_node<dim>(c.state.u, n);
              Contact contact{n, x * o.normal, o.normal, 0};
              if (o.radius != 0)
                {
                  const double sign = o.radius > 0 ? 1 : -1;
                  contact.distance  = sign * x.norm() - o.radius;
                  contact.normal    = sign / x.norm() * x;
                  contact.bend      = sign / x.norm();
                }
              if (contact.distance < reach)
                f(contact);
            }
    }

    /// @throw SolverError if the node is not above the ground
    Barrier
    barrier(const Context<dim> &c, const Contact &contact) const;

    double reach = 1e-3, stiffness = 1000;

  private:
    /// A plane through its centre, or a sphere.
    struct Obstacle
    {
      T1     centre, normal;
      double radius = 0; ///< 0: a plane
    };
    std::vector<Obstacle> obstacles;
  };
} // namespace Palpate

#endif
