#ifndef palpate_forces_deformation_h
#define palpate_forces_deformation_h

#include <deal.II/base/tensor.h>

namespace Palpate
{
  /**
   * Volume change J = det F and its derivatives for a deformation gradient
   * F = I + H in dimension 2 and 3: dJ = cof F : dF.
   */
  namespace Deformation
  {
    using dealii::Tensor;

    template <int dim, typename Number>
    Tensor<2, dim, Number>
    plus_identity(const Tensor<2, dim, Number> &H)
    {
      Tensor<2, dim, Number> F = H;
      for (unsigned int d = 0; d < dim; ++d)
        F[d][d] += Number(1);
      return F;
    }

    /// The symmetric bilinear form whose diagonal is the cofactor matrix.
    template <typename Number>
    Tensor<2, 3, Number>
    mixed_cofactor(const Tensor<2, 3, Number> &A, const Tensor<2, 3, Number> &B)
    {
      Tensor<2, 3, Number> result;
      for (unsigned int i = 0; i < 3; ++i)
        for (unsigned int j = 0; j < 3; ++j)
          {
            const unsigned int i1 = (i + 1) % 3, i2 = (i + 2) % 3,
                               j1 = (j + 1) % 3, j2 = (j + 2) % 3;
            result[i][j] =
              0.5 * (A[i1][j1] * B[i2][j2] + B[i1][j1] * A[i2][j2] -
                     A[i1][j2] * B[i2][j1] - B[i1][j2] * A[i2][j1]);
          }
      return result;
    }

    template <typename Number>
    Tensor<2, 2, Number>
    cofactor(const Tensor<2, 2, Number> &F)
    {
      Tensor<2, 2, Number> result;
      result[0][0] = F[1][1];
      result[1][1] = F[0][0];
      result[0][1] = -F[1][0];
      result[1][0] = -F[0][1];
      return result;
    }
    template <typename Number>
    Tensor<2, 3, Number>
    cofactor(const Tensor<2, 3, Number> &F)
    {
      return mixed_cofactor(F, F);
    }

    template <typename Number>
    Tensor<2, 2, Number>
    cofactor_derivative(const Tensor<2, 2, Number> &,
                        const Tensor<2, 2, Number> &dF)
    {
      return cofactor(dF); // linear in 2D
    }
    template <typename Number>
    Tensor<2, 3, Number>
    cofactor_derivative(const Tensor<2, 3, Number> &F,
                        const Tensor<2, 3, Number> &dF)
    {
      return 2. * mixed_cofactor(F, dF);
    }

    template <typename Number>
    Tensor<2, 2, Number>
    cofactor_second_derivative(const Tensor<2, 2, Number> &,
                               const Tensor<2, 2, Number> &)
    {
      return Tensor<2, 2, Number>();
    }
    template <typename Number>
    Tensor<2, 3, Number>
    cofactor_second_derivative(const Tensor<2, 3, Number> &dF1,
                               const Tensor<2, 3, Number> &dF2)
    {
      return 2. * mixed_cofactor(dF1, dF2);
    }

    /// det(I + H) - 1 without the cancellation at small H.
    template <typename Number>
    Number
    determinant_change(const Tensor<2, 2, Number> &H)
    {
      return trace(H) + determinant(H);
    }
    template <typename Number>
    Number
    determinant_change(const Tensor<2, 3, Number> &H)
    {
      return trace(H) + trace(cofactor(H)) + determinant(H);
    }

    /// The energy (J - 1)^2 / 2 of a volume change and its derivatives.
    template <int dim>
    struct VolumeEnergy
    {
      using T2 = Tensor<2, dim>;

      explicit VolumeEnergy(const T2 &H)
        : F(plus_identity(H))
        , c(cofactor(F))
        , change(determinant_change(H))
      {}
      double
      energy() const
      {
        return 0.5 * change * change;
      }
      T2
      stress() const
      {
        return change * c;
      }
      /// Without the term in the stress: positive semidefinite.
      T2
      positive_derivative(const T2 &dH) const
      {
        return scalar_product(c, dH) * c;
      }
      T2
      derivative(const T2 &dH) const
      {
        return positive_derivative(dH) + change * cofactor_derivative(F, dH);
      }
      T2
      second_derivative(const T2 &dH1, const T2 &dH2) const
      {
        const T2 c1 = cofactor_derivative(F, dH1),
                 c2 = cofactor_derivative(F, dH2);
        return scalar_product(c2, dH1) * c + scalar_product(c, dH1) * c2 +
               scalar_product(c, dH2) * c1 +
               change * cofactor_second_derivative(dH1, dH2);
      }

      const T2     F, c;
      const double change; ///< J - 1
    };
  } // namespace Deformation
} // namespace Palpate

#endif
