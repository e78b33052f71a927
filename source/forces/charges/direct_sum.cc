#include <palpate/core/errors.h>
#include <palpate/forces/charges/pairs.h>

namespace Palpate
{
  void
  FieldAtCharges::resize(const std::size_t n)
  {
    for (auto &component : e)
      component.assign(n, 0.);
    potential.assign(n, 0.);
  }

  namespace
  {
    std::string
    number(const PointCharges &charges, const std::size_t i)
    {
      return std::to_string(charges.vertex.empty() ? i : charges.vertex[i]);
    }
  } // namespace

  void
  require_places(const PointCharges &charges)
  {
    for (std::size_t i = 0; i < charges.size(); ++i)
      for (const auto &x : charges.x)
        if (!(std::abs(x[i]) < 1e150))
          throw SolverError(
            (charges.vertex.empty() ? "charge " : "the charge of vertex ") +
            number(charges, i) +
            " is at no finite place: charges that repel each "
            "other fly apart; expected pins, springs or a "
            "shorter time");
  }

  void
  require_distances(const PointCharges &charges,
                    const PairSums     &sums,
                    const std::size_t   n)
  {
    if (sums.n_here <= static_cast<double>(n))
      return;
    // Rare: which ones they are may take a while.
    for (std::size_t i = 0; i < charges.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        if (charges.x[0][i] == charges.x[0][j] &&
            charges.x[1][i] == charges.x[1][j] &&
            charges.x[2][i] == charges.x[2][j])
          throw SolverError(
            (charges.vertex.empty() ? "charges " : "the charges of vertices ") +
            number(charges, j) + " and " + number(charges, i) +
            " are at one place, where their force is infinite; "
            "expected a distance between them");
  }

  void
  ElectricField::add_vjp(const PointCharges                       &charges,
                         const std::array<std::vector<double>, 3> &w,
                         std::array<std::vector<double>, 3>       &g_x,
                         std::vector<double>                      *g_q,
                         const std::size_t                         first,
                         const std::size_t                         last) const
  {
    DirectSum().add_vjp(charges, w, g_x, g_q, first, last);
  }

  void
  DirectSum::compute(const PointCharges &charges,
                     FieldAtCharges     &field,
                     const std::size_t   first,
                     const std::size_t   last)
  {
    require_places(charges);
    field.resize(charges.size());
    const PairSums sums = in_batches(
      first, last, [&](const std::size_t begin, const std::size_t end) {
        PairSums part;
        run_fast([&]() {
          add_pairs(
            charges, begin, end, {Range{{0, charges.size()}}}, field, part);
        });
        return part;
      });
    require_distances(charges, sums, last - first);
  }

  void
  DirectSum::add_vjp(const PointCharges                       &charges,
                     const std::array<std::vector<double>, 3> &w,
                     std::array<std::vector<double>, 3>       &g_x,
                     std::vector<double>                      *g_q,
                     const std::size_t                         start,
                     const std::size_t                         stop) const
  {
    const std::size_t n = charges.size();
    const auto       &x = charges.x;
    in_batches(
      start, stop, [&](const std::size_t first, const std::size_t last) {
        run_fast([&]() {
          for (std::size_t i = first; i < last; i += Lanes::width)
            {
              std::array<Lanes, 3> xi, wi, g;
              Lanes                by_q;
              for (unsigned int d = 0; d < 3; ++d)
                {
                  xi[d] = load(x[d], i, last);
                  wi[d] = load(w[d], i, last);
                }
              // F_i . w_i + F_j . w_j = k q_i q_j r . (w_i - w_j) / |r|^3.
              for (std::size_t j = 0; j < n; ++j)
                {
                  std::array<Lanes, 3> r, v;
                  Lanes                r2, rv;
                  for (unsigned int d = 0; d < 3; ++d)
                    {
                      r[d] = xi[d] - Lanes(x[d][j]);
                      v[d] = wi[d] - Lanes(w[d][j]);
                      r2 += r[d] * r[d];
                      rv += r[d] * v[d];
                    }
                  const Lanes inverse = inverse_root(r2),
                              i2      = inverse * inverse,
                              q3      = Lanes(charges.q[j]) * i2 * inverse;
                  by_q += q3 * rv;
                  for (unsigned int d = 0; d < 3; ++d)
                    g[d] += q3 * (v[d] - Lanes(3.) * i2 * rv * r[d]);
                }
              for (unsigned int l = 0; l < Lanes::width && i + l < last; ++l)
                {
                  for (unsigned int d = 0; d < 3; ++d)
                    g_x[d][i + l] +=
                      coulomb_constant * charges.q[i + l] * g[d][l];
                  if (g_q != nullptr)
                    (*g_q)[i + l] += coulomb_constant * by_q[l];
                }
            }
        });
        return PairSums();
      });
  }
} // namespace Palpate
