#ifndef palpate_forces_springs_sms_h
#define palpate_forces_springs_sms_h

#include <palpate/forces/material_force.h>

namespace Palpate
{
  /**
   * The constants of SMS ("second moment of stiffness"): ratios of the shear
   * and volume measurements to the axial one.
   */
  struct SmsRatios
  {
    double shear  = 2;   ///< beta / alpha; 2 is isotropic
    double volume = 8.0; ///< kappa / alpha; 4 nu / (1 - 2 nu) by default

    static void
    declare_parameters(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters);
    void
    parse_shear(Parameters &parameters);
    void
    parse_volume(Parameters &parameters);
  };

  /**
   * Small-strain SMS (doc/theory.md 2b), per unit alpha:
   * w = 2 sum_l eps_ll^2 + 2 b sum_{l<m} eps_lm^2 + k/2 (tr eps)^2
   * with eps_lm = e_l . eps e_m read off the springs, b = beta/alpha and
   * k = kappa/alpha. The stress is
   * sigma = 2 b eps + (4 - 2 b) sum_l eps_ll e_l (x) e_l + k tr(eps) I.
   */
  template <int dim>
  struct SmsMaterial
  {
    using T2     = dealii::Tensor<2, dim>;
    using T1     = dealii::Tensor<1, dim>;
    using Moduli = StiffnessModulus;

    SmsRatios             ratios;
    static constexpr bool is_linear = true;
    static constexpr bool has_lanes = false;
    bool
    depends_on_frame() const
    {
      return ratios.shear != 2.;
    }
    MaterialPoint<dim, SmsMaterial<dim>>
    point(const T2 &H, const T2 &R) const
    {
      return {*this, H, R};
    }

    double
    energy(const T2 &H, const T2 &R, const double alpha) const;
    T2
    stress(const T2 &H, const T2 &R, const double alpha) const;
    T2
    stress_derivative(const T2 &,
                      const T2    &dH,
                      const T2    &R,
                      const double a) const
    {
      return stress(dH, R, a);
    }
    T2
    positive_derivative(const T2 &,
                        const T2    &dH,
                        const T2    &R,
                        const double a) const
    {
      return stress(dH, R, a);
    }
    T2
    stress_second_derivative(const T2 &,
                             const T2 &,
                             const T2 &,
                             const T2 &,
                             const double) const
    {
      return T2();
    }

    /// alpha ( b (g_b (x) g_a + (g_a.g_b) I) + k g_a (x) g_b
    ///         + (4 - 2 b) sum_l (g_a.e_l)(g_b.e_l) e_l (x) e_l )
    T2
    tangent_block(const T1    &ga,
                  const T1    &gb,
                  const T2    &R,
                  const double alpha) const
    {
      const double b = ratios.shear * alpha, k = ratios.volume * alpha;
      T2           block;
      const double dot = b * (ga * gb);
      for (unsigned int i = 0; i < dim; ++i)
        {
          for (unsigned int j = 0; j < dim; ++j)
            block[i][j] = b * gb[i] * ga[j] + k * ga[i] * gb[j];
          block[i][i] += dot;
        }
      if (depends_on_frame())
        for (unsigned int l = 0; l < dim; ++l)
          {
            double a_l = 0, b_l = 0;
            for (unsigned int d = 0; d < dim; ++d)
              {
                a_l += ga[d] * R[d][l];
                b_l += gb[d] * R[d][l];
              }
            const double c = (4 * alpha - 2 * b) * a_l * b_l;
            for (unsigned int i = 0; i < dim; ++i)
              for (unsigned int j = 0; j < dim; ++j)
                block[i][j] += c * R[i][l] * R[j][l];
          }
      return block;
    }
  };

  /**
   * Finite-strain SMS (doc/theory.md 2b), per unit alpha, F = I + H:
   * w = 1/2 sum_l (|F e_l|^2 - 1)^2 + b/2 sum_{l<m} ((F e_l).(F e_m))^2
   *     + k/2 (det F - 1)^2.
   */
  template <int dim>
  struct FiniteStrainSmsMaterial
  {
    using T2     = dealii::Tensor<2, dim>;
    using Moduli = StiffnessModulus;

    SmsRatios             ratios;
    static constexpr bool is_linear = false;
    static constexpr bool has_lanes = false;
    bool
    depends_on_frame() const
    {
      return ratios.shear != 2.;
    }
    MaterialPoint<dim, FiniteStrainSmsMaterial<dim>>
    point(const T2 &H, const T2 &R) const
    {
      return {*this, H, R};
    }

    double
    energy(const T2 &H, const T2 &R, const double alpha) const;
    T2
    stress(const T2 &H, const T2 &R, const double alpha) const;
    T2
    stress_derivative(const T2    &H,
                      const T2    &dH,
                      const T2    &R,
                      const double alpha) const;
    T2
    positive_derivative(const T2    &H,
                        const T2    &dH,
                        const T2    &R,
                        const double alpha) const;
    T2
    stress_second_derivative(const T2    &H,
                             const T2    &dH1,
                             const T2    &dH2,
                             const T2    &R,
                             const double alpha) const;

  private:
    /// Linear map from (a variation of) C = F^T F - I to S in P = 2 F S:
    /// S = sum_l c_ll e_l (x) e_l + b/4 sum_{l!=m} c_lm (e_l (x) e_m + ...).
    T2
    second_stress(const T2 &C, const T2 &R) const;
  };

  template <int dim, typename Material>
  class SmsForce : public MaterialForce<dim, Material>
  {
  public:
    static void
    declare_parameters(dealii::ParameterHandler &prm)
    {
      SmsRatios::declare_parameters(prm);
    }
    void
    parse_parameters(Parameters &parameters) override
    {
      this->material.ratios.parse_parameters(parameters);
    }
  };
} // namespace Palpate

#endif
