// Coulomb's forces between point charges: exact, by octree, by a grid.

#include <palpate/core/errors.h>
#include <palpate/core/taylor.h>
#include <palpate/forces/charges/electric_field.h>

#include <boost/random/mersenne_twister.hpp>
#include <boost/random/uniform_real_distribution.hpp>
#include <gtest/gtest.h>

#include <cmath>

using namespace Palpate;

namespace
{
  enum class Shape
  {
    cube,
    torus, ///< its surface
    clusters
  };

  /// @param mixed signs; else all are positive
  PointCharges
  some_charges(const std::size_t n, const Shape shape, const bool mixed)
  {
    boost::random::mt19937                     generator(7);
    boost::random::uniform_real_distribution<> uniform(0, 1);
    const auto   random = [&]() { return uniform(generator); };
    PointCharges charges;
    for (std::size_t i = 0; i < n; ++i)
      {
        const double a = 2 * M_PI * random(), b = 2 * M_PI * random(),
                     q = (mixed ? 2e-6 * random() - 1e-6 : 1e-6 * random());
        if (shape == Shape::cube)
          charges.add(random(), random(), random(), q);
        else if (shape == Shape::torus)
          charges.add((1 + 0.4 * std::cos(b)) * std::cos(a),
                      (1 + 0.4 * std::cos(b)) * std::sin(a),
                      0.4 * std::sin(b),
                      q);
        else
          {
            // Very different densities: what "adaptive" is for.
            const double size = std::pow(10., -3 * random());
            charges.add(size * random(), size * random(), 5 * size, q);
          }
      }
    return charges;
  }

  /// By the formula, in long double.
  FieldAtCharges
  exact(const PointCharges &charges)
  {
    const std::size_t n = charges.size();
    FieldAtCharges    field;
    field.resize(n);
    for (std::size_t i = 0; i < n; ++i)
      {
        long double e[3] = {0, 0, 0}, potential = 0;
        for (std::size_t j = 0; j < n; ++j)
          {
            if (j == i)
              continue;
            long double r[3], r2 = 0;
            for (unsigned int d = 0; d < 3; ++d)
              {
                r[d] =
                  static_cast<long double>(charges.x[d][i]) - charges.x[d][j];
                r2 += r[d] * r[d];
              }
            const long double root = std::sqrt(r2);
            potential += charges.q[j] / root;
            for (unsigned int d = 0; d < 3; ++d)
              e[d] += charges.q[j] * r[d] / (r2 * root);
          }
        for (unsigned int d = 0; d < 3; ++d)
          field.e[d][i] = coulomb_constant * e[d];
        field.potential[i] = coulomb_constant * potential;
      }
    return field;
  }

  double
  size_of(const FieldAtCharges &field, const std::size_t i)
  {
    return std::sqrt(field.e[0][i] * field.e[0][i] +
                     field.e[1][i] * field.e[1][i] +
                     field.e[2][i] * field.e[2][i]);
  }

  FieldAtCharges
  difference(FieldAtCharges a, const FieldAtCharges &b)
  {
    for (std::size_t i = 0; i < a.potential.size(); ++i)
      {
        a.potential[i] -= b.potential[i];
        for (unsigned int d = 0; d < 3; ++d)
          a.e[d][i] -= b.e[d][i];
      }
    return a;
  }

  /// Root of the mean square, of the field.
  double
  norm(const FieldAtCharges &field)
  {
    double sum = 0;
    for (std::size_t i = 0; i < field.potential.size(); ++i)
      sum += std::pow(size_of(field, i), 2);
    return std::sqrt(sum / field.potential.size());
  }

  double
  relative_error(ElectricField        &method,
                 const PointCharges   &charges,
                 const FieldAtCharges &truth)
  {
    FieldAtCharges field;
    method.compute(charges, field);
    return norm(difference(field, truth)) / norm(truth);
  }
} // namespace

TEST(Charges, DirectSumAgainstLongDouble)
{
  for (const std::size_t n : {1, 2, 7, 8, 9, 300})
    for (const Shape shape : {Shape::cube, Shape::torus, Shape::clusters})
      {
        const auto     charges = some_charges(n, shape, true);
        const auto     truth   = exact(charges);
        FieldAtCharges field;
        DirectSum().compute(charges, field);
        double largest = 0, of_potential = 0;
        for (const double p : truth.potential)
          of_potential = std::max(of_potential, std::abs(p));
        for (std::size_t i = 0; i < n; ++i)
          {
            largest =
              std::max(largest,
                       std::abs(field.potential[i] - truth.potential[i]));
            EXPECT_LE(size_of(difference(field, truth), i),
                      1e-12 * norm(truth) + 1e-13 * size_of(truth, i));
          }
        EXPECT_LE(largest, 1e-12 * of_potential);
      }
}

// Energy 1/2 sum q phi: its derivative is minus the force; the force's is what
// add_vjp() says.
TEST(Charges, DerivativesOfTheDirectSum)
{
  const auto        charges = some_charges(50, Shape::torus, true);
  const auto        turned  = some_charges(57, Shape::cube, true);
  const std::size_t n       = charges.size();
  const auto        moved   = [&](const double t) {
    PointCharges result = charges;
    for (std::size_t i = 0; i < n; ++i)
      {
        for (unsigned int d = 0; d < 3; ++d)
          result.x[d][i] += t * 0.1 * (turned.x[d][i + 7] - 0.5);
        result.q[i] += t * 0.3 * turned.q[i];
      }
    return result;
  };
  const auto forces = [&](const PointCharges &c, double &energy) {
    FieldAtCharges field;
    DirectSum().compute(c, field);
    std::array<std::vector<double>, 3> f;
    energy = 0;
    for (std::size_t i = 0; i < n; ++i)
      {
        energy += 0.5 * c.q[i] * field.potential[i];
        for (unsigned int d = 0; d < 3; ++d)
          f[d].push_back(c.q[i] * field.e[d][i]);
      }
    return std::make_pair(f, field.potential);
  };
  std::array<std::vector<double>, 3> w = turned.x;
  for (auto &component : w)
    component.resize(n);
  double                             energy0;
  const auto                         at0   = forces(charges, energy0);
  const auto                         along = moved(1);
  double                             slope = 0, slope_w = 0, value_w = 0;
  std::array<std::vector<double>, 3> g_x;
  for (auto &component : g_x)
    component.assign(n, 0.);
  std::vector<double> g_q(n, 0.);
  DirectSum().add_vjp(charges, w, g_x, &g_q, 0, n);
  for (std::size_t i = 0; i < n; ++i)
    {
      const double dq = along.q[i] - charges.q[i];
      slope += dq * at0.second[i];
      slope_w += dq * g_q[i];
      for (unsigned int d = 0; d < 3; ++d)
        {
          const double dx = along.x[d][i] - charges.x[d][i];
          slope -= at0.first[d][i] * dx;
          slope_w += g_x[d][i] * dx;
          value_w += at0.first[d][i] * w[d][i];
        }
    }
  const auto of_energy = taylor_test(
    [&](const double t) {
      double energy;
      forces(moved(t), energy);
      return std::abs(energy - energy0 - t * slope);
    },
    std::abs(energy0),
    std::abs(slope));
  EXPECT_TRUE(of_energy.passed()) << of_energy.text();
  const auto of_force = taylor_test(
    [&](const double t) {
      double     energy, sum = 0;
      const auto f = forces(moved(t), energy).first;
      for (unsigned int d = 0; d < 3; ++d)
        for (std::size_t i = 0; i < n; ++i)
          sum += f[d][i] * w[d][i];
      return std::abs(sum - value_w - t * slope_w);
    },
    std::abs(value_w),
    std::abs(slope_w));
  EXPECT_TRUE(of_force.passed()) << of_force.text();
}

// The error stays below the tolerance, whatever the shape, and gets smaller
// with it; potentials too.
TEST(Charges, OctreeKeepsItsTolerance)
{
  for (const Shape shape : {Shape::cube, Shape::torus, Shape::clusters})
    for (const bool mixed : {false, true})
      {
        const auto charges = some_charges(3000, shape, mixed);
        const auto truth   = exact(charges);
        // What the tolerance is relative to: the sum of |q|/r^2.
        double sum_of_sizes = 0;
        for (std::size_t i = 0; i < charges.size(); i += 100)
          {
            double here = 0;
            for (std::size_t j = 0; j < charges.size(); ++j)
              if (j != i)
                here += coulomb_constant * std::abs(charges.q[j]) /
                        (std::pow(charges.x[0][i] - charges.x[0][j], 2) +
                         std::pow(charges.x[1][i] - charges.x[1][j], 2) +
                         std::pow(charges.x[2][i] - charges.x[2][j], 2));
            sum_of_sizes += here / 30;
          }
        double before = 1e300;
        for (const double tolerance : {1e-2, 1e-4, 1e-6, 1e-8})
          {
            OctreeSum      tree(tolerance, tolerance < 1e-5 ? 10 : 6, 32);
            FieldAtCharges field;
            tree.compute(charges, field);
            const double error = norm(difference(field, truth));
            EXPECT_LE(error, tolerance * sum_of_sizes);
            EXPECT_LE(error, before + 1e-12 * norm(truth)); // rounding
            before = error;
            if (tolerance > 1e-3)
              {
                EXPECT_GT(error, 1e-10 * norm(truth)); // it does leave out
                EXPECT_LT(tree.share_of_pairs, 0.7);
              }
            double potential = 0, of_truth = 0;
            for (std::size_t i = 0; i < charges.size(); ++i)
              {
                potential =
                  std::max(potential,
                           std::abs(field.potential[i] - truth.potential[i]));
                of_truth = std::max(of_truth, std::abs(truth.potential[i]));
              }
            EXPECT_LE(potential, 10 * tolerance * of_truth);
          }
      }
}

TEST(Charges, OctreeAtFixedAngles)
{
  const auto charges = some_charges(3000, Shape::torus, false);
  const auto truth   = exact(charges);
  double     before  = 1;
  for (const double angle : {0.8, 0.5, 0.3})
    {
      OctreeSum    tree  = OctreeSum::with_angle(angle, 6);
      const double error = relative_error(tree, charges, truth);
      EXPECT_LT(error, 0.5 * before);
      before = error;
    }
  EXPECT_LT(before, 1e-5);
  // A higher order is more exact at the same angle.
  OctreeSum low  = OctreeSum::with_angle(0.5, 2),
            high = OctreeSum::with_angle(0.5, 6);
  EXPECT_LT(relative_error(high, charges, truth),
            0.1 * relative_error(low, charges, truth));
}

// The published method and the consistent one: errors as published, smaller
// where each pair counts once, none where all charges are near.
TEST(Charges, DiscretizedField)
{
  using Variant            = DiscretizedField::Variant;
  const auto       charges = some_charges(2000, Shape::torus, false);
  const auto       truth   = exact(charges);
  DiscretizedField listing(1000, Variant::listing), text(1000, Variant::text),
    consistent(1000, Variant::consistent), near(1000, Variant::near_only),
    all(0, Variant::consistent);
  const double e_listing    = relative_error(listing, charges, truth),
               e_text       = relative_error(text, charges, truth),
               e_consistent = relative_error(consistent, charges, truth),
               e_near       = relative_error(near, charges, truth);
  EXPECT_LT(e_listing, 0.15);
  EXPECT_LT(e_text, 0.5);
  EXPECT_LT(e_consistent, 0.8 * e_listing);
  EXPECT_GT(e_near, 2 * e_listing);
  EXPECT_LT(text.mean_near, listing.mean_near);
  // Far charges alone are left out by "near only": forces between two charges
  // are opposite (the sum of q e is 0), and no far field is interpolated.
  FieldAtCharges field;
  near.compute(charges, field);
  double sum = 0, sizes = 0, energy = 0, of_all = 0;
  for (std::size_t i = 0; i < charges.size(); ++i)
    {
      sum += charges.q[i] * field.e[0][i];
      sizes += charges.q[i] * size_of(field, i);
      energy += charges.q[i] * field.potential[i];
      of_all += charges.q[i] * truth.potential[i];
    }
  EXPECT_LT(std::abs(sum), 1e-12 * sizes);
  EXPECT_LT(energy, 0.5 * of_all);
  EXPECT_GT(energy, 0);
  // Eight corners: every charge has all of them or all of its own.
  EXPECT_LT(relative_error(all, charges, truth), 0.02);
}

// Part of the targets: the same values there.
TEST(Charges, RangesOfTargets)
{
  const auto       charges = some_charges(500, Shape::torus, true);
  DirectSum        direct;
  OctreeSum        tree(1e-3);
  DiscretizedField grid(100, DiscretizedField::Variant::consistent);
  const std::vector<ElectricField *> all = {&direct, &tree, &grid};
  for (ElectricField *method : all)
    {
      FieldAtCharges whole, part;
      method->compute(charges, whole);
      method->compute(charges, part, 133, 300);
      for (std::size_t i = 0; i < charges.size(); ++i)
        for (unsigned int d = 0; d < 3; ++d)
          EXPECT_NEAR(part.e[d][i],
                      i >= 133 && i < 300 ? whole.e[d][i] : 0.,
                      1e-12 * norm(whole));
    }
}

TEST(Charges, DegenerateCases)
{
  PointCharges charges = some_charges(20, Shape::cube, true);
  for (unsigned int d = 0; d < 3; ++d)
    charges.x[d][17] = charges.x[d][3];
  FieldAtCharges   field;
  DirectSum        direct;
  OctreeSum        tree(1e-3);
  DiscretizedField grid(100, DiscretizedField::Variant::consistent);
  const std::vector<ElectricField *> all   = {&direct, &tree, &grid};
  const auto                         fails = [&](const std::string &text) {
    for (ElectricField *method : all)
      try
        {
          method->compute(charges, field);
          ADD_FAILURE() << "no error";
        }
      catch (const SolverError &e)
        {
          EXPECT_NE(std::string(e.what()).find(text), std::string::npos)
            << e.what();
        }
  };
  fails("charges 3 and 17 are at one place");
  charges         = some_charges(20, Shape::cube, true);
  charges.x[1][4] = std::nan("");
  fails("charge 4 is at no finite place");
  charges.x[1][4] = 1e300;
  fails("charge 4 is at no finite place");
  // Nothing, one charge, many charges nearly at one place.
  for (const std::size_t n : {0, 1})
    for (ElectricField *method : all)
      {
        method->compute(some_charges(n, Shape::cube, true), field);
        ASSERT_EQ(field.potential.size(), n);
        for (const double e : field.e[0])
          EXPECT_EQ(e, 0.);
      }
  charges = some_charges(200, Shape::cube, false);
  for (std::size_t i = 0; i < 150; ++i)
    for (unsigned int d = 0; d < 3; ++d)
      charges.x[d][i] = 0.5 + 1e-14 * i;
  const auto truth = exact(charges);
  EXPECT_LT(relative_error(direct, charges, truth), 1e-9);
  EXPECT_LT(relative_error(tree, charges, truth), 1e-3);
}
