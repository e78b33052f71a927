#include <palpate/optimizers/compact_bfgs.h>
#include <palpate/optimizers/optimizer.h>

#include <ROL_Bounds.hpp>
#include <ROL_Objective.hpp>
#include <ROL_Problem.hpp>
#include <ROL_StatusTest.hpp>
#include <ROL_TypeB_LinMoreAlgorithm.hpp>

#include <cmath>
#include <limits>
#include <memory>

namespace Palpate
{
  using namespace dealii;

  void
  OptimizerParameters::declare_parameters(ParameterHandler &prm)
  {
    prm.declare_entry("Method",
                      "lbfgs",
                      Patterns::Selection("lbfgs|newton cg"),
                      "Bounded trust region with limited-memory BFGS, or with "
                      "exact Hessian products (two incremental solves each).");
    prm.declare_entry("Maximum iterations",
                      "50",
                      Patterns::Integer(0),
                      "Rejected steps count.");
    prm.declare_entry("Gradient tolerance",
                      "1e-4",
                      Patterns::Double(0),
                      "Stop when the projected gradient is this much smaller "
                      "than the first.");
    prm.declare_entry("Step tolerance",
                      "1e-10",
                      Patterns::Double(0),
                      "Stop when the step (root mean square of the change of "
                      "log alpha) is below.");
    prm.declare_entry("Stagnation tolerance",
                      "1e-9",
                      Patterns::Double(0),
                      "Stop when three iterations in a row lower the objective "
                      "by less than this fraction.");
    prm.declare_entry("Maximum solves",
                      "0",
                      Patterns::Integer(0),
                      "Budget of forward, adjoint and incremental solves; 0: "
                      "none.");
    prm.declare_entry(
      "Gauss Newton",
      "false",
      Patterns::Bool(),
      "newton cg: drop the terms with the adjoint state and use "
      "positive forms of the total variations.");
  }

  void
  OptimizerParameters::parse_parameters(Parameters &p)
  {
    method             = p.get("Method");
    maximum_iterations = p.get_integer("Maximum iterations");
    gradient_tolerance = p.get_double("Gradient tolerance");
    step_tolerance     = p.get_double("Step tolerance");
    stagnation         = p.get_double("Stagnation tolerance");
    maximum_solves     = p.get_integer("Maximum solves");
    if (method == "newton cg")
      gauss_newton = p.get_bool("Gauss Newton");
  }

  namespace
  {
    class RolObjective : public ROL::Objective<double>
    {
    public:
      explicit RolObjective(SmoothFunction &function)
        : function(function)
      {}
      double
      value(const ROL::Vector<double> &x, double &) override
      {
        return function.value(WeightedVector::of(x));
      }
      void
      gradient(ROL::Vector<double>       &g,
               const ROL::Vector<double> &x,
               double &) override
      {
        function.gradient(WeightedVector::of(x), WeightedVector::of(g));
      }
      void
      hessVec(ROL::Vector<double>       &Hv,
              const ROL::Vector<double> &v,
              const ROL::Vector<double> &x,
              double &) override
      {
        function.hessian(WeightedVector::of(x),
                         WeightedVector::of(v),
                         WeightedVector::of(Hv));
      }

    private:
      SmoothFunction &function;
    };

    /// Our stopping rules, and the place where iterates are seen.
    class Status : public ROL::StatusTest<double>
    {
    public:
      Status(const OptimizerParameters                             &parameters,
             SmoothFunction                                        &function,
             const std::function<void(const OptimizerIteration &)> &callback,
             const std::function<unsigned long()> &solves_so_far,
             HessianModel                         *model,
             OptimizerResult                      &result)
        : parameters(parameters)
        , function(function)
        , callback(callback)
        , solves_so_far(solves_so_far)
        , model(model)
        , result(result)
      {}

      bool
      check(ROL::AlgorithmState<double> &state) override
      {
        if (state.iter == 0)
          {
            result.first_gradient_norm = state.gnorm;
            if (model != nullptr)
              model->start(WeightedVector::of(*state.iterateVec));
          }
        // ROL also reports rejected steps as iterations: the value stays.
        const bool moved     = (state.iter == 0 || state.value < last_value);
        result.iterations    = state.iter;
        result.value         = state.value;
        result.gradient_norm = state.gnorm;
        result.q             = WeightedVector::of(*state.iterateVec);
        callback({static_cast<unsigned int>(state.iter),
                  state.value,
                  state.gnorm,
                  state.iter == 0 ? 0. : state.snorm,
                  &result.q});
        function.accept(result.first_gradient_norm > 0
                          ? state.gnorm / result.first_gradient_norm
                          : 0.);
        if (moved && state.iter > 0)
          small_steps = (last_value - state.value <
                             parameters.stagnation * std::abs(state.value)
                           ? small_steps + 1
                           : 0);
        last_value        = state.value;
        std::string &stop = result.stop_reason;
        if (!std::isfinite(state.value) || !std::isfinite(state.gnorm))
          stop = "the objective is not a number";
        else if (state.gnorm <=
                 parameters.gradient_tolerance * result.first_gradient_norm)
          stop = "gradient tolerance reached";
        else if (moved && state.iter > 0 &&
                 state.snorm <= parameters.step_tolerance)
          stop = "step tolerance reached";
        else if (small_steps >= 3)
          stop = "stagnation: the objective no longer falls";
        else if (!moved && state.snorm <= parameters.step_tolerance)
          stop = "step tolerance reached: no shorter step lowers the objective";
        else if (static_cast<unsigned int>(state.iter) >=
                 parameters.maximum_iterations)
          stop = "iteration limit";
        else if (parameters.maximum_solves > 0 &&
                 solves_so_far() >= parameters.maximum_solves)
          stop = "budget of solves used up";
        return stop.empty();
      }

    private:
      const OptimizerParameters                             &parameters;
      SmoothFunction                                        &function;
      const std::function<void(const OptimizerIteration &)> &callback;
      const std::function<unsigned long()>                  &solves_so_far;
      HessianModel                                          *model; ///< or null
      OptimizerResult                                       &result;
      double       last_value  = std::numeric_limits<double>::max();
      unsigned int small_steps = 0;
    };
  } // namespace

  OptimizerResult
  minimize(SmoothFunction                                        &function,
           const std::vector<double>                             &start,
           const std::vector<double>                             &lower,
           const std::vector<double>                             &upper,
           const std::vector<double>                             &weights,
           const OptimizerParameters                             &parameters,
           const MPI_Comm                                        &comm,
           const std::function<void(const OptimizerIteration &)> &callback,
           const std::function<unsigned long()>                  &solves_so_far)
  {
    auto space       = std::make_shared<VectorSpace>();
    space->weights   = weights;
    space->comm      = comm;
    space->dimension = static_cast<int>(
      Utilities::MPI::sum(static_cast<unsigned int>(start.size()), comm));

    const auto make = [&](const std::vector<double> &values) {
      auto v  = ROL::makePtr<WeightedVector>(space, false);
      v->data = values;
      return v;
    };
    const auto x = make(start);
    auto       problem =
      ROL::makePtr<ROL::Problem<double>>(ROL::makePtr<RolObjective>(function),
                                         x);
    problem->addBoundConstraint(
      ROL::makePtr<ROL::Bounds<double>>(make(lower), make(upper)));
    problem->finalize(false, false);

    ROL::ParameterList list;
    auto              &trust = list.sublist("Step").sublist("Trust Region");
    trust.set("Initial Radius", -1.);
    trust.set("Maximum Radius", 1e3);
    auto &general = list.sublist("General");
    general.set("Output Level", 0);
    const bool bfgs_model = parameters.method == "lbfgs";
    general.sublist("Krylov").set("Iteration Limit", bfgs_model ? 20 : 50);
    ROL::Ptr<HessianModel> bfgs;
    if (bfgs_model)
      {
        bfgs =
          ROL::makePtr<HessianModel>(space, [&](const std::vector<double> &q) {
            return function.cheap_part(q);
          });
        auto &secant = general.sublist("Secant");
        secant.set("Type", "Limited-Memory BFGS");
        secant.set("Use as Hessian", true);
        secant.set("Use as Preconditioner", false);
      }
    OptimizerResult result;
    result.q    = start;
    auto status = ROL::makePtr<Status>(
      parameters, function, callback, solves_so_far, bfgs.get(), result);
    ROL::TypeB::LinMoreAlgorithm<double> algorithm(list, bfgs);
    std::ostream                         silent(nullptr);
    algorithm.setStatusTest(status, false);
    algorithm.run(*problem, silent);
    if (result.stop_reason.empty())
      result.stop_reason = "the optimizer stopped by itself";
    return result;
  }
} // namespace Palpate
