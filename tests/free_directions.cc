// What the data cannot tell: directions of the unknowns that change no state.
// Every case says which factors are free; that it is so, and that no other is,
// follows from the equations.

#include <palpate/time_integration/trajectory.h>

#include <gtest/gtest.h>

#include "moving.h"
#include "run_task.h"

using namespace Palpate;

namespace
{
  const std::string &
  folder()
  {
    static const std::string name = work_folder("free_directions");
    return name;
  }

  /// A box that hangs, is pulled or moves; two iterations are enough to ask.
  const Entries base = {{"Task", "identify"},
                        {"Case/Shape", "box"},
                        {"Case/Generated shape/Upper corner", "0.1, 0.1, 0.1"},
                        {"Case/Generated shape/Subdivisions", "2, 2, 2"},
                        {"Case/Label function", "if(x < 0.05, 1, 2)"},
                        {"Boundary conditions/Constrained vertices", "formula"},
                        {"Boundary conditions/Constrained formula",
                         "0.001 - z"},
                        {"Observation/Formula", "0.01*z; 0; -0.1*z + 0.2*z*x"},
                        {"Model/Type", "neo-hookean"},
                        {"Model/Frames", "coordinate axes"},
                        {"Linear solver/Type", "direct"},
                        {"Parameterization/Type", "global"},
                        {"Parameterization/Initial value", "2000"},
                        {"Optimizer/Maximum iterations", "2"}};
  const Entries held =
                  with(base,
                       {{"Boundary conditions/Prescribed values", "zero"}}),
                gravity = with(held, {{"Loads/Gravity", "1, 0, -9.81"}});
  /// The top is pressed too: no load.
  const Entries     pressed = with(base,
                               {{"Boundary conditions/Constrained formula",
                                     "if(z < 0.001 || z > 0.099, 1, -1)"}});
  const Entries     moving  = with(gravity,
                              {{"Loads/Gravity", ""},
                                    {"Linear solver/Type", ""},
                                    {"Initial state/Velocity", "z; 0; 0"},
                                    {"Time/Integrator", "velocity verlet"},
                                    {"Time/Step", "0.001"},
                                    {"Time/End", "0.02"}});
  const char *const more    = "Parameterization/More unknowns";

  /// {"stiffness": 1, ...} for every direction; parts as "stiffness 1".
  using Directions = std::vector<std::map<std::string, double>>;
  Directions
  directions_of(const nlohmann::json &summary)
  {
    Directions result;
    for (const auto &direction : summary["free_directions"])
      {
        result.emplace_back();
        for (const auto &u : direction["unknowns"])
          {
            std::string name = u["field"];
            for (const char *part : {"component", "value"})
              if (u.contains(part))
                name += " " + std::to_string(u[part].get<int>());
            result.back()[name] = u["exponent"];
          }
      }
    return result;
  }

  nlohmann::json
  expect(const Entries    &entries,
         const Directions &directions,
         const bool        identified,
         const bool        to_reference)
  {
    const auto summary = run_task(entries, folder());
    EXPECT_EQ(directions_of(summary), directions)
      << summary["free_directions"].dump(2);
    EXPECT_EQ(summary["scale_identified"].get<bool>(), identified);
    EXPECT_EQ(summary.contains("reference_stiffness"), to_reference);
    return summary;
  }

  double
  stiffness_of(const nlohmann::json &summary, const char *label = "global")
  {
    return summary["alpha_Pa"][label];
  }
} // namespace

// add_balance_jvp() against differences of the balances at the same states.
namespace
{
  /// |jvp - central difference| / |jvp| of a function of the fields, over all
  /// ranks.
  template <int dim>
  double
  error_of_jvp(const Discretization<dim>                           &D,
               const Fields                                        &fields,
               const Fields                                        &direction,
               const std::function<void(const Fields &, Vector &)> &balance,
               const std::function<void(const Fields &, Vector &)> &jvp)
  {
    const double step = 1e-5;
    Vector       up = D.make_vector(), down = up, dh = up;
    Fields       higher = fields, lower = fields;
    for (const auto &[name, d] : direction)
      for (std::size_t i = 0; i < d.values.size(); ++i)
        {
          higher[name][i] += step * d[i];
          lower[name][i] -= step * d[i];
        }
    balance(higher, up);
    balance(lower, down);
    jvp(direction, dh);
    double error = 0, size = 0;
    for (unsigned int i = 0; i < dh.locally_owned_size(); ++i)
      {
        const double difference =
          (up.local_element(i) - down.local_element(i)) / (2 * step);
        error += std::pow(dh.local_element(i) - difference, 2);
        size += std::pow(dh.local_element(i), 2);
      }
    return std::sqrt(D.sum(error) / D.sum(size));
  }
} // namespace

TEST(Balances, Motions)
{
  Moving<3> m("neo-hookean", 2, true, true, 1, true, true);
  auto     &body = *m.body;
  for (unsigned int i = 0; i < m.x.D.n_nodes() * 3; ++i)
    m.state.u.local_element(i) = 0;
  body.fields["damping_rate"] = body_field(2);
  Field velocity              = Field(m.x.D.n_nodes() * 3);
  velocity.place              = Place::nodes;
  for (unsigned int i = 0; i < velocity.values.size(); ++i)
    velocity[i] = 0.5 * m.x.D.node_position(i / 3)[0];
  body.fields["initial_velocity"] = velocity;
  TimeParameters time;
  time.integrator                       = "velocity verlet";
  time.step                             = 1e-3;
  time.end                              = 8e-3;
  const std::vector<unsigned int> steps = {3, 8};
  std::vector<Snapshot<3>>        snapshots(2);
  Trajectory<3>                   trajectory(body, time, snapshots, steps);
  const Fields                    fields = body.fields;
  trajectory.solve(fields);
  ASSERT_EQ(trajectory.n_balances(), 9u);
  Fields direction;
  for (const char *name : {"stiffness",
                           "density",
                           "poisson_ratio",
                           "ground_stiffness",
                           "ground_friction",
                           "shear_viscosity",
                           "damping_rate"})
    {
      direction[name] = fields[name];
      for (std::size_t i = 0; i < direction[name].values.size(); ++i)
        direction[name][i] *=
          0.1 * (direction[name].place == Place::body
                   ? 1.
                   : 1 + random_number(3, m.x.D.cell_id[i]));
    }
  for (unsigned int s = 0; s < steps.size(); ++s)
    {
      const State  &state = trajectory.context(s).state;
      const Mass<3> mass(m.x.D, true);
      Vector        a        = m.x.D.make_vector();
      const Vector  diagonal = mass.diagonal(fields["density"]);
      body.fields            = fields;
      body.force(state, a);
      for (unsigned int i = 0; i < a.locally_owned_size(); ++i)
        a.local_element(i) /= diagonal.local_element(i);
      a.update_ghost_values();
      // M (a + c v) less what the rate was at the start, as a holds that.
      const auto balance = [&](const Fields &f, Vector &h) {
        body.fields = f;
        for (const auto &force : body.equilibrium.forces)
          if (&*force != &body.inertia)
            force->residual(body.context(state), h);
        body.fields = fields;
        mass.vmult_add(f["density"], a, h);
        Vector       Mv   = m.x.D.make_vector();
        const double rate = f["damping_rate"][0] - fields["damping_rate"][0];
        mass.vmult_add(fields["density"], state.v, Mv);
        for (unsigned int i = 0; i < Mv.locally_owned_size(); ++i)
          h.local_element(i) += rate * Mv.local_element(i);
      };
      EXPECT_LT(error_of_jvp<3>(m.x.D,
                                fields,
                                direction,
                                balance,
                                [&](const Fields &d, Vector &dh) {
                                  trajectory.add_balance_jvp(steps[s], d, dh);
                                }),
                1e-7);
    }
}

TEST(Balances, Statics)
{
  Moving<3>     m("neo-hookean", 2, true, true, 1, true);
  auto         &equilibrium = *m.equilibrium;
  const Fields &fields      = m.x.fields;
  // Any state will do.
  std::vector<Vector> states(1, ghosted_copy(m.x.state.u));
  equilibrium.restore(fields, states);
  Fields direction;
  for (const char *name : {"stiffness", "density", "ground_stiffness"})
    direction[name] = fields[name];
  const double error = error_of_jvp<3>(
    m.x.D,
    fields,
    direction,
    [&](const Fields &f, Vector &h) {
      equilibrium.restore(f, states);
      equilibrium.add_balance(0, h);
    },
    [&](const Fields &d, Vector &dh) {
      equilibrium.restore(fields, states);
      equilibrium.add_balance_jvp(0, d, dh);
    });
  EXPECT_LT(error, 1e-7);
}

TEST(Statics, NoLoad)
{
  const auto s =
    expect(with(pressed, {{"Parameterization/Reference stiffness", "7000"}}),
           {{{"stiffness", 1}}},
           false,
           true);
  EXPECT_NEAR(stiffness_of(s), 7000, 1e-6);
  // The ratio of two labels of one body is seen.
  expect(with(pressed, {{"Parameterization/Type", "per label"}}),
         {{{"stiffness", 1}}},
         false,
         true);
  // The value of a fixed label is a scale.
  expect(with(pressed,
              {{"Parameterization/Type", "per cell"},
               {"Parameterization/Fixed labels", "2"}}),
         {},
         true,
         false);
  // lambda and mu together, and no ratio of them.
  expect(with(pressed,
              {{"Parameterization/Type", "none"},
               {more, "lame_lambda: global; lame_mu: global"}}),
         {{{"stiffness", 1}}},
         false,
         true);
}

TEST(Statics, Loads)
{
  expect(gravity, {}, true, false);
  expect(with(gravity, {{more, "density: global"}}),
         {{{"density", 1}, {"stiffness", 1}}},
         false,
         false);
  // That labels have densities of their own makes no difference.
  expect(with(gravity, {{more, "density: per label"}}),
         {{{"density", 1}, {"stiffness", 1}}},
         false,
         false);
  expect(with(gravity,
              {{"Parameterization/Type", "none"}, {more, "density: global"}}),
         {},
         true,
         false);
  // A ground that is never reached, beside a stiffness that is seen.
  expect(with(gravity,
              {{"Loads/Ground planes", "-1, 0, 0, 1, 0, 0"},
               {more, "ground_stiffness: global"}}),
         {{{"ground_stiffness", 1}}},
         true,
         false);
}

// The ground is no load at rest, but once it is reached its stiffness is known.
TEST(Statics, Ground)
{
  const Entries ground =
    with(pressed,
         {{"Observation/Formula", "-0.04*z; 0; -0.1*z"},
          {"Loads/Ground planes", "-0.0055, 0, 0, 1, 0, 0"},
          {"Loads/Ground reach", "0.005"},
          {"Loads/Ground stiffness", "100"}});
  const auto s =
    expect(with(ground, {{"Parameterization/Reference stiffness", "7000"}}),
           {},
           true,
           false);
  EXPECT_GT(std::abs(stiffness_of(s) - 7000), 1.);
  expect(with(ground, {{more, "ground_stiffness: global"}}),
         {{{"stiffness", 1}, {"ground_stiffness", 1}}},
         false,
         false);
  // Too far away to matter.
  expect(with(ground, {{"Loads/Ground planes", "-1, 0, 0, 1, 0, 0"}}),
         {{{"stiffness", 1}}},
         false,
         true);
}

TEST(Statics, SeparateBodies)
{
  const std::string pack = folder() + "/boxes.npz";
  write_boxes(pack, 1, {1000, 1e-12});
  const Entries two = with(base,
                           {{"Case/Shape", ""},
                            {"Case/Generated shape/Upper corner", ""},
                            {"Case/Generated shape/Subdivisions", ""},
                            {"Case/Label function", ""},
                            {"Case/File", pack},
                            {"Boundary conditions/Constrained formula",
                             "if(z < 0.001 || y < 0.05, 1, -1)"},
                            {"Parameterization/Type", "per label"}});
  expect(two, {{{"stiffness 0", 1}}, {{"stiffness 1", 1}}}, false, true);
  // One unknown for both.
  expect(with(two, {{"Parameterization/Type", "global"}}),
         {{{"stiffness", 1}}},
         false,
         true);
  expect(with(two, {{"Parameterization/Fixed labels", "1"}}),
         {{{"stiffness 1", 1}}},
         false,
         false);
  // Gravity on one of them.
  const Entries loaded =
    with(two, {{"Loads/Gravity", "0, 0, -9.81"}, {"Loads/Density", "pack"}});
  const auto s = expect(loaded, {{{"stiffness 1", 1}}}, false, false);
  EXPECT_NE(std::string(s["free_directions"][0]["meaning"]).find("component 2"),
            std::string::npos);
  expect(with(loaded, {{"Parameterization/Type", "global"}}), {}, true, false);
}

TEST(Statics, Springs)
{
  const Entries springs = with(pressed,
                               {{"Model/Type", "intersection springs"},
                                {"Model/Shear springs", "true"},
                                {"Parameterization/Type", "per spring"},
                                {"Parameterization/Lower bound", "1e-3"},
                                {"Parameterization/Upper bound", "1e6"}});
  expect(springs, {{{"spring_stiffness", 1}, {"stiffness", 1}}}, false, true);
  expect(with(springs, {{"Loads/Gravity", "0, 0, -9.81"}}), {}, true, false);
}

TEST(Motions, StiffnessAndMass)
{
  for (const char *integrator : {"velocity verlet", "bdf2"})
    {
      const Entries m = with(moving, {{"Time/Integrator", integrator}});
      expect(m, {}, true, false);
      expect(with(m, {{more, "density: global"}}),
             {{{"density", 1}, {"stiffness", 1}}},
             false,
             false);
      // Weight and inertia grow together: nothing new.
      expect(
        with(m, {{more, "density: global"}, {"Loads/Gravity", "0, 0, -9.81"}}),
        {{{"density", 1}, {"stiffness", 1}}},
        false,
        false);
      // The viscosity has a scale.
      expect(with(m,
                  {{more, "density: global"}, {"Model/Shear viscosity", "1"}}),
             {},
             true,
             false);
      expect(with(m,
                  {{more, "density: global; shear_viscosity: global"},
                   {"Model/Shear viscosity", "1"}}),
             {{{"density", 1}, {"shear_viscosity", 1}, {"stiffness", 1}}},
             false,
             false);
    }
  expect(with(moving,
              {{more, "density: global; damping_rate: global"},
               {"Time/Damping rate", "3"}}),
         {{{"density", 1}, {"stiffness", 1}}},
         false,
         false);
}

TEST(Motions, FreeFall)
{
  // Nothing is strained, and all falls alike.
  const Entries fall =
    with(moving,
         {{"Boundary conditions/Constrained vertices", "none"},
          {"Boundary conditions/Constrained formula", ""},
          {"Boundary conditions/Prescribed values", ""},
          {"Loads/Gravity", "0, 0, -9.81"},
          {"Initial state/Velocity", "0.1; 0; 0.2"}});
  for (const char *integrator : {"velocity verlet", "bdf2"})
    {
      const Entries m = with(fall, {{"Time/Integrator", integrator}});
      expect(m, {{{"stiffness", 1}}}, false, true);
      expect(with(m, {{more, "density: global"}}),
             {{{"stiffness", 1}}, {{"density", 1}}},
             false,
             true);
      expect(with(m, {{"Loads/Gravity", ""}}),
             {{{"stiffness", 1}}},
             false,
             true);
    }
}
