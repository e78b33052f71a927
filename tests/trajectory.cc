// Gradients through all steps of a motion, by everything a motion depends on.

#include <palpate/inverse/reduced_functional.h>
#include <palpate/time_integration/trajectory.h>

#include <gtest/gtest.h>

#include <cmath>

#include "moving.h"

using namespace Palpate;

namespace
{
  const std::vector<std::string> every_checkpoint = {"all",
                                                     "evenly",
                                                     "binomial"};

  /// J(fields) = sum over snapshots of a misfit to random displacements.
  template <int dim>
  struct Observed
  {
    Observed(Moving<dim>       &moving,
             const std::string &integrator,
             const double       step,
             const unsigned int n_steps,
             const unsigned int substeps,
             const std::string &checkpoints  = "all",
             const double       memory_limit = 4)
      : moving(moving)
    {
      const auto add = [&](const double                             weight,
                           const std::string                       &name,
                           const std::map<std::string, std::string> entries) {
        terms.push_back(
          {make_term<Objective<dim>>(name, entries), weight, name});
      };
      add(1, "Displacement misfit", {{"Relative", "false"}, {"Norm", "L2"}});
      add(1, "Centre of mass", {{"Target", "0.3, 0.1, 0.2"}});
      add(1, "Height", {});
      if (const auto *law = dynamic_cast<const StressLaw<dim> *>(
            moving.body->equilibrium.forces[0].get()))
        {
          add(1e-4, "Stress norm", {{"Exponent", "4"}});
          add(1e-6, "Stress bound", {{"Bound", "1"}});
          for (auto &term : terms)
            term.objective->use_material(law);
        }
      time.integrator                       = integrator;
      time.step                             = step;
      time.end                              = n_steps * step;
      time.substeps                         = substeps;
      time.checkpoints                      = checkpoints;
      time.memory_limit                     = memory_limit;
      const std::vector<unsigned int> steps = {n_steps / 2, n_steps};
      snapshots.resize(steps.size());
      for (unsigned int s = 0; s < steps.size(); ++s)
        {
          snapshots[s].frames   = moving.x.snapshots[0].frames;
          snapshots[s].observed = random_vector(moving.x.D, 70 + s, 0.1);
          snapshots[s].observation_weight.assign(moving.x.D.n_nodes(), 1.);
        }
      trajectory =
        std::make_unique<Trajectory<dim>>(*moving.body, time, snapshots, steps);
    }

    double
    value(const Fields &fields)
    {
      trajectory->solve(fields);
      double sum = 0;
      for (unsigned int s = 0; s < snapshots.size(); ++s)
        for (const auto &term : terms)
          sum += term.weight * term.objective->value(trajectory->context(s));
      return sum;
    }

    /// After value().
    FieldDuals
    gradient(const Fields &fields)
    {
      FieldDuals          g(fields);
      std::vector<Vector> rhs(snapshots.size()), none(snapshots.size());
      for (unsigned int s = 0; s < snapshots.size(); ++s)
        {
          rhs[s] = moving.x.D.make_vector();
          for (const auto &term : terms)
            {
              const auto context = trajectory->context(s);
              term.objective->state_gradient(context, term.weight, rhs[s]);
              term.objective->field_gradient(context, term.weight, g);
            }
        }
      trajectory->add_gradient(rhs, none, g);
      return g;
    }

    Moving<dim>                     &moving;
    std::vector<WeightedTerm<dim>>   terms;
    TimeParameters                   time;
    std::vector<Snapshot<dim>>       snapshots;
    std::unique_ptr<Trajectory<dim>> trajectory;
  };

  /// Everything a motion depends on.
  template <int dim>
  Fields
  all_fields(const Moving<dim> &m, const bool is_explicit)
  {
    Fields fields = m.x.fields;
    for (const char *name : {"initial_displacement", "initial_velocity"})
      {
        const Vector v = random_vector(m.x.D,
                                       name[8] == 'd' ? 31 : 32,
                                       name[8] == 'd' ? 0.03 : 0.3);
        Field        f(m.x.D.n_nodes() * dim);
        f.place = Place::nodes;
        for (unsigned int i = 0; i < f.values.size(); ++i)
          f[i] = v.local_element(i);
        fields[name] = f;
      }
    if (is_explicit)
      fields["damping_rate"] = body_field(2.);
    return fields;
  }

  /// A direction for one field.
  template <int dim>
  Fields
  direction(const Moving<dim> &m, const Fields &fields, const std::string &name)
  {
    Fields d;
    d[name] = fields[name];
    if (fields[name].place == Place::cells)
      {
        const Field r = random_field(m.x.D, 50, 1, 0.5);
        for (unsigned int k = 0; k < m.x.D.n_cells(); ++k)
          d[name][k] *= 0.6 * (r[k] - 1);
      }
    else if (fields[name].place == Place::nodes)
      {
        const Vector v = random_vector(m.x.D, 51, 0.02);
        for (unsigned int i = 0; i < d[name].values.size(); ++i)
          d[name][i] = v.local_element(i);
      }
    else if (name == "damping_factor") // of a substep, of which there are many
      d[name][0] *= -0.005;
    return d;
  }

  template <int dim>
  void
  test_gradient(const std::string &material,
                const std::string &integrator,
                const unsigned int degree       = 1,
                const bool         with_losses  = false,
                const bool         direct       = true,
                const bool         with_charges = false)
  {
    const bool is_explicit =
      Registry<Integrator<dim>>::create(integrator)->is_explicit();
    Moving<dim> m(
      material, 2, is_explicit, true, degree, true, with_losses, with_charges);
    m.solver.direct = direct;
    if (material != "linear elastic")
      m.newton.relative_tolerance = 1e-13;
    Fields fields = all_fields(m, is_explicit);
    if (is_explicit && !with_losses) // (a run has one of the two)
      fields["damping_factor"] = body_field(0.9995);
    Observed<dim>    J(m, integrator, 0.02, 6, is_explicit ? 20 : 1);
    const double     at = J.value(fields);
    const FieldDuals g  = J.gradient(fields);
    for (const auto &[name, field] : fields)
      {
        if (name == "hounsfield" ||
            (name == "poisson_ratio" && material == "sms"))
          continue;
        const Fields d     = direction(m, fields, name);
        const double slope = dot(m.x.D, g, d);
        EXPECT_NE(slope, 0.) << name;
        const auto moved = [&](const double t) {
          Fields f = fields;
          for (unsigned int i = 0; i < f[name].values.size(); ++i)
            f[name][i] += t * d[name][i];
          return f;
        };
        const auto taylor = taylor_test(
          [&](const double t) {
            return std::abs(J.value(moved(t)) - at - t * slope);
          },
          std::abs(at),
          std::abs(slope));
        EXPECT_TRUE(taylor.passed(1.9, 2.1))
          << material << ", " << integrator << ", " << name << ": "
          << taylor.text();
        // Agreement to 1e-7 with central differences of fourth order.
        const auto odd = [&](const double t) {
          return (J.value(moved(t)) - J.value(moved(-t))) / (2 * t);
        };
        const double h = 2e-3, difference = (4 * odd(h) - odd(2 * h)) / 3;
        EXPECT_NEAR(difference / slope, 1, 1e-7)
          << material << ", " << integrator << ", " << name;
      }
  }
} // namespace

TEST(Trajectory, GradientsIn2D)
{
  for (const auto &[integrator, item] : Registry<Integrator<2>>::items())
    if (integrator != "imex") // of networks
      for (const std::string material :
           {"linear elastic", "neo-hookean", "sms"})
        test_gradient<2>(material, integrator);
}

TEST(Trajectory, GradientsIn3D)
{
  for (const auto &[integrator, item] : Registry<Integrator<3>>::items())
    if (integrator != "imex") // of networks
      test_gradient<3>("stable neo-hookean", integrator);
}

TEST(Trajectory, GradientsWithQuadraticDisplacements)
{
  for (const auto &[integrator, item] : Registry<Integrator<2>>::items())
    if (integrator != "imex") // of networks
      test_gradient<2>("neo-hookean", integrator, 2);
}

// Viscosity and friction: forces that depend on the velocity, matrices that are
// not symmetric; with the direct solver, and with GMRES.
TEST(Trajectory, GradientsWithLosses)
{
  for (const auto &[integrator, item] : Registry<Integrator<2>>::items())
    if (integrator != "imex") // of networks
      {
        test_gradient<2>("neo-hookean", integrator, 1, true);
        if (is_debug && integrator != "bdf2") // it takes minutes
          continue;
        test_gradient<2>("linear elastic", integrator, 2, true);
        test_gradient<3>("stable neo-hookean", integrator, 1, true, false);
      }
}

// Forces between all vertices, in explicit steps; by their charges too.
TEST(Trajectory, GradientsWithCharges)
{
  for (const char *integrator : {"symplectic euler", "velocity verlet"})
    test_gradient<3>("stable neo-hookean", integrator, 1, false, true, true);
}

// Steps computed again are the same steps: the gradient agrees bit by bit.
TEST(Trajectory, CheckpointsChangeNothing)
{
  for (const auto &[integrator, item] : Registry<Integrator<2>>::items())
    if (integrator != "imex") // of networks
      {
        const bool is_explicit =
          Registry<Integrator<2>>::create(integrator)->is_explicit();
        std::vector<double> first;
        for (const std::string &checkpoints : every_checkpoint)
          {
            Moving<2>    m("neo-hookean", 2, is_explicit);
            const Fields fields = all_fields(m, is_explicit);
            // Room for 8 states, or for 5.
            const double vector =
              8e-9 * m.x.D.n_nodes() * 2 *
              dealii::Utilities::MPI::n_mpi_processes(m.x.D.comm);
            const unsigned int past =
              Registry<Integrator<2>>::create(integrator)->n_past();
            TimeParameters substeps;
            substeps.substeps    = is_explicit ? 10 : 1;
            const double working = Registry<Integrator<2>>::create(integrator)
                                     ->n_reverse_vectors(substeps);
            const unsigned int room = checkpoints == "all"      ? 30
                                      : checkpoints == "evenly" ? 8
                                                                : 3;
            Observed<2>        J(m,
                          integrator,
                          0.01,
                          25,
                          is_explicit ? 10 : 1,
                          checkpoints,
                          1.2 * vector * (working + 2 * past * room));
            J.value(fields);
            const FieldDuals    g = J.gradient(fields);
            std::vector<double> all;
            for (const auto &[name, field] : g)
              all.insert(all.end(), field.values.begin(), field.values.end());
            if (first.empty())
              first = all;
            EXPECT_EQ(J.trajectory->plan.n_again() > 0, checkpoints != "all");
            const bool alone =
              dealii::Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD) == 1;
            EXPECT_TRUE(!alone || all == first)
              << integrator << ", " << checkpoints;
            for (unsigned int i = 0; i < all.size(); ++i)
              ASSERT_NEAR(all[i], first[i], 1e-9 * std::abs(first[i]) + 1e-14);
          }
      }
}

TEST(Trajectory, MemoryThatIsTooSmall)
{
  Moving<2> m("neo-hookean", 2, false);
  EXPECT_THROW(Observed<2>(m, "bdf2", 0.01, 25, 1, "all", 1e-6), EntryError);
}

// The plans against the least work there is, found by trying everything.
TEST(Checkpoints, LeastWork)
{
  const unsigned int                      N = 40, S = 8;
  std::vector<std::vector<unsigned long>> least(
    S + 1, std::vector<unsigned long>(N + 1, 0));
  // From one state, kept already or not: all but the first sweep counts.
  for (unsigned int n = 2; n <= N; ++n)
    for (unsigned int s = 0; s <= S; ++s)
      {
        least[s][n] = n * (n - 1ul) / 2;
        for (unsigned int m = 1; s > 0 && m < n; ++m)
          least[s][n] =
            std::min(least[s][n], m + least[s - 1][n - m] + least[s][m]);
      }
  for (unsigned int n = 1; n <= N; ++n)
    for (unsigned int s = 0; s <= S; ++s)
      for (const auto kind : {CheckpointPlan::Kind::all,
                              CheckpointPlan::Kind::evenly,
                              CheckpointPlan::Kind::binomial})
        {
          if (s < CheckpointPlan::n_needed(kind, n))
            continue;
          const CheckpointPlan plan(kind, n, s);
          // The forward run keeps what it says; then follow the actions.
          std::set<unsigned int> kept = {0};
          for (unsigned int step = 1; step < n; ++step)
            if (plan.keeps(step))
              kept.insert(step);
          unsigned long again = 0;
          unsigned int  next = n, most = kept.size();
          plan.reverse({[&](unsigned int a, unsigned int b, bool all) {
                          ASSERT_TRUE(kept.count(a));
                          for (unsigned int i = all ? a + 1 : b; i <= b; ++i)
                            kept.insert(i);
                          again += b - a;
                          most = std::max<unsigned int>(most, kept.size());
                        },
                        [&](unsigned int step) {
                          ASSERT_TRUE(kept.count(step));
                          ASSERT_EQ(step + 1, next);
                          next = step;
                        },
                        [&](unsigned int step) { kept.erase(step); }});
          EXPECT_EQ(next, 0u);
          EXPECT_EQ(again, plan.n_again());
          // The state at work, where nothing is free, is no checkpoint.
          EXPECT_LE(most, s + 2) << n << " steps, " << s << " slots";
          EXPECT_TRUE(kind != CheckpointPlan::Kind::all || again == 0);
          if (kind == CheckpointPlan::Kind::binomial)
            {
              // The first sweep over the kept states is the forward run.
              unsigned long sweep = 0;
              for (unsigned int step = 1; step < n; ++step)
                if (plan.keeps(step))
                  sweep = step;
              EXPECT_EQ(again + sweep, least[s][n]) << n << ", " << s;
            }
        }
}
