#ifndef palpate_forces_springs_intersection_springs_h
#define palpate_forces_springs_intersection_springs_h

#include <palpate/forces/springs/sms.h>
#include <palpate/geometry/springs.h>

#include <cmath>

namespace Palpate
{
  /**
   * One spring of unit stiffness with the present vector Delta and the rest
   * length L (doc/theory.md 2a); its energy is (r - L)^2 / 2, r = |Delta|,
   * n = Delta / r.
   */
  template <int dim>
  struct Spring
  {
    using T1 = dealii::Tensor<1, dim>;

    Spring(const T1 &Delta, const double L)
      : r(Delta.norm())
      , L(L)
      , n(Delta / r)
    {}

    /// (r - L) n
    T1
    force() const
    {
      return (r - L) * n;
    }
    /// [n n^T + (r - L)/r (I - n n^T)] d
    T1
    derivative(const T1 &d) const
    {
      return d - L / r * across(d);
    }
    /// The matrix of derivative(), or a substitute of it: of the second term
    /// nothing (small strain) or its positive part.
    dealii::Tensor<2, dim>
    tangent(const Tangent kind) const
    {
      double c = (r - L) / r;
      if (kind == Tangent::small_strain || (kind == Tangent::positive && c < 0))
        c = 0;
      dealii::Tensor<2, dim> K;
      for (unsigned int i = 0; i < dim; ++i)
        {
          for (unsigned int j = 0; j < dim; ++j)
            K[i][j] = (1 - c) * n[i] * n[j];
          K[i][i] += c;
        }
      return K;
    }
    /// Derivative of derivative(d1) along d2; symmetric in both.
    T1
    second_derivative(const T1 &d1, const T1 &d2) const
    {
      const T1 a1 = across(d1), a2 = across(d2);
      return L / (r * r) * ((n * d2) * a1 + (n * d1) * a2 + (a1 * a2) * n);
    }
    /// Derivative of derivative(d) by L; that of force() is -n.
    T1
    derivative_by_rest_length(const T1 &d) const
    {
      return across(d) / -r;
    }

    const double r, L;
    const T1     n;

  private:
    /// (I - n n^T) d
    T1
    across(const T1 &d) const
    {
      return d - (n * d) * n;
    }
  };

  /**
   * The springs of one simplex: dim axial ones between its intersection points
   * and, if asked for, four between the ends of every two axes. On linear
   * elements Delta_s = A0 x = F d_s for the rest vector d_s.
   */
  template <int dim>
  struct CellSprings
  {
    static constexpr unsigned int max = dim + 2 * dim * (dim - 1);

    /**
     * @param g gradients of the barycentric coordinates [1/m]
     * @param frame columns e_l
     * @param shear_ratio beta / alpha of the shear springs; 0: none
     */
    CellSprings(const std::array<dealii::Tensor<1, dim>, dim + 1> &g,
                const dealii::Tensor<2, dim>                      &frame,
                const double                                       shear_ratio);

    unsigned int n = dim; ///< axial ones first
    /// Rest vectors [m].
    std::array<dealii::Tensor<1, dim>, max> vector;
    /// Delta_s = sum_a coefficient[s][a] x_a
    std::array<std::array<double, dim + 1>, max> coefficient;
    /// Geometric lengths |d_s| [m].
    std::array<double, max> length;
    /// k_s = sum_l weight[s][l] k_l with the stiffness k_l of the axial
    /// springs.
    std::array<std::array<double, dim>, max> weight;
  };

  /// k_l = 4 alpha V / length_l^2 [N/m], dim components per local cell.
  template <int dim>
  Field
  spring_stiffness(const Discretization<dim>                 &discretization,
                   const std::vector<dealii::Tensor<2, dim>> &frames,
                   const Field                               &alpha);

  /// The inverse: alpha of a cell [Pa], the geometric mean over its springs.
  template <int dim>
  Field
  alpha_of_springs(const Discretization<dim>                 &discretization,
                   const std::vector<dealii::Tensor<2, dim>> &frames,
                   const Field                               &stiffness);

  /**
   * Nonlinear springs between the intersection points (doc/theory.md 2a),
   * large motion, exact derivatives. Fields: "spring_stiffness" [N/m], dim per
   * cell, where it exists, else "stiffness" [Pa] through k_l = 4 alpha V /
   * length_l^2; "rest_length" [m], dim per cell, where it exists, else the
   * geometric lengths. Shear springs of the axes l and m have
   * k = b (k_l length_l^2 + k_m length_m^2) / (8 length^2), so that four at 45
   * degrees have the shear energy 2 b alpha eps_lm^2 of SMS; the volume term is
   * that of finite-strain SMS with the mean alpha of the axes.
   */
  template <int dim>
  class IntersectionSpringsForce : public Force<dim>
  {
  public:
    using T1 = dealii::Tensor<1, dim>;
    using T2 = dealii::Tensor<2, dim>;

    static void
    declare_parameters(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters) override;
    void
    add_fields(const Discretization<dim>        &discretization,
               const std::vector<Snapshot<dim>> &snapshots,
               const CaseData<dim>              &data,
               const std::vector<std::string>   &unknown,
               Fields                           &fields) const override;

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
      Depends d;
      d.state = d.frames = true;
      return d;
    }
    bool
    has_small_strain_tangent() const override
    {
      return true;
    }
    bool
    scales_with_stiffness() const override
    {
      return true;
    }
    std::vector<std::string>
    field_names() const override
    {
      return {"stiffness"};
    }
    bool
    may_have_zero_energy_modes() const override
    {
      return shear_ratio == 0;
    }
    Tangent
    adjoint_tangent() const override
    {
      return adjoint;
    }
    unsigned int
    maximum_degree() const override
    {
      return 1;
    }

  private:
    class Cell;

    enum class Source
    {
      from_alpha,
      constant,
      pack
    };

    double  shear_ratio  = 0; ///< beta / alpha of shear springs, 0: none
    double  volume_ratio = 0; ///< kappa / alpha of the volume term, 0: none
    Source  source       = Source::from_alpha;
    double  constant     = 0;     ///< [N/m]
    bool    rest_lengths = false; ///< of the pack
    Tangent adjoint      = Tangent::consistent;
  };
} // namespace Palpate

#endif
