// Every registered term has verified derivatives: these tests loop over the
// registry, so a new term is tested without being named here. A term passes if
// its remainders fall with rate 2.00 +- 0.05 over three decades, or stay at
// round-off because it is linear or quadratic.

#include <palpate/parameterizations/log_linear.h>

#include <gtest/gtest.h>

#include "sample.h"

using namespace Palpate;

namespace
{
  void
  expect(const std::vector<Verification> &all, const std::string &where)
  {
    for (const auto &v : all)
      EXPECT_TRUE(v.passed()) << where << ": " << v.term << ", " << v.derivative
                              << ": " << v.taylor.text();
  }

  /// Entries that make a term do something, and its variants.
  std::vector<std::map<std::string, std::string>>
  variants(const std::string &name, const int dim)
  {
    const std::string t = dim == 3 ? "30, -20, 10" : "30, -20";
    if (name == "sms" || name == "sms finite strain")
      return {{}, {{"Shear ratio", "1.3"}, {"Poisson ratio", "0.3"}}};
    if (name == "gravity")
      return {{{"Gravity", dim == 3 ? "1, -2, -9.81" : "1, -9.81"}}};
    if (name == "traction")
      return {{{"Traction", "1: " + t}}};
    if (name == "pressure")
      return {{{"Pressure", "1: 100; 2: -50"}}};
    if (name == "Displacement misfit")
      return {{},
              {{"Relative", "false"}},
              {{"Norm", "L2"}, {"Relative epsilon", "0.1"}}};
    if (name == "Stiffness log total variation")
      // An epsilon of the size of the jumps: with a small one the kink of the
      // total variation leaves less than three decades.
      return {{{"Epsilon", "0.3"}},
              {{"Discretisation", "vertex gradient"}, {"Epsilon", "0.3"}}};
    return {{}};
  }

  template <int dim>
  void
  test_registry(const unsigned int degree)
  {
    const Sample<dim> x(2, degree);
    const std::string where =
      "dim " + std::to_string(dim) + ", degree " + std::to_string(degree);
    for (unsigned int seed = 100; seed <= 300; seed += 100)
      {
        for (const auto &[name, item] : Registry<Force<dim>>::items())
          for (const auto &entries : variants(name, dim))
            expect(verify_force<dim>(name,
                                     *make_term<Force<dim>>(name, entries),
                                     x.context(),
                                     seed),
                   where);
        for (const auto &[name, item] : Registry<Objective<dim>>::items())
          for (const auto &entries : variants(name, dim))
            expect(verify_objective<dim>(name,
                                         *make_term<Objective<dim>>(name,
                                                                    entries),
                                         x.context(),
                                         seed),
                   where);
        for (const auto &[name, item] :
             Registry<Parameterization<dim>>::items())
          for (const auto &entries : variants(name, dim))
            {
              const auto p = make_term<Parameterization<dim>>(name, entries);
              p->bind(x.D, x.fields_of_springs());
              expect(verify_parameterization<dim>(name, *p, x.D, seed), where);
            }
      }
  }

  /// The whole reduced functional.
  template <int dim>
  void
  test_reduced(const std::string &model,
               const std::string &parameterization,
               const unsigned int n_snapshots,
               const std::string &shear_ratio,
               const bool         at_bounds = false)
  {
    Sample<dim>                              x(2, 1, n_snapshots);
    std::vector<std::unique_ptr<Force<dim>>> forces;
    forces.push_back(
      make_term<Force<dim>>(model, {{"Shear ratio", shear_ratio}}));
    forces.push_back(make_term<Force<dim>>(
      "gravity", {{"Gravity", dim == 3 ? "0, 0, -9.81" : "0, -9.81"}}));
    SolverParameters solver;
    solver.direct             = true;
    solver.relative_tolerance = 1e-13;
    NewtonParameters newton;
    newton.relative_tolerance = 1e-13;
    StaticEquilibrium<dim>         equilibrium(x.D,
                                       x.constrained,
                                       x.snapshots,
                                       std::move(forces),
                                       solver,
                                       newton,
                                       x.log);
    std::vector<WeightedTerm<dim>> terms;
    for (const auto &[name, item] : Registry<Objective<dim>>::items())
      terms.push_back(
        {make_term<Objective<dim>>(name, variants(name, dim)[0]), 0.3, name});
    auto p = make_term<Parameterization<dim>>(parameterization,
                                              {{"Lower bound", "900"},
                                               {"Upper bound", "1100"}});
    p->bind(x.D, x.fields_of_springs());
    Fields density;
    density["density"] = x.fields["density"];
    ReducedFunctional<dim> J(equilibrium, *p, terms, density, MPI_COMM_WORLD);
    for (unsigned int seed = 1; seed <= 3; ++seed)
      {
        auto q = p->initial(); // clamped to the bounds: most are at one
        for (unsigned int i = 0; i < q.size(); ++i)
          if (!at_bounds)
            q[i] += 0.3 * random_number(seed, i);
        expect(verify_reduced<dim>(J, q, MPI_COMM_WORLD, 10 * seed),
               model + ", " + parameterization);
      }
  }
} // namespace

TEST(Taylor, RegistryIn3D)
{
  test_registry<3>(1);
}
TEST(Taylor, RegistryIn2D)
{
  test_registry<2>(1);
}
TEST(Taylor, RegistryWithQuadraticDisplacements)
{
  test_registry<2>(2);
}
TEST(Taylor, ReducedPerCell)
{
  test_reduced<3>("sms", "per cell", 1, "2");
}
TEST(Taylor, ReducedWithSeveralSnapshots)
{
  test_reduced<3>("sms", "per cell", 3, "2");
  test_reduced<3>("sms", "global plus per cell", 2, "1.3");
}
TEST(Taylor, ReducedPerLabelAndGlobal)
{
  test_reduced<2>("sms", "per label", 2, "1.3");
  test_reduced<2>("sms", "global", 1, "2");
}
TEST(Taylor, ReducedAtActiveBounds)
{
  test_reduced<3>("sms", "per cell", 1, "2", true);
}
TEST(Taylor, ReducedFiniteStrain)
{
  test_reduced<3>("sms finite strain", "per cell", 1, "1.3");
  test_reduced<2>("sms finite strain", "per label", 2, "2");
}

// A test that cannot fail proves nothing: a wrong derivative must be refused.
TEST(Taylor, WrongDerivativeIsRefused)
{
  const auto wrong = taylor_test(
    [](const double t) { return std::abs(std::exp(t) - 1 - 1.001 * t); }, 1, 1);
  EXPECT_FALSE(wrong.passed());
  const auto right =
    taylor_test([](const double t) { return std::abs(std::exp(t) - 1 - t); },
                1,
                1);
  EXPECT_TRUE(right.passed());
  const auto cubic =
    taylor_test([](const double t) { return std::abs(1e-3 * t); }, 1, 1);
  EXPECT_FALSE(cubic.passed());
}
