// Every registered term has verified derivatives: these tests loop over the
// registry, so a new term is tested without being named here. A term passes if
// its remainders fall with rate 2.00 +- 0.05 over three decades, or stay at
// round-off because it is linear or quadratic.

#include <palpate/parameterizations/field_unknowns.h>
#include <palpate/parameterizations/lame_parameters.h>
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
    if (name == "ground")
      return {{{"Ground planes",
                dim == 3 ? "0, 0, -0.15, 0.1, 0, 1" : "0, -0.15, 0.1, 1"},
               {"Ground reach", "0.3"}},
              {{"Ground spheres",
                dim == 3 ? "0.5, 0.4, -0.9, 0.75; 0.5, 0.4, 0.3, -0.95"
                         : "0.5, -0.9, 0.75; 0.5, 0.4, -0.9"},
               {"Ground reach", "0.3"}}};
    if (name == "ground friction")
      {
        auto all = variants("ground", dim);
        for (auto &entries : all)
          {
            entries["Ground friction"] = "0.4";
            entries["Friction speed"]  = "0.5";
          }
        return all;
      }
    if (name == "coulomb")
      return {{{"Charge density", "1e-5"}},
              {{"Charge density", "1e-5"},
               {"Charge sums", "ddef near"},
               {"Charge grid points", "30"}}};
    if (name == "external charges")
      return {{{"Charge density", "1e-5"},
               {"External charges", "3e-6: 2, 0.1*t, 1; -2e-6: -1, -1, t"}}};
    if (name == "external field")
      return {{{"Charge density", "1e-5"},
               {"External field", "x*y + 1; z*z - t; 2*sin(x)"}}};
    if (name == "viscosity")
      return {{{"Shear viscosity", "3"}, {"Dilatational viscosity", "2"}}};
    if (name == "Displacement misfit")
      return {{},
              {{"Relative", "false"}},
              {{"Norm", "L2"}, {"Relative epsilon", "0.1"}},
              {{"Component weights", "0.5, 1.5, 0"}}};
    if (name == "Stress norm")
      return {{}, {{"Exponent", "6"}}};
    if (name == "Stress bound")
      return {{{"Bound", "1"}}};
    if (name == "Stiffness log total variation")
      // An epsilon of the size of the jumps: with a small one the kink of the
      // total variation leaves less than three decades.
      return {{{"Epsilon", "0.3"}},
              {{"Discretisation", "vertex gradient"}, {"Epsilon", "0.3"}}};
    if (name == "intersection springs")
      return {{},
              {{"Shear springs", "true"}, {"Shear ratio", "1.3"}},
              {{"Shear springs", "true"},
               {"Volume term", "true"},
               {"Poisson ratio", "0.3"}}};
    return {{}};
  }

  /// Of every parameterization.
  std::vector<std::map<std::string, std::string>>
  unknowns_of(const std::string &name)
  {
    std::vector<std::map<std::string, std::string>> all = {
      {{"Lower bound", "1"}}, {{"Lower bound", "1"}, {"Fixed labels", "2"}}};
    if (name == "graph network")
      {
        all.push_back({{"Hidden width", "3"}, {"Linear map", "fixed"}});
        all.push_back({{"Hidden width", "0"}, {"Smoothing passes", "2"}});
        all.push_back({{"Linear map", "none"}});
      }
    return all;
  }

  template <int dim>
  void
  test_registry(const unsigned int degree)
  {
    const Sample<dim> x(2, degree);
    Fields            plain  = x.fields;
    plain["external_charge"] = external_charges();
    // Springs with stiffnesses and rest lengths of their own.
    Fields with_springs             = x.fields_of_springs();
    with_springs["external_charge"] = external_charges();
    with_springs["rest_length"]     = Field(x.D.n_cells(), 0., dim);
    for (unsigned int k = 0; k < x.D.n_cells(); ++k)
      for (unsigned int l = 0; l < dim; ++l)
        with_springs["rest_length"][k * dim + l] =
          IntersectionSprings<dim>(x.D.barycentric_gradients(k),
                                   x.snapshots[0].frames[k])
            .rest_length[l];
    const std::string where =
      "dim " + std::to_string(dim) + ", degree " + std::to_string(degree);
    for (unsigned int seed = 100; seed <= 300; seed += 100)
      {
        for (const Fields *fields :
             std::initializer_list<const Fields *>{&plain, &with_springs})
          {
            const auto         now = x.context();
            const Context<dim> context{
              x.D, now.state, *fields, now.snapshot, now.constrained};
            for (const auto &[name, item] : Registry<Force<dim>>::items())
              for (const auto &entries : variants(name, dim))
                {
                  const auto force = make_term<Force<dim>>(name, entries);
                  if (degree <= force->maximum_degree() &&
                      name != "edge springs")
                    expect(verify_force<dim>(name, *force, context, seed),
                           where);
                }
            // Terms that look at a stress see that of every material.
            for (const char *material :
                 {"linear elastic", "neo-hookean", "sms finite strain"})
              {
                const auto force = make_term<Force<dim>>(material);
                for (const auto &[name, item] :
                     Registry<Objective<dim>>::items())
                  for (const auto &entries : variants(name, dim))
                    {
                      const auto term =
                        make_term<Objective<dim>>(name, entries);
                      if (name.compare(0, 6, "Stress") == 0)
                        term->use_material(
                          dynamic_cast<const StressLaw<dim> *>(force.get()));
                      else if (force->stiffness_key() == "alpha_k")
                        continue; // once is enough
                      expect(verify_objective<dim>(name, *term, context, seed),
                             where + ", " + material);
                    }
              }
          }
        for (const auto &[name, item] :
             Registry<Parameterization<dim>>::items())
          for (const auto &entries : unknowns_of(name))
            {
              const auto p = make_term<Parameterization<dim>>(name, entries);
              p->bind(x.D, x.fields_of_springs());
              expect(verify_parameterization<dim>(name, *p, x.D, seed), where);
            }
      }
  }

  /// All that works on networks, there.
  template <int dim>
  void
  test_networks()
  {
    const NetworkSample<dim> x(2);
    const std::string        where  = "network, dim " + std::to_string(dim);
    unsigned int             n_done = 0;
    for (unsigned int seed = 100; seed <= 300; seed += 100)
      {
        for (const auto &[name, item] : Registry<Force<dim>>::items())
          for (auto entries : variants(name, dim))
            {
              if (entries.erase("Charge density") > 0)
                entries["Charge"] = "2e-6";
              const auto force = make_term<Force<dim>>(name, entries);
              if (!force->works_on_networks())
                continue;
              expect(verify_force<dim>(name, *force, x.context(), seed), where);
              ++n_done;
            }
        for (const auto &[name, item] : Registry<Objective<dim>>::items())
          for (const auto &entries : variants(name, dim))
            {
              const auto term = make_term<Objective<dim>>(name, entries);
              if (!term->works_on_networks())
                continue;
              expect(verify_objective<dim>(name, *term, x.context(), seed),
                     where);
              ++n_done;
            }
      }
    // Springs, gravity, ground, friction, two objectives; in 3D charges.
    EXPECT_GE(n_done, 3 * (dim == 3 ? 9u : 6u));
    // Unknowns that only networks have.
    for (const auto &[name, spread] : std::vector<std::array<std::string, 2>>{
           {{"mass", "per vertex"}},
           {{"mass", "per label"}},
           {{"charge", "per label"}},
           {{"charge", "per vertex"}},
           {{"charge", "global"}},
           {{"external_charge", "each"}},
           {{"external_charge", "global"}},
           {{"rest_length", "per cell"}}})
      {
        const auto         known = FieldUnknowns<dim>::known_fields().at(name);
        FieldUnknowns<dim> p(name, spread, known.lower, known.upper);
        p.bind(x.D, x.fields);
        expect(verify_parameterization<dim>(name, p, x.D, 7), where);
      }
  }

  /// The whole reduced functional.
  struct Case
  {
    std::string                        model, parameterization;
    unsigned int                       n_snapshots = 1;
    std::map<std::string, std::string> entries     = {};
    bool                               at_bounds   = false;
    unsigned int                       degree      = 1;
    std::string                        norm        = "nodal";
    double                             stretch     = 0;
  };

  /// A body of n^dim cubes with all that its reduced functional is made of.
  template <int dim>
  struct Body
  {
    Body(const Case &test, const unsigned int n = 2)
      : x(n, test.degree, test.n_snapshots, test.stretch)
    {
      std::vector<std::unique_ptr<Force<dim>>> forces;
      forces.push_back(make_term<Force<dim>>(test.model, test.entries));
      forces.push_back(make_term<Force<dim>>(
        "gravity", {{"Gravity", dim == 3 ? "0, 0, -9.81" : "0, -9.81"}}));
      solver.direct             = true;
      solver.relative_tolerance = 1e-13;
      newton.relative_tolerance = 1e-13;
      equilibrium               = std::make_unique<StaticEquilibrium<dim>>(x.D,
                                                             x.constrained,
                                                             x.snapshots,
                                                             std::move(forces),
                                                             solver,
                                                             newton,
                                                             x.log);
      for (const auto &[name, item] : Registry<Objective<dim>>::items())
        {
          const bool of_stress = name.compare(0, 6, "Stress") == 0;
          if (name == "Material smoothing" ||
              (of_stress && test.model == "intersection springs"))
            continue; // not of springs
          auto entries = variants(name, dim)[0];
          if (name == "Displacement misfit")
            entries["Norm"] = test.norm;
          // The ridge is a sum of Pa^2.
          terms.push_back({make_term<Objective<dim>>(name, entries),
                           name == "Stiffness ridge" ? 1e-9
                           : of_stress               ? 1e-4
                                                     : 0.3,
                           name});
          if (of_stress)
            terms.back().objective->use_material(
              dynamic_cast<const StressLaw<dim> *>(
                equilibrium->forces[0].get()));
        }
      std::map<std::string, std::string> bounds = {{"Lower bound", "900"},
                                                   {"Upper bound", "1100"}};
      if (test.parameterization == "per spring")
        bounds = {{"Lower bound", "90"}, {"Upper bound", "110"}};
      if (test.parameterization == "graph network")
        bounds = {{"Lower bound", "10"}, {"Upper bound", "1e5"}};
      p = make_term<Parameterization<dim>>(test.parameterization, bounds);
      p->bind(x.D, x.fields_of_springs());
      density["density"] = x.fields["density"];
      J                  = std::make_unique<ReducedFunctional<dim>>(
        *equilibrium, *p, terms, density, MPI_COMM_WORLD);
    }

    Sample<dim>                             x;
    SolverParameters                        solver;
    NewtonParameters                        newton;
    std::unique_ptr<StaticEquilibrium<dim>> equilibrium;
    std::vector<WeightedTerm<dim>>          terms;
    std::unique_ptr<Parameterization<dim>>  p;
    Fields                                  density;
    std::unique_ptr<ReducedFunctional<dim>> J;
  };

  template <int dim>
  void
  test_reduced(const Case &test)
  {
    const Body<dim> body(test);
    for (unsigned int seed = 1; seed <= 3; ++seed)
      {
        auto q = body.p->initial(); // clamped to the bounds: most are at one
        for (unsigned int i = 0; i < q.size(); ++i)
          if (!test.at_bounds)
            q[i] += 0.3 * random_number(seed, i);
        expect(verify_reduced<dim>(*body.J, q, MPI_COMM_WORLD, 10 * seed),
               test.model + ", " + test.parameterization);
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
TEST(Taylor, RegistryOnNetworks)
{
  test_networks<2>();
  test_networks<3>();
}
TEST(Taylor, RegistryWithQuadraticDisplacements)
{
  test_registry<2>(2);
  test_registry<3>(2);
}
TEST(Taylor, ReducedPerCell)
{
  test_reduced<3>({"sms", "per cell"});
  test_reduced<3>({"sms", "per cell", 1, {}, false, 1, "L2"});
}
TEST(Taylor, ReducedWithQuadraticDisplacements)
{
  test_reduced<3>({"sms", "per cell", 1, {}, false, 2, "L2"});
  test_reduced<2>({"sms finite strain", "per cell", 2, {}, false, 2});
}
TEST(Taylor, ReducedGraphNetwork)
{
  test_reduced<3>({"sms", "graph network", 3});
  test_reduced<2>({"sms finite strain", "graph network"});
}
// On a bound the clip's derivative is one-sided: with the bias of the output as
// the only unknown, all cells are on it together. Inwards it passes, with
// second order; outwards nothing changes. So it does where rounding left it
// beside.
TEST(Taylor, NetworkOnItsBounds)
{
  const Sample<3> x(2, 1);
  const auto      p = make_term<Parameterization<3>>("graph network",
                                                {{"Hidden width", "0"},
                                                      {"Linear map", "none"},
                                                      {"Lower bound", "10"},
                                                      {"Upper bound", "1000"}});
  p->bind(x.D, x.fields_of_springs());
  const auto at = [&](const double log_alpha) {
    return std::vector<double>(p->initial().size(), log_alpha);
  };
  const unsigned int unknowns =
    dealii::Utilities::MPI::sum<unsigned int>(at(0).size(), MPI_COMM_WORLD);
  ASSERT_EQ(unknowns, 1u);
  const auto sum = [](const double mine) {
    return dealii::Utilities::MPI::sum(mine, MPI_COMM_WORLD);
  };
  // sum_k factor alpha_k, its derivative by q, and along a step.
  const auto value = [&](const double log_alpha, const double factor) {
    Fields fields;
    p->apply(at(log_alpha), fields);
    double all = 0;
    for (unsigned int k = 0; k < x.D.n_owned_cells(); ++k)
      all += factor * fields["stiffness"][k];
    return sum(all);
  };
  const auto gradient = [&](const double log_alpha, const double factor) {
    Fields fields;
    p->apply(at(log_alpha), fields);
    FieldDuals duals(fields);
    for (double &d : duals["stiffness"].values)
      d = factor;
    std::vector<double> g;
    p->vjp(at(log_alpha), duals, g);
    return sum(g.empty() ? 0. : g[0]);
  };
  const auto along = [&](const double log_alpha, const double dq) {
    Fields fields;
    p->jvp(at(log_alpha), at(dq), fields);
    double all = 0;
    for (unsigned int k = 0; k < x.D.n_owned_cells(); ++k)
      all += fields["stiffness"][k];
    return sum(all);
  };
  for (const double inwards : {1., -1.})
    for (const double off : {0., 1e-15, -1e-15})
      {
        const double bound = std::log(inwards > 0 ? 10. : 1000.) + off;
        // The descent against this slope leads inwards.
        const double slope = gradient(bound, -inwards);
        double       rest[2];
        for (const unsigned int i : {0, 1})
          {
            const double h = inwards * (i == 0 ? 1e-2 : 5e-3);
            rest[i] =
              value(bound + h, -inwards) - value(bound, -inwards) - slope * h;
          }
        EXPECT_NEAR(std::log2(rest[0] / rest[1]), 2, 0.02);
        EXPECT_NEAR(along(bound, inwards), -slope, 1e-10 * std::abs(slope));
        EXPECT_EQ(gradient(bound, inwards), 0);
        EXPECT_EQ(along(bound, -inwards), 0);
        EXPECT_EQ(gradient(bound - inwards, -inwards), 0) << "beyond";
      }
}
// The loss of training: the same weights in two cases of several snapshots.
// The network has kinks (ReLU, the clip). Away from them, where make_smooth()
// goes with each case, the loss is smooth and both tests of a derivative hold;
// at the seeded start, where units do switch from cell to cell, a step so short
// that none switches on the way shows the same slope.
TEST(Taylor, LossOfTwoCases)
{
  using Q = std::vector<double>;
  const Body<3> one({"sms", "graph network", 3}, 2),
    two({"sms", "graph network", 2}, 3);
  const auto value = [&](const Q &q) {
    return (one.J->value(q) + two.J->value(q)) / 2;
  };
  const auto slope_along = [&](const Q &q, const Q &v) {
    Q g, h;
    one.J->gradient(q, g);
    two.J->gradient(q, h);
    double sum = 0;
    for (unsigned int i = 0; i < q.size(); ++i)
      sum += (g[i] + h[i]) / 2 * v[i];
    return dealii::Utilities::MPI::sum(sum, MPI_COMM_WORLD);
  };
  const auto moved = [](Q q, const double t, const Q &v) {
    for (unsigned int i = 0; i < q.size(); ++i)
      q[i] += t * v[i];
    return q;
  };
  for (unsigned int seed = 1; seed <= 3; ++seed)
    {
      const Q start = one.p->initial();
      Q       v(start.size());
      for (unsigned int i = 0; i < v.size(); ++i)
        v[i] = 0.3 * random_number(seed, i);
      Q q = start, dq = v, q2 = start, dq2 = v;
      one.p->make_smooth(q, dq);
      two.p->make_smooth(q2, dq2);
      for (unsigned int i = 0; i < q.size(); ++i)
        {
          q[i]  = std::abs(q[i]) > std::abs(q2[i]) ? q[i] : q2[i];
          dq[i] = std::abs(dq[i]) < std::abs(dq2[i]) ? dq[i] : dq2[i];
        }
      const double at_q = value(q), slope = slope_along(q, dq);
      const auto   smooth = taylor_test(
        [&](const double t) {
          return std::abs(value(moved(q, t, dq)) - at_q - t * slope);
        },
        std::abs(at_q),
        std::abs(slope));
      EXPECT_TRUE(smooth.passed()) << smooth.text();
      const auto quotient = [&](const Q &at, const double t, const Q &along) {
        return (value(moved(at, t, along)) - value(moved(at, -t, along))) /
               (2 * t);
      };
      EXPECT_NEAR(quotient(q, 1e-3, dq) / slope, 1, 1e-7);
      const double slope_at_start = slope_along(start, v);
      EXPECT_NEAR(quotient(start, 1e-5, v) / slope_at_start, 1, 1e-6);
    }
}
TEST(Taylor, ReducedWithSeveralSnapshots)
{
  test_reduced<3>({"sms", "per cell", 3});
  test_reduced<3>({"sms", "global plus per cell", 2, {{"Shear ratio", "1.3"}}});
}
TEST(Taylor, ReducedPerLabelAndGlobal)
{
  test_reduced<2>({"sms", "per label", 2, {{"Shear ratio", "1.3"}}});
  test_reduced<2>({"sms", "global"});
}
TEST(Taylor, ReducedAtActiveBounds)
{
  test_reduced<3>({"sms", "per cell", 1, {}, true});
  test_reduced<3>({"sms", "per cell", 2, {}, true});
}
TEST(Taylor, ReducedFiniteStrain)
{
  test_reduced<3>(
    {"sms finite strain", "per cell", 1, {{"Shear ratio", "1.3"}}});
  test_reduced<2>({"sms finite strain", "per label", 2});
}

// Springs stretched by 30 %: the general nonlinear adjoint.
TEST(Taylor, ReducedSprings)
{
  const std::map<std::string, std::string> all = {{"Shear springs", "true"},
                                                  {"Volume term", "true"},
                                                  {"Poisson ratio", "0.2"}};
  for (const std::string unknowns : {"per spring", "per cell", "per label"})
    test_reduced<3>(
      {"intersection springs", unknowns, 1, all, false, 1, "nodal", 0.3});
  test_reduced<2>({"intersection springs",
                   "per spring",
                   2,
                   {{"Shear springs", "true"}},
                   false,
                   1,
                   "L2",
                   0.3});
}

// Roots, products and ratios of the terms, against the formula by hand.
TEST(Taylor, ReducedWithOuterFunction)
{
  for (const unsigned int n_snapshots : {1u, 2u})
    {
      Body<3> body({"sms", "per cell", n_snapshots});
      for (auto &term : body.terms)
        {
          const auto &name = term.name;
          term.power       = name == "Displacement misfit"             ? 0.5
                             : name == "Stiffness log total variation" ? -1
                             : name == "Centre of mass"                ? 1.5
                                                                       : 1;
          term.is_factor =
            name == "Stiffness log total variation" || name == "Centre of mass";
          term.weight = 0.3;
        }
      auto q = body.p->initial();
      for (unsigned int i = 0; i < q.size(); ++i)
        q[i] += 0.3 * random_number(1, i);
      expect(verify_reduced<3>(*body.J, q, MPI_COMM_WORLD, 10),
             "outer function");
      const double J   = body.J->value(q);
      double       sum = 0, product = 1;
      for (const auto &term : body.terms)
        {
          const unsigned int n =
            term.objective->depends_on_state() ? n_snapshots : 1;
          double mean = 0;
          for (unsigned int s = 0; s < n; ++s)
            mean += term.objective->value(body.equilibrium->context(s)) / n;
          const double part = 0.3 * std::pow(mean, term.power);
          if (term.is_factor)
            product *= part;
          else
            sum += term.power == 1 ? 0.3 * mean : part;
        }
      EXPECT_NEAR(J / (sum * product), 1, 1e-12);
    }
}

// Gauss-Newton stays positive where a slope of the outer function is not.
TEST(Taylor, GaussNewtonOfOuterFunction)
{
  Body<3> body({"sms", "per cell"});
  for (auto &term : body.terms)
    {
      term.is_factor = term.name != "Displacement misfit";
      term.power     = term.name == "Stiffness log total variation" ? -1
                       : term.name == "Stiffness ridge"             ? -2
                                                                    : 1;
      term.weight    = term.name == "Displacement misfit" ||
                    term.name == "Stiffness log total variation" ||
                    term.name == "Stiffness ridge";
    }
  for (unsigned int seed = 1; seed <= 5; ++seed)
    {
      auto                q = body.p->initial();
      std::vector<double> v(q.size()), Hv;
      for (unsigned int i = 0; i < q.size(); ++i)
        {
          q[i] += 0.3 * random_number(seed, i);
          v[i] = random_number(seed + 10, i);
        }
      body.J->hessian(q, v, true, Hv);
      double product = 0;
      for (unsigned int i = 0; i < v.size(); ++i)
        product += v[i] * Hv[i];
      EXPECT_GE(dealii::Utilities::MPI::sum(product, MPI_COMM_WORLD), 0.);
    }
}

// At its least value, 0, a term of power 1.5 has derivatives, one of 0.5 none.
TEST(Taylor, OuterFunctionAtZero)
{
  std::vector<WeightedTerm<3>> terms(1);
  terms[0].weight = 2;
  terms[0].power  = 1.5;
  const OuterFunction<3> outer(terms);
  EXPECT_EQ(outer.parts({0.})[0], 0.);
  EXPECT_EQ(outer.gradient({0.})[0], 0.);
  EXPECT_EQ(outer.hessian({0.}, {0.})[0], 0.);
  EXPECT_THROW(outer.parts({-0.1}), SolverError);
  terms[0].power = 0.5;
  EXPECT_THROW(outer.parts({0.}), SolverError);
  terms[0].power = -2;
  EXPECT_NEAR(outer.gradient({-2.})[0], 2 * -2 * -0.125, 1e-15);
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

// Unknowns of fields of cells, nodes and the body, one by one and together.
template <int dim>
void
test_field_unknowns()
{
  const Sample<dim> x(2);
  Fields            fields = x.fields;
  fields["poisson_ratio"]  = Field(x.D.n_cells(), 0.3);
  for (const char *name :
       {"damping_rate", "ground_stiffness", "ground_friction"})
    fields[name] = body_field(3.);
  fields["damping_factor"] = body_field(0.9);
  for (const char *name : {"shear_viscosity",
                           "dilatational_viscosity",
                           "lame_lambda",
                           "lame_mu",
                           "charge_density"})
    fields[name] = Field(x.D.n_cells(), 30.);
  for (const char *name : {"initial_displacement", "initial_velocity"})
    {
      const Vector v = random_vector(x.D, 8, 1);
      Field        f(x.D.n_nodes() * dim);
      f.place = Place::nodes;
      for (unsigned int i = 0; i < f.values.size(); ++i)
        f[i] = v.local_element(i);
      fields[name] = f;
    }
  std::vector<std::unique_ptr<Parameterization<dim>>> parts;
  parts.push_back(
    make_term<Parameterization<dim>>("per cell", {{"Lower bound", "1"}}));
  unsigned int tested = 0;
  for (const auto &[name, known] : FieldUnknowns<dim>::known_fields())
    for (const char *spread : {"global",
                               "per label",
                               "per cell",
                               "translation",
                               "rigid",
                               "per vertex"})
      {
        if (!fields.has(name))
          continue; // of networks
        std::unique_ptr<FieldUnknowns<dim>> unknowns;
        try
          {
            unknowns = std::make_unique<FieldUnknowns<dim>>(name,
                                                            spread,
                                                            known.lower,
                                                            known.upper);
          }
        catch (const std::invalid_argument &)
          {
            continue; // not for this field
          }
        unknowns->bind(x.D, fields);
        // The start is the field itself.
        Fields start;
        unknowns->apply(unknowns->initial(), start);
        for (unsigned int i = 0; i < fields[name].values.size(); ++i)
          EXPECT_NEAR(start[name][i], fields[name][i], 1e-12) << name;
        expect(verify_parameterization<dim>(name, *unknowns, x.D, 300), spread);
        ++tested;
        if (std::string(spread) == "per label" ||
            std::string(spread) == "rigid")
          parts.push_back(std::move(unknowns));
      }
  EXPECT_EQ(tested, 7u * 3 + 2u * 3 + 4u);
  Combined<dim> together(std::move(parts));
  together.bind(x.D, fields);
  EXPECT_EQ(together.field_names().size(), 10u);
  expect(verify_parameterization<dim>("combined", together, x.D, 300), "all");
}

template <int dim>
void
test_lame()
{
  const Sample<dim> x(2);
  Fields            fields = x.fields;
  fields["poisson_ratio"]  = random_field(x.D, 8, 0.25, 0.3);
  fields["density"]        = Field(x.D.n_cells(), 100.);
  for (const std::vector<std::string> &names :
       {std::vector<std::string>{"lame_lambda", "lame_mu", "density"},
        std::vector<std::string>{"lame_mu"}})
    {
      std::vector<std::unique_ptr<Parameterization<dim>>> parts;
      for (const auto &name : names)
        parts.push_back(
          std::make_unique<FieldUnknowns<dim>>(name, "per cell", 1, 1e5));
      LameParameters<dim> lame(
        std::make_unique<Combined<dim>>(std::move(parts)));
      lame.bind(x.D, fields);
      Fields start;
      lame.apply(lame.initial(), start);
      for (const char *name : {"stiffness", "poisson_ratio"})
        for (unsigned int k = 0; k < x.D.n_cells(); ++k)
          EXPECT_NEAR(start[name][k] / fields[name][k], 1, 1e-12) << name;
      expect(verify_parameterization<dim>("Lame", lame, x.D, 300),
             std::to_string(names.size()) + " fields");
    }
}

TEST(Taylor, LameParameters)
{
  test_lame<2>();
  test_lame<3>();
}

TEST(Taylor, FieldUnknowns)
{
  test_field_unknowns<2>();
  test_field_unknowns<3>();
}
