#include <palpate/optimizers/optimizer.h>
#include <palpate/optimizers/proximal_bfgs.h>
#include <palpate/optimizers/trust_region.h>

#include <cmath>
#include <limits>

namespace Palpate
{
  using namespace dealii;

  void
  OptimizerParameters::declare_parameters(ParameterHandler &prm)
  {
    prm.declare_entry("Method",
                      "lbfgs",
                      Patterns::Selection("lbfgs|newton cg"),
                      "Limited-memory BFGS of what needs solves, the terms "
                      "that need none kept whole; or a bounded trust region "
                      "with exact Hessian products (two incremental solves "
                      "each).");
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
    prm.declare_entry("Model iterations",
                      "50",
                      Patterns::Integer(1),
                      "lbfgs with terms that need no solves: of the trust "
                      "region in the model of one step, at most. With few the "
                      "steps are cheaper, but more, and so are the solves.");
    prm.declare_entry("Stored pairs",
                      "20",
                      Patterns::Integer(1),
                      "lbfgs: steps whose changes of the gradient BFGS "
                      "remembers. With more there may be fewer steps, but each "
                      "reads 8 bytes a pair and unknown some hundred times.");
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
    else
      {
        model_iterations = p.get_integer("Model iterations");
        stored_pairs     = p.get_integer("Stored pairs");
      }
  }

  namespace
  {
    /// Our stopping rules, and the place where iterates are seen.
    class Status
    {
    public:
      Status(const OptimizerParameters                             &parameters,
             SmoothFunction                                        &function,
             const std::function<void(const OptimizerIteration &)> &callback,
             const std::function<unsigned long()> &solves_so_far,
             OptimizerResult                      &result)
        : parameters(parameters)
        , function(function)
        , callback(callback)
        , solves_so_far(solves_so_far)
        , result(result)
      {}

      bool
      go_on(const OptimizerIteration &it)
      {
        if (it.iteration == 0)
          result.first_gradient_norm = it.gradient_norm;
        // A rejected step is an iteration too: the value stays.
        const bool moved     = (it.iteration == 0 || it.value < last_value);
        result.iterations    = it.iteration;
        result.value         = it.value;
        result.gradient_norm = it.gradient_norm;
        result.q             = *it.q;
        callback(it);
        function.accept(result.first_gradient_norm > 0
                          ? it.gradient_norm / result.first_gradient_norm
                          : 0.);
        if (moved && it.iteration > 0)
          small_steps =
            (last_value - it.value < parameters.stagnation * std::abs(it.value)
               ? small_steps + 1
               : 0);
        last_value        = it.value;
        std::string &stop = result.stop_reason;
        if (!std::isfinite(it.value) || !std::isfinite(it.gradient_norm))
          stop = "the objective is not a number";
        else if (it.gradient_norm <=
                 parameters.gradient_tolerance * result.first_gradient_norm)
          stop = "gradient tolerance reached";
        else if (moved && it.iteration > 0 &&
                 it.step_norm <= parameters.step_tolerance)
          stop = "step tolerance reached";
        else if (small_steps >= 3)
          stop = "stagnation: the objective no longer falls";
        else if (!moved && it.step_norm <= parameters.step_tolerance)
          stop = "step tolerance reached: no shorter step lowers the objective";
        else if (it.iteration >= parameters.maximum_iterations)
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
    const auto space = std::make_shared<VectorSpace>();
    space->weights   = weights;
    space->comm      = comm;
    space->dimension = static_cast<int>(
      Utilities::MPI::sum(static_cast<unsigned int>(start.size()), comm));

    OptimizerResult result;
    result.q = start;
    Status     status(parameters, function, callback, solves_so_far, result);
    const auto go_on = [&](const OptimizerIteration &it) {
      return status.go_on(it);
    };
    const bool bfgs = parameters.method == "lbfgs";
    if (bfgs && function.has_cheap_part())
      proximal_bfgs(function,
                    start,
                    lower,
                    upper,
                    space,
                    parameters.stored_pairs,
                    parameters.model_iterations,
                    go_on);
    else
      trust_region(function,
                   start,
                   lower,
                   upper,
                   space,
                   bfgs
                     ? ROL::makePtr<BfgsModel>(space, parameters.stored_pairs)
                     : ROL::nullPtr,
                   bfgs ? 20 : 50,
                   -1,
                   go_on);
    if (result.stop_reason.empty())
      result.stop_reason = "the optimizer stopped by itself";
    return result;
  }
} // namespace Palpate
