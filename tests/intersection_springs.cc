// The nonlinear springs against independent things: a tetrahedron by hand, the
// quadratic SMS at rest, dense eigenvalues, finite differences.

#include <deal.II/lac/lapack_full_matrix.h>

#include <palpate/forces/springs/sms.h>
#include <palpate/inverse/reduced_functional.h>

#include <gtest/gtest.h>

#include <cmath>
#include <iomanip>

#include "sample.h"

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    const std::map<std::string, std::string> all_terms = {
      {"Shear springs", "true"},
      {"Volume term", "true"},
      {"Poisson ratio", "0.2"}};

    template <int dim>
    std::unique_ptr<StaticEquilibrium<dim>>
    make_springs(const Sample<dim>                        &x,
                 const std::map<std::string, std::string> &entries,
                 const SolverParameters                   &solver,
                 const NewtonParameters                   &newton)
    {
      std::vector<std::unique_ptr<Force<dim>>> forces;
      forces.push_back(make_term<Force<dim>>("intersection springs", entries));
      return std::make_unique<StaticEquilibrium<dim>>(x.D,
                                                      x.constrained,
                                                      x.snapshots,
                                                      std::move(forces),
                                                      solver,
                                                      newton,
                                                      x.log);
    }

    /// The free-free matrix as a dense one (one rank).
    template <int dim>
    LAPACKFullMatrix<double>
    dense(const TangentMatrix<dim> &K)
    {
      std::vector<unsigned int> free;
      for (unsigned int i = 0; i < K.discretization.n_nodes() * dim; ++i)
        if (!K.constrained[i])
          free.push_back(i);
      LAPACKFullMatrix<double> A(free.size());
      for (unsigned int i = 0; i < free.size(); ++i)
        for (unsigned int j = 0; j < free.size(); ++j)
          A(i, j) = K.matrix().el(free[i], free[j]);
      return A;
    }

    /// Largest |ext| / L0 of the axial springs.
    template <int dim>
    double
    largest_extension(const Sample<dim> &x, const Context<dim> &c)
    {
      double                      largest = 0;
      std::vector<Tensor<1, dim>> u;
      for (unsigned int k = 0; k < x.D.n_owned_cells(); ++k)
        {
          x.D.gather(c.state.u, k, u);
          const CellSprings<dim> springs(x.D.barycentric_gradients(k),
                                         x.snapshots[0].frames[k],
                                         0);
          for (unsigned int s = 0; s < dim; ++s)
            {
              const double length =
                (x.D.deformation_gradient(u, k, 0) * springs.vector[s]).norm();
              largest =
                std::max(largest, std::abs(length / springs.length[s] - 1));
            }
        }
      return Utilities::MPI::max(largest, MPI_COMM_WORLD);
    }
  } // namespace

  // Vertices 0, e1, e2, e3 and the coordinate axes: the springs are half edges,
  // Delta_l = (x_l - x_0) / 2. Moving vertex 1 to (1 + a) e1 stretches the
  // first by a/2; with k = 3 it pulls vertex 1 with 3 (a/2) (1/2), and the
  // block of vertex 1 is 3/4 [n n^T + a/(1 + a) (I - n n^T)].
  TEST(IntersectionSprings, OneTetrahedronByHand)
  {
    SerialMesh<3> mesh;
    mesh.vertices = {{0, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    mesh.cells    = {{{0, 1, 2, 3}}};
    mesh.labels   = {1};
    if (Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD) > 1)
      GTEST_SKIP() << "one cell, one rank";
    const Discretization<3>  D(mesh, 1, MPI_COMM_WORLD);
    const double             a = 0.5, k = 3;
    std::vector<Snapshot<3>> snapshots(1);
    snapshots[0].frames = {Tensor<2, 3>(unit_symmetric_tensor<3>())};
    State state;
    state.u = D.interpolate_vertices({0, 0, 0, a, 0, 0, 0, 0, 0, 0, 0, 0});
    Fields fields;
    fields["spring_stiffness"] = Field(1, k, 3);
    const std::vector<char> constrained(12, 0);
    const Context<3>        c{D, state, fields, snapshots[0], constrained};
    const auto              force = make_term<Force<3>>("intersection springs");
    EXPECT_NEAR(force->energy(c), k / 2 * a * a / 4, 1e-15);
    Vector h = D.make_vector();
    force->residual(c, h);
    const auto at = D.gather_vertices(h);
    for (unsigned int i = 0; i < 12; ++i)
      EXPECT_NEAR(at[i], i == 0 ? -k * a / 4 : i == 3 ? k * a / 4 : 0, 1e-15);
    TangentMatrix<3>    K(D, constrained);
    std::vector<double> e(12, 0.);
    for (unsigned int j = 0; j < 3; ++j)
      {
        e.assign(12, 0.);
        e[3 + j] = 1;
        K.set_zero();
        force->add_tangent(c, Tangent::consistent, K);
        Vector x = D.interpolate_vertices(e), Kx = D.make_vector();
        x.zero_out_ghost_values();
        K.matrix().vmult(Kx, x);
        const auto column = D.gather_vertices(Kx);
        // Springs at rest (axes 2 and 3) do not see vertex 1.
        const double expected = k / 4 * (j == 0 ? 1. : a / (1 + a));
        for (unsigned int i = 0; i < 12; ++i)
          EXPECT_NEAR(column[i],
                      i == 3 + j ? expected
                      : i == j   ? -expected
                                 : 0,
                      1e-15);
      }
  }

  // Axial springs with k = 4 alpha V / L0^2 at rest are SMS without shear and
  // volume measurements.
  template <int dim>
  void
  compare_with_sms()
  {
    const Sample<dim> x(2);
    State             rest;
    rest.u = ghosted_copy(x.D.make_vector());
    const Context<dim> c{x.D, rest, x.fields, x.snapshots[0], x.constrained};
    SmsForce<dim, SmsMaterial<dim>> sms;
    sms.material.ratios.shear = sms.material.ratios.volume = 0;
    const auto springs = make_term<Force<dim>>("intersection springs");
    // Matrix times a vector, and the force of a tiny motion.
    Vector        a = x.D.make_vector(), b = a;
    const Vector &direction = x.state.u;
    sms.apply_tangent(c, direction, a);
    springs->apply_tangent(c, direction, b);
    const double size = a.l2_norm();
    b -= a;
    EXPECT_LT(b.l2_norm() / size, 1e-12);
    const auto force_at = [&](const double t) {
      State tiny;
      tiny.u = ghosted_copy(x.state.u);
      tiny.u.zero_out_ghost_values();
      tiny.u *= t;
      tiny.u.update_ghost_values();
      Vector f = x.D.make_vector();
      springs->residual({x.D, tiny, x.fields, x.snapshots[0], x.constrained},
                        f);
      return f;
    };
    Vector f = force_at(1e-5);
    f -= force_at(-1e-5); // leaves the third order
    f /= 2e-5;
    f -= a;
    EXPECT_LT(f.l2_norm() / size, 1e-8);
  }
  TEST(IntersectionSprings, EqualSmsAtRest)
  {
    compare_with_sms<2>();
    compare_with_sms<3>();
  }

  // k l^2 = b alpha V for every shear spring: four of them at 45 degrees have
  // the shear energy 4 (b alpha V / 2) eps_lm^2 = 2 b alpha V eps_lm^2 of SMS.
  TEST(IntersectionSprings, ShearSpringsHaveTheShearEnergyOfSms)
  {
    const double                      b = 1.7;
    std::array<Tensor<1, 2>, 3>       g;
    const std::array<Tensor<1, 2>, 3> x = {
      {Point<2>(1, 0.2), Point<2>(-0.7, 0.9), Point<2>(-0.3, -1.1)}};
    Tensor<2, 2> X;
    for (unsigned int d = 0; d < 2; ++d)
      {
        X[d][0] = x[1][d] - x[0][d];
        X[d][1] = x[2][d] - x[0][d];
      }
    const Tensor<2, 2> inverse = invert(X);
    g[1]                       = inverse[0];
    g[2]                       = inverse[1];
    g[0]                       = -1. * (g[1] + g[2]);
    const double         alpha = 1000, V = 0.5 * determinant(X);
    const Tensor<2, 2>   frame(unit_symmetric_tensor<2>());
    const CellSprings<2> springs(g, frame, b);
    EXPECT_EQ(springs.n, 6u);
    for (unsigned int s = 2; s < 6; ++s)
      {
        double k = 0;
        for (unsigned int l = 0; l < 2; ++l)
          k += springs.weight[s][l] * 4 * alpha * V /
               (springs.length[l] * springs.length[l]);
        EXPECT_NEAR(k * springs.length[s] * springs.length[s],
                    b * alpha * V,
                    1e-9);
        // Rest vector from the weights of the vertices.
        Tensor<1, 2> d;
        for (unsigned int a = 0; a < 3; ++a)
          d += springs.coefficient[s][a] * x[a];
        EXPECT_LT((d - springs.vector[s]).norm(), 1e-14);
      }
  }

  // Newton's last steps square the residual.
  TEST(IntersectionSprings, NewtonConvergesQuadratically)
  {
    const Sample<3>  x(3, 1, 1, 0.3);
    SolverParameters solver;
    solver.direct             = true;
    solver.relative_tolerance = 1e-13;
    NewtonParameters newton;
    newton.relative_tolerance = 1e-11;
    const auto body           = make_springs<3>(x, all_terms, solver, newton);
    body->solve(x.fields);
    const auto  &r      = body->newton_residuals();
    unsigned int checks = 0;
    for (std::size_t i = 1; i < r.size(); ++i)
      if (r[i - 1] < 1e-2 && r[i] > 1e-12)
        {
          EXPECT_LT(r[i], 20 * r[i - 1] * r[i - 1]) << "step " << i;
          ++checks;
        }
    EXPECT_GE(checks, 1u);
    EXPECT_LE(r.size(), 9u);
    EXPECT_LT(r.back(), 1e-11);
    EXPECT_EQ(body->n_negative_modes(0), 0u);
    // The stretch is what the test says: 30 % and more in some springs.
    EXPECT_GT(largest_extension(x, body->context(0)), 0.3);
  }

  // The gradient with the small-strain adjoint is right at rest only; with the
  // consistent one it agrees with differences at any extension. Prints the
  // table of doc/theory.md.
  TEST(IntersectionSprings, SmallStrainAdjointIsWrongAtLargeExtension)
  {
    if (Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
      std::cout << "stretch   largest extension   slope error: consistent   "
                   "small strain   gradient error: small strain"
                << std::endl;
    for (const double stretch : {1e-3, 1e-2, 0.1, 0.3, 0.5})
      {
        double              error[2], extension = 0;
        std::vector<double> gradients[2];
        for (const unsigned int small_strain : {0, 1})
          {
            Sample<3> x(3, 1, 1, stretch);
            // Observation and motion scale with the stretch.
            for (auto &s : x.snapshots)
              {
                s.observed = random_vector(x.D, 11, 0.1 * stretch);
                for (unsigned int i = 0; i < x.D.n_nodes(); ++i)
                  for (unsigned int d = 0; d < 3; ++d)
                    s.prescribed.local_element(i * 3 + d) =
                      d == 0 ? stretch * x.D.node_position(i)[0] : 0.;
              }
            SolverParameters solver;
            solver.direct             = true;
            solver.relative_tolerance = 1e-13;
            NewtonParameters newton;
            newton.relative_tolerance = 1e-13;
            auto entries              = all_terms;
            entries["Tangent"] = small_strain ? "small strain" : "consistent";
            const auto body    = make_springs<3>(x, entries, solver, newton);
            std::vector<WeightedTerm<3>> terms;
            terms.push_back({make_term<Objective<3>>("Displacement misfit",
                                                     {{"Relative", "true"}}),
                             1.,
                             "misfit"});
            const auto p =
              make_term<Parameterization<3>>("per spring",
                                             {{"Lower bound", "1e-3"}});
            p->bind(x.D, x.fields_of_springs());
            const Fields         none;
            ReducedFunctional<3> J(*body, *p, terms, none, MPI_COMM_WORLD);
            auto                 q = p->initial();
            std::vector<double>  g, v(q.size());
            J.gradient(q, g);
            gradients[small_strain] = g;
            extension               = largest_extension(x, body->context(0));
            double slope = 0, size = 0;
            for (unsigned int i = 0; i < q.size(); ++i)
              {
                v[i] = g[i]; // along the gradient
                size += v[i] * v[i];
              }
            size = std::sqrt(x.D.sum(size));
            for (unsigned int i = 0; i < q.size(); ++i)
              {
                v[i] /= size;
                slope += g[i] * v[i];
              }
            slope             = x.D.sum(slope);
            const double t    = 1e-3;
            const auto   move = [&](const double s) {
              auto y = q;
              for (unsigned int i = 0; i < q.size(); ++i)
                y[i] += s * v[i];
              return J.value(y);
            };
            // Central differences of fourth order.
            const double difference =
              (8 * (move(t) - move(-t)) - (move(2 * t) - move(-2 * t))) /
              (12 * t);
            error[small_strain] =
              std::abs(slope - difference) / std::abs(difference);
          }
        double difference = 0, size = 0;
        for (std::size_t i = 0; i < gradients[0].size(); ++i)
          {
            difference += std::pow(gradients[1][i] - gradients[0][i], 2);
            size += std::pow(gradients[0][i], 2);
          }
        difference = std::sqrt(Utilities::MPI::sum(difference, MPI_COMM_WORLD) /
                               Utilities::MPI::sum(size, MPI_COMM_WORLD));
        if (Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
          std::cout << std::setprecision(2) << std::setw(6) << stretch
                    << std::setw(15) << extension << std::setw(15) << error[0]
                    << std::setw(15) << error[1] << std::setw(15) << difference
                    << std::endl;
        EXPECT_LT(error[0], 1e-7);
        if (stretch <= 1e-3)
          {
            EXPECT_LT(error[1], 1e-2);
          }
        if (stretch >= 0.3)
          {
            EXPECT_GT(error[1], 1e-2);
          }
      }
  }

  TEST(IntersectionSprings, CollapsedSpringIsAnError)
  {
    const Sample<3> x(2);
    State           flat;
    flat.u = x.D.make_vector();
    for (unsigned int i = 0; i < x.D.n_nodes(); ++i)
      for (unsigned int d = 0; d < 3; ++d)
        flat.u.local_element(i * 3 + d) = -x.D.node_position(i)[d];
    flat.u.set_ghost_state(true);
    const Context<3> c{x.D, flat, x.fields, x.snapshots[0], x.constrained};
    const auto       force = make_term<Force<3>>("intersection springs");
    Vector           h     = x.D.make_vector();
    EXPECT_THROW(force->residual(c, h), SolverError);
    EXPECT_TRUE(std::isfinite(force->energy(c)));
  }

  // A straight column, squeezed beyond buckling, is an unstable equilibrium:
  // its negative modes are counted and its adjoint is still exact. The mesh,
  // the regions and so all states are symmetric.
  TEST(IntersectionSprings, UnstableEquilibrium)
  {
    ShapeDescription d;
    d.type          = "box";
    d.upper         = {{2.4, 0.2, 0.2}};
    d.subdivisions  = {{24, 2, 2}};
    d.tets_per_cube = 5;
    auto mesh       = generate_shape<3>(d);
    for (std::size_t k = 0; k < mesh.cells.size(); ++k)
      {
        double x = 0;
        for (const unsigned int v : mesh.cells[k])
          x += mesh.vertices[v][0] / 4;
        mesh.labels[k] = (x < 0.8 ? 1 : 2);
      }
    const Discretization<3>  D(mesh, 1, MPI_COMM_WORLD);
    std::vector<char>        constrained(D.n_nodes() * 3, 0);
    std::vector<Snapshot<3>> snapshots(1);
    auto                    &s = snapshots[0];
    s.frames.assign(D.n_cells(), Tensor<2, 3>(unit_symmetric_tensor<3>()));
    s.prescribed = ghosted_copy(D.make_vector());
    s.observed   = ghosted_copy(D.make_vector());
    s.observation_weight.assign(D.n_nodes(), 1.);
    for (unsigned int n = 0; n < D.n_nodes(); ++n)
      {
        const double x                    = D.node_position(n)[0];
        s.prescribed.local_element(n * 3) = -0.1 * x;
        s.observed.local_element(n * 3)   = -0.1 * x + 0.02 * std::sin(3 * x);
        if (x < 1e-9 || x > 2.4 - 1e-9)
          for (unsigned int i = 0; i < 3; ++i)
            constrained[n * 3 + i] = 1;
      }
    Fields fields;
    fields["stiffness"] = Field(D.n_cells(), 1000.);
    SolverParameters direct, iterative;
    direct.direct             = true;
    direct.relative_tolerance = iterative.relative_tolerance = 1e-12;
    iterative.maximum_iterations = 1; // so that they fail for certain
    NewtonParameters newton;
    newton.relative_tolerance = 1e-12;
    newton.load_steps = 10; // in small ones it stays on the straight path
    const ConditionalOStream log(std::cout, false);
    const auto               make = [&](const SolverParameters &solver) {
      std::vector<std::unique_ptr<Force<3>>> forces;
      forces.push_back(make_term<Force<3>>("intersection springs",
                                           {{"Shear springs", "true"}}));
      return std::make_unique<StaticEquilibrium<3>>(
        D, constrained, snapshots, std::move(forces), solver, newton, log);
    };
    const auto                   body = make(direct);
    std::vector<WeightedTerm<3>> terms;
    terms.push_back(
      {make_term<Objective<3>>("Displacement misfit"), 1., "misfit"});
    const auto p = make_term<Parameterization<3>>("per label");
    p->bind(D, fields);
    const Fields         none;
    ReducedFunctional<3> J(*body, *p, terms, none, MPI_COMM_WORLD);
    auto                 q = p->initial();
    std::vector<double>  g;
    J.gradient(q, g);
    EXPECT_GE(body->n_negative_modes(0), 2u); // two directions to buckle
    for (unsigned int i = 0; i < 2; ++i)
      {
        const double t    = 1e-4;
        const auto   move = [&](const double by) {
          auto y = q;
          if (y.size() > i) // unknowns of labels live on the first rank
            y[i] += by;
          return J.value(y);
        };
        const double difference = (move(t) - move(-t)) / (2 * t);
        if (!q.empty())
          {
            EXPECT_NEAR(g[i] / difference, 1., 1e-6);
          }
      }
    // Conjugate gradients cannot be trusted there: a direct solve steps in.
    J.value(q);
    const auto other = make(iterative);
    other->restore(fields, body->states());
    Vector rhs = random_vector(D, 3, 1), a, b;
    rhs.zero_out_ghost_values();
    body->solve_adjoint(0, rhs, a);
    other->solve_adjoint(0, rhs, b);
    EXPECT_EQ(other->n_direct, 1u);
    const double size = a.l2_norm();
    a.zero_out_ghost_values();
    a -= b;
    EXPECT_LT(a.l2_norm(), 1e-6 * size);
  }

  // Inertia, lowest eigenvalues and solves against dense linear algebra.
  TEST(SymmetricFactorization, AgainstDenseEigenvalues)
  {
    Sample<3>  x(2);
    State      state;
    const bool serial = Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD) == 1;
    for (const double squeeze : {0., 0.6})
      {
        // Squeezed springs have a negative geometric stiffness.
        state.u = x.D.make_vector();
        for (unsigned int i = 0; i < x.D.n_nodes(); ++i)
          for (unsigned int d = 0; d < 3; ++d)
            state.u.local_element(i * 3 + d) =
              -squeeze * x.D.node_position(i)[d];
        state.u.set_ghost_state(true);
        const Context<3> c{x.D, state, x.fields, x.snapshots[0], x.constrained};
        const auto       force = make_term<Force<3>>("intersection springs",
                                               {{"Shear springs", "true"}});
        TangentMatrix<3> K(x.D, x.constrained);
        K.set_zero();
        force->add_tangent(c, Tangent::consistent, K);
        const SymmetricFactorization<3> factors(K);
        Vector b = random_vector(x.D, 5, 1), y = x.D.make_vector();
        b.zero_out_ghost_values();
        for (unsigned int i = 0; i < x.D.n_owned_nodes() * 3; ++i)
          if (x.constrained[i])
            b.local_element(i) = 0;
        std::vector<Vector> solution = {b};
        factors.solve(solution);
        K.matrix().vmult(y, solution[0]);
        y -= b;
        EXPECT_LT(y.l2_norm(), 1e-10 * b.l2_norm());
        if (squeeze > 0)
          EXPECT_GT(factors.n_negative(), 0u);
        else
          EXPECT_EQ(factors.n_negative(), 0u);
        if (!serial)
          continue;
        auto                   A = dense(K);
        FullMatrix<double>     vectors;
        dealii::Vector<double> values;
        A.compute_eigenvalues_symmetric(-1e9, 1e9, 0., values, vectors);
        unsigned long negative = 0;
        for (const double e : values)
          negative += (e < 0);
        EXPECT_EQ(factors.n_negative(), negative);
        if (squeeze == 0)
          {
            const auto   lowest  = lowest_modes(K, 4);
            const double largest = values[values.size() - 1];
            for (unsigned int m = 0; m < 3; ++m)
              EXPECT_NEAR(lowest.eigenvalues[m] * largest / values[m],
                          1.,
                          m == 0 ? 1e-2 : 0.1);
            EXPECT_EQ(lowest.n_zero(), 0u);
          }
      }
  }

  // A body held at one corner only can turn: three zero-energy modes.
  TEST(SymmetricFactorization, FindsEveryZeroEnergyMode)
  {
    Sample<3> x(2);
    std::fill(x.constrained.begin(), x.constrained.end(), 0);
    for (unsigned int n = 0; n < x.D.n_nodes(); ++n)
      if (x.D.is_vertex(n) && x.D.node_vertices[n][0] == 0)
        for (unsigned int d = 0; d < 3; ++d)
          x.constrained[n * 3 + d] = 1;
    const auto force =
      make_term<Force<3>>("intersection springs", {{"Shear springs", "true"}});
    State rest;
    rest.u = ghosted_copy(x.D.make_vector());
    TangentMatrix<3> K(x.D, x.constrained);
    K.set_zero();
    force->add_tangent({x.D, rest, x.fields, x.snapshots[0], x.constrained},
                       Tangent::consistent,
                       K);
    const auto lowest = lowest_modes(K, 8);
    EXPECT_EQ(lowest.n_zero(), 3u);
    // A mode does not strain any cell.
    std::vector<Tensor<1, 3>> u;
    for (unsigned int m = 0; m < 3; ++m)
      for (unsigned int k = 0; k < x.D.n_owned_cells(); ++k)
        {
          x.D.gather(lowest.modes[m], k, u);
          EXPECT_LT(symmetrize(x.D.displacement_gradient(u, k, 0)).norm(),
                    1e-6);
        }
  }
} // namespace Palpate
