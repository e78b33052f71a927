#include <palpate/optimizers/optimizer.h>
#include <palpate/optimizers/proximal_bfgs.h>
#include <palpate/optimizers/trust_region.h>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

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
                      "than the first; and, where the objective has fallen "
                      "more than a hundred times, than those since then (or "
                      "the next step would be below 0.001).");
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
        const bool moved     = (past.empty() || it.value < past.back().value);
        result.iterations    = it.iteration;
        result.value         = it.value;
        result.gradient_norm = it.gradient_norm;
        result.q             = *it.q;
        callback(it);
        function.accept(result.relative_gradient_norm());
        result.stop_reason = reason_to_stop(it, moved);
        past.push_back(it);
        const std::size_t window = result.recent_iterations + 1;
        const auto       &before =
          past[past.size() > window ? past.size() - window : 0];
        result.recent_fall = before.value - it.value;
        if (before.value != 0)
          result.recent_fall /= std::abs(before.value);
        return result.stop_reason.empty();
      }

    private:
      /// @param moved whether a step was taken
      std::string
      reason_to_stop(const OptimizerIteration &it, const bool moved)
      {
        const bool first = past.empty();
        if (moved && !first)
          small_steps = (past.back().value - it.value <
                             parameters.stagnation * std::abs(it.value)
                           ? small_steps + 1
                           : 0);
        if (!std::isfinite(it.value) || !std::isfinite(it.gradient_norm))
          return "the objective is not a number";
        if (gradient_is_small(it, moved))
          {
            result.converged = true;
            return "gradient tolerance reached";
          }
        if (moved && !first && it.step_norm <= parameters.step_tolerance)
          return "step tolerance reached";
        if (small_steps >= 3)
          return "stagnation: the objective no longer falls";
        if (!moved && it.step_norm <= parameters.step_tolerance)
          return "step tolerance reached: no shorter step lowers the objective";
        result.at_limit = true;
        if (it.iteration >= parameters.maximum_iterations)
          return "iteration limit";
        if (parameters.maximum_solves > 0 &&
            solves_so_far() >= parameters.maximum_solves)
          return "budget of solves used up";
        result.at_limit = false;
        return "";
      }

      /// The first gradient is a measure only of points like the start: with a
      /// thousandth of the stiffness it is 10^6 times what it is a little
      /// beside the minimum. So where the objective has fallen a hundred times
      /// and more, the largest gradient since then counts. Where it falls so
      /// fast that there are no three such iterates (exact data), it is how far
      /// the unknowns would still go: with the curvature along the last step,
      /// less than a thousandth. (Where it creeps, one short step says nothing
      /// of other directions.)
      bool
      gradient_is_small(const OptimizerIteration &it, const bool moved) const
      {
        const double tolerance = parameters.gradient_tolerance;
        if (it.gradient_norm > tolerance * result.first_gradient_norm)
          return false;
        double       largest = it.gradient_norm;
        unsigned int n_since = 0;
        for (const auto &before : past)
          if (it.value <= 0 || before.value <= 100 * it.value)
            {
              ++n_since;
              largest = std::max(largest, before.gradient_norm);
            }
        if (it.gradient_norm <= tolerance * largest || !moved || past.empty())
          return true;
        return n_since < 3 &&
               it.step_norm * it.gradient_norm <=
                 1e-3 * (it.gradient_norm + past.back().gradient_norm);
      }

      const OptimizerParameters                             &parameters;
      SmoothFunction                                        &function;
      const std::function<void(const OptimizerIteration &)> &callback;
      const std::function<unsigned long()>                  &solves_so_far;
      OptimizerResult                                       &result;
      std::vector<OptimizerIteration> past; ///< their q are no longer there
      unsigned int                    small_steps = 0;
    };
  } // namespace

  double
  OptimizerResult::relative_gradient_norm() const
  {
    return first_gradient_norm > 0 ? gradient_norm / first_gradient_norm : 0.;
  }

  bool
  OptimizerResult::still_falling() const
  {
    return at_limit && recent_fall > 0 &&
           (recent_fall > 1e-2 || relative_gradient_norm() > 0.1);
  }

  std::string
  OptimizerResult::how_it_stopped() const
  {
    std::ostringstream text;
    text << stop_reason;
    if (converged || iterations == 0)
      return text.str();
    text << std::setprecision(2) << (still_falling() ? "; still falling" : "")
         << "; the gradient is " << relative_gradient_norm()
         << " of the first, the objective fell by " << 100 * recent_fall
         << " % in the last " << std::min(iterations, recent_iterations)
         << " iterations";
    return text.str();
  }

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
    if (parameters.method == "lbfgs")
      proximal_bfgs(function,
                    start,
                    lower,
                    upper,
                    space,
                    parameters.stored_pairs,
                    parameters.model_iterations,
                    go_on);
    else
      trust_region(
        function, start, lower, upper, space, ROL::nullPtr, 50, -1, go_on);
    if (result.stop_reason.empty())
      result.stop_reason = "the optimizer stopped by itself";
    return result;
  }
} // namespace Palpate
