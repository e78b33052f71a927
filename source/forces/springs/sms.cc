#include <palpate/forces/deformation.h>
#include <palpate/forces/springs/sms.h>

namespace Palpate
{
  using namespace dealii;
  using Deformation::plus_identity;
  using Deformation::VolumeEnergy;

  void
  SmsRatios::declare_parameters(ParameterHandler &prm)
  {
    declare_poisson_ratio(prm);
    prm.declare_entry("Shear ratio",
                      "2",
                      Patterns::Double(),
                      "beta / alpha; 2 is isotropic, other values make the "
                      "material depend on its frames.");
    prm.declare_entry("Volume ratio",
                      "",
                      Patterns::Anything(),
                      "kappa / alpha; empty: from the Poisson ratio.");
  }

  void
  SmsRatios::parse_parameters(Parameters &parameters)
  {
    parse_shear(parameters);
    parse_volume(parameters);
  }

  void
  SmsRatios::parse_shear(Parameters &parameters)
  {
    shear = parameters.get_double("Shear ratio");
    if (!(shear > 0))
      parameters.fail("Shear ratio", "expected a positive value");
  }

  void
  SmsRatios::parse_volume(Parameters &parameters)
  {
    const double nu = parameters.get_double("Poisson ratio");
    if (!(nu >= 0 && nu < 0.5))
      parameters.fail("Poisson ratio", "expected a value in [0, 0.5)");
    volume = 4 * nu / (1 - 2 * nu);
    if (!parameters.get("Volume ratio").empty())
      {
        if (parameters.is_changed("Poisson ratio"))
          parameters.fail("Volume ratio",
                          "expected either Poisson ratio or Volume ratio");
        volume = parameters.get_double("Volume ratio");
        if (!(volume >= 0))
          parameters.fail("Volume ratio", "expected a value >= 0");
      }
  }

  namespace
  {
    template <int dim>
    Tensor<2, dim>
    symmetric_part(const Tensor<2, dim> &A)
    {
      return 0.5 * (A + transpose(A));
    }

    /// e_l . A e_l
    template <int dim>
    double
    along(const Tensor<2, dim> &A,
          const Tensor<2, dim> &R,
          const unsigned int    l)
    {
      double sum = 0;
      for (unsigned int i = 0; i < dim; ++i)
        for (unsigned int j = 0; j < dim; ++j)
          sum += R[i][l] * A[i][j] * R[j][l];
      return sum;
    }

    /// sum_l (e_l . A e_l) e_l (x) e_l
    template <int dim>
    Tensor<2, dim>
    axial_part(const Tensor<2, dim> &A, const Tensor<2, dim> &R)
    {
      Tensor<2, dim> result;
      for (unsigned int l = 0; l < dim; ++l)
        {
          const double a = along(A, R, l);
          for (unsigned int i = 0; i < dim; ++i)
            for (unsigned int j = 0; j < dim; ++j)
              result[i][j] += a * R[i][l] * R[j][l];
        }
      return result;
    }

    /// F^T F - I without the cancellation at small H.
    template <int dim>
    Tensor<2, dim>
    twice_green_strain(const Tensor<2, dim> &H)
    {
      return H + transpose(H) + transpose(H) * H;
    }
  } // namespace

  template <int dim>
  double
  SmsMaterial<dim>::energy(const T2 &H, const T2 &R, const double alpha) const
  {
    return 0.5 * scalar_product(stress(H, R, alpha), H);
  }

  template <int dim>
  Tensor<2, dim>
  SmsMaterial<dim>::stress(const T2 &H, const T2 &R, const double alpha) const
  {
    const T2 eps    = symmetric_part(H);
    T2       result = 2 * ratios.shear * eps;
    if (depends_on_frame())
      result += (4 - 2 * ratios.shear) * axial_part(eps, R);
    const double pressure = ratios.volume * trace(eps);
    for (unsigned int d = 0; d < dim; ++d)
      result[d][d] += pressure;
    return alpha * result;
  }

  // With c = F^T F - I in the frame, w(c) = 1/2 sum c_ll^2 + b/2 sum_{l<m}
  // c_lm^2 and dw = S : dC with S_ll = c_ll, S_lm = b/2 c_lm.
  template <int dim>
  Tensor<2, dim>
  FiniteStrainSmsMaterial<dim>::second_stress(const T2 &C, const T2 &R) const
  {
    T2 S = 0.5 * ratios.shear * C;
    if (depends_on_frame())
      S += (1 - 0.5 * ratios.shear) * axial_part(C, R);
    return S;
  }

  template <int dim>
  double
  FiniteStrainSmsMaterial<dim>::energy(const T2    &H,
                                       const T2    &R,
                                       const double alpha) const
  {
    const T2 C = twice_green_strain(H);
    return alpha * (0.5 * scalar_product(second_stress(C, R), C) +
                    ratios.volume * VolumeEnergy<dim>(H).energy());
  }

  template <int dim>
  Tensor<2, dim>
  FiniteStrainSmsMaterial<dim>::stress(const T2    &H,
                                       const T2    &R,
                                       const double alpha) const
  {
    const T2 F = plus_identity(H);
    return alpha * (2. * F * second_stress(twice_green_strain(H), R) +
                    ratios.volume * VolumeEnergy<dim>(H).stress());
  }

  template <int dim>
  Tensor<2, dim>
  FiniteStrainSmsMaterial<dim>::positive_derivative(const T2    &H,
                                                    const T2    &dH,
                                                    const T2    &R,
                                                    const double alpha) const
  {
    const T2 F  = plus_identity(H);
    const T2 dC = transpose(F) * dH + transpose(dH) * F;
    return alpha *
           (2. * F * second_stress(dC, R) +
            ratios.volume * VolumeEnergy<dim>(H).positive_derivative(dH));
  }

  template <int dim>
  Tensor<2, dim>
  FiniteStrainSmsMaterial<dim>::stress_derivative(const T2    &H,
                                                  const T2    &dH,
                                                  const T2    &R,
                                                  const double alpha) const
  {
    const T2 F  = plus_identity(H);
    const T2 dC = transpose(F) * dH + transpose(dH) * F;
    return alpha * (2. * F * second_stress(dC, R) +
                    2. * dH * second_stress(twice_green_strain(H), R) +
                    ratios.volume * VolumeEnergy<dim>(H).derivative(dH));
  }

  template <int dim>
  Tensor<2, dim>
  FiniteStrainSmsMaterial<dim>::stress_second_derivative(
    const T2    &H,
    const T2    &dH1,
    const T2    &dH2,
    const T2    &R,
    const double alpha) const
  {
    const T2 F   = plus_identity(H);
    const T2 dC1 = transpose(F) * dH1 + transpose(dH1) * F;
    const T2 dC2 = transpose(F) * dH2 + transpose(dH2) * F;
    const T2 ddC = transpose(dH1) * dH2 + transpose(dH2) * dH1;
    return alpha *
           (2. * dH1 * second_stress(dC2, R) +
            2. * dH2 * second_stress(dC1, R) + 2. * F * second_stress(ddC, R) +
            ratios.volume * VolumeEnergy<dim>(H).second_derivative(dH1, dH2));
  }

  template struct SmsMaterial<2>;
  template struct SmsMaterial<3>;
  template struct FiniteStrainSmsMaterial<2>;
  template struct FiniteStrainSmsMaterial<3>;

  namespace
  {
    const char *sms_description = "quadratic SMS: axial, shear and volume "
                                  "measurements on intersection springs, small "
                                  "strain";
    const char *finite_description =
      "finite-strain SMS energy on intersection springs, exact derivatives";

    const Registry<Force<2>>::Entry<SmsForce<2, SmsMaterial<2>>>
      sms_2d("sms", sms_description);
    const Registry<Force<3>>::Entry<SmsForce<3, SmsMaterial<3>>>
      sms_3d("sms", sms_description);
    const Registry<Force<2>>::Entry<SmsForce<2, FiniteStrainSmsMaterial<2>>>
      finite_2d("sms finite strain", finite_description);
    const Registry<Force<3>>::Entry<SmsForce<3, FiniteStrainSmsMaterial<3>>>
      finite_3d("sms finite strain", finite_description);
  } // namespace
} // namespace Palpate
