#ifndef palpate_forces_continuum_materials_h
#define palpate_forces_continuum_materials_h

#include <palpate/core/lanes.h>
#include <palpate/core/moduli.h>
#include <palpate/forces/deformation.h>

#include <cmath>
#include <limits>
#include <optional>

namespace Palpate
{
  /**
   * Linear elasticity (doc/theory.md 8), eps = sym H:
   * w = lambda/2 (tr eps)^2 + mu |eps|^2, P = lambda tr(eps) I + 2 mu eps.
   */
  template <int dim>
  struct LinearElastic
  {
    using T2                        = dealii::Tensor<2, dim>;
    using T1                        = dealii::Tensor<1, dim>;
    using Moduli                    = ElasticModuli;
    static constexpr bool is_linear = true;
    static constexpr bool has_lanes = true;

    static bool
    depends_on_frame()
    {
      return false;
    }

    template <typename Number>
    struct Point
    {
      using Tensor2 = dealii::Tensor<2, dim, Number>;
      const Tensor2 H;

      Number
      energy(const Lame<Number> &p) const
      {
        return Number(0.5) * scalar_product(stress(p), H);
      }
      Tensor2
      stress(const Lame<Number> &p) const
      {
        return derivative(H, p);
      }
      Tensor2
      derivative(const Tensor2 &dH, const Lame<Number> &p) const
      {
        Tensor2      P     = p.mu * (dH + transpose(dH));
        const Number trace = p.lambda * dealii::trace(dH);
        for (unsigned int d = 0; d < dim; ++d)
          P[d][d] += trace;
        return P;
      }
      /// Derivatives of stress : L by the moduli.
      Lame<Number>
      by_moduli(const Tensor2 &L) const
      {
        return {trace(H) * trace(L), scalar_product(H + transpose(H), L)};
      }
      Tensor2
      positive_derivative(const Tensor2 &dH, const Lame<Number> &p) const
      {
        return derivative(dH, p);
      }
      Tensor2
      second_derivative(const Tensor2 &,
                        const Tensor2 &,
                        const Lame<Number> &) const
      {
        return Tensor2();
      }
      bool
      is_valid() const
      {
        return true;
      }
    };

    template <typename Number>
    static Point<Number>
    point(const dealii::Tensor<2, dim, Number> &H, const T2 &)
    {
      return {H};
    }

    /// mu (g_b (x) g_a + (g_a . g_b) I) + lambda g_a (x) g_b
    static T2
    tangent_block(const T1 &ga, const T1 &gb, const T2 &, const Lame<> &p)
    {
      T2           block;
      const double dot = p.mu * (ga * gb);
      for (unsigned int i = 0; i < dim; ++i)
        {
          for (unsigned int j = 0; j < dim; ++j)
            block[i][j] = p.mu * gb[i] * ga[j] + p.lambda * ga[i] * gb[j];
          block[i][i] += dot;
        }
      return block;
    }
  };

  /// W = (log J)^2 / 2 of the Neo-Hookean material, and its derivatives by
  /// log J.
  template <typename Number>
  struct LogarithmicVolume
  {
    Number energy, first, second, third;
    explicit LogarithmicVolume(const Number &change)
    {
      const Number log_J = log1p(change);
      energy             = 0.5 * log_J * log_J;
      first              = log_J;
      second             = 1;
      third              = 0;
    }
  };

  /// W = (J - 1)^2 / 2 of the "stable" Neo-Hookean material, likewise.
  template <typename Number>
  struct QuadraticVolume
  {
    Number energy, first, second, third;
    explicit QuadraticVolume(const Number &change)
    {
      const Number J = 1 + change;
      energy         = 0.5 * change * change;
      first          = J * change;
      second         = J * (2 * J - 1);
      third          = J * (4 * J - 1);
    }
  };

  /**
   * Neo-Hookean materials (doc/theory.md 8), F = I + H, J = det F > 0:
   * w = mu/2 (|F|^2 - dim) - mu log J + lambda W(J).
   * With B = F^-T, W' the derivative by log J, and dB = -B dH^T B:
   * P = mu (F - B) + lambda W' B,
   * dP = mu dH + (lambda W' - mu) dB + lambda W'' (B : dH) B.
   */
  template <int dim, template <typename> class Volume>
  struct NeoHookean
  {
    using T2                        = dealii::Tensor<2, dim>;
    using Moduli                    = ElasticModuli;
    static constexpr bool is_linear = false;
    static constexpr bool has_lanes = true;

    static bool
    depends_on_frame()
    {
      return false;
    }

    template <typename Number>
    class Point
    {
    public:
      using Tensor2 = dealii::Tensor<2, dim, Number>;

      explicit Point(const Tensor2 &H)
        : H(H)
        , change(Deformation::determinant_change(H))
        , W(all_above(change, -1) ? change : Number(0))
      {
        if (is_valid())
          B = (Number(1) / (1 + change)) *
              Deformation::cofactor(Deformation::plus_identity(H));
      }

      bool
      is_valid() const
      {
        return all_above(change, -1);
      }

      Number
      energy(const Lame<Number> &p) const
      {
        if (!is_valid())
          return std::numeric_limits<double>::infinity();
        return p.mu * (trace(H) + 0.5 * H.norm_square() - log1p(change)) +
               p.lambda * W.energy;
      }

      Tensor2
      stress(const Lame<Number> &p) const
      {
        // F - B = B (F^T F - I), without the cancellation at small H.
        const Tensor2 twice_strain = H + transpose(H) + transpose(H) * H;
        return p.mu * (B * twice_strain) + (p.lambda * W.first) * B;
      }

      /// Derivatives of stress : L by the moduli.
      Lame<Number>
      by_moduli(const Tensor2 &L) const
      {
        const Tensor2 twice_strain = H + transpose(H) + transpose(H) * H;
        return {W.first * scalar_product(B, L),
                scalar_product(B * twice_strain, L)};
      }

      Tensor2
      derivative(const Tensor2 &dH, const Lame<Number> &p) const
      {
        return p.mu * dH + (p.lambda * W.first - p.mu) * inverse_change(dH) +
               (p.lambda * W.second * scalar_product(B, dH)) * B;
      }

      Tensor2
      second_derivative(const Tensor2      &dH1,
                        const Tensor2      &dH2,
                        const Lame<Number> &p) const
      {
        const Tensor2 dB1 = inverse_change(dH1), dB2 = inverse_change(dH2);
        const Number  t1 = scalar_product(B, dH1), t2 = scalar_product(B, dH2);
        const Tensor2 ddB =
          -1. * (dB2 * transpose(dH1) * B + B * transpose(dH1) * dB2);
        return (p.lambda * W.first - p.mu) * ddB +
               (p.lambda * W.second) *
                 (t2 * dB1 + t1 * dB2 + scalar_product(dB2, dH1) * B) +
               (p.lambda * W.third * t1 * t2) * B;
      }

      /**
       * The derivative with its negative eigenvalues left out. In the singular
       * bases of F (sigma_i > 0) the pairs dH_ij +- dH_ji are eigenvectors
       * with mu -+ c/(sigma_i sigma_j), c = lambda W' - mu, and the diagonal
       * has the matrix diag(mu - c/sigma_i^2) + lambda W''/(sigma_i sigma_j).
       */
      Tensor2
      positive_derivative(const Tensor2 &dH, const Lame<Number> &p) const;

    private:
      /// dB = -B dH^T B
      Tensor2
      inverse_change(const Tensor2 &dH) const
      {
        return -1. * (B * transpose(dH) * B);
      }

      /// F = U diag(sigma) V^T, and the matrix of the diagonal for moduli p.
      struct Spectrum
      {
        T2                                                         U, V;
        std::array<double, dim>                                    sigma;
        Lame<>                                                     p;
        std::array<std::pair<double, dealii::Tensor<1, dim>>, dim> diagonal;
      };
      const Spectrum &
      spectrum(const Lame<> &p) const;

      const Tensor2                   H;
      const Number                    change; ///< J - 1
      const Volume<Number>            W;
      Tensor2                         B;
      mutable std::optional<Spectrum> known; ///< of the last moduli
    };

    template <typename Number>
    static Point<Number>
    point(const dealii::Tensor<2, dim, Number> &H, const T2 &)
    {
      return Point<Number>(H);
    }
  };
} // namespace Palpate

#endif
