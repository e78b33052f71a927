// Energy of a charged torus of springs that moves freely, for several steps and
// integrators, relative to a fine reference. One JSON line for each.
//   charged_torus [MAJOR_RADIUS [CHARGE [MASS]]]
#include <deal.II/base/timer.h>

#include <palpate/core/errors.h>
#include <palpate/forces/charges/electric_field.h>
#include <palpate/forces/springs/edge_springs.h>
#include <palpate/mesh/network.h>
#include <palpate/time_integration/implicit_springs.h>

#include <cmath>
#include <cstdlib>
#include <iostream>
#include <string>

using namespace Palpate;

namespace
{
  using Array = std::vector<double>; // (N * 3)

  struct Torus
  {
    SerialMesh<3> mesh;
    Array         start, lengths, constants, masses;
    double        charge;

    Torus(const double radius, const double charge, const double mass)
      : charge(charge)
    {
      ShapeDescription d;
      d.type         = "torus";
      d.major_radius = radius;
      d.minor_radius = 0.4 * radius;
      d.subdivisions = {{29, 5, 0}};
      mesh           = Network::generate_surface(d);
      for (const auto &x : mesh.vertices)
        start.insert(start.end(), x.begin_raw(), x.end_raw());
      for (const auto &s : mesh.springs)
        lengths.push_back(mesh.vertices[s[0]].distance(mesh.vertices[s[1]]));
      constants.assign(mesh.springs.size(), 10.);
      masses.assign(mesh.vertices.size(), mass);
    }

    EdgeSpring<3>
    spring(const Array &x, const std::size_t s) const
    {
      dealii::Tensor<1, 3> d;
      for (unsigned int i = 0; i < 3; ++i)
        d[i] = x[3 * mesh.springs[s][0] + i] - x[3 * mesh.springs[s][1] + i];
      return {constants[s], lengths[s], d};
    }

    /// Of the charges; adds to the forces, returns the energy.
    double
    coulomb(const Array &x, Array &f) const
    {
      PointCharges charges;
      for (std::size_t i = 0; i < x.size(); i += 3)
        charges.add(x[i], x[i + 1], x[i + 2], charge);
      FieldAtCharges field;
      DirectSum().compute(charges, field);
      double energy = 0;
      for (std::size_t i = 0; i < charges.size(); ++i)
        {
          energy += 0.5 * charge * field.potential[i];
          for (unsigned int d = 0; d < 3; ++d)
            f[3 * i + d] += charge * field.e[d][i];
        }
      return energy;
    }

    double
    springs(const Array &x, Array &f) const
    {
      double energy = 0;
      for (std::size_t s = 0; s < mesh.springs.size(); ++s)
        {
          const auto now   = spring(x, s);
          const auto force = now.force();
          energy += now.energy();
          for (unsigned int d = 0; d < 3; ++d)
            {
              f[3 * mesh.springs[s][0] + d] -= force[d];
              f[3 * mesh.springs[s][1] + d] += force[d];
            }
        }
      return energy;
    }

    double
    energy(const Array &x, const Array &v) const
    {
      Array  f(x.size(), 0.);
      double sum = coulomb(x, f) + springs(x, f);
      for (std::size_t i = 0; i < x.size(); ++i)
        sum += 0.5 * masses[i / 3] * v[i] * v[i];
      return sum;
    }
  };

  /// Largest and mean |E - E_0|/|E_0| over the steps, E_0 the first energy,
  /// which the exact motion keeps.
  void
  run(const Torus       &torus,
      const std::string &method,
      const double       h,
      const double       end)
  {
    const auto         n  = static_cast<unsigned int>(std::lround(end / h));
    Array              x  = torus.start, v(x.size(), 0.);
    const double       E0 = torus.energy(x, v);
    double             largest = 0, sum = 0, seconds = 0;
    std::string        note;
    dealii::Timer      timer;
    ImplicitSprings<3> solver(torus.mesh.springs,
                              torus.constants,
                              torus.lengths,
                              torus.masses,
                              std::vector<char>(torus.masses.size(), 0),
                              h);
    unsigned int       done = 0;
    try
      {
        for (unsigned int step = 0; step < n; ++step)
          {
            timer.restart();
            Array f(x.size(), 0.);
            if (method == "imex")
              {
                torus.coulomb(x, f);
                Array y = x;
                for (std::size_t i = 0; i < x.size(); ++i)
                  y[i] += h * v[i] + h * h * f[i] / torus.masses[i / 3];
                Array w;
                solver.solve(y, w, {});
                for (std::size_t i = 0; i < x.size(); ++i)
                  {
                    const double next = y[i] + w[i];
                    v[i]              = (next - x[i]) / h;
                    x[i]              = next;
                  }
              }
            else if (method == "verlet")
              {
                const auto kick = [&]() {
                  std::fill(f.begin(), f.end(), 0.);
                  torus.coulomb(x, f);
                  torus.springs(x, f);
                  for (std::size_t i = 0; i < x.size(); ++i)
                    v[i] += 0.5 * h * f[i] / torus.masses[i / 3];
                };
                kick();
                for (std::size_t i = 0; i < x.size(); ++i)
                  x[i] += h * v[i];
                kick();
              }
            else // both from the state before: forward Euler
              {
                torus.coulomb(x, f);
                torus.springs(x, f);
                for (std::size_t i = 0; i < x.size(); ++i)
                  {
                    x[i] += h * v[i];
                    v[i] += h * f[i] / torus.masses[i / 3];
                  }
              }
            seconds += timer.wall_time();
            const double error = std::abs(torus.energy(x, v) / E0 - 1);
            if (!(error < 1e6))
              {
                note = "blows up at " + std::to_string((step + 1) * h) + " s";
                break;
              }
            largest = std::max(largest, error);
            sum += error;
            ++done;
          }
      }
    catch (const SolverError &e)
      {
        note = e.what();
      }
    std::cout << "{\"method\": \"" << method << "\", \"h_s\": " << h
              << ", \"energy_J\": " << E0 << ", \"largest_error\": " << largest
              << ", \"mean_error\": " << sum / std::max(done, 1u)
              << ", \"seconds\": " << seconds << ", \"note\": \"" << note
              << "\"}" << std::endl;
  }
} // namespace

int
main(int argc, char **argv)
{
  const double radius = argc > 1 ? std::atof(argv[1]) : 5,
               charge = argc > 2 ? std::atof(argv[2]) : 6e-6,
               mass   = argc > 3 ? std::atof(argv[3]) : 1;
  if (!(radius > 0 && mass > 0 && charge != 0))
    {
      std::cerr << "charged_torus: expected a radius [m], a charge [C] and a "
                   "mass [kg]\n";
      return 2;
    }
  const Torus torus(radius, charge, mass);
  run(torus, "verlet", 1.5e-3, 15);
  for (const double h : {0.015, 0.03, 0.15})
    for (const char *method : {"imex", "explicit-explicit", "verlet"})
      run(torus, method, h, 15);
}
