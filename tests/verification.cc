// What Task = verify judges by: right derivatives pass however curved the
// function is, wrong ones do not, and tests start where the body exists.

#include <palpate/core/errors.h>
#include <palpate/drivers/admissible_start.h>

#include <gtest/gtest.h>

#include <cmath>

#include "sample.h"

using namespace Palpate;

namespace
{
  bool
  good(const TaylorResult &r)
  {
    return r.passed(1.9, 1e300); // as Task = verify
  }

  /// Of a sum of smoothed absolute values with the kinks at width eps, the
  /// derivative wrong by a factor 1 + wrong.
  TaylorResult
  kinks(const double eps, const double wrong)
  {
    const std::vector<double> start = {0.3 * eps, -0.8 * eps, 0.2};
    const auto                f     = [&](const double t) {
      double sum = 0;
      for (const double x : start)
        sum += std::sqrt((x + t) * (x + t) + eps * eps);
      return sum;
    };
    double slope = 0;
    for (const double x : start)
      slope += x / std::sqrt(x * x + eps * eps);
    return taylor_test(
      [&](const double t) { return f(t) - f(0) - t * slope * (1 + wrong); },
      f(0),
      std::abs(slope));
  }

  /// An objective whose derivative by the stiffness of every fifth cell, or by
  /// one component of every fifth node, is off by a factor.
  template <int dim>
  class WrongBy : public Objective<dim>
  {
  public:
    WrongBy(std::unique_ptr<Objective<dim>> &&right, const double wrong)
      : right(std::move(right))
      , factor(1 + wrong)
    {}
    void
    parse_parameters(Parameters &) override
    {}
    double
    value(const Context<dim> &c) const override
    {
      return right->value(c);
    }
    void
    state_gradient(const Context<dim> &c,
                   const double        by,
                   Vector             &g) const override
    {
      Vector mine = c.discretization.make_vector();
      right->state_gradient(c, by, mine);
      for (unsigned int n = 0; n < c.discretization.n_owned_nodes(); ++n)
        if (c.discretization.node_vertices[n][0] % 5 == 0)
          mine.local_element(n * dim) *= factor;
      g += mine;
    }
    void
    field_gradient(const Context<dim> &c,
                   const double        by,
                   FieldDuals         &g) const override
    {
      FieldDuals mine(c.fields);
      right->field_gradient(c, by, mine);
      for (unsigned int k = 0; k < c.discretization.n_owned_cells(); ++k)
        if (c.discretization.cell_id[k] % 5 == 0)
          mine["stiffness"][k] *= factor;
      g.add(1., mine);
    }
    void
    hessian(const Context<dim> &c,
            const double        by,
            const Vector       &du,
            const Fields       &dfields,
            const bool          gauss_newton,
            Vector             &g_state,
            FieldDuals         &g_fields) const override
    {
      right->hessian(c, by, du, dfields, gauss_newton, g_state, g_fields);
    }
    bool
    depends_on_state() const override
    {
      return right->depends_on_state();
    }
    std::string
    column_name() const override
    {
      return right->column_name();
    }

  private:
    const std::unique_ptr<Objective<dim>> right;
    const double                          factor;
  };

  template <int dim>
  unsigned int
  n_failed(const std::vector<Verification> &all)
  {
    unsigned int n = 0;
    for (const auto &v : all)
      n += !good(v.taylor);
    return n;
  }
} // namespace

// The remainder is C t^2 with C of 1 / eps; the rates are 2 all the same.
TEST(Verification, CurvatureIsNoError)
{
  for (const double eps : {1., 0.1, 1e-2, 1e-3, 1e-4})
    EXPECT_TRUE(good(kinks(eps, 0))) << eps << ": " << kinks(eps, 0).text();
}

// Wrong by less and less: it shows at small steps only, where the curvature is
// large, and not at all to whoever looks at one step.
TEST(Verification, SmallErrorsShow)
{
  for (const double eps : {1., 0.1, 1e-2, 1e-3})
    for (const double wrong : {1e-2, -1e-2, 1e-4, -1e-4, 1e-6, -1e-6})
      {
        const auto r = kinks(eps, wrong);
        EXPECT_FALSE(good(r)) << eps << ", " << wrong << ": " << r.text();
        EXPECT_NEAR(r.offset, std::abs(wrong), 0.3 * std::abs(wrong));
      }
}

// Round-off is neither a wrong derivative nor does it hide one.
TEST(Verification, RoundOff)
{
  for (const double noise : {1e-15, 1e-13})
    for (const double wrong : {0., 1e-2, 1e-4, 1e-6})
      for (const double curvature : {0., 1e-12, 1e-6, 1., 10.})
        {
          unsigned int n = 0;
          const auto   r = taylor_test(
            [&](const double t) {
              return curvature * (std::exp(t) - 1 - t) - wrong * t +
                     noise * random_number(1, n++);
            },
            1,
            1);
          EXPECT_EQ(good(r), wrong == 0)
            << noise << ", " << wrong << ", " << curvature << ": " << r.text();
        }
  // A transpose that is not the transpose: no step changes that.
  EXPECT_TRUE(good(taylor_test([](double) { return 1e-13; }, 1, 1)));
  EXPECT_FALSE(good(taylor_test([](double) { return 1e-6; }, 1, 1)));
}

// One entry of a vector, in the presence of many right and curved ones.
TEST(Verification, OneEntryOfMany)
{
  for (const double wrong : {0., 1e-2, 1e-4, 1e-6})
    {
      const auto r = taylor_test(
        [&](const double t) {
          std::vector<double> all;
          for (unsigned int i = 0; i < 50; ++i)
            all.push_back(std::sin((1 + 0.1 * i) * t) - (1 + 0.1 * i) * t +
                          t * t);
          all[7] -= wrong * t;
          return all;
        },
        [](const std::vector<double> &v) {
          double sum = 0;
          for (const double x : v)
            sum += x * x;
          return std::sqrt(sum);
        },
        1,
        1);
      EXPECT_EQ(good(r), wrong == 0) << wrong << ": " << r.text();
    }
}

TEST(Verification, WrongObjectives)
{
  const Sample<3> x(2);
  for (const std::string name :
       {"Stiffness log total variation", "Displacement total variation"})
    for (const std::string epsilon : {"0.3", "1e-2", "1e-3"})
      for (const double wrong : {0., 1e-2, 1e-4, 1e-6})
        for (unsigned int seed = 1; seed <= 2; ++seed)
          {
            const WrongBy<3> term(
              make_term<Objective<3>>(name, {{"Epsilon", epsilon}}), wrong);
            const auto all =
              verify_objective<3>(name, term, x.context(), seed, {true, 1.});
            // A kink of 1e-3 leaves an error of 1e-6 no step to show at.
            if (wrong == 1e-6 && epsilon == "1e-3")
              continue;
            EXPECT_EQ(n_failed<3>(all) > 0, wrong != 0)
              << name << ", " << epsilon << ", wrong by " << wrong << ": "
              << all[0].taylor.text() << "; " << all[1].taylor.text();
          }
}

// Next to the ground, where the usual perturbation is below it.
TEST(Verification, StartsAreAdmissible)
{
  Sample<3> x(2);
  x.state.u = x.state.v = x.D.make_vector();
  x.state.u.set_ghost_state(true);
  x.state.v.set_ghost_state(true);
  double lowest = 1e300;
  for (unsigned int n = 0; n < x.D.n_owned_nodes(); ++n)
    lowest = std::min(lowest, x.D.node_position(n)[2]);
  lowest            = dealii::Utilities::MPI::min(lowest, MPI_COMM_WORLD);
  const auto ground = [&](const double below) {
    std::vector<std::unique_ptr<Force<3>>> forces;
    forces.push_back(make_term<Force<3>>(
      "ground",
      {{"Ground planes",
        "0, 0, " + std::to_string(lowest - below) + ", 0, 0, 1"},
       {"Ground reach", "0.1"}}));
    return forces;
  };
  const std::vector<WeightedTerm<3>> none;
  auto                               forces = ground(1e-3);
  const auto size = admissible_size<3>(forces, none, x.context(), 1);
  EXPECT_LT(size.size, 0.5);
  EXPECT_GT(size.size, 1e-3);
  EXPECT_NE(size.why.find("ground"), std::string::npos) << size.why;
  for (const auto &v :
       verify_force<3>("ground", *forces[0], x.context(), 1, {true, size.size}))
    EXPECT_TRUE(good(v.taylor)) << v.derivative << ": " << v.taylor.text();
  EXPECT_EQ(admissible_size<3>(ground(0.5), none, x.context(), 1).size, 1.);
  // The start itself is below it.
  EXPECT_THROW(admissible_size<3>(ground(-0.1), none, x.context(), 1),
               SolverError);
}
