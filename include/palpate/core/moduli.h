#ifndef palpate_core_moduli_h
#define palpate_core_moduli_h

#include <array>

namespace Palpate
{
  /// Lame's moduli [Pa] of an isotropic material; stresses are linear in them.
  struct Lame
  {
    double lambda = 0, mu = 0;

    Lame
    operator*(const double factor) const
    {
      return {lambda * factor, mu * factor};
    }
  };

  /**
   * Lame's moduli from the fields "stiffness" (Young's modulus E [Pa]) and
   * "poisson_ratio" nu in (-1, 1/2), with n = (1 + nu)(1 - 2 nu):
   * mu = E / (2 (1 + nu)), lambda = E nu / n (in 2D: plane strain).
   */
  struct ElasticModuli
  {
    using Values = Lame;
    static constexpr std::array<const char *, 2> field_names{
      {"stiffness", "poisson_ratio"}};
    using InCell = std::array<double, 2>;

    static Values
    values(const InCell &f)
    {
      return by_stiffness(f[1]) * f[0];
    }

    static Values
    derivative(const InCell &f, const InCell &df)
    {
      const Lame d_E = by_stiffness(f[1]), d_nu = by_ratio(f[1]);
      return {d_E.lambda * df[0] + f[0] * d_nu.lambda * df[1],
              d_E.mu * df[0] + f[0] * d_nu.mu * df[1]};
    }

    static void
    add_vjp(const InCell &f, const Values &dual, InCell &g)
    {
      g[0] += dot(by_stiffness(f[1]), dual);
      g[1] += f[0] * dot(by_ratio(f[1]), dual);
    }

    static void
    add_second_vjp(const InCell &f,
                   const Values &dual,
                   const InCell &df,
                   InCell       &g)
    {
      const double mixed = dot(by_ratio(f[1]), dual);
      g[0] += mixed * df[1];
      g[1] += mixed * df[0] + f[0] * dot(by_ratio_twice(f[1]), dual) * df[1];
    }

    template <typename Function>
    static Values
    by_unit(const Function &f)
    {
      return {f(Lame{1, 0}), f(Lame{0, 1})};
    }

  private:
    static double
    dot(const Lame &a, const Lame &b)
    {
      return a.lambda * b.lambda + a.mu * b.mu;
    }
    /// The moduli for E = 1, and their derivatives by nu.
    static Lame
    by_stiffness(const double nu)
    {
      return {nu / ((1 + nu) * (1 - 2 * nu)), 0.5 / (1 + nu)};
    }
    static Lame
    by_ratio(const double nu)
    {
      const double n = (1 + nu) * (1 - 2 * nu);
      return {(1 + 2 * nu * nu) / (n * n), -0.5 / ((1 + nu) * (1 + nu))};
    }
    static Lame
    by_ratio_twice(const double nu)
    {
      const double n = (1 + nu) * (1 - 2 * nu);
      return {(2 + 12 * nu + 8 * nu * nu * nu) / (n * n * n),
              1 / ((1 + nu) * (1 + nu) * (1 + nu))};
    }
  };
} // namespace Palpate

#endif
