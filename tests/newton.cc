// Newton's method: load steps beside a ground, direct and iterative solvers,
// tangents.

#include <palpate/core/errors.h>
#include <palpate/equilibrium/force_sum.h>

#include <gtest/gtest.h>

#include <cmath>

#include "sample.h"

using namespace Palpate;

namespace
{
  /// A soft body that is held at its side or its top, and the ground below it.
  template <int dim>
  struct AboveGround
  {
    /// @param pressed_by the way down of the held nodes [m]. @param gravity
    /// downwards [m/s^2]
    AboveGround(const bool   at_top,
                const double pressed_by,
                const double gravity)
      : x(3)
      , gravity(gravity)
    {
      const unsigned int up  = dim - 1;
      const double       top = (dim == 3 ? 0.6 : 0.8);
      for (double &rho : x.fields["density"].values)
        rho = 200;
      x.fields["poisson_ratio"]    = Field(x.D.n_cells(), 0.3);
      x.fields["ground_stiffness"] = body_field(200);
      x.snapshots[0].prescribed    = x.D.make_vector();
      for (unsigned int n = 0; n < x.D.n_nodes(); ++n)
        for (unsigned int d = 0; d < dim; ++d)
          {
            const unsigned int i = n * dim + d;
            const auto         X = x.D.node_position(n);
            x.constrained[i]     = at_top ? X[up] > 0.9 * top : X[0] < 0.1;
            if (x.constrained[i] && d == up)
              x.snapshots[0].prescribed.local_element(i) = -pressed_by;
          }
      x.snapshots[0].prescribed.set_ghost_state(true);
      newton.relative_tolerance = 1e-12;
      solver.relative_tolerance = 1e-13;
    }

    std::vector<std::unique_ptr<Force<dim>>>
    forces() const
    {
      std::vector<std::unique_ptr<Force<dim>>> all;
      all.push_back(make_term<Force<dim>>("neo-hookean"));
      all.push_back(make_term<Force<dim>>(
        "ground",
        {{"Ground planes", dim == 3 ? "0, 0, -0.1, 0, 0, 1" : "0, -0.1, 0, 1"},
         {"Ground reach", "0.05"},
         {"Ground stiffness", "200"}}));
      const std::string g = std::to_string(-gravity);
      if (gravity > 0)
        all.push_back(make_term<Force<dim>>(
          "gravity", {{"Gravity", (dim == 3 ? "0, 0, " : "0, ") + g}}));
      return all;
    }

    /// The solution in so many load steps.
    std::vector<double>
    solve(const unsigned int load_steps)
    {
      newton.load_steps = load_steps;
      equilibrium       = std::make_unique<StaticEquilibrium<dim>>(
        x.D, x.constrained, x.snapshots, forces(), solver, newton, x.log);
      equilibrium->solve(x.fields);
      return x.D.gather_vertices(equilibrium->context(0).state.u);
    }

    Sample<dim>                             x;
    const double                            gravity;
    SolverParameters                        solver;
    NewtonParameters                        newton;
    std::unique_ptr<StaticEquilibrium<dim>> equilibrium;
  };

  /// Largest difference.
  double
  distance(const std::vector<double> &a, const std::vector<double> &b)
  {
    double worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
      worst = std::max(worst, std::abs(a[i] - b[i]));
    return worst;
  }

  /// Close to the solution every residual is of the order of the square of the
  /// one before, down to rounding.
  void
  expect_quadratic(const std::vector<double> &residuals)
  {
    const auto text = [&]() {
      std::string all;
      for (const double r : residuals)
        all += std::to_string(std::log10(r)) + " ";
      return all;
    };
    EXPECT_LT(residuals.size(), 20u) << text();
    for (std::size_t i = 0; i + 1 < residuals.size(); ++i)
      if (residuals[i] < 1e-4 && residuals[i] > 1e-9)
        EXPECT_LT(residuals[i + 1], std::pow(residuals[i], 1.5) + 1e-11)
          << text();
  }

  template <int dim>
  void
  test_load_steps(AboveGround<dim> &body)
  {
    const auto first = body.solve(1);
    // It is the ground that holds it, to which it came down from 0.1 m.
    double lowest = 1;
    for (std::size_t v = 0; v < first.size() / dim; ++v)
      lowest =
        std::min(lowest,
                 body.x.mesh.vertices[v][dim - 1] + first[v * dim + dim - 1]);
    EXPECT_GT(lowest, -0.1);
    EXPECT_LT(lowest, -0.06);
    for (const unsigned int n : {1, 2, 4, 8})
      {
        const auto u = body.solve(n);
        EXPECT_LT(distance(u, first), 1e-8) << n << " load steps";
        const auto &steps = body.equilibrium->residuals_of_load_steps();
        EXPECT_EQ(steps.size(), n);
        for (const auto &residuals : steps)
          expect_quadratic(residuals);
      }
  }
} // namespace

TEST(LoadSteps, BodyThatSinksToTheGround)
{
  AboveGround<2> flat(false, 0, 1);
  test_load_steps(flat);
  AboveGround<3> body(false, 0, 1);
  test_load_steps(body);
}

// Only the held nodes move, farther than the ground is away.
TEST(LoadSteps, BodyThatIsPressedToTheGround)
{
  AboveGround<2> flat(true, 0.15, 0);
  test_load_steps(flat);
  AboveGround<3> body(true, 0.15, 0);
  test_load_steps(body);
}

// A motion that would turn the cells at the held nodes inside out is halved;
// one that takes held nodes below the ground fails.
TEST(LoadSteps, MotionsThatAreTooLong)
{
  AboveGround<2> body(true, 0.35, 0);
  const auto     u = body.solve(1);
  EXPECT_GT(body.equilibrium->residuals_of_load_steps().size(), 1u);
  EXPECT_LT(distance(u, body.solve(8)), 1e-8);
  AboveGround<2> far(true, 0.95, 0);
  EXPECT_THROW(far.solve(2), SolverError);
}

// A part of the loads has the part of their energy, residual and tangent; the
// ground is whole.
TEST(LoadSteps, DerivativesOfAPart)
{
  AboveGround<3>    body(false, 0, 1);
  const auto        forces = body.forces();
  const ForceSum<3> part(forces, 0.25);
  auto             &x  = body.x;
  const auto        at = random_vector(x.D, 1, 0.01);
  const auto        d  = random_vector(x.D, 2, 0.01);
  const auto        to = [&](const double t) {
    x.state.u = at;
    for (unsigned int i = 0; i < x.D.n_nodes() * 3; ++i)
      x.state.u.local_element(i) += t * d.local_element(i);
    for (unsigned int n = 0; n < x.D.n_nodes(); ++n) // close to the ground
      x.state.u.local_element(n * 3 + 2) -= 0.025;
    return x.context();
  };
  const auto residual = [&](const double t) {
    Vector h = x.D.make_vector();
    part.residual(to(t), h);
    return h;
  };
  const Vector h0 = residual(0);
  Vector       Kd = x.D.make_vector(), slope_direction = d;
  part.apply_tangent(to(0), d, Kd);
  slope_direction.zero_out_ghost_values();
  const double slope = h0 * slope_direction, e0 = part.energy(to(0));
  EXPECT_TRUE(taylor_test(
                [&](const double t) {
                  return std::abs(part.energy(to(t)) - e0 - t * slope);
                },
                std::abs(e0),
                std::abs(slope))
                .passed());
  EXPECT_TRUE(taylor_test(
                [&](const double t) {
                  Vector r = residual(t);
                  r -= h0;
                  r.add(-t, Kd);
                  return r.l2_norm();
                },
                h0.l2_norm(),
                Kd.l2_norm())
                .passed());
  // The matrix is that tangent, and not of loads alone: added to a matrix.
  std::vector<char> free(x.constrained.size(), 0);
  TangentMatrix<3>  K(x.D, free);
  K.set_zero();
  part.add_tangent(to(0), Tangent::consistent, K);
  part.add_tangent(to(0), Tangent::consistent, K);
  Vector product = x.D.make_vector();
  K.matrix().vmult(product, slope_direction);
  product.add(-2, Kd);
  EXPECT_LT(product.l2_norm(), 1e-12 * Kd.l2_norm());
  // All of the ground, a quarter of the weight.
  Vector ground = x.D.make_vector(), weight = ground, material = ground;
  forces[0]->residual(to(0), material);
  forces[1]->residual(to(0), ground);
  forces[2]->residual(to(0), weight);
  EXPECT_GT(ground.l2_norm(), 0.01 * weight.l2_norm());
  material += ground;
  material.add(0.25, weight);
  material -= h0;
  EXPECT_LT(material.l2_norm(), 1e-12 * h0.l2_norm());
}

// A soft body that hangs: where Newton starts its tangent is indefinite. A
// direct solver does not stumble over that by itself.
TEST(Newton, DirectSolverKnowsIndefiniteTangents)
{
  std::vector<double>        u[2];
  std::vector<unsigned long> count;
  for (const bool direct : {true, false})
    {
      Sample<3> x(5);
      x.snapshots[0].prescribed = ghosted_copy(x.D.make_vector());
      x.fields["poisson_ratio"] = Field(x.D.n_cells(), 0.4);
      SolverParameters solver;
      NewtonParameters newton;
      solver.direct             = direct;
      newton.relative_tolerance = 1e-11;
      std::vector<std::unique_ptr<Force<3>>> forces;
      forces.push_back(make_term<Force<3>>("neo-hookean"));
      forces.push_back(
        make_term<Force<3>>("gravity", {{"Gravity", "14, 0, 0"}}));
      StaticEquilibrium<3> eq(x.D,
                              x.constrained,
                              x.snapshots,
                              std::move(forces),
                              solver,
                              newton,
                              x.log);
      eq.solve(x.fields);
      EXPECT_EQ(eq.n_negative_modes(0), 0u);
      count.push_back(eq.counts.newton_iterations);
      u[direct] = x.D.gather_vertices(eq.context(0).state.u);
    }
  EXPECT_LT(distance(u[0], u[1]), 1e-7);
  EXPECT_LE(count[0], count[1] + 3) << "direct, and " << count[1];
  EXPECT_LT(count[0], 14u);
}

// The published tangent of springs takes more steps to the same state.
TEST(Newton, SmallStrainTangentOfSprings)
{
  std::vector<double>        u[2];
  std::vector<unsigned long> count;
  for (const Tangent tangent : {Tangent::consistent, Tangent::small_strain})
    {
      Sample<3>        x(3, 1, 1, 0.2);
      SolverParameters solver;
      NewtonParameters newton;
      newton.tangent            = tangent;
      newton.relative_tolerance = 1e-10;
      newton.maximum_iterations = 200;
      std::vector<std::unique_ptr<Force<3>>> forces;
      forces.push_back(make_term<Force<3>>("intersection springs",
                                           {{"Shear springs", "true"},
                                            {"Volume term", "true"}}));
      StaticEquilibrium<3> eq(x.D,
                              x.constrained,
                              x.snapshots,
                              std::move(forces),
                              solver,
                              newton,
                              x.log);
      eq.solve(x.fields_of_springs());
      const auto &r = eq.newton_residuals();
      if (tangent == Tangent::consistent)
        expect_quadratic(r);
      u[count.size()] = x.D.gather_vertices(eq.context(0).state.u);
      count.push_back(eq.counts.newton_iterations);
    }
  EXPECT_LT(distance(u[0], u[1]), 1e-8);
  EXPECT_GT(count[1], count[0] + 2);
}
