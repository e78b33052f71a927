// Smoothed aggregation and what is built on it: the Galerkin product, rigid
// motions, iterations that do not depend on mesh and contrast, kept levels.

#include <palpate/equilibrium/linear_solver.h>
#include <palpate/equilibrium/smoothed_aggregation.h>

#include <gtest/gtest.h>

#include <cmath>

#include "sample.h"

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    std::unique_ptr<StaticEquilibrium<3>>
    equilibrium(const Sample<3>        &x,
                const SolverParameters &solver,
                const NewtonParameters &newton)
    {
      std::vector<std::unique_ptr<Force<3>>> forces;
      forces.push_back(
        make_term<Force<3>>("sms",
                            {{"Shear ratio", "2"}, {"Poisson ratio", "0.4"}}));
      return std::make_unique<StaticEquilibrium<3>>(x.D,
                                                    x.constrained,
                                                    x.snapshots,
                                                    std::move(forces),
                                                    solver,
                                                    newton,
                                                    x.log);
    }

    /// Stiffness with a ball that is @p contrast times as stiff.
    Fields
    with_ball(const Sample<3> &x, const double contrast)
    {
      Fields fields = x.fields;
      for (unsigned int k = 0; k < x.D.n_cells(); ++k)
        {
          Point<3> c;
          for (const unsigned int v : x.mesh.cells[x.D.cell_id[k]])
            c += x.mesh.vertices[v] / 4.;
          const bool inside =
            (c - Point<3>(0.5, 0.4, 0.3)).norm_square() < 0.05;
          fields["stiffness"][k] = 1000 * (inside ? contrast : 1);
        }
      return fields;
    }

    unsigned long
    iterations(const unsigned int n, const double contrast)
    {
      const Sample<3>  x(n);
      SolverParameters solver;
      NewtonParameters newton;
      const auto       eq = equilibrium(x, solver, newton);
      eq->solve(with_ball(x, contrast));
      return eq->counts.linear_iterations;
    }

    /// A coarse vector that every rank knows.
    double
    entry(const unsigned int seed, const std::size_t i)
    {
      return random_number(seed, i);
    }

    Vector
    prolongate(const Sample<3>   &x,
               const CoarseLevel &coarse,
               const unsigned int seed)
    {
      Vector      u = x.D.make_vector();
      const auto &P = coarse.P;
      for (unsigned int row = 0; row + 1 < P.start.size(); ++row)
        for (unsigned int e = P.start[row]; e < P.start[row + 1]; ++e)
          for (unsigned int i = 0; i < P.height; ++i)
            for (unsigned int j = 0; j < P.width; ++j)
              u.local_element(row * P.height + i) +=
                P.values[(e * P.height + i) * P.width + j] *
                entry(seed,
                      coarse.numbering.global(P.columns[e]) * P.width + j);
      return u;
    }
  } // namespace

  TEST(SmoothedAggregation, IsAGalerkinProductThatKnowsRigidMotions)
  {
    const Sample<3>  x(5);
    const auto      &D = x.D;
    TangentMatrix<3> K(D, x.constrained);
    const auto       force = make_term<Force<3>>("sms");
    force->add_tangent(x.context(), Tangent::small_strain, K);

    const auto    &nodes = *D.node_partitioner();
    BlockNumbering fine;
    fine.first   = nodes.local_range().first;
    fine.n_owned = D.n_owned_nodes();
    for (const auto i : nodes.ghost_indices())
      fine.ghosts.push_back(i);
    const BlockView A = {3,
                         fine.n_owned,
                         K.block_start().data(),
                         K.block_columns().data(),
                         K.values_by_row(),
                         true};
    // Any D will do; the modes are translations and rotations, zero where held.
    BlockMatrix               inverse(3, 3);
    std::vector<unsigned int> start(fine.n_owned + 1), columns(fine.n_owned);
    for (unsigned int i = 0; i < fine.n_owned; ++i)
      start[i + 1] = (columns[i] = i) + 1;
    inverse.set_pattern(std::move(start), std::move(columns));
    std::vector<double> modes(fine.n_owned * 18, 0.);
    for (unsigned int n = 0; n < fine.n_owned; ++n)
      for (unsigned int d = 0; d < 3; ++d)
        {
          inverse(n, d, d) = 1e-3;
          if (x.constrained[n * 3])
            continue;
          const Point<3>     p = D.node_position(n);
          const unsigned int i = (d + 1) % 3, j = (d + 2) % 3;
          modes[(n * 3 + d) * 6 + d]     = 1;
          modes[(n * 3 + i) * 6 + 3 + d] = -p[j];
          modes[(n * 3 + j) * 6 + 3 + d] = p[i];
        }
    // Without smoothing the modes of aggregates come back.
    {
      const auto   coarse = coarsen(A, fine, modes, 6, inverse, 0., D.comm);
      unsigned int inside = 0;
      const auto  &P      = coarse.P;
      for (unsigned int row = 0; row < fine.n_owned; ++row)
        for (unsigned int i = 0; i < 3; ++i)
          for (unsigned int c = 0; c < 6; ++c)
            {
              double sum    = 0;
              bool   placed = false;
              for (unsigned int e = P.start[row]; e < P.start[row + 1]; ++e)
                if (P.columns[e] < coarse.numbering.n_owned)
                  for (unsigned int j = 0; j < 6; ++j)
                    {
                      const double p = P.values[(e * 3 + i) * 6 + j];
                      placed         = placed || p != 0;
                      sum += p * coarse.modes[(P.columns[e] * 6 + j) * 6 + c];
                    }
              if (placed)
                {
                  ++inside;
                  EXPECT_NEAR(sum, modes[(row * 3 + i) * 6 + c], 1e-12);
                }
            }
      EXPECT_GT(D.sum(inside), 0.8 * 18 * 5 * 6 * 6);
      EXPECT_LT(D.sum(coarse.numbering.n_owned), 6 * 6 * 6 / 5);
    }
    const auto coarse = coarsen(A, fine, modes, 6, inverse, 0.3, D.comm);
    for (unsigned int trial = 0; trial < 3; ++trial)
      {
        const Vector u = prolongate(x, coarse, 10 + trial),
                     v = prolongate(x, coarse, 20 + trial);
        Vector Ku      = D.make_vector();
        K.matrix().vmult(Ku, u);
        double      sum = 0;
        const auto &C   = coarse.A;
        for (unsigned int row = 0; row < coarse.numbering.n_owned; ++row)
          for (unsigned int e = C.start[row]; e < C.start[row + 1]; ++e)
            for (unsigned int i = 0; i < 6; ++i)
              for (unsigned int j = 0; j < 6; ++j)
                sum += C.values[(e * 6 + i) * 6 + j] *
                       entry(20 + trial, coarse.numbering.global(row) * 6 + i) *
                       entry(10 + trial,
                             coarse.numbering.global(C.columns[e]) * 6 + j);
        const double expected = Ku * v, scale = Ku.l2_norm() * v.l2_norm();
        EXPECT_GT(scale, 0);
        EXPECT_NEAR(D.sum(sum) / scale, expected / scale, 1e-12);
      }
  }

  TEST(Multigrid, IterationsDependNeitherOnMeshNorOnContrast)
  {
    const unsigned long base = iterations(12, 1);
    EXPECT_GT(base, 5u);
    EXPECT_LT(iterations(6, 1), 1.5 * base);
    EXPECT_LT(base, 1.5 * iterations(6, 1));
    for (const double contrast : {1e-2, 1e2, 1e4})
      EXPECT_LT(iterations(12, contrast), 1.5 * base) << contrast;
  }

  // Flat cells couple strongly in one direction only.
  TEST(Multigrid, FlatCellsAreAggregatedToo)
  {
    for (const double factor : {0.2, 0.1})
      {
        SerialMesh<3> mesh = sample_mesh<3>(12);
        for (auto &v : mesh.vertices)
          v[2] *= factor;
        const Discretization<3> D(mesh, 1, MPI_COMM_WORLD);
        Snapshot<3>             snapshot;
        snapshot.frames = sample_frames(D);
        State rest;
        rest.u = ghosted_copy(D.make_vector());
        Fields fields;
        fields["stiffness"] = Field(D.n_cells(), 1000.);
        std::vector<char> constrained(D.n_nodes() * 3);
        for (unsigned int i = 0; i < constrained.size(); ++i)
          constrained[i] = D.node_position(i / 3)[0] < 0.05;
        TangentMatrix<3> K(D, constrained);
        const auto force = make_term<Force<3>>("sms", {{"Poisson ratio", "0"}});
        force->add_tangent({D, rest, fields, snapshot, constrained},
                           Tangent::small_strain,
                           K);
        SolverParameters parameters;
        LinearSolver<3>  solver(parameters);
        solver.set_up(K);
        Vector b = random_vector(D, 3, 1.), u = D.make_vector();
        b.zero_out_ghost_values();
        for (unsigned int i = 0; i < D.n_owned_nodes() * 3; ++i)
          if (constrained[i])
            b.local_element(i) = 0;
        EXPECT_LT(solver.solve(u, b, 1e-8 * b.l2_norm()), 120u) << factor;
      }
  }

  TEST(Multigrid, LevelsAreKeptWhileTheyServe)
  {
    const Sample<3>  x(8);
    SolverParameters solver;
    NewtonParameters newton;
    solver.relative_tolerance = 1e-10;
    const auto kept           = equilibrium(x, solver, newton);
    kept->set_reuse_limit(1.2);
    const auto solve = [&](StaticEquilibrium<3> &eq, const double contrast) {
      eq.solve(with_ball(x, contrast));
      Vector u = eq.context(0).state.u;
      u.zero_out_ghost_values();
      return u;
    };
    const auto difference = [](Vector a, const Vector &b) {
      a -= b;
      return a.linfty_norm() / b.linfty_norm();
    };
    solve(*kept, 1);
    for (const double contrast : {1.1, 1.3})
      {
        const auto fresh = equilibrium(x, solver, newton);
        EXPECT_LT(difference(solve(*kept, contrast), solve(*fresh, contrast)),
                  1e-8);
      }
    EXPECT_EQ(kept->counts.set_ups, 1u);

    // A problem that takes over goes on with the same numbers.
    const auto copy = equilibrium(x, solver, newton);
    copy->set_reuse_limit(1.2);
    copy->restore(with_ball(x, 1.3), kept->states());
    copy->restore_solver_state(kept->solver_state());
    EXPECT_EQ(copy->counts.set_ups, 0u);
    EXPECT_EQ(difference(solve(*kept, 1.5), solve(*copy, 1.5)), 0.);
    EXPECT_EQ(copy->counts.set_ups, 0u);

    // Far away they no longer serve, and new ones are made.
    solve(*kept, 1e3);
    solve(*kept, 2e3);
    EXPECT_GT(kept->counts.set_ups, 1u);
    const auto fresh = equilibrium(x, solver, newton);
    EXPECT_LT(difference(solve(*kept, 3e3), solve(*fresh, 3e3)), 1e-7);
  }
} // namespace Palpate
