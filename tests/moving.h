#ifndef palpate_tests_moving_h
#define palpate_tests_moving_h

#include <palpate/time_integration/integrator.h>

#include "sample.h"

namespace Palpate
{
  /// A body with everything its motion needs.
  template <int dim>
  struct Moving
  {
    Moving(const std::string &material,
           const unsigned int n,
           const bool         lumped,
           const bool         held         = true,
           const unsigned int degree       = 1,
           const bool         with_ground  = false,
           const bool         with_losses  = false,
           const bool         with_charges = false)
      : x(n, degree)
    {
      x.fields["stiffness"]     = Field(x.D.n_cells(), 1000.);
      x.fields["density"]       = random_field(x.D, 4, 100, 0.3);
      x.fields["poisson_ratio"] = Field(x.D.n_cells(), 0.3);
      if (!held)
        std::fill(x.constrained.begin(), x.constrained.end(), 0);
      x.snapshots[0].prescribed = ghosted_copy(x.D.make_vector());
      std::vector<std::unique_ptr<Force<dim>>> forces;
      forces.push_back(make_term<Force<dim>>(material));
      if (with_ground)
        {
          forces.push_back(make_term<Force<dim>>(
            "ground",
            {{"Ground planes",
              dim == 3 ? "0, 0, -0.15, 0, 0, 1" : "0, -0.15, 0, 1"},
             {"Ground reach", "0.3"},
             {"Ground stiffness", "20"}}));
          x.fields["ground_stiffness"] = body_field(20);
          if (with_losses)
            forces.push_back(make_term<Force<dim>>(
              "ground friction",
              {{"Ground planes",
                dim == 3 ? "0, 0, -0.15, 0, 0, 1" : "0, -0.15, 0, 1"},
               {"Ground reach", "0.3"},
               {"Ground friction", "0.3"},
               {"Friction speed", "0.1"}}));
          forces.push_back(make_term<Force<dim>>(
            "gravity", {{"Gravity", dim == 3 ? "1, 0, -2" : "1, -2"}}));
        }
      if (with_losses)
        {
          forces.push_back(make_term<Force<dim>>(
            "viscosity",
            {{"Shear viscosity", "1"}, {"Dilatational viscosity", "1"}}));
          x.fields["ground_friction"]        = body_field(0.3);
          x.fields["shear_viscosity"]        = random_field(x.D, 6, 20, 0.3);
          x.fields["dilatational_viscosity"] = random_field(x.D, 7, 60, 0.3);
        }
      if (with_charges)
        {
          forces.push_back(
            make_term<Force<dim>>("coulomb", {{"Charge density", "6e-5"}}));
          x.fields["charge_density"] = random_field(x.D, 8, 6e-5, 0.3);
        }
      auto  inertia = std::make_unique<InertiaForce<dim>>(x.D, lumped);
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
      body.reset(new MovingBody<dim>{*equilibrium,
                                     *kept,
                                     x.D,
                                     x.constrained,
                                     x.snapshots[0],
                                     x.fields,
                                     [this](const double, Vector &u) {
                                       for (unsigned int i = 0;
                                            i < x.constrained.size();
                                            ++i)
                                         if (x.constrained[i])
                                           u.local_element(i) = 0;
                                     }});
      state.u = ghosted_copy(x.D.make_vector());
      state.v = ghosted_copy(x.D.make_vector());
    }

    /// State at the end.
    const State &
    run(const std::string &integrator,
        const double       step,
        const double       end,
        const double       damping = 0)
    {
      time.integrator   = integrator;
      time.step         = step;
      time.end          = end;
      time.damping_rate = damping;
      stepper           = Registry<Integrator<dim>>::create(integrator);
      stepper->start(*body, time, state);
      auto start = std::make_shared<State>();
      copy_state(state, *start);
      History past = {start};
      for (unsigned int i = 0; i < time.n_steps(); ++i)
        stepper->advance(past);
      copy_state(*past[0], state);
      return state;
    }

    /// Momentum and, about the origin, angular momentum (in the plane x, y).
    std::vector<double>
    momentum() const
    {
      Vector Mv = x.D.make_vector();
      body->inertia.mass.vmult_add(x.fields["density"], state.v, Mv);
      std::vector<double> sum(dim + 1);
      for (unsigned int n = 0; n < x.D.n_owned_nodes(); ++n)
        {
          const auto X = x.D.node_position(n);
          for (unsigned int d = 0; d < dim; ++d)
            sum[d] += Mv.local_element(n * dim + d);
          sum[dim] += (X[0] + state.u.local_element(n * dim)) *
                        Mv.local_element(n * dim + 1) -
                      (X[1] + state.u.local_element(n * dim + 1)) *
                        Mv.local_element(n * dim);
        }
      dealii::Utilities::MPI::sum(sum, x.D.comm, sum);
      return sum;
    }

    Sample<dim>                             x;
    SolverParameters                        solver;
    NewtonParameters                        newton;
    std::unique_ptr<StaticEquilibrium<dim>> equilibrium;
    std::unique_ptr<MovingBody<dim>>        body;
    std::unique_ptr<Integrator<dim>>        stepper;
    TimeParameters                          time;
    State                                   state;
  };
} // namespace Palpate

#endif
