#include <palpate/optimizers/compact_bfgs.h>

#include <algorithm>
#include <cmath>

namespace Palpate
{
  using namespace dealii;

  std::array<double, 3>
  CompactBfgs::measure(const Q &s, const Q &y) const
  {
    std::array<double, 3> sums = {};
    for (std::size_t i = 0; i < s.size(); ++i)
      {
        sums[0] += space->weights[i] * s[i] * s[i];
        sums[1] += y[i] * y[i] / space->weights[i];
        sums[2] += y[i] * s[i];
      }
    Utilities::MPI::sum(ArrayView<const double>(sums.data(), 3),
                        space->comm,
                        ArrayView<double>(sums.data(), 3));
    return sums;
  }

  bool
  CompactBfgs::add(const Q &step, const Q &change)
  {
    const auto [size, change_size, curvature] = measure(step, change);
    if (!(curvature > 1e-8 * std::sqrt(size * change_size)))
      return false;
    const std::size_t n = space->weights.size(), m = pairs.size() + 1;
    const double      factor = 1 / std::sqrt(size);
    pairs.push_back({Column(n), Column(n), change_size * factor * factor, {}});
    Column &new_s = pairs.back().s, &new_y = pairs.back().y;
    s.push_back(new_s.data());
    y.push_back(new_y.data());
    // Products with the new pair, as it is kept: S^T y, Y^T s.
    Q kept_s(n), kept_y(n), product(2 * m, 0.);
    for (std::size_t i = 0; i < n; ++i)
      {
        kept_s[i] = new_s[i] = factor * step[i];
        kept_y[i] = new_y[i] = factor * change[i];
      }
    multiply_columns<float>(n, s, kept_y.data(), &product[0]);
    multiply_columns<float>(n, y, kept_s.data(), &product[m]);
    Utilities::MPI::sum(product, space->comm, product);
    for (auto &row : sy)
      row.resize(m);
    sy.emplace_back(m);
    for (std::size_t i = 0; i < m; ++i)
      {
        sy[i][m - 1] = product[i];
        sy[m - 1][i] = product[m + i];
      }
    if (m <= storage)
      return true;
    pairs.erase(pairs.begin());
    s.erase(s.begin());
    y.erase(y.begin());
    sy.erase(sy.begin());
    for (auto &row : sy)
      row.erase(row.begin());
    return true;
  }

  CompactBfgs::Q
  CompactBfgs::uniform(const double theta) const
  {
    Q result = space->weights;
    for (double &d : result)
      d *= theta;
    return result;
  }

  CompactBfgs::Q
  CompactBfgs::by_unknown(const double theta) const
  {
    Q                 result = uniform(theta);
    const std::size_t n = result.size(), m = pairs.size();
    double            all = 0; // weights
    for (const double w : space->weights)
      all += w;
    all = Utilities::MPI::sum(all, space->comm);
    Q a(n, 0.), b(n, 0.);
    for (const Pair &pair : pairs)
      for (std::size_t i = 0; i < n; ++i)
        {
          const double s = pair.s[i], y = pair.y[i] / space->weights[i];
          a[i] += s * s * all / m;
          b[i] += y * y * all / (m * pair.yy);
        }
    for (std::size_t i = 0; i < n; ++i)
      result[i] *= std::sqrt((b[i] + 0.1) / (a[i] + 0.1));
    return result;
  }

  void
  CompactBfgs::start_from(const Q &diagonal, const Product &more)
  {
    const std::size_t n = space->weights.size(), m = pairs.size();
    D = diagonal;
    R = more;
    Rs.clear();
    Q sBs(m * m, 0.); // S^T B_0 S, its lower half
    for (std::size_t i = 0; i < m; ++i)
      {
        const Q si(pairs[i].s.begin(), pairs[i].s.end());
        pairs[i].Rs.clear();
        if (R)
          {
            R(si, pairs[i].Rs);
            Rs.push_back(pairs[i].Rs.data());
          }
        Q Bs = R ? pairs[i].Rs : Q(n, 0.);
        for (std::size_t k = 0; k < D.size(); ++k)
          Bs[k] += D[k] * si[k];
        multiply_columns<float>(n,
                                {s.begin(), s.begin() + i + 1},
                                Bs.data(),
                                &sBs[i * m]);
      }
    if (m == 0)
      return;
    Utilities::MPI::sum(sBs, space->comm, sBs);
    for (std::size_t i = 0; i < m && R; ++i)
      if (!(sBs[i * m + i] > 0)) // does not keep its promise
        return start_from(D.empty() ? uniform(sy[m - 1][m - 1]) : diagonal,
                          {}); // |s| is 1

    // M = [S^T B_0 S, L; L^T, -E], L and E of S^T Y.
    scaling.resize(2 * m);
    for (std::size_t i = 0; i < m; ++i)
      {
        scaling[i]     = 1 / std::sqrt(sBs[i * m + i]);
        scaling[m + i] = 1 / std::sqrt(sy[i][i]);
      }
    middle.reinit(2 * m);
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < m; ++j)
        {
          middle(i, j) =
            sBs[std::max(i, j) * m + std::min(i, j)] * scaling[i] * scaling[j];
          const double lower =
            i > j ? sy[i][j] * scaling[i] * scaling[m + j] : 0.;
          middle(i, m + j)     = lower;
          middle(m + j, i)     = lower;
          middle(m + i, m + j) = i == j ? -1. : 0.;
        }
    middle.compute_lu_factorization();
  }

  void
  CompactBfgs::vmult(const Q &v, Q &Bv) const
  {
    const std::size_t n = v.size(), m = pairs.size();
    Q                 Rv(n, 0.);
    if (R)
      R(v, Rv);
    // B v = D (v + S p_s) + R v + (R S) p_s + Y p_y, p = -M^-1 U^T v.
    dealii::Vector<double> p(2 * m);
    Q                      sum = v;
    if (m > 0)
      {
        Q product(3 * m, 0.);
        if (!D.empty())
          {
            Q Dv(n);
            for (std::size_t i = 0; i < n; ++i)
              Dv[i] = D[i] * v[i];
            multiply_columns<float>(n, s, Dv.data(), &product[0]);
          }
        multiply_columns<float>(n, y, v.data(), &product[m]);
        if (R)
          multiply_columns<double>(n, Rs, v.data(), &product[2 * m]);
        Utilities::MPI::sum(product, space->comm, product);
        for (std::size_t i = 0; i < m; ++i)
          {
            p[i]     = scaling[i] * (product[i] + product[2 * m + i]);
            p[m + i] = scaling[m + i] * product[m + i];
          }
        middle.solve(p);
        for (std::size_t i = 0; i < 2 * m; ++i)
          p[i] *= -scaling[i];
        if (!D.empty())
          add_columns<float>(n, s, &p[0], sum.data());
      }
    Bv = std::move(Rv);
    for (std::size_t i = 0; i < D.size(); ++i)
      Bv[i] += D[i] * sum[i];
    if (m == 0)
      return;
    if (R)
      add_columns<double>(n, Rs, &p[0], Bv.data());
    add_columns<float>(n, y, &p[m], Bv.data());
  }
} // namespace Palpate
