#ifndef palpate_forces_external_loads_h
#define palpate_forces_external_loads_h

#include <palpate/forces/force.h>

namespace Palpate
{
  /// A force that does not depend on the displacement: h = -load, and the
  /// energy is h . u.
  template <int dim>
  class DeadLoad : public Force<dim>
  {
  public:
    double
    energy(const Context<dim> &context) const override;
    void
    add_tangent(const Context<dim> &,
                const Tangent,
                TangentMatrix<dim> &) const override
    {}
    void
    apply_tangent(const Context<dim> &, const Vector &, Vector &) const override
    {}
    void
    field_jvp(const Context<dim> &, const Fields &, Vector &) const override
    {}
    void
    field_vjp(const Context<dim> &, const Vector &, FieldDuals &) const override
    {}
    void
    second_vjp(const Context<dim> &,
               const Vector &,
               const Vector &,
               const Fields &,
               Vector &,
               FieldDuals &) const override
    {}
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
    std::vector<std::string>
    field_names() const override
    {
      return {};
    }
  };

  /// Weight: h_a = -integral of rho g N_a, rho the field "density" [kg/m^3]; of
  /// a network -m_a g, m the field "mass" [kg].
  template <int dim>
  class Gravity : public DeadLoad<dim>
  {
  public:
    static void
    declare_parameters(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters) override;
    void
    residual(const Context<dim> &context, Vector &h) const override;
    void
    field_jvp(const Context<dim> &context,
              const Fields       &direction,
              Vector             &dh) const override;
    void
    field_vjp(const Context<dim> &context,
              const Vector       &lambda,
              FieldDuals         &g) const override;
    void
    second_vjp(const Context<dim> &,
               const Vector &,
               const Vector &,
               const Fields &,
               Vector &,
               FieldDuals &) const override;
    std::vector<std::string>
    field_names() const override
    {
      return {"density"};
    }
    bool
    works_on_networks() const override
    {
      return true;
    }
    bool
    is_active() const override
    {
      return gravity.norm() > 0;
    }

    dealii::Tensor<1, dim> gravity; ///< [m/s^2]

  private:
    void
    add_weight(const Context<dim> &context,
               const Field        &density,
               Vector             &h) const;
  };

  /// A traction t on faces with an id: h_a = -integral of t N_a over the
  /// reference face.
  template <int dim>
  class SurfaceLoad : public DeadLoad<dim>
  {
  public:
    void
    residual(const Context<dim> &context, Vector &h) const override;
    bool
    is_active() const override
    {
      return !loads.empty();
    }
    /// Every id must be that of a face.
    void
    check(const Discretization<dim> &discretization,
          const Parameters          &parameters) const override;

    std::map<int, std::vector<double>> loads; ///< by boundary id

  protected:
    /// The entry of the parameter file that lists the ids.
    virtual std::string
    entry() const = 0;
    /// A load of zero is none.
    void
    drop_zeros();
    virtual dealii::Tensor<1, dim>
    traction(const std::vector<double>    &value,
             const dealii::Tensor<1, dim> &normal) const = 0;
  };

  template <int dim>
  class Traction : public SurfaceLoad<dim>
  {
  public:
    static void
    declare_parameters(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters) override;

  protected:
    std::string
    entry() const override
    {
      return "Traction";
    }
    dealii::Tensor<1, dim>
    traction(const std::vector<double> &,
             const dealii::Tensor<1, dim> &) const override;
  };

  template <int dim>
  class Pressure : public SurfaceLoad<dim>
  {
  public:
    static void
    declare_parameters(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters) override;

  protected:
    std::string
    entry() const override
    {
      return "Pressure";
    }
    dealii::Tensor<1, dim>
    traction(const std::vector<double> &,
             const dealii::Tensor<1, dim> &) const override;
  };
} // namespace Palpate

#endif
