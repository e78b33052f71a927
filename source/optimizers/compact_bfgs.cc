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
    // Products with the new pair, as it is kept: S^T W s, S^T y, Y^T s, and
    // |y|^2 in the dual norm.
    const std::size_t n = space->weights.size(), m = pairs.size() + 1;
    pairs.push_back(
      {{step.begin(), step.end()}, {change.begin(), change.end()}, {}});
    s.push_back(pairs.back().s.data());
    y.push_back(pairs.back().y.data());
    const Q kept_s(pairs.back().s.begin(), pairs.back().s.end()),
      kept_y(pairs.back().y.begin(), pairs.back().y.end());
    Q weighted(n), product(3 * m + 1, 0.);
    for (std::size_t i = 0; i < n; ++i)
      {
        weighted[i] = space->weights[i] * kept_s[i];
        product[3 * m] += kept_y[i] * kept_y[i] / space->weights[i];
      }
    multiply_columns<float>(n, s, weighted.data(), &product[0]);
    multiply_columns<float>(n, s, kept_y.data(), &product[m]);
    multiply_columns<float>(n, y, kept_s.data(), &product[2 * m]);
    Utilities::MPI::sum(product, space->comm, product);
    const double curvature = product[2 * m - 1];
    if (!(curvature > 1e-8 * std::sqrt(product[m - 1] * product[3 * m])))
      {
        pairs.pop_back();
        s.pop_back();
        y.pop_back();
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
        Q product;
        R(Q(pairs[i].s.begin(), pairs[i].s.end()), product);
        multiply_columns<float>(n, s, product.data(), &sRs[i * m]);
        pairs[i].Rs.assign(product.begin(), product.end());
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
          multiply_columns<float>(n, Rs, v.data(), &product[2 * m]);
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
          add_columns(n, s, &p[0], sum.data());
      }
    Bv.resize(n);
    for (std::size_t i = 0; i < n; ++i)
      Bv[i] = theta * space->weights[i] * sum[i] + Rv[i];
    if (m == 0)
      return;
    if (R)
      add_columns(n, Rs, &p[0], Bv.data());
    add_columns(n, y, &p[m], Bv.data());
  }

  void
  HessianModel::updateStorage(const ROL::Vector<double> &x,
                              const ROL::Vector<double> &gradient,
                              const ROL::Vector<double> &gradient_before,
                              const ROL::Vector<double> &step,
                              const double,
                              const int)
  {
    const Q &s = WeightedVector::of(step);
    Q        y = WeightedVector::of(gradient);
    for (std::size_t i = 0; i < y.size(); ++i)
      y[i] -= WeightedVector::of(gradient_before)[i];
    const bool added = bfgs.add(s, y);
    if (base_at)
      bfgs.start_from(0, base_at(WeightedVector::of(x)));
    else if (added)
      {
        const auto [ss, yy, sy] = bfgs.measure(s, y);
        bfgs.start_from(yy / sy, {});
      }
  }

  void
  HessianModel::applyB(ROL::Vector<double>       &Bv,
                       const ROL::Vector<double> &v) const
  {
    bfgs.vmult(WeightedVector::of(v), WeightedVector::of(Bv));
  }

  void
  HessianModel::applyH(ROL::Vector<double> &, const ROL::Vector<double> &) const
  {
    AssertThrow(false, ExcNotImplemented());
  }
} // namespace Palpate
