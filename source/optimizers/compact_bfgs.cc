#include <palpate/optimizers/compact_bfgs.h>

#include <cmath>
#include <utility>

namespace Palpate
{
  using namespace dealii;

  void
  CompactBfgs::updateStorage(const ROL::Vector<double> &x,
                             const ROL::Vector<double> &gradient,
                             const ROL::Vector<double> &gradient_before,
                             const ROL::Vector<double> &step,
                             const double               length,
                             const int                  iteration)
  {
    ROL::lBFGS<double>::updateStorage(
      x, gradient, gradient_before, step, length, iteration);
    const auto       &state = *std::as_const(*this).get_state();
    const std::size_t m     = state.product.size();
    if (m == 0)
      return;
    // ROL refuses pairs without curvature; with more than one pair stored the
    // newest step is then the object it was before.
    const bool refused = m == s.size() && state.iterDiff.back().get() == newest;
    newest             = state.iterDiff.back().get();
    if (refused)
      return;
    if (m == s.size()) // full: the oldest pair has left
      for (auto *matrix : {&ss, &sy})
        {
          matrix->erase(matrix->begin());
          for (auto &row : *matrix)
            row.erase(row.begin());
        }
    s.clear();
    y.clear();
    for (std::size_t i = 0; i < m; ++i)
      {
        s.push_back(WeightedVector::of(*state.iterDiff[i]).data());
        y.push_back(WeightedVector::of(*state.gradDiff[i]).data());
      }
    // Products with the new pair: S^T W s, S^T y, Y^T s, and |y|^2 in the dual
    // norm.
    const std::size_t   n = space->weights.size();
    std::vector<double> weighted(n), product(3 * m + 1, 0.);
    for (std::size_t i = 0; i < n; ++i)
      {
        weighted[i] = space->weights[i] * s.back()[i];
        product[3 * m] += y.back()[i] * y.back()[i] / space->weights[i];
      }
    multiply_columns(n, s, weighted.data(), &product[0]);
    multiply_columns(n, s, y.back(), &product[m]);
    multiply_columns(n, y, s.back(), &product[2 * m]);
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
    theta = product[3 * m] / sy[m - 1][m - 1];

    // S^T R S, and |y - R s|^2 of the new pair.
    std::vector<double> sRs(m * m + 1, 0.);
    R = hessian_at ? hessian_at(WeightedVector::of(x)) : Product();
    Rs.assign(R ? m : 0, Q());
    Rs_columns.clear();
    if (R)
      {
        for (std::size_t i = 0; i < m; ++i)
          {
            R(WeightedVector::of(*state.iterDiff[i]), Rs[i]);
            Rs_columns.push_back(Rs[i].data());
            multiply_columns(n, s, Rs[i].data(), &sRs[i * m]);
          }
        for (std::size_t i = 0; i < n; ++i)
          sRs[m * m] +=
            std::pow(y.back()[i] - Rs.back()[i], 2) / space->weights[i];
        Utilities::MPI::sum(sRs, space->comm, sRs);
        for (std::size_t i = 0; i < m; ++i)
          if (sRs[i * m + i] < 0) // a term that does not keep its promise
            R = Product();
      }
    if (R) // not zero, where R s is all of y
      theta = std::min(theta,
                       std::max(1e-3 * theta,
                                std::sqrt(sRs[m * m] / ss[m - 1][m - 1])));
    else
      std::fill(sRs.begin(), sRs.end(), 0.);

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
  CompactBfgs::applyB(ROL::Vector<double>       &Bv,
                      const ROL::Vector<double> &v) const
  {
    const std::vector<double> &in  = WeightedVector::of(v);
    std::vector<double>       &out = WeightedVector::of(Bv);
    const std::size_t          n = in.size(), m = s.size();
    for (std::size_t i = 0; i < n; ++i)
      out[i] = space->weights[i] * in[i];
    if (m == 0)
      return;
    // B v = B_0 (v + S p_s) + Y p_y with p = -M^-1 U^T v.
    Q Rv(n, 0.);
    if (R)
      R(in, Rv);
    dealii::Vector<double> p(2 * m);
    {
      std::vector<double> product(3 * m, 0.);
      multiply_columns(n, s, out.data(), &product[0]);
      multiply_columns(n, y, in.data(), &product[m]);
      if (R)
        multiply_columns(n, Rs_columns, in.data(), &product[2 * m]);
      Utilities::MPI::sum(product, space->comm, product);
      for (std::size_t i = 0; i < m; ++i)
        {
          p[i]     = scaling[i] * (theta * product[i] + product[2 * m + i]);
          p[m + i] = scaling[m + i] * product[m + i];
        }
    }
    middle.solve(p);
    for (std::size_t i = 0; i < 2 * m; ++i)
      p[i] *= -scaling[i];
    out = in;
    add_columns(n, s, &p[0], out.data());
    for (std::size_t i = 0; i < n; ++i)
      out[i] = theta * space->weights[i] * out[i] + Rv[i];
    if (R)
      add_columns(n, Rs_columns, &p[0], out.data());
    add_columns(n, y, &p[m], out.data());
  }
} // namespace Palpate
