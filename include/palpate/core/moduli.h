#ifndef palpate_core_moduli_h
#define palpate_core_moduli_h

#include <array>

namespace Palpate
{
  /// Lame's moduli [Pa] of an isotropic material; stresses are linear in them.
  template <typename Number = double>
  struct Lame
  {
    Number lambda = 0, mu = 0;

    Lame
    operator*(const Number &factor) const
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
    static constexpr std::array<const char *, 2> field_names{
      {"stiffness", "poisson_ratio"}};
    /// What the fields are in a cell.
    template <typename Number = double>
    using InCell = std::array<Number, 2>;

    template <typename Number>
    static Lame<Number>
    values(const InCell<Number> &f)
    {
      return by_stiffness(f[1]) * f[0];
    }

    template <typename Number>
    static Lame<Number>
    derivative(const InCell<Number> &f, const InCell<Number> &df)
    {
      const Lame<Number> d_E = by_stiffness(f[1]), d_nu = by_ratio(f[1]);
      return {d_E.lambda * df[0] + f[0] * d_nu.lambda * df[1],
              d_E.mu * df[0] + f[0] * d_nu.mu * df[1]};
    }

    template <typename Number>
    static void
    add_vjp(const InCell<Number> &f,
            const Lame<Number>   &dual,
            InCell<Number>       &g)
    {
      g[0] += dot(by_stiffness(f[1]), dual);
      g[1] += f[0] * dot(by_ratio(f[1]), dual);
    }

    template <typename Number>
    static void
    add_second_vjp(const InCell<Number> &f,
                   const Lame<Number>   &dual,
                   const InCell<Number> &df,
                   InCell<Number>       &g)
    {
      const Number mixed = dot(by_ratio(f[1]), dual);
      g[0] += mixed * df[1];
      g[1] += mixed * df[0] + f[0] * dot(by_ratio_twice(f[1]), dual) * df[1];
    }

    template <typename Function>
    static Lame<>
    by_unit(const Function &f)
    {
      return {f(Lame<>{1, 0}), f(Lame<>{0, 1})};
    }

  private:
    template <typename Number>
    static Number
    dot(const Lame<Number> &a, const Lame<Number> &b)
    {
      return a.lambda * b.lambda + a.mu * b.mu;
    }
    /// The moduli for E = 1, and their derivatives by nu.
    template <typename Number>
    static Lame<Number>
    by_stiffness(const Number &nu)
    {
      return {nu / ((1 + nu) * (1 - 2 * nu)), 0.5 / (1 + nu)};
    }
    template <typename Number>
    static Lame<Number>
    by_ratio(const Number &nu)
    {
      const Number n = (1 + nu) * (1 - 2 * nu);
      return {(1 + 2 * nu * nu) / (n * n), -0.5 / ((1 + nu) * (1 + nu))};
    }
    template <typename Number>
    static Lame<Number>
    by_ratio_twice(const Number &nu)
    {
      const Number n = (1 + nu) * (1 - 2 * nu);
      return {(2 + 12 * nu + 8 * nu * nu * nu) / (n * n * n),
              1 / ((1 + nu) * (1 + nu) * (1 + nu))};
    }
  };
} // namespace Palpate

#endif
