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
    const double factor = 1 / std::sqrt(size);
    s.push_back(factor, step);
    y.push_back(factor, change);
    // Products with the new pair, as it is kept: S^T W s, S^T y, Y^T s.
    const std::size_t m      = s.size();
    const Q           kept_s = s[m - 1];
    Q                 weighted(kept_s), product(3 * m);
    for (std::size_t i = 0; i < weighted.size(); ++i)
      weighted[i] *= space->weights[i];
    s.multiply(weighted, &product[0]);
    s.multiply(y[m - 1], &product[m]);
    y.multiply(kept_s, &product[2 * m]);
    Utilities::MPI::sum(product, space->comm, product);
    const double exact = factor * factor * curvature;
    if (!(std::abs(product[3 * m - 1] - exact) < 0.5 * exact))
      {
        s.erase(m - 1);
        y.erase(m - 1);
        return false;
      }
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
    s.erase(0);
    y.erase(0);
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
    const std::size_t m = size();
    theta               = factor;
    R                   = more;
    Rs.assign(R ? m : 0, Q());
    Q sRs(m * m, 0.); // S^T R S
    for (std::size_t i = 0; i < Rs.size(); ++i)
      {
        R(s[i], Rs[i]);
        s.multiply(Rs[i], &sRs[i * m]);
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
    const std::size_t n = v.size(), m = size();
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
            s.multiply(weighted, &product[0]);
          }
        y.multiply(v, &product[m]);
        for (std::size_t i = 0; i < Rs.size(); ++i)
          product[2 * m + i] = local_product(Rs[i], v);
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
          s.add(&p[0], sum);
      }
    Bv.resize(n);
    for (std::size_t i = 0; i < n; ++i)
      Bv[i] = theta * space->weights[i] * sum[i] + Rv[i];
    if (m == 0)
      return;
    for (std::size_t j = 0; j < Rs.size(); ++j)
      for (std::size_t i = 0; i < n; ++i)
        Bv[i] += p[j] * Rs[j][i];
    y.add(&p[m], Bv);
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
