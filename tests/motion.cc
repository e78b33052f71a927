// Motion in time against what is known: the modes of a small body, which move
// as cos(omega t); free flight; energy.

#include <deal.II/lac/full_matrix.h>
#include <deal.II/lac/lapack_full_matrix.h>

#include <gtest/gtest.h>

#include <cmath>

#include "moving.h"

using namespace Palpate;

namespace
{
  template <int dim>
  double
  limit_of(const Moving<dim> &m)
  {
    Vector seed;
    return stable_step(*m.body, m.state, seed);
  }

  /// The lowest mode of M u'' + K u = 0 by dense linear algebra (one rank).
  struct Mode
  {
    double              omega, highest;
    std::vector<double> shape; ///< of all local DoFs, largest entry 1
  };
  template <int dim>
  Mode
  lowest_mode(Moving<dim> &m)
  {
    std::vector<unsigned int> free;
    for (unsigned int i = 0; i < m.x.constrained.size(); ++i)
      if (!m.x.constrained[i])
        free.push_back(i);
    const unsigned int               n = free.size();
    dealii::LAPACKFullMatrix<double> K(n, n), M(n, n);
    State                            rest;
    rest.u = ghosted_copy(m.x.D.make_vector());
    for (unsigned int j = 0; j < n; ++j)
      {
        Vector e = ghosted_copy(m.x.D.make_vector()), Ke = m.x.D.make_vector(),
               Me                = Ke;
        e.local_element(free[j]) = 1;
        m.equilibrium->forces[0]->apply_tangent(m.body->context(rest), e, Ke);
        m.body->inertia.mass.vmult_add(m.x.fields["density"], e, Me);
        for (unsigned int i = 0; i < n; ++i)
          {
            K(i, j) = Ke.local_element(free[i]);
            M(i, j) = Me.local_element(free[i]);
          }
      }
    std::vector<dealii::Vector<double>> shapes(1, dealii::Vector<double>(n));
    K.compute_generalized_eigenvalues_symmetric(M, shapes);
    Mode result{std::sqrt(K.eigenvalue(0).real()),
                std::sqrt(K.eigenvalue(n - 1).real()),
                std::vector<double>(m.x.constrained.size(), 0.)};
    for (unsigned int i = 0; i < n; ++i)
      result.shape[free[i]] = shapes[0][i] / shapes[0].linfty_norm();
    return result;
  }

  /// Error of the displacement after a period and a third of the lowest mode.
  /// @param zeta damping ratio by a viscosity proportional to the elasticity
  double
  mode_error(const std::string &integrator,
             const unsigned int steps,
             const bool         lumped,
             const double       zeta = 0)
  {
    Moving<2>    m("linear elastic", 2, lumped, true, 1, false, zeta > 0);
    const Mode   mode = lowest_mode(m);
    const double end  = 1.3 * 2 * dealii::numbers::PI / mode.omega;
    // Small enough for the strain rate of a large motion to be linear.
    const double size = zeta > 0 ? 1e-6 : 0.01;
    for (unsigned int i = 0; i < mode.shape.size(); ++i)
      m.state.u.local_element(i) = size * mode.shape[i];
    if (zeta > 0)
      {
        const double beta = 2 * zeta / mode.omega, E = 1000, nu = 0.3;
        m.body->fields["shear_viscosity"] =
          Field(m.x.D.n_cells(), beta * E / (2 * (1 + nu)));
        m.body->fields["dilatational_viscosity"] =
          Field(m.x.D.n_cells(), beta * E * nu / ((1 + nu) * (1 - 2 * nu)));
      }
    m.run(integrator, end / steps, end);
    const double slow = mode.omega * std::sqrt(1 - zeta * zeta);
    const double exact =
      std::exp(-zeta * mode.omega * end) *
      (std::cos(slow * end) + zeta * mode.omega / slow * std::sin(slow * end));
    double worst = 0;
    for (unsigned int i = 0; i < mode.shape.size(); ++i)
      worst = std::max(worst,
                       std::abs(m.state.u.local_element(i) / size -
                                mode.shape[i] * exact));
    return worst;
  }
} // namespace

TEST(Motion, OrderOfIntegrators)
{
  if (dealii::Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD) > 1)
    GTEST_SKIP() << "dense modes are found on one rank";
  const std::map<std::string, double> orders = {{"implicit euler", 1},
                                                {"bdf2", 2},
                                                {"symplectic euler", 1},
                                                {"velocity verlet", 2}};
  // imex, of networks: tests/mass_springs.cc
  EXPECT_EQ(orders.size() + 1, Registry<Integrator<2>>::items().size())
    << "expected the order of every registered integrator here";
  for (const auto &[name, order] : orders)
    for (const bool lumped : {true, false})
      {
        const bool is_explicit =
          Registry<Integrator<2>>::create(name)->is_explicit();
        if (is_explicit && !lumped)
          continue;
        const unsigned int n      = is_explicit ? 200 : 1000;
        const double       coarse = mode_error(name, n, lumped),
                     fine         = mode_error(name, 2 * n, lumped);
        EXPECT_NEAR(std::log2(coarse / fine), order, 0.06)
          << name << ", errors " << coarse << " and " << fine;
        EXPECT_LT(fine, order == 1 ? 0.05 : 1e-3) << name;
      }
}

// A mode with strain-rate damping decays as theory says; the velocity in BDF2
// keeps its order, an explicit one costs Verlet its second.
TEST(Motion, OrderWithViscosity)
{
  if (dealii::Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD) > 1)
    GTEST_SKIP() << "dense modes are found on one rank";
  for (const auto &[name, item] : Registry<Integrator<2>>::items())
    {
      if (name == "imex")
        continue; // of networks
      const bool is_explicit =
        Registry<Integrator<2>>::create(name)->is_explicit();
      const unsigned int n      = is_explicit ? 400 : 300;
      const double       coarse = mode_error(name, n, true, 0.05),
                   fine         = mode_error(name, 2 * n, true, 0.05);
      EXPECT_NEAR(std::log2(coarse / fine), name == "bdf2" ? 2 : 1, 0.1)
        << name << ", errors " << coarse << " and " << fine;
      EXPECT_LT(fine, name == "bdf2" ? 1e-3 : 0.03) << name;
    }
}

// What viscosity and friction take out is missing in the energy.
TEST(Motion, LossesAreCounted)
{
  for (const auto &[name, item] : Registry<Integrator<2>>::items())
    {
      if (name == "imex")
        continue; // of networks
      const bool is_explicit =
        Registry<Integrator<2>>::create(name)->is_explicit();
      Moving<2> m("neo-hookean", 2, is_explicit, false, 1, true, true);
      m.state.v = random_vector(m.x.D, 9, 0.3);
      for (unsigned int n = 0; n < m.x.D.n_nodes(); ++n)
        m.state.v.local_element(n * 2) += 1;
      const double before = m.body->energy(m.state).total();
      m.run(name, is_explicit ? 2e-5 : 1e-4, 0.05);
      const double lost = m.x.D.sum(m.stepper->lost);
      EXPECT_GT(lost, 0.01 * before) << name;
      // Implicit Euler loses some by itself.
      EXPECT_NEAR(before - m.body->energy(m.state).total(),
                  lost,
                  (name == "implicit euler" ? 0.1 : 0.01) * lost)
        << name;
    }
}

TEST(Motion, FreeFlight)
{
  for (const auto &[name, item] : Registry<Integrator<3>>::items())
    {
      if (name == "imex")
        continue; // of networks
      const bool is_explicit =
        Registry<Integrator<3>>::create(name)->is_explicit();
      Moving<3> m("neo-hookean", 2, is_explicit, false);
      m.state.v = random_vector(m.x.D, 9, 0.3); // deforms
      for (unsigned int n = 0; n < m.x.D.n_nodes(); ++n)
        {
          const auto X = m.x.D.node_position(n); // flies and turns
          m.state.v.local_element(n * 3) += 1 - 2 * X[1];
          m.state.v.local_element(n * 3 + 1) += 0.5 + 2 * X[0];
        }
      const auto   before = m.momentum();
      const double energy = m.body->energy(m.state).total();
      m.run(name, 1e-3, 0.1);
      const auto after = m.momentum();
      for (unsigned int d = 0; d < 3; ++d)
        EXPECT_NEAR(after[d], before[d], 1e-10 * std::abs(before[0])) << name;
      if (is_explicit)
        {
          EXPECT_NEAR(after[3], before[3], 1e-10 * std::abs(before[3])) << name;
          EXPECT_NEAR(m.body->energy(m.state).total() / energy, 1, 0.02)
            << name;
        }
      EXPECT_GT(m.body->energy(m.state).elastic, 1e-4 * energy) << name;
    }
}

// The energy of a symplectic motion stays where it is over 10^6 steps
// (10^5 in Debug) of a large motion; that of an unstable one would not be
// finite.
TEST(Motion, EnergyStays)
{
  if (dealii::Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD) > 1)
    GTEST_SKIP() << "one cell on one rank is enough";
  for (const std::string name : {"symplectic euler", "velocity verlet"})
    {
      Moving<2> m("stable neo-hookean", 1, true);
      m.state.v = random_vector(m.x.D, 9, 0.5);
      for (unsigned int i = 0; i < m.x.constrained.size(); ++i)
        if (m.x.constrained[i])
          m.state.v.local_element(i) = 0;
      const double h     = 0.1 * limit_of(m);
      const double start = m.body->energy(m.state).total();
      double       worst = 0, last = 0;
      for (unsigned int part = 0; part < (is_debug ? 10 : 100); ++part)
        {
          m.run(name, h, 10000 * h);
          last = m.body->energy(m.state).total() / start - 1;
          EXPECT_TRUE(std::isfinite(last)) << name;
          worst = std::max(worst, std::abs(last));
        }
      EXPECT_LT(worst, name == "velocity verlet" ? 0.01 : 0.1) << name;
    }
}

// exp(-rate t) of a rigid flight, and the energy that is lost.
TEST(Motion, Damping)
{
  for (const std::string name : {"symplectic euler", "velocity verlet"})
    {
      Moving<2> m("neo-hookean", 2, true, false);
      for (unsigned int n = 0; n < m.x.D.n_nodes(); ++n)
        m.state.v.local_element(n * 2) = 1;
      const double before = m.body->energy(m.state).total();
      m.run(name, 1e-3, 0.2, 3.);
      EXPECT_NEAR(m.state.v.local_element(0), std::exp(-0.6), 1e-12) << name;
      EXPECT_NEAR(m.body->energy(m.state).total() + m.x.D.sum(m.stepper->lost),
                  before,
                  1e-10 * before)
        << name;
    }
}

// The published damping: a factor of every substep.
TEST(Motion, DampingFactor)
{
  for (const std::string name : {"symplectic euler", "velocity verlet"})
    {
      Moving<2> m("neo-hookean", 2, true, false);
      for (unsigned int n = 0; n < m.x.D.n_nodes(); ++n)
        m.state.v.local_element(n * 2) = 1;
      const double before   = m.body->energy(m.state).total();
      m.time.substeps       = 5;
      m.time.damping_factor = 0.99;
      m.run(name, 1e-3, 0.02);
      EXPECT_NEAR(m.state.v.local_element(0), std::pow(0.99, 100), 1e-12)
        << name;
      EXPECT_NEAR(m.body->energy(m.state).total() + m.x.D.sum(m.stepper->lost),
                  before,
                  1e-10 * before)
        << name;
    }
}

// Friction whose slope at rest is beyond what a kick resolves turns the
// velocities of what should rest around for ever (in Verlet from one half kick
// to the other); else it does not.
TEST(Motion, FrictionThatChatters)
{
  for (const std::string name : {"symplectic euler", "velocity verlet"})
    for (const double friction : {1., 8.})
      {
        Moving<2> m("neo-hookean", 2, true, false, 1, true, true);
        m.body->fields["ground_friction"] = body_field(friction);
        const double step                 = 0.002;
        m.run(name, step, 1000 * step, 1.); // to where it rests or creeps
        const double chatter =
          dealii::Utilities::MPI::max(m.stepper->chatter, m.x.D.comm);
        double turns = 0;
        for (unsigned int i = 0; i < 20; ++i)
          {
            const Vector before = m.state.v;
            m.run(name, step, step, 1.);
            for (unsigned int n = 0; n < m.x.D.n_owned_nodes(); ++n)
              turns +=
                m.x.D.node_position(n)[1] < 0.1 &&
                before.local_element(n * 2) * m.state.v.local_element(n * 2) <
                  0;
          }
        turns = m.x.D.sum(turns);
        EXPECT_EQ(chatter > 2, friction == 8) << name << ": " << chatter;
        if (name == "symplectic euler")
          EXPECT_EQ(turns > 10, friction == 8) << turns;
      }
}

TEST(Motion, UnstableStepIsRefused)
{
  Moving<2>    m("linear elastic", 2, true);
  const double limit = limit_of(m);
  EXPECT_THROW(m.run("symplectic euler", 1.01 * limit, 10 * limit), EntryError);
  if (dealii::Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD) > 1)
    return;
  const double exact = 2 / lowest_mode(m).highest;
  EXPECT_LT(limit, exact);
  EXPECT_GT(limit, 0.97 * exact);
}

// Inertia is a force like any other: its derivatives.
TEST(Motion, InertiaDerivatives)
{
  for (const unsigned int degree : {1, 2})
    for (const bool lumped : {true, false})
      {
        const Sample<3> x(2, degree);
        InertiaForce<3> inertia(x.D, lumped);
        inertia.c = 30;
        inertia.w = random_vector(x.D, 21, 5);
        for (const auto &v :
             verify_force<3>("inertia", inertia, x.context(), 100))
          EXPECT_TRUE(v.passed())
            << v.derivative << ": " << v.taylor.text() << ", degree " << degree;
        // All the mass is there.
        Vector ones = x.D.make_vector(), M1 = ones;
        ones = 1.;
        ones.update_ghost_values();
        inertia.mass.vmult_add(x.fields["density"], ones, M1);
        double mass = 0;
        for (unsigned int k = 0; k < x.D.n_owned_cells(); ++k)
          mass += x.D.volume[k] * x.fields["density"][k];
        ones.zero_out_ghost_values();
        EXPECT_NEAR(M1 * ones, 3 * x.D.sum(mass), 1e-12 * M1.l2_norm());
      }
}
