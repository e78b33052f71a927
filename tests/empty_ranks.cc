// Ranks that own no cell: every model of a body, at rest and in motion, to be
// solved, identified and verified, on three ranks and a body of one or two
// cells, with collective calls compared (tests/collective_calls.cc), and the
// same numbers as on one rank.

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "run_task.h"

using namespace Palpate;

namespace
{
  const std::string &
  folder()
  {
    static const std::string name = work_folder("empty_ranks");
    return name;
  }

  /// One tetrahedron, or two, with what tasks ask of a pack.
  std::string
  write_tetrahedra(const unsigned int n)
  {
    const std::string file =
      folder() + "/" + std::to_string(n) + "_tetrahedra.npz";
    NpyArray points({5, 3},
                    {0, 0, 0, .1, 0, 0, 0, .1, 0, 0, 0, .1, .1, .1, .1}),
      cells({1, 4}, {0, 1, 2, 3}), boundary({5}, {1, 1, 1, 0, 0}),
      labels({1}, {1}), hu({1, 1}, {-700}), u;
    u.shape  = {5, 3};
    u.values = {
      0, 0, 0, 0, 0, 0, 0, 0, 0, .001, .002, -.003, .002, .001, -.002};
    if (n == 1)
      for (NpyArray *a : {&points, &boundary, &u})
        {
          a->shape[0] = 4;
          a->values.resize(a == &boundary ? 4 : 12);
        }
    else
      {
        cells.values.insert(cells.values.end(), {1, 2, 3, 4});
        labels.values.push_back(2);
        hu.values.push_back(-600);
        for (NpyArray *a : {&cells, &labels, &hu})
          a->shape[0] = n;
      }
    cells.is_integer = boundary.is_integer = labels.is_integer = true;
    run_on_root(MPI_COMM_WORLD, [&]() {
      write_npz(file,
                {{"mesh_points", points},
                 {"tetrahedra", cells},
                 {"labels", labels},
                 {"boundary_nodes", boundary},
                 {"displacement_field", u},
                 {"hu_tetra_mean", hu}});
    });
    return file;
  }

  /// On all ranks, and on each alone.
  void
  check(const std::string &name, const Entries &entries)
  {
    SCOPED_TRACE(name);
    nlohmann::json together, alone;
    const int rank = dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD);
    try
      {
        together = run_task(entries, folder());
        alone    = run_task(entries,
                         folder() + "/" + std::to_string(rank),
                         MPI_COMM_SELF);
      }
    catch (const std::exception &e)
      {
        FAIL() << e.what();
      }
    if (entries.at("Task") == "verify") // it compares by itself, and throws
      return;
    const auto number = [](const nlohmann::json &s) {
      return s.contains("objective") ? s["objective"]["total"].get<double>()
             : s.contains("displacement")
               ? s["displacement"]["volume_mean_m"].back().get<double>()
               : s.at("energy_J").at("total").get<double>();
    };
    EXPECT_NEAR(number(together),
                number(alone),
                1e-6 * std::abs(number(alone)) + 1e-14);
  }

  Entries
  body(const unsigned int n)
  {
    return {{"Case/File", write_tetrahedra(n)},
            {"Boundary conditions/Constrained vertices", "boundary_nodes"},
            {"Boundary conditions/Prescribed values", "zero"},
            {"Model/Frames", "coordinate axes"},
            {"Loads/Gravity", "0, 0, -9.81"},
            {"Loads/Density", "10"}};
  }
  const Entries springs    = {{"Model/Type", "intersection springs"},
                              {"Model/Shear springs", "true"}},
                identify   = {{"Task", "identify"},
                              {"Parameterization/Initial value", "1000"},
                              {"Optimizer/Maximum iterations", "2"}},
                motion     = {{"Time/Step", "0.001"},
                              {"Time/End", "0.004"},
                              {"Time/Integrator", "bdf2"}},
                no_loads   = {{"Loads/Gravity", ""}, {"Loads/Density", ""}},
                objectives = {
                  {"Objective/Stress norm/Weight", "1"},
                  {"Objective/Stress bound/Weight", "1"},
                  {"Objective/Material smoothing/Weight", "1"},
                  {"Objective/Centre of mass/Weight", "1"},
                  {"Objective/Height/Weight", "1"},
                  {"Objective/Mean squared position/Weight", "1"},
                  {"Objective/Displacement total variation/Weight", "1"},
                  {"Objective/Region shrinkage/Weight", "1"},
                  {"Objective/Stiffness log total variation/Weight", "1"}};
  const char *const more = "Parameterization/More unknowns";
} // namespace

TEST(EmptyRanks, Models)
{
  for (const unsigned int n : {1, 2})
    for (const char *model : {"linear elastic",
                              "neo-hookean",
                              "stable neo-hookean",
                              "sms",
                              "sms finite strain",
                              "intersection springs"})
      {
        Entries m = with(body(n), {{"Model/Type", model}});
        if (std::string(model) == "intersection springs")
          m = with(m, springs);
        check(std::string("forward, ") + model, with(m, {{"Task", "forward"}}));
        check(std::string("identify, ") + model, with(m, identify));
        check(std::string("verify, ") + model,
              with(with(m, identify),
                   {{"Task", "verify"},
                    {"Optimizer/Maximum iterations", ""},
                    {"Verify/Directions", "1"}}));
        check(std::string("simulate, ") + model,
              with(with(m, motion), {{"Task", "simulate"}}));
      }
}

TEST(EmptyRanks, Statics)
{
  for (const unsigned int n : {1, 2})
    {
      const Entries m   = with(body(n), {{"Model/Type", "neo-hookean"}}),
                    inv = with(m, identify);
      check("no load", with(inv, no_loads));
      check("objectives",
            with(with(m, objectives),
                 {{"Task", "evaluate"}, {"Evaluate/Hessian product", "true"}}));
      check("degree 2",
            with(m,
                 {{"Task", "evaluate"},
                  {"Model/Degree", "2"},
                  {"Evaluate/Hessian product", "true"}}));
      check("direct", with(inv, {{"Linear solver/Type", "direct"}}));
      check("Newton's method", with(inv, {{"Optimizer/Method", "newton cg"}}));
      check("network", with(inv, {{"Parameterization/Type", "graph network"}}));
      check("more unknowns",
            with(inv, {{more, "poisson_ratio: per cell; density: per label"}}));
      check("Lame",
            with(inv,
                 {{"Parameterization/Type", "none"},
                  {more, "lame_lambda: per cell; lame_mu: per cell"}}));
      check("per spring",
            with(with(inv, springs),
                 {{"Parameterization/Type", "per spring"},
                  {"Parameterization/Initial value", ""},
                  {"Parameterization/Lower bound", "1"},
                  {"Parameterization/Upper bound", "1e6"}}));
      check("noise", with(inv, {{"Observation/Noise", "0.1"}}));
      check("traction",
            with(inv,
                 {{"Boundary conditions/Constrained vertices", "formula"},
                  {"Boundary conditions/Constrained formula", "0.01 - z"},
                  {"Loads/Ground planes", "0, 0, -0.0005, 0, 0, 1"}}));
    }
}

TEST(EmptyRanks, Motions)
{
  for (const unsigned int n : {1, 2})
    {
      const Entries m = with(with(body(n), motion),
                             {{"Model/Type", "neo-hookean"},
                              {"Task", "simulate"},
                              {"Stiffness/Value", "1000"}}),
                    loose =
                      with(m,
                           {{"Boundary conditions/Constrained vertices",
                             "none"},
                            {"Boundary conditions/Prescribed values", ""}}),
                    quick  = with(loose,
                                 {{"Time/Integrator", "velocity verlet"},
                                   {"Stiffness/Value", "10"}});
      const Entries ground = {{"Loads/Ground planes", "0, 0, -0.0005, 0, 0, 1"},
                              {"Loads/Ground stiffness", "10"},
                              {"Loads/Ground friction", "0.3"},
                              {"Initial state/Velocity", "0.1; 0; 0"}};
      check("losses",
            with(with(loose, ground), {{"Model/Shear viscosity", "1"}}));
      check("friction", with(quick, ground));
      for (const char *sums : {"direct",
                               "octree",
                               "ddef",
                               "ddef published",
                               "ddef text",
                               "ddef near"})
        check(std::string("charges, ") + sums,
              with(quick,
                   {{"Loads/Charge density", "1e-6"},
                    {"Loads/Charge sums", sums}}));
      for (const char *integrator :
           {"bdf2", "implicit euler", "velocity verlet", "symplectic euler"})
        check(std::string("identify, ") + integrator,
              with(with(with(m, identify), {{"Stiffness/Value", ""}}),
                   {{"Observation/Formula", "0;0;-1e-4*z"},
                    {"Time/Integrator", integrator},
                    {more, "initial_velocity: rigid; density: global"}}));
    }
}

TEST(EmptyRanks, Plane)
{
  const Entries m = {{"Case/Shape", "rectangle"},
                     {"Case/Generated shape/Subdivisions", "1, 1, 0"},
                     {"Observation/Formula", "0; -0.01*y"},
                     {"Boundary conditions/Constrained vertices", "formula"},
                     {"Boundary conditions/Constrained formula", "0.1 - y"},
                     {"Boundary conditions/Prescribed values", "zero"},
                     {"Loads/Gravity", "0, -1, 0"}};
  check("identify", with(m, identify));
  check("springs", with(with(m, identify), springs));
}

TEST(EmptyRanks, Networks)
{
  const std::string file = folder() + "/network.npz";
  run_on_root(MPI_COMM_WORLD, [&]() {
    NpyArray points({3, 3}, {0, 0, 0, .1, 0, 0, .1, .1, 0}),
      lines({2, 2}, {0, 1, 1, 2});
    lines.is_integer = true;
    write_npz(file, {{"mesh_points", points}, {"springs", lines}});
  });
  const Entries m = {{"Case/File", file},
                     {"Model/Type", "edge springs"},
                     {"Boundary conditions/Constrained vertices", "formula"},
                     {"Boundary conditions/Constrained formula", "0.01 - x"},
                     {"Boundary conditions/Prescribed values", "zero"},
                     {"Loads/Gravity", "0, 0, -9.81"},
                     {"Loads/Charge", "1e-8"},
                     {"Time/Step", "0.001"},
                     {"Time/End", "0.004"}};
  for (const char *integrator : {"imex", "velocity verlet"})
    {
      const Entries moving = with(m, {{"Time/Integrator", integrator}});
      check(std::string("simulate, ") + integrator,
            with(moving, {{"Task", "simulate"}, {"Stiffness/Value", "10"}}));
      check(std::string("identify, ") + integrator,
            with(with(moving, identify),
                 {{"Parameterization/Initial value", "10"},
                  {"Parameterization/Lower bound", "1"},
                  {"Parameterization/Upper bound", "100"},
                  {"Observation/Formula", "0; 0; -1e-5"},
                  {more, "mass: global; charge: global"}}));
    }
}
