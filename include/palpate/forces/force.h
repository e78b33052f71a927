#ifndef palpate_forces_force_h
#define palpate_forces_force_h

#include <palpate/core/parameters.h>
#include <palpate/core/registry.h>
#include <palpate/forces/context.h>
#include <palpate/geometry/tangent_matrix.h>

namespace Palpate
{
  /// What a tangent changes with; decides whether one matrix can serve all
  /// snapshots and all Newton steps.
  struct Depends
  {
    bool state    = false;
    bool frames   = false;
    bool velocity = false; ///< see VelocityForce
  };

  /// Which derivative of the force a tangent matrix holds.
  enum class Tangent
  {
    consistent, ///< dh/du
    positive,   ///< a positive semidefinite substitute, for Newton's fall-back
    /// Without the terms proportional to stress: dh/du at zero stress only.
    small_strain
  };

  /// What a force is to the body: load steps apply loads in part, and nothing
  /// else.
  enum class Role
  {
    material,
    damping,
    load,
    inertia,
    contact ///< keeps the body from where it may not be: whole in all steps
  };

  /**
   * One contribution to h(u, fields) = internal - external force [N];
   * equilibrium is h = 0 and everything adds. All vectors are nodal; a term
   * writes the rows of owned nodes only. Every registered force is
   * Taylor-tested by ctest.
   */
  template <int dim>
  class Force
  {
  public:
    virtual ~Force() = default;

    virtual void
    parse_parameters(Parameters &parameters) = 0;

    /// Stored energy minus work of the loads on this rank's owned cells [J];
    /// the derivative by u is the residual.
    virtual double
    energy(const Context<dim> &context) const = 0;

    /// h += this force.
    virtual void
    residual(const Context<dim> &context, Vector &h) const = 0;

    /// K += dh/du or one of its substitutes.
    virtual void
    add_tangent(const Context<dim> &context,
                const Tangent       kind,
                TangentMatrix<dim> &K) const = 0;

    /// dh += (dh/du) du, without a matrix; dh/du stands for
    /// dh/du + velocity_rate dh/dv everywhere.
    virtual void
    apply_tangent(const Context<dim> &context,
                  const Vector       &du,
                  Vector             &dh) const = 0;

    /// dh += (dh/dfields) direction
    virtual void
    field_jvp(const Context<dim> &context,
              const Fields       &direction,
              Vector             &dh) const = 0;

    /// g += (dh/dfields)^T lambda
    virtual void
    field_vjp(const Context<dim> &context,
              const Vector       &lambda,
              FieldDuals         &g) const = 0;

    /// True if dh/du is symmetric, as that of every potential.
    virtual bool
    has_symmetric_tangent() const
    {
      return true;
    }

    /// g += (dh/du)^T lambda
    virtual void
    apply_transposed_tangent(const Context<dim> &context,
                             const Vector       &lambda,
                             Vector             &g) const
    {
      apply_tangent(context, lambda, g);
    }

    /// g_state += (dh/du)^T lambda and g_fields += (dh/dfields)^T lambda, for
    /// terms that do both at once.
    virtual void
    vjp(const Context<dim> &context,
        const Vector       &lambda,
        Vector             &g_state,
        FieldDuals         &g_fields) const
    {
      apply_transposed_tangent(context, lambda, g_state);
      field_vjp(context, lambda, g_fields);
    }

    /**
     * Directional derivative of the gradient of lambda . h:
     * g_state += h_uu[du]^T lambda + h_uq[dfields]^T lambda,
     * g_fields += h_qu[du]^T lambda + h_qq[dfields]^T lambda.
     */
    virtual void
    second_vjp(const Context<dim> &context,
               const Vector       &lambda,
               const Vector       &du,
               const Fields       &dfields,
               Vector             &g_state,
               FieldDuals         &g_fields) const = 0;

    virtual Depends
    tangent_depends_on() const = 0;

    /// True if the force is proportional to the stiffness field: without any
    /// other force only relative stiffness can be found.
    virtual bool
    scales_with_stiffness() const = 0;

    virtual Role
    role() const
    {
      return scales_with_stiffness() ? Role::material : Role::load;
    }

    /// False if Tangent::small_strain is no more than Tangent::positive.
    virtual bool
    has_small_strain_tangent() const
    {
      return false;
    }

    /// What the field "stiffness" is called in packs and results: "alpha_k", or
    /// "youngs_modulus" [Pa].
    virtual std::string
    stiffness_key() const
    {
      return "alpha_k";
    }

    /// True if small strains are assumed, which the program checks against the
    /// registered motion.
    virtual bool
    assumes_small_strain() const
    {
      return false;
    }

    /// Fields this force cannot do without ("stiffness", "density").
    virtual std::vector<std::string>
    field_names() const = 0;

    /// False if it is the derivative of nothing: then its energy is 0.
    virtual bool
    has_potential() const
    {
      return true;
    }

    /// False if no sparse matrix holds the tangent: see MatrixFreeForce.
    virtual bool
    has_matrix() const
    {
      return true;
    }

    /// True if it needs no more of a body than its vertices, or its springs.
    virtual bool
    works_on_networks() const
    {
      return false;
    }

    /// False if it does nothing with its parameters: then it is left out.
    virtual bool
    is_active() const
    {
      return true;
    }

    /// @name Of forces that depend on the velocity (VelocityForce)
    /// @{
    /// What the force is the derivative by the velocity of, at this
    /// displacement, on this rank's owned cells [W].
    virtual double
    dissipation(const Context<dim> &) const
    {
      return 0;
    }
    /// g += (dh/dv)^T lambda
    virtual void
    velocity_vjp(const Context<dim> &, const Vector &, Vector &) const
    {}
    /// False if explicit steps that are too long for dh/dv do not make the
    /// motion infinite, as the force is bounded: see chatter_rate().
    virtual bool
    limits_explicit_steps() const
    {
      return true;
    }
    /**
     * Of a bounded force that fades to nothing at rest: its slope at rest by
     * the velocity over the mass, the largest of this rank's nodes that it
     * would stop within a kick v <- v - kick f/m [1/s]. Kicks longer than 2
     * over this turn the velocity around for ever: it chatters.
     * @param mass of owned DoFs, lumped [kg]. @param kick [s]
     */
    virtual double
    chatter_rate(const Context<dim> &, const Vector &, const double) const
    {
      return 0;
    }
    /// @}

    /// Largest degree of the displacements it works with.
    virtual unsigned int
    maximum_degree() const
    {
      return 2;
    }

    /// Compare the parameters, whose section is entered, with the mesh.
    /// Collective. @throw InputError
    virtual void
    check(const Discretization<dim> &, const Parameters &) const
    {}

    /**
     * Add the fields that this force alone knows (spring stiffness, rest
     * lengths). Collective.
     * @param data the case: arrays of its pack
     * @param unknown names of fields that a parameterization will set: those
     * need a start
     * @param fields has "stiffness"
     * @throw InputError
     */
    virtual void
    add_fields(const Discretization<dim> &,
               const std::vector<Snapshot<dim>> &,
               const CaseData<dim> &,
               const std::vector<std::string> &,
               Fields &) const
    {}

    /// True if an undeformed body, held against rigid motion, may still have
    /// motions without energy.
    virtual bool
    may_have_zero_energy_modes() const
    {
      return false;
    }

    /// The tangent that adjoint and incremental solves use;
    /// Tangent::consistent gives exact derivatives.
    virtual Tangent
    adjoint_tangent() const
    {
      return Tangent::consistent;
    }
  };

  /**
   * A force that resists motion: h depends on the velocity of the state and
   * stores no energy. At rest it is nothing. Motions have no second
   * derivatives.
   */
  template <int dim>
  class VelocityForce : public Force<dim>
  {
  public:
    double
    dissipation(const Context<dim> &context) const override = 0;
    void
    velocity_vjp(const Context<dim> &context,
                 const Vector       &lambda,
                 Vector             &g) const override = 0;
    void
    apply_transposed_tangent(const Context<dim> &context,
                             const Vector       &lambda,
                             Vector             &g) const override = 0;

    double
    energy(const Context<dim> &) const override
    {
      return 0;
    }
    void
    second_vjp(const Context<dim> &,
               const Vector &,
               const Vector &,
               const Fields &,
               Vector &,
               FieldDuals &) const override
    {
      Assert(false, dealii::ExcMessage("motions have no second derivatives"));
    }
    Role
    role() const override
    {
      return Role::damping;
    }
    bool
    has_symmetric_tangent() const override
    {
      return false;
    }
    Depends
    tangent_depends_on() const override
    {
      Depends d;
      d.state    = true;
      d.velocity = true;
      return d;
    }
    bool
    scales_with_stiffness() const override
    {
      return false;
    }
  };

  template <>
  std::map<std::string, Registry<Force<2>>::Item> &
  Registry<Force<2>>::items();
  template <>
  std::map<std::string, Registry<Force<3>>::Item> &
  Registry<Force<3>>::items();
} // namespace Palpate

#endif
