#ifndef palpate_core_lanes_h
#define palpate_core_lanes_h

#include <deal.II/base/template_constraints.h>

#include <cmath>

namespace Palpate
{
  /**
   * Eight numbers that the processor computes with at a time: a Number for
   * dealii::Tensor, in loops over eight cells. The compiler maps it to what
   * there is; run_fast() gives it AVX-512 or AVX2, where the machine has that.
   */
  struct Lanes
  {
    static constexpr unsigned int width = 8;
    using Values = double __attribute__((vector_size(8 * sizeof(double))));
    Values v;

    Lanes()
      : v{}
    {}
    Lanes(const double x)
      : v{x, x, x, x, x, x, x, x}
    {}
    explicit Lanes(const Values &v)
      : v(v)
    {}
    /// f(lane) in every lane.
    template <typename Function>
    static Lanes
    from(const Function &f)
    {
      return Lanes(Values{f(0), f(1), f(2), f(3), f(4), f(5), f(6), f(7)});
    }

    Lanes &
    operator+=(const Lanes &b)
    {
      v += b.v;
      return *this;
    }
    Lanes &
    operator-=(const Lanes &b)
    {
      v -= b.v;
      return *this;
    }
    Lanes &
    operator*=(const Lanes &b)
    {
      v *= b.v;
      return *this;
    }
    Lanes &
    operator/=(const Lanes &b)
    {
      v /= b.v;
      return *this;
    }
    friend Lanes
    operator+(const Lanes &a, const Lanes &b)
    {
      return Lanes(a.v + b.v);
    }
    friend Lanes
    operator-(const Lanes &a, const Lanes &b)
    {
      return Lanes(a.v - b.v);
    }
    friend Lanes
    operator*(const Lanes &a, const Lanes &b)
    {
      return Lanes(a.v * b.v);
    }
    friend Lanes
    operator/(const Lanes &a, const Lanes &b)
    {
      return Lanes(a.v / b.v);
    }
    friend Lanes
    operator-(const Lanes &a)
    {
      return Lanes(-a.v);
    }
    double
    operator[](const unsigned int lane) const
    {
      return v[lane];
    }
  };

  /// True if all are above a limit.
  inline bool
  all_above(const double x, const double limit)
  {
    return x > limit;
  }
  inline bool
  all_above(const Lanes &x, const double limit)
  {
    bool all = true;
    for (unsigned int l = 0; l < Lanes::width; ++l)
      all = all && x[l] > limit;
    return all;
  }

  inline double
  log1p(const double x)
  {
    return std::log1p(x);
  }
  inline Lanes
  log1p(const Lanes &x)
  {
    return Lanes::from([&](const unsigned int l) { return std::log1p(x[l]); });
  }

  namespace internal
  {
    template <typename Kernel>
    __attribute__((flatten, noinline)) void
    run_plain(const Kernel &kernel)
    {
      kernel();
    }
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#  define PALPATE_HAS_TARGETS
    template <typename Kernel>
    __attribute__((target("avx2,fma"), flatten, noinline)) void
    run_avx2(const Kernel &kernel)
    {
      kernel();
    }
    template <typename Kernel>
    __attribute__((target("avx512f,avx512vl,avx512dq,fma"),
                   flatten,
                   noinline)) void
    run_avx512(const Kernel &kernel)
    {
      kernel();
    }
#endif
  } // namespace internal

  /// Call a loop over Lanes with everything in it inlined, for the best
  /// instructions of this machine.
  template <typename Kernel>
  void
  run_fast(const Kernel &kernel)
  {
#ifdef PALPATE_HAS_TARGETS
    static const bool avx512 = __builtin_cpu_supports("avx512f") &&
                               __builtin_cpu_supports("avx512vl") &&
                               __builtin_cpu_supports("avx512dq");
    static const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx512)
      return internal::run_avx512(kernel);
    if (avx2)
      return internal::run_avx2(kernel);
#endif
    internal::run_plain(kernel);
  }
} // namespace Palpate

namespace dealii
{
  template <>
  struct EnableIfScalar<Palpate::Lanes>
  {
    using type = Palpate::Lanes;
  };
} // namespace dealii

#endif
