#ifndef palpate_forces_charges_pairs_h
#define palpate_forces_charges_pairs_h

#include <deal.II/base/parallel.h>

#include <palpate/core/lanes.h>
#include <palpate/forces/charges/electric_field.h>

#include <cstdint>
#include <mutex>

// What the ways to sum Coulomb's forces share: pairs, eight at a time.
namespace Palpate
{
  /// 1/sqrt(x) for x > 0, 0 for x = 0: a guess from the bits and four steps of
  /// Newton, to the last digits; several times as fast as root and division.
  inline Lanes
  inverse_root(const Lanes &x)
  {
    using Integers = std::int64_t __attribute__((vector_size(64)));
    Integers bits;
    __builtin_memcpy(&bits, &x.v, sizeof bits);
    bits = 0x5fe6eb50c7b537a9 - (bits >> 1);
    Lanes::Values y;
    __builtin_memcpy(&y, &bits, sizeof y);
    const Lanes::Values half = 0.5 * x.v;
    for (unsigned int i = 0; i < 4; ++i)
      y = y * (1.5 - half * y * y);
    return Lanes(x.v > 0 ? y : Lanes::Values{});
  }

  /// Entries i, i + 1, ... below last; the rest repeat the last one.
  inline Lanes
  load(const std::vector<double> &v,
       const std::size_t          i,
       const std::size_t          last)
  {
    if (i + Lanes::width <= last)
      {
        Lanes::Values values;
        __builtin_memcpy(&values, v.data() + i, sizeof values);
        return Lanes(values);
      }
    return Lanes::from(
      [&](const unsigned int l) { return v[std::min(i + l, last - 1)]; });
  }

  /// What is found out on the way.
  struct PairSums
  {
    double n_here  = 0; ///< pairs at distance 0, that of each with itself too
    double n_pairs = 0;
  };

  using Range = std::array<std::size_t, 2>;

  /// field of charges first to last - 1 += that of the charges in the ranges.
  inline void
  add_pairs(const PointCharges       &charges,
            const std::size_t         first,
            const std::size_t         last,
            const std::vector<Range> &sources,
            FieldAtCharges           &field,
            PairSums                 &sums)
  {
    const double *x = charges.x[0].data(), *y = charges.x[1].data(),
                 *z = charges.x[2].data(), *q = charges.q.data();
    for (std::size_t i = first; i < last; i += Lanes::width)
      {
        const Lanes xi = load(charges.x[0], i, last),
                    yi = load(charges.x[1], i, last),
                    zi = load(charges.x[2], i, last);
        Lanes ex, ey, ez, potential, n_here;
        for (const Range &range : sources)
          for (std::size_t j = range[0]; j < range[1]; ++j)
            {
              const Lanes dx = xi - Lanes(x[j]), dy = yi - Lanes(y[j]),
                          dz      = zi - Lanes(z[j]),
                          r2      = dx * dx + dy * dy + dz * dz,
                          inverse = inverse_root(r2),
                          qr      = Lanes(q[j]) * inverse,
                          qr3     = qr * inverse * inverse;
              ex += qr3 * dx;
              ey += qr3 * dy;
              ez += qr3 * dz;
              potential += qr;
              n_here += Lanes(r2.v > 0 ? Lanes::Values{} : Lanes(1.).v);
            }
        for (unsigned int l = 0; l < Lanes::width && i + l < last; ++l)
          {
            field.e[0][i + l] += coulomb_constant * ex[l];
            field.e[1][i + l] += coulomb_constant * ey[l];
            field.e[2][i + l] += coulomb_constant * ez[l];
            field.potential[i + l] += coulomb_constant * potential[l];
            sums.n_here += n_here[l];
          }
      }
    for (const Range &range : sources)
      sums.n_pairs += static_cast<double>(last - first) * (range[1] - range[0]);
  }

  /// Call work(begin, end), which writes to these alone, for parts of first to
  /// last - 1, on all threads. @return the sums of all
  template <typename Work>
  PairSums
  in_batches(const std::size_t start, const std::size_t stop, const Work &work)
  {
    const std::size_t n = stop - start;
    PairSums          all;
    std::mutex        mutex;
    const auto add = [&](const std::size_t first, const std::size_t last) {
      // Whole lanes, so that the sums do not depend on the threads.
      const std::size_t a                    = first * Lanes::width,
                        b                    = std::min(last * Lanes::width, n);
      const PairSums                    part = work(start + a, start + b);
      const std::lock_guard<std::mutex> lock(mutex);
      all.n_here += part.n_here;
      all.n_pairs += part.n_pairs;
    };
    dealii::parallel::apply_to_subranges(std::size_t(0),
                                         (n + Lanes::width - 1) / Lanes::width,
                                         add,
                                         8);
    return all;
  }

  /// @throw SolverError for a charge at no finite place
  void
  require_places(const PointCharges &charges);

  /// @throw SolverError naming two charges at one place, if more pairs are than
  /// each of @p n with itself
  void
  require_distances(const PointCharges &charges,
                    const PairSums     &sums,
                    const std::size_t   n);
} // namespace Palpate

#endif
