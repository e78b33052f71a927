#include <palpate/optimizers/compact_bfgs.h>

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
    pairs.push_back({Column(n), Column(n), {}});
    Column &new_s = pairs.back().s, &new_y = pairs.back().y;
    s.push_back(new_s.data());
    y.push_back(new_y.data());
    // Products with the new pair, as it is kept: S^T W s, S^T y, Y^T s.
    Q kept_s(n), kept_y(n), weighted(n), product(3 * m, 0.);
    for (std::size_t i = 0; i < n; ++i)
      {
        kept_s[i] = new_s[i] = factor * step[i];
        kept_y[i] = new_y[i] = factor * change[i];
        weighted[i]          = space->weights[i] * kept_s[i];
      }
    multiply_columns<float>(n, s, weighted.data(), &product[0]);
    multiply_columns<float>(n, s, kept_y.data(), &product[m]);
    multiply_columns<float>(n, y, kept_s.data(), &product[2 * m]);
    Utilities::MPI::sum(product, space->comm, product);
    for (auto *matrix : {&ss, &sy})
      {
        for (auto &row : *matrix)
          row.resize(m);
        matrix->emplace_back(m);
      }
    for (std::size_t i = 0; i < m; ++i)
      {
        ss[i][m - 1] = ss[m - 1][i] = product[i];
        sy[i][m - 1]                = product[m + i];
        sy[m - 1][i]                = product[2 * m + i];
      }
    if (m <= storage)
      return true;
    pairs.erase(pairs.begin());
    s.erase(s.begin());
    y.erase(y.begin());
    for (auto *matrix : {&ss, &sy})
      {
        matrix->erase(matrix->begin());
        for (auto &row : *matrix)
          row.erase(row.begin());
      }
    return true;
  }

  void
  CompactBfgs::start_from(const double factor, const Product &more)
  {
    const std::size_t n = space->weights.size(), m = pairs.size();
    theta = factor;
    R     = more;
    Rs.clear();
    Q sRs(m * m, 0.); // S^T R S
    for (std::size_t i = 0; i < m && R; ++i)
      {
        R(Q(pairs[i].s.begin(), pairs[i].s.end()), pairs[i].Rs);
        multiply_columns<float>(n, s, pairs[i].Rs.data(), &sRs[i * m]);
        Rs.push_back(pairs[i].Rs.data());
      }
    if (R)
      Utilities::MPI::sum(sRs, space->comm, sRs);
    for (std::size_t i = 0; i < m && R; ++i)
      if (!(theta * ss[i][i] + sRs[i * m + i] > 0)) // does not keep its promise
        {
          R     = Product();
          theta = sy[m - 1][m - 1] / ss[m - 1][m - 1];
          sRs.assign(m * m, 0.);
        }
    if (!R)
      Rs.clear();
    if (m == 0)
      return;

    // M = [S^T B_0 S, L; L^T, -D], L and D of S^T Y.
    scaling.resize(2 * m);
    for (std::size_t i = 0; i < m; ++i)
      {
        scaling[i]     = 1 / std::sqrt(theta * ss[i][i] + sRs[i * m + i]);
        scaling[m + i] = 1 / std::sqrt(sy[i][i]);
      }
    middle.reinit(2 * m);
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < m; ++j)
        {
          middle(i, j) =
            (theta * ss[i][j] + 0.5 * (sRs[i * m + j] + sRs[j * m + i])) *
            scaling[i] * scaling[j];
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
    // B v = theta W (v + S p_s) + R v + (R S) p_s + Y p_y, p = -M^-1 U^T v.
    dealii::Vector<double> p(2 * m);
    Q                      sum = v;
    if (m > 0)
      {
        Q product(3 * m, 0.);
        if (theta != 0)
          {
            Q weighted(n);
            for (std::size_t i = 0; i < n; ++i)
              weighted[i] = space->weights[i] * v[i];
            multiply_columns<float>(n, s, weighted.data(), &product[0]);
          }
        multiply_columns<float>(n, y, v.data(), &product[m]);
        if (R)
          multiply_columns<double>(n, Rs, v.data(), &product[2 * m]);
        Utilities::MPI::sum(product, space->comm, product);
        for (std::size_t i = 0; i < m; ++i)
          {
            p[i]     = scaling[i] * (theta * product[i] + product[2 * m + i]);
            p[m + i] = scaling[m + i] * product[m + i];
          }
        middle.solve(p);
        for (std::size_t i = 0; i < 2 * m; ++i)
          p[i] *= -scaling[i];
        if (theta != 0)
          add_columns<float>(n, s, &p[0], sum.data());
      }
    Bv.resize(n);
    for (std::size_t i = 0; i < n; ++i)
      Bv[i] = theta * space->weights[i] * sum[i] + Rv[i];
    if (m == 0)
      return;
    if (R)
      add_columns<double>(n, Rs, &p[0], Bv.data());
    add_columns<float>(n, y, &p[m], Bv.data());
  }

  void
  BfgsModel::updateStorage(const ROL::Vector<double> &,
                           const ROL::Vector<double> &gradient,
                           const ROL::Vector<double> &gradient_before,
                           const ROL::Vector<double> &step,
                           const double,
                           const int)
  {
    const auto         &s = WeightedVector::of(step);
    std::vector<double> y = WeightedVector::of(gradient);
    for (std::size_t i = 0; i < y.size(); ++i)
      y[i] -= WeightedVector::of(gradient_before)[i];
    if (bfgs.add(s, y))
      {
        const auto [ss, yy, sy] = bfgs.measure(s, y);
        bfgs.start_from(yy / sy, {});
      }
  }
} // namespace Palpate
