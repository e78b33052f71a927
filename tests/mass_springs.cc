// Mass-spring systems: networks on ranks, implicit steps of their springs, and
// the adjoints of motions.

#include <palpate/core/errors.h>
#include <palpate/forces/springs/edge_springs.h>
#include <palpate/time_integration/implicit_springs.h>
#include <palpate/time_integration/trajectory.h>

#include <gtest/gtest.h>

#include "sample.h"

using namespace Palpate;

namespace
{
  /// A network with everything its motion needs.
  template <int dim>
  struct MovingNetwork
  {
    explicit MovingNetwork(const bool charged, const bool held = true)
      : x(2, held)
    {
      std::vector<std::unique_ptr<Force<dim>>> forces;
      forces.push_back(make_term<Force<dim>>("edge springs"));
      forces.push_back(make_term<Force<dim>>(
        "gravity", {{"Gravity", dim == 3 ? "0.3, -1, -2" : "0.3, -2"}}));
      if (charged)
        {
          forces.push_back(
            make_term<Force<dim>>("coulomb", {{"Charge", "2e-6"}}));
          forces.push_back(make_term<Force<dim>>(
            "external charges",
            {{"Charge", "2e-6"},
             {"External charges", "3e-6: 2, 0.1*t, 1; -2e-6: -1, -1, t"}}));
          forces.push_back(make_term<Force<dim>>(
            "external field",
            {{"Charge", "2e-6"},
             {"External field", "1e4*x*y + 1; z*z - 1e4*t; 2e4*sin(x)"}}));
        }
      auto  inertia = std::make_unique<InertiaForce<dim>>(x.D, true);
      auto *kept    = inertia.get();
      forces.push_back(std::move(inertia));
      solver.direct             = true;
      solver.relative_tolerance = 1e-13;
      newton.relative_tolerance = 1e-12;
      equilibrium               = std::make_unique<StaticEquilibrium<dim>>(x.D,
                                                             x.constrained,
                                                             x.snapshots,
                                                             std::move(forces),
                                                             solver,
                                                             newton,
                                                             x.log);
      Field u0(x.D.n_nodes() * dim), v0 = u0;
      u0.place = v0.place = Place::nodes;
      for (unsigned int i = 0; i < u0.values.size(); ++i)
        {
          u0[i] = x.constrained[i] ? 0. : x.state.u.local_element(i);
          v0[i] = x.constrained[i] ? 0. : x.state.v.local_element(i);
        }
      x.fields["initial_displacement"] = u0;
      x.fields["initial_velocity"]     = v0;
      body.reset(new MovingBody<dim>{*equilibrium,
                                     *kept,
                                     x.D,
                                     x.constrained,
                                     x.snapshots[0],
                                     x.fields,
                                     [this](const double t, Vector &u) {
                                       for (unsigned int i = 0;
                                            i < x.constrained.size();
                                            ++i)
                                         if (x.constrained[i])
                                           u.local_element(i) = 0.05 * t;
                                     }});
    }

    NetworkSample<dim>                      x;
    SolverParameters                        solver;
    NewtonParameters                        newton;
    std::unique_ptr<StaticEquilibrium<dim>> equilibrium;
    std::unique_ptr<MovingBody<dim>>        body;
  };

  TimeParameters
  steps_of(const std::string &integrator,
           const double       step,
           const unsigned int n)
  {
    TimeParameters time;
    time.integrator       = integrator;
    time.step             = step;
    time.end              = n * step;
    time.uses_equilibrium = (integrator == "bdf2");
    return time;
  }

  /// Gradient of w . u(end) by all fields of a trajectory.
  template <int dim>
  void
  test_gradient(const std::string &integrator,
                const double       step,
                const bool         charged,
                const bool         held = true)
  {
    MovingNetwork<dim> m(charged, held);
    const auto         time = steps_of(integrator, step, 8);
    Trajectory<dim>    motion(*m.body, time, m.x.snapshots, {8});
    const Vector       w     = random_vector(m.x.D, 21, 1.);
    const auto         value = [&](const Fields &fields) {
      motion.solve(fields);
      return w * motion.context(0).state.u;
    };
    const double        at = value(m.x.fields);
    FieldDuals          g(m.x.fields);
    std::vector<Vector> none, rhs = {w};
    motion.add_gradient(rhs, none, g);
    for (const std::string name : {"stiffness",
                                   "rest_length",
                                   "mass",
                                   "charge",
                                   "external_charge",
                                   "initial_displacement",
                                   "initial_velocity"})
      {
        if (!charged && name.find("charge") != std::string::npos)
          continue;
        Fields d;
        d[name]           = m.x.fields[name];
        const double size = name == "initial_displacement" ? 0.02
                            : name == "initial_velocity"   ? 0.2
                                                           : 0.;
        for (unsigned int i = 0; i < d[name].values.size(); ++i)
          {
            const unsigned int number =
              d[name].place == Place::cells      ? m.x.D.cell_id[i]
              : d[name].place == Place::vertices ? m.x.D.node_vertices[i][0]
              : d[name].place == Place::nodes
                ? m.x.D.node_vertices[i / dim][0] * dim + i % dim
                : i;
            const bool fixed =
              d[name].place == Place::nodes && m.x.constrained[i];
            d[name][i] = fixed ? 0.
                               : (size > 0 ? size : 0.2 * d[name][i]) *
                                   random_number(5, number);
          }
        const double slope = dot(m.x.D, g, d);
        const auto   r     = taylor_test(
          [&](const double t) {
            Fields fields = m.x.fields;
            for (unsigned int i = 0; i < d[name].values.size(); ++i)
              fields[name][i] += t * d[name][i];
            return std::abs(value(fields) - at - t * slope);
          },
          std::abs(at),
          std::abs(slope));
        EXPECT_TRUE(r.passed())
          << integrator << ", h = " << step << ", " << name << ", slope "
          << slope << ": " << r.text();
        EXPECT_NE(slope, 0) << name;
      }
  }

  template <int dim>
  std::vector<double>
  flat(const SerialMesh<dim> &mesh)
  {
    std::vector<double> x;
    for (const auto &v : mesh.vertices)
      x.insert(x.end(), v.begin_raw(), v.end_raw());
    return x;
  }
} // namespace

// What every rank has is what a network says, whatever the number of ranks.
TEST(Networks, Discretization)
{
  const NetworkSample<3> x(3);
  const auto            &D = x.D;
  EXPECT_EQ(D.sum(D.n_owned_cells()), x.mesh.springs.size());
  EXPECT_EQ(D.sum(D.n_owned_nodes()), x.mesh.vertices.size());
  for (unsigned int k = 0; k < D.n_cells(); ++k)
    for (unsigned int end = 0; end < 2; ++end)
      EXPECT_EQ(D.node_vertices[D.cell_nodes[2 * k + end]][0],
                x.mesh.springs[D.cell_id[k]][end]);
  // Every owned node sees all its springs.
  std::vector<unsigned int> here(D.n_nodes(), 0);
  for (const unsigned int n : D.cell_nodes)
    ++here[n];
  std::vector<unsigned int> all(x.mesh.vertices.size(), 0);
  for (const auto &s : x.mesh.springs)
    for (const unsigned int v : s)
      ++all[v];
  for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
    EXPECT_EQ(here[n], all[D.node_vertices[n][0]]);
  // Ghosts come from their owners.
  Field numbers(D.n_cells(), -1.);
  for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
    numbers[k] = D.cell_id[k];
  D.update_ghosts(numbers);
  for (unsigned int k = 0; k < D.n_cells(); ++k)
    EXPECT_EQ(numbers[k], D.cell_id[k]);
  const auto gathered = D.gather_cells(numbers);
  for (unsigned int k = 0; k < gathered.size(); ++k)
    EXPECT_EQ(gathered[k], k);
  EXPECT_EQ(D.gather_vertices(x.fields["mass"]).size(), all.size());
}

// The step solves M (x - y)/h^2 + K = 0, by Newton's method and without, and
// the tangent solve is the derivative of the solution.
TEST(Networks, ImplicitSprings)
{
  const NetworkSample<3> x(2);
  const auto            &m = x.mesh;
  const unsigned int     S = m.springs.size(), N = m.vertices.size();
  std::vector<double>    k(S), l(S), mass(N);
  std::vector<char>      fixed(N, 0);
  for (unsigned int s = 0; s < S; ++s)
    {
      k[s] = 20 * std::exp(0.5 * random_number(1, s));
      l[s] = (s % 5 == 0 ? 1.2 : 0.9) *
             m.vertices[m.springs[s][0]].distance(m.vertices[m.springs[s][1]]);
    }
  for (unsigned int i = 0; i < N; ++i)
    {
      mass[i]  = 0.1 + 0.05 * random_number(2, i);
      fixed[i] = (i == 3);
    }
  for (const double h : {0.01, 0.3})
    {
      ImplicitSprings<3> solver(m.springs, k, l, mass, fixed, h);
      auto               y = flat(m);
      for (unsigned int i = 0; i < y.size(); ++i)
        if (!fixed[i / 3])
          y[i] += 0.1 * random_number(3, i);
      typename ImplicitSprings<3>::Settings newton, plain, few;
      plain.newton    = false;
      plain.tolerance = 1e-11;
      few.iterations  = 3;
      std::vector<double> x1, x2, x3;
      const auto          solve = [&](const std::vector<double> &y,
                             std::vector<double>       &x,
                             const auto                &settings) {
        solver.solve(y, x, settings);
        for (unsigned int i = 0; i < x.size(); ++i)
          x[i] += y[i];
      };
      solve(y, x1, newton);
      EXPECT_EQ(solver.counts.newton > 0, h > 0.1); // stiff steps need it
      const auto before = solver.counts.local_global;
      solve(y, x2, plain);
      EXPECT_GT(solver.counts.local_global, before + 3);
      solve(y, x3, few);
      // What is left of the forces, by hand.
      std::vector<double> r(3 * N, 0.);
      double              largest = 0, apart = 0, rough = 0;
      for (unsigned int i = 0; i < 3 * N; ++i)
        r[i] = mass[i / 3] * (x1[i] - y[i]) / (h * h);
      for (unsigned int s = 0; s < S; ++s)
        {
          double length = 0;
          for (unsigned int d = 0; d < 3; ++d)
            length += std::pow(x1[3 * m.springs[s][0] + d] -
                                 x1[3 * m.springs[s][1] + d],
                               2);
          length = std::sqrt(length);
          for (unsigned int d = 0; d < 3; ++d)
            {
              const double f =
                k[s] * (length - l[s]) / length *
                (x1[3 * m.springs[s][0] + d] - x1[3 * m.springs[s][1] + d]);
              r[3 * m.springs[s][0] + d] += f;
              r[3 * m.springs[s][1] + d] -= f;
            }
        }
      for (unsigned int i = 0; i < 3 * N; ++i)
        {
          if (!fixed[i / 3])
            largest = std::max(largest, std::abs(r[i]));
          else
            EXPECT_EQ(x1[i], y[i]);
          apart = std::max(apart, std::abs(x1[i] - x2[i]));
          rough = std::max(rough, std::abs(x1[i] - x3[i]));
        }
      EXPECT_LT(largest, 1e-9) << "h = " << h;
      EXPECT_LT(apart, 1e-8) << "h = " << h;
      EXPECT_GT(rough, 1e-12); // a fixed number of iterations is not a solution

      // z = (dx/dy) dy with b = M dy/h^2, by differences.
      std::vector<double> b(3 * N, 0.), z;
      const double        t    = 1e-5;
      auto                plus = y, minus = y;
      for (unsigned int i = 0; i < 3 * N; ++i)
        if (!fixed[i / 3])
          {
            const double dy = random_number(4, i);
            b[i]            = mass[i / 3] / (h * h) * dy;
            plus[i] += t * dy;
            minus[i] -= t * dy;
          }
      solver.solve_tangent(x1, b, z);
      std::vector<double> xp, xm;
      solve(plus, xp, newton);
      solve(minus, xm, newton);
      double error = 0, size = 0;
      for (unsigned int i = 0; i < 3 * N; ++i)
        {
          error = std::max(error, std::abs((xp[i] - xm[i]) / (2 * t) - z[i]));
          size  = std::max(size, std::abs(z[i]));
        }
      EXPECT_LT(error, 1e-6 * size) << "h = " << h;
    }
}

// Where conjugate gradients meet a tangent that is not positive, the direct
// solver takes over: one spring pressed to half its length.
TEST(Networks, IndefiniteTangent)
{
  ImplicitSprings<2> solver({{{0, 1}}}, {100.}, {1.}, {1., 1.}, {0, 0}, 1.);
  const std::vector<double> x = {0, 0, 0.5, 0}, b = {0, 1, 0, -1};
  std::vector<double>       z;
  solver.solve_tangent(x, b, z);
  EXPECT_EQ(solver.counts.direct, 1u);
  // Across: m/h^2 + 2 k (1 - l/|d|) = 1 - 200.
  EXPECT_NEAR(z[1], 1 / (1. - 200.), 1e-12);
  EXPECT_NEAR(z[3], -1 / (1. - 200.), 1e-12);
  // No direction.
  EXPECT_THROW(solver.solve_tangent({0, 0, 0, 0}, b, z), SolverError);
}

TEST(Networks, GradientsOfSteps)
{
  test_gradient<2>("imex", 0.01, false);
  test_gradient<3>("imex", 0.009, true);
  test_gradient<3>("imex", 0.05, true);
  test_gradient<3>("imex", 0.01, true, false);
  test_gradient<3>("velocity verlet", 0.009, true);
  test_gradient<3>("symplectic euler", 0.009, true);
  test_gradient<3>("bdf2", 0.02, false);
}

// The order of the steps, against Verlet with short ones; and two springs in
// equilibrium stay there.
TEST(Networks, OrderOfImex)
{
  const auto end_of = [](const std::string &integrator, const unsigned int n) {
    MovingNetwork<3> m(true);
    const auto       time = steps_of(integrator, 0.2 / n, n);
    Trajectory<3>    motion(*m.body, time, m.x.snapshots, {n}, false);
    motion.solve(m.x.fields);
    return ghosted_copy(motion.context(0).state.u);
  };
  const Vector        exact = end_of("velocity verlet", 1600);
  std::vector<double> error;
  for (const unsigned int n : {100, 200, 400})
    {
      Vector e = end_of("imex", n);
      e.zero_out_ghost_values();
      e -= exact;
      error.push_back(e.l2_norm());
    }
  EXPECT_NEAR(std::log2(error[0] / error[1]), 1, 0.15);
  EXPECT_NEAR(std::log2(error[1] / error[2]), 1, 0.1);
}
