#include <palpate/drivers/taylor_tests.h>
#include <palpate/optimizers/adam.h>
#include <palpate/optimizers/compact_bfgs.h>
#include <palpate/optimizers/optimizer.h>

#include <gtest/gtest.h>

#include <cmath>

using namespace Palpate;

namespace
{
  /// sum_i c_i (q_i - t_i)^2 / 2 + (q_i - t_i)^4 with targets partly outside
  /// the bounds: the bounded minimiser is the clamped target.
  struct Quartic : SmoothFunction
  {
    std::vector<double> c, t;
    explicit Quartic(const unsigned int n)
    {
      for (unsigned int i = 0; i < n; ++i)
        {
          const unsigned int rank =
            dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD);
          c.push_back(std::pow(10., 2 * random_number(1, i + 1000 * rank)));
          t.push_back(2 * random_number(2, i + 1000 * rank));
        }
    }
    double
    value(const Q &q) override
    {
      double sum = 0;
      for (unsigned int i = 0; i < q.size(); ++i)
        sum += c[i] * std::pow(q[i] - t[i], 2) / 2 + std::pow(q[i] - t[i], 4);
      return dealii::Utilities::MPI::sum(sum, MPI_COMM_WORLD);
    }
    void
    gradient(const Q &q, Q &g) override
    {
      for (unsigned int i = 0; i < q.size(); ++i)
        g[i] = c[i] * (q[i] - t[i]) + 4 * std::pow(q[i] - t[i], 3);
    }
    void
    hessian(const Q &q, const Q &v, Q &Hv) override
    {
      for (unsigned int i = 0; i < q.size(); ++i)
        Hv[i] = (c[i] + 12 * std::pow(q[i] - t[i], 2)) * v[i];
    }
  };

  void
  test(const std::string &method)
  {
    const unsigned int  n = 60;
    Quartic             f(n);
    OptimizerParameters p;
    p.method             = method;
    p.maximum_iterations = 1000;
    p.gradient_tolerance = (method == "lbfgs" ? 1e-4 : 1e-10);
    p.step_tolerance     = 0;
    p.stagnation         = 0;
    std::vector<double> lower(n, -1), upper(n, 1), start(n, 0), weights(n);
    for (unsigned int i = 0; i < n; ++i)
      weights[i] = 1. / n * (1 + i % 3);
    unsigned int calls  = 0;
    const auto   result = minimize(
      f,
      start,
      lower,
      upper,
      weights,
      p,
      MPI_COMM_WORLD,
      [&](const OptimizerIteration &) { ++calls; },
      []() { return 0ul; });
    EXPECT_EQ(result.stop_reason, "gradient tolerance reached");
    EXPECT_EQ(calls, result.iterations + 1);
    unsigned int active = 0;
    for (unsigned int i = 0; i < n; ++i)
      {
        const double expected = std::min(1., std::max(-1., f.t[i]));
        EXPECT_NEAR(result.q[i], expected, method == "lbfgs" ? 1e-2 : 1e-6);
        active += std::abs(expected) == 1;
      }
    EXPECT_GT(active, 5u);
  }
} // namespace

TEST(Optimizer, LbfgsFindsTheBoundedMinimum)
{
  test("lbfgs");
}
TEST(Optimizer, NewtonCgFindsTheBoundedMinimum)
{
  test("newton cg");
}

TEST(CompactBfgs, EqualsTheRecursion)
{
  // Unknowns of a label or of a network are on one rank only.
  const unsigned int n =
    dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0 ? 50 : 0;
  auto space          = std::make_shared<VectorSpace>();
  space->comm         = MPI_COMM_WORLD;
  space->dimension    = 50;
  unsigned int seed   = 0;
  const auto   random = [&](const bool dual) {
    auto v = ROL::makePtr<WeightedVector>(space, dual);
    ++seed;
    for (unsigned int i = 0; i < n; ++i)
      v->data[i] = random_number(seed, i);
    return v;
  };
  for (unsigned int i = 0; i < n; ++i)
    space->weights.push_back(0.1 + 0.05 * (i % 4));
  CompactBfgs        compact(space, 4);
  ROL::lBFGS<double> theirs(4);
  double             seen = 0;
  // More pairs than are stored; the third has no curvature and is refused.
  for (unsigned int pair = 0; pair < 8; ++pair)
    {
      const auto step = random(false), x = random(false), before = random(true);
      auto       after = random(true);
      for (unsigned int i = 0; i < n; ++i)
        after->data[i] =
          before->data[i] + (pair == 2 ? -1 : 1 + 0.3 * after->data[i]) *
                              space->weights[i] * step->data[i];
      for (ROL::Secant<double> *bfgs :
           std::vector<ROL::Secant<double> *>{&compact, &theirs})
        bfgs->updateStorage(*x, *after, *before, *step, step->norm(), pair + 1);
      const auto v    = random(false);
      auto       ours = random(true), expected = random(true);
      compact.applyB(*ours, *v);
      theirs.applyB(*expected, *v);
      seen += expected->norm();
      ours->axpy(-1., *expected);
      EXPECT_LT(ours->norm(), 1e-12 * expected->norm()) << "pair " << pair;
    }
  EXPECT_GT(seen, 0);
}

// The same with a given part R of the Hessian, against the recursion
// B <- B - B s s^T B / (s . B s) + y y^T / (y . s) on a dense matrix.
TEST(CompactBfgs, StartsFromAGivenHessian)
{
  const unsigned int n =
    dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0 ? 30 : 0;
  auto space       = std::make_shared<VectorSpace>();
  space->comm      = MPI_COMM_WORLD;
  space->dimension = 30;
  for (unsigned int i = 0; i < n; ++i)
    space->weights.push_back(0.1 + 0.05 * (i % 4));
  using Q = std::vector<double>;
  // A chain whose stiffness depends on the point.
  const auto chain = [n](const Q &at, const Q &v) {
    Q Rv(n, 0.);
    for (unsigned int i = 0; i + 1 < n; ++i)
      {
        const double f = (1 + at[i] * at[i]) * (v[i] - v[i + 1]);
        Rv[i] += f;
        Rv[i + 1] -= f;
      }
    return Rv;
  };
  const int    storage = 4;
  CompactBfgs  bfgs(space, storage, [&](const Q &at) {
    return [&chain, at](const Q &v, Q &Rv) { Rv = chain(at, v); };
  });
  unsigned int seed   = 0;
  const auto   random = [&](const bool dual) {
    auto v = ROL::makePtr<WeightedVector>(space, dual);
    ++seed;
    for (unsigned int i = 0; i < n; ++i)
      v->data[i] = random_number(seed, i);
    return v;
  };
  const auto dot = [n](const Q &a, const Q &b) {
    double sum = 0;
    for (unsigned int i = 0; i < n; ++i)
      sum += a[i] * b[i];
    return sum;
  };
  std::vector<std::pair<Q, Q>> pairs;
  for (unsigned int k = 0; k < 6; ++k)
    {
      const auto step = random(false), x = random(false), before = random(true);
      auto       after = random(true);
      const Q    Rs    = chain(x->data, step->data);
      for (unsigned int i = 0; i < n; ++i)
        after->data[i] =
          before->data[i] + Rs[i] +
          (2 + 0.3 * after->data[i]) * space->weights[i] * step->data[i];
      bfgs.updateStorage(*x, *after, *before, *step, step->norm(), k + 1);
      pairs.emplace_back(step->data, Q(n));
      for (unsigned int i = 0; i < n; ++i)
        pairs.back().second[i] = after->data[i] - before->data[i];
      if (pairs.size() > storage)
        pairs.erase(pairs.begin());

      dealii::FullMatrix<double> B(n, n);
      for (unsigned int j = 0; j < n; ++j)
        {
          Q e(n, 0.);
          e[j]        = 1;
          const Q col = chain(x->data, e);
          for (unsigned int i = 0; i < n; ++i)
            B(i, j) = col[i];
          B(j, j) += bfgs.initial_scale() * space->weights[j];
        }
      for (const auto &[s, y] : pairs)
        {
          Q Bs(n, 0.);
          for (unsigned int i = 0; i < n; ++i)
            for (unsigned int j = 0; j < n; ++j)
              Bs[i] += B(i, j) * s[j];
          const double sBs = dot(s, Bs), sy = dot(s, y);
          for (unsigned int i = 0; i < n; ++i)
            for (unsigned int j = 0; j < n; ++j)
              B(i, j) += y[i] * y[j] / sy - Bs[i] * Bs[j] / sBs;
        }
      const auto v    = random(false);
      auto       ours = random(true), expected = random(true);
      bfgs.applyB(*ours, *v);
      for (unsigned int i = 0; i < n; ++i)
        {
          expected->data[i] = 0;
          for (unsigned int j = 0; j < n; ++j)
            expected->data[i] += B(i, j) * v->data[j];
        }
      const double size = expected->norm();
      EXPECT_GT(size, 0);
      ours->axpy(-1., *expected);
      EXPECT_LT(ours->norm(), 1e-11 * size) << "pair " << k;
      // theta explains what R leaves over: y - R s is about 2 W s.
      EXPECT_NEAR(bfgs.initial_scale(), 2, 0.4);
    }
}

TEST(Optimizer, StopsOnTheBudgetOfSolves)
{
  Quartic             f(10);
  OptimizerParameters p;
  p.maximum_solves           = 5;
  unsigned long       solves = 0;
  std::vector<double> start(10, 0.), lower(10, -1.), upper(10, 1.),
    weights(10, 1.);
  const auto result = minimize(
    f,
    start,
    lower,
    upper,
    weights,
    p,
    MPI_COMM_WORLD,
    [&](const OptimizerIteration &) { solves += 2; },
    [&]() { return solves; });
  EXPECT_EQ(result.stop_reason, "budget of solves used up");
  EXPECT_LE(result.iterations, 3u);
}

// Two steps by the formulas, worked out apart: the first gradient is clipped to
// norm 1, the second is not; only the first unknown decays.
TEST(Adam, ClipsAndDecays)
{
  AdamParameters p;
  p.learning_rate = 0.1;
  p.weight_decay  = 0.5;
  p.gradient_clip = 1;
  Adam                adam(p, {1, 0});
  std::vector<double> q = {1, 2};
  EXPECT_DOUBLE_EQ(adam.step(q, {3, 4}, 1), 5);
  EXPECT_NEAR(q[0], 1 - 0.1 - 0.1 * 0.5, 1e-8);
  EXPECT_NEAR(q[1], 1.9, 1e-8);
  EXPECT_DOUBLE_EQ(adam.step(q, {0.3, -0.4}, 2), 0.5);
  EXPECT_NEAR(q[0], 0.714282039668, 1e-9);
  EXPECT_NEAR(q[1], 1.873366297705, 1e-9);
}
