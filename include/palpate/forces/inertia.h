#ifndef palpate_forces_inertia_h
#define palpate_forces_inertia_h

#include <palpate/forces/force.h>

namespace Palpate
{
  /**
   * The mass matrix M of the field "density" [kg/m^3]: consistent, or lumped
   * by scaling the diagonal of every cell to the cell's mass (for linear
   * displacements V rho / (dim + 1) per vertex). Of a network it is diagonal,
   * with the field "mass" [kg] of the vertices in place of the density.
   */
  template <int dim>
  class Mass
  {
  public:
    Mass(const Discretization<dim> &discretization, const bool lumped);

    /// "density" or "mass".
    const std::string field_name;

    /// Ma += M a, rows of owned nodes. @param a ghosted
    void
    vmult_add(const Field &density, const Vector &a, Vector &Ma) const;

    /// g_k += a^T (dM/d rho_k) b for owned cells (or vertices). @param a,b
    /// ghosted
    void
    vjp(const Vector &a, const Vector &b, Field &g) const;

    /// K += factor * M
    void
    add_to(const Field        &density,
           const double        factor,
           TangentMatrix<dim> &K) const;

    /// Diagonal of a lumped M [kg], ghosted.
    Vector
    diagonal(const Field &density) const;

    const Discretization<dim> &discretization;
    const bool                 lumped;

  private:
    /// Integral of N_a N_b over a cell divided by its volume, row-major.
    std::vector<double> element;
  };

  /**
   * The inertia of an implicit step in time (doc/theory.md 9):
   * h = M (c u - w), whose energy is c/2 (u - w/c)^T M (u - w/c). A step makes
   * c [1/s^2] and w [m/s^2] from earlier displacements and velocities.
   */
  template <int dim>
  class InertiaForce : public Force<dim>
  {
  public:
    InertiaForce(const Discretization<dim> &discretization, const bool lumped)
      : mass(discretization, lumped)
      , w(ghosted_copy(discretization.make_vector()))
    {}

    void
    parse_parameters(Parameters &) override
    {}
    bool
    works_on_networks() const override
    {
      return true;
    }
    double
    energy(const Context<dim> &context) const override;
    void
    residual(const Context<dim> &context, Vector &h) const override;
    void
    add_tangent(const Context<dim> &context,
                const Tangent       kind,
                TangentMatrix<dim> &K) const override;
    void
    apply_tangent(const Context<dim> &context,
                  const Vector       &du,
                  Vector             &dh) const override;
    void
    field_jvp(const Context<dim> &context,
              const Fields       &direction,
              Vector             &dh) const override;
    void
    field_vjp(const Context<dim> &context,
              const Vector       &lambda,
              FieldDuals         &g) const override;
    void
    second_vjp(const Context<dim> &context,
               const Vector       &lambda,
               const Vector       &du,
               const Fields       &dfields,
               Vector             &g_state,
               FieldDuals         &g_fields) const override;
    Depends
    tangent_depends_on() const override
    {
      return Depends();
    }
    bool
    scales_with_stiffness() const override
    {
      return false;
    }
    Role
    role() const override
    {
      return Role::inertia;
    }
    std::vector<std::string>
    field_names() const override
    {
      return {mass.field_name};
    }

    const Mass<dim> mass;
    double          c = 1;
    Vector          w; ///< ghosted

  private:
    /// c u - w, ghosted.
    Vector
    acceleration(const Vector &u) const;
  };
} // namespace Palpate

#endif
