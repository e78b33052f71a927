#include <deal.II/base/timer.h>

#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/interruption.h>
#include <palpate/core/outputs.h>
#include <palpate/drivers/evaluation_log.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>
#include <palpate/optimizers/optimizer.h>

#include <algorithm>
#include <iomanip>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// What history.csv shows beside the objective: parts, mean error, held-out
    /// mean error, and the solve counts. It travels with each logged value.
    struct Metrics
    {
      std::vector<double> parts, means; ///< of the outer function
      double              mean_error = 0, held_out_error = 0;
      SolveCounts         counts;

      std::vector<double>
      pack(const double value) const
      {
        std::vector<double> v = {value,
                                 mean_error,
                                 held_out_error,
                                 double(counts.forward),
                                 double(counts.adjoint),
                                 double(counts.incremental),
                                 double(counts.linear_iterations),
                                 double(counts.newton_iterations),
                                 double(counts.set_ups)};
        v.insert(v.end(), parts.begin(), parts.end());
        v.insert(v.end(), means.begin(), means.end());
        return v;
      }
      void
      unpack(const std::vector<double> &v)
      {
        mean_error               = v.at(1);
        held_out_error           = v.at(2);
        counts.forward           = v.at(3);
        counts.adjoint           = v.at(4);
        counts.incremental       = v.at(5);
        counts.linear_iterations = v.at(6);
        counts.newton_iterations = v.at(7);
        counts.set_ups           = v.at(8);
        const auto middle        = v.begin() + 9 + (v.size() - 9) / 2;
        parts.assign(v.begin() + 9, middle);
        means.assign(middle, v.end());
      }
    };

    /// The reduced functional as the optimizer sees it, with its log.
    template <int dim>
    class LoggedFunctional : public SmoothFunction
    {
    public:
      LoggedFunctional(ReducedFunctional<dim> &J,
                       Problem<dim>           &problem,
                       EvaluationLog          &log,
                       const bool              gauss_newton,
                       const bool              follow)
        : J(J)
        , problem(problem)
        , log(log)
        , gauss_newton(gauss_newton)
        , follow(follow)
      {
        if (log.size() == 0)
          live = true;
        accept(1);
      }

      double
      value(const Q &q) override
      {
        Metrics    m;
        double     result;
        const auto question = EvaluationLog::checksum(q);
        if (const auto *record = replay('V', question))
          {
            result = record->answer.at(0);
            m.unpack(record->answer);
          }
        else
          {
            Interruption::check(log.communicator());
            try
              {
                result           = J.value(q);
                m.parts          = J.parts();
                m.means          = J.means();
                const auto error = problem.mean_errors();
                m.mean_error     = error.first;
                m.held_out_error = error.second;
              }
            catch (const SolverError &e)
              {
                // A trial the body cannot follow: the trust region shrinks.
                if (recent.empty())
                  throw;
                problem.log << "  trial step rejected: " << e.what()
                            << std::endl;
                m      = latest;
                result = 1e100;
              }
            m.counts = problem.states().counts;
            log.append({'V', question, m.pack(result)}, J.checkpoint());
          }
        latest = m;
        recent.push_back({result, question, m});
        if (recent.size() > 100)
          recent.erase(recent.begin());
        return result;
      }

      void
      gradient(const Q &q, Q &g) override
      {
        const auto question = EvaluationLog::checksum(q);
        if (const auto *record = replay('G', question))
          g = with_counts_taken(record->answer);
        else
          {
            J.gradient(q, g);
            log.append({'G', question, with_counts(g)}, J.checkpoint());
          }
      }

      void
      hessian(const Q &q, const Q &v, Q &Hv) override
      {
        const auto question =
          EvaluationLog::checksum(v, EvaluationLog::checksum(q));
        if (const auto *record = replay('H', question))
          Hv = with_counts_taken(record->answer);
        else
          {
            J.hessian(q, v, gauss_newton, Hv);
            log.append({'H', question, with_counts(Hv)}, J.checkpoint());
          }
      }

      bool
      has_cheap_part() const override
      {
        return J.has_direct_terms();
      }

      CheapPart
      cheap_part(const Q &at) override
      {
        // J may not have been there: while a log is replayed, it stands still.
        const auto question = EvaluationLog::checksum(at);
        for (auto it = recent.rbegin(); it != recent.rend(); ++it)
          if (it->question == question)
            {
              const auto slopes = J.outer.gradient(it->metrics.means);
              CheapPart  part;
              part.value = [this, slopes](const Q &q) {
                return J.direct_value(q, slopes);
              };
              part.gradient = [this, slopes](const Q &q, Q &g) {
                J.direct_gradient(q, slopes, g);
              };
              part.hessian = [this, slopes](const Q &q) {
                return J.direct_hessian(q, slopes);
              };
              return part;
            }
        AssertThrow(false, ExcMessage("a point that was never evaluated"));
        return {};
      }

      void
      accept(const double relative_gradient) override
      {
        const double wanted = problem.solver_parameters.relative_tolerance;
        if (follow)
          problem.states().set_tolerance(
            std::max(wanted, std::min(1e-5, 1e-5 * relative_gradient)));
      }

      /// Metrics of the evaluation whose value an accepted iterate has.
      Metrics
      metrics_of(const double value) const
      {
        for (auto it = recent.rbegin(); it != recent.rend(); ++it)
          if (it->value == value)
            {
              Metrics m = it->metrics;
              m.counts  = live ? problem.states().counts : latest.counts;
              return m;
            }
        return latest;
      }

      unsigned long
      solves() const
      {
        const auto &c = live ? problem.states().counts : latest.counts;
        return c.forward + c.adjoint + c.incremental;
      }

      /// Leave replay: take up the state the log ends with.
      void
      go_live()
      {
        if (live)
          return;
        live = true;
        J.restore(log.warm_start());
        problem.states().counts = latest.counts;
      }

      /// The state that the log ends with, after an interruption in a solve.
      void
      go_back()
      {
        live = true;
        if (log.size() > 0)
          J.restore(log.warm_start());
      }

    private:
      struct Evaluated
      {
        double        value;
        std::uint64_t question; ///< checksum of the point
        Metrics       metrics;
      };

      /// Derivatives travel with the solve counts behind them.
      std::vector<double>
      with_counts(const std::vector<double> &v) const
      {
        Metrics m;
        m.counts                   = problem.states().counts;
        std::vector<double> counts = m.pack(0);
        std::vector<double> result = v;
        result.insert(result.end(), counts.begin(), counts.end());
        return result;
      }
      std::vector<double>
      with_counts_taken(std::vector<double> v)
      {
        const std::size_t n = Metrics().pack(0).size();
        Metrics           m;
        m.unpack(std::vector<double>(v.end() - n, v.end()));
        latest.counts = m.counts;
        v.resize(v.size() - n);
        return v;
      }

      const EvaluationLog::Record *
      replay(const char kind, const std::uint64_t question)
      {
        if (!live)
          if (const auto *record = log.next(kind, question))
            return record;
        go_live();
        return nullptr;
      }

      ReducedFunctional<dim> &J;
      Problem<dim>           &problem;
      EvaluationLog          &log;
      const bool              gauss_newton, follow;
      bool                    live = false;
      Metrics                 latest;
      std::vector<Evaluated>  recent;
    };
  } // namespace

  template <int dim>
  int
  run_identify(Parameters               &parameters,
               const RunOptions         &options,
               const MPI_Comm           &comm,
               const ConditionalOStream &log)
  {
    Timer        timer;
    Problem<dim> problem(parameters, comm, log, true, true, options.dry_run);
    const auto  &D = *problem.discretization;

    const auto &parameterization = problem.parameterization;
    {
      const Parameters::Section section(parameters, "Parameterization");
      // An initial number outside the bounds is a mistake; a pack's field is
      // moved to them, and so are springs, whose k follows from alpha.
      if (parameters.get("Type") != "none" &&
          parameters.get("Initial value") != "pack" &&
          parameterization->field_names()[0] == "stiffness")
        {
          const double start = parameters.get_double("Initial value");
          if (start < parameters.get_double("Lower bound") ||
              start > parameters.get_double("Upper bound"))
            parameters.fail("Initial value",
                            "expected a value between Lower bound and Upper "
                            "bound");
        }
    }
    if (std::none_of(problem.terms.begin(),
                     problem.terms.end(),
                     [](const auto &term) { return term.weight > 0; }))
      throw InputError(parameters.filename,
                       "all weights in Objective are 0, expected something to "
                       "minimise");
    OptimizerParameters optimizer;
    {
      const Parameters::Section section(parameters, "Optimizer");
      optimizer.parse_parameters(parameters);
      if (optimizer.method != "lbfgs" && problem.trajectory)
        parameters.fail("Method",
                        "expected lbfgs: a motion in time has no second "
                        "derivatives");
    }
    bool follow;
    {
      const Parameters::Section section(parameters, "Linear solver");
      follow = !(problem.time && problem.time->is_explicit) &&
               parameters.get_bool("Tolerance follows optimizer");
      // Newton's many solves with one matrix deserve levels of its own.
      if (!problem.solver_parameters.direct && !problem.trajectory &&
          optimizer.method == "lbfgs")
        {
          const double limit = parameters.get_double("Reuse limit");
          if (limit != 0 && !(limit >= 1))
            parameters.fail("Reuse limit", "expected 0 or a value from 1 on");
          problem.equilibrium->set_reuse_limit(limit);
        }
    }
    parameters.refuse_unused("identify");
    parameterization->bind(D, problem.initial_fields());
    // Fixed labels pin the scale to the values the user gave them.
    const auto fixed  = parameterization->fixed_cells();
    const bool pinned = D.sum(std::count(fixed.begin(), fixed.end(), 1)) > 0;
    if (pinned && problem.reference_stated)
      {
        const Parameters::Section section(parameters, "Parameterization");
        parameters.fail("Reference stiffness",
                        "Fixed labels pin the scale already, expected one of "
                        "the two");
      }
    problem.print_plan("identify");
    const auto q0 = parameterization->initial();
    {
      Fields start;
      parameterization->apply(q0, start);
      unsigned long moved = 0;
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        moved += start.has("stiffness") &&
                 std::abs(start["stiffness"][k] - problem.stiffness[k]) >
                   1e-9 * problem.stiffness[k];
      moved = Utilities::MPI::sum(moved, comm);
      if (moved > 0)
        log << "note: the start of " << moved
            << " cells was moved to the bounds or to the value of its region"
            << std::endl;
    }
    Outputs::Plan plan{names_of_results()};
    plan.names.push_back("history.csv");
    plan.has_checkpoint = true;
    Outputs outputs(parameters, plan, comm, log);
    if (options.dry_run)
      return 0;
    outputs.probe(options.resume);
    problem.check_zero_energy_modes(outputs.directory());
    outputs.begin(options.resume);

    ReducedFunctional<dim> J(problem.states(),
                             *parameterization,
                             problem.terms,
                             problem.fixed_fields,
                             comm);
    EvaluationLog          evaluations(outputs.checkpoint(),
                              problem.fingerprint(
                                {"Optimizer/Maximum iterations",
                                          "Optimizer/Gradient tolerance",
                                          "Optimizer/Step tolerance",
                                          "Optimizer/Stagnation tolerance",
                                          "Optimizer/Maximum solves"}),
                              options.resume,
                              comm);
    if (options.resume)
      log << "resuming: " << evaluations.size()
          << " evaluations are replayed from the checkpoint" << std::endl;
    LoggedFunctional<dim> function(
      J, problem, evaluations, optimizer.gauss_newton, follow);

    std::vector<double> lower, upper;
    parameterization->bounds(lower, upper);
    std::ostringstream history;
    history << "iteration";
    for (const auto &term : problem.terms)
      history << "," << term.objective->column_name();
    history << ",total,gradient_norm,step,mean_error_m,held_out_mean_error_m,"
               "linear_iterations,seconds,share_at_bound,forward_solves,"
               "adjoint_solves,incremental_solves";
    for (const auto &named : parameterization->named_values(q0))
      history << (named.unit == "Pa" ? "," + problem.stiffness_title() + " "
                                     : ",")
              << named.name;
    history << "\n" << std::setprecision(16);
    log << std::endl
        << "  it        total     gradient         step  mean error    solves "
           "   elapsed  remaining at most"
        << std::endl;

    double          last_value = 0;
    OptimizerResult best; // so far
    const auto      callback = [&](const OptimizerIteration &it) {
      if (it.iteration == 0)
        best.first_gradient_norm = it.gradient_norm;
      best.q                = *it.q;
      best.value            = it.value;
      best.gradient_norm    = it.gradient_norm;
      best.iterations       = it.iteration;
      const Metrics m       = function.metrics_of(it.value);
      const double  seconds = timer.wall_time();
      history << it.iteration;
      for (const double p : m.parts)
        history << "," << p;
      const double at_bound = parameterization->share_at_bound(*it.q);
      history << "," << it.value << "," << it.gradient_norm << ","
              << it.step_norm << "," << m.mean_error << "," << m.held_out_error
              << "," << m.counts.linear_iterations << "," << seconds << ","
              << at_bound << "," << m.counts.forward << "," << m.counts.adjoint
              << "," << m.counts.incremental;
      for (const auto &named : parameterization->named_values(*it.q))
        history << "," << named.value;
      history << "\n";
      run_on_root(comm, [&]() { outputs.grow("history.csv", history.str()); });
      std::ostringstream row;
      row << std::setw(4) << it.iteration << std::scientific
          << std::setprecision(5) << std::setw(13) << it.value << std::setw(13)
          << it.gradient_norm << std::setw(13) << it.step_norm
          << std::setprecision(3) << std::setw(12) << m.mean_error
          << std::setw(10) << function.solves() << std::fixed
          << std::setprecision(1) << std::setw(11) << seconds << "s";
      if (it.iteration > 0)
        row << std::setw(18)
            << seconds / it.iteration *
                 (optimizer.maximum_iterations - it.iteration)
            << "s";
      if (it.iteration > 0 && it.value == last_value)
        row << "  (step rejected)";
      last_value = it.value;
      log << row.str() << std::endl;
    };

    const double    seconds_input = timer.wall_time();
    OptimizerResult result;
    int             interrupted = 0; // exit code of an interruption
    try
      {
        result = minimize(function,
                          q0,
                          lower,
                          upper,
                          parameterization->weights(),
                          optimizer,
                          comm,
                          callback,
                          [&]() { return function.solves(); });
      }
    catch (const Interrupted &e)
      {
        if (best.q.empty())
          throw;
        interrupted        = e.exit_code;
        result             = best;
        result.stop_reason = "interrupted";
        function.go_back();
      }
    Interruption::acknowledge(); // there is a result to be written
    if (result.stop_reason == "the objective is not a number")
      throw ComputationError(parameters.filename +
                             ": the objective became not a number at "
                             "iteration " +
                             std::to_string(result.iterations));
    // The result may be a point the last trial step has left; its state is
    // kept, so that no solve is counted that the optimizer did not ask for.
    function.go_live();
    std::vector<double> g;
    J.gradient(result.q, g);
    problem.watch_motion();
    const double seconds_minimised = timer.wall_time();

    problem.find_free_directions(J);
    const double mean =
      geometric_mean(D,
                     J.fields().has("stiffness") ? J.fields()["stiffness"]
                                                 : problem.stiffness);
    const double scale =
      problem.to_reference ? problem.reference_stiffness / mean : 1.;
    if (problem.reference_stated && !problem.to_reference)
      log << "note: Reference stiffness has no effect: the scale is not free"
          << std::endl;

    nlohmann::json summary;
    summary["task"]                   = "identify";
    summary["objective"]              = problem.objective_json(J.parts());
    summary["stop_reason"]            = result.stop_reason;
    summary["iterations"]             = result.iterations;
    summary["gradient_norm"]          = result.gradient_norm;
    summary["relative_gradient_norm"] = result.relative_gradient_norm();
    summary["converged"]              = result.converged;
    summary["still_falling"]          = result.still_falling();
    summary["recent_fall"]            = result.recent_fall;
    summary["share_at_bound"] = parameterization->share_at_bound(result.q);
    // What is left of the minimisation beside the solves: the optimizer's
    // models, objectives, the checkpoint.
    const auto  &counts = problem.states().counts;
    const double solves = counts.seconds_assembly + counts.seconds_setup +
                          counts.seconds_forward + counts.seconds_adjoint +
                          counts.seconds_incremental;
    summary["seconds"]["input"] = seconds_input;
    summary["seconds"]["optimizer"] =
      seconds_minimised - seconds_input - solves;
    summary["seconds"]["elapsed"] = timer.wall_time();
    for (const auto &named : parameterization->named_values(result.q))
      if (named.unit == "Pa")
        summary[problem.stiffness_title()][named.name] = named.value * scale;
      else
        summary["unknowns"][named.name] = {{"value", named.value},
                                           {"unit", named.unit}};
    problem.write_results(outputs.folder(), &J, summary);
    outputs.commit();

    log << std::endl << "stopped: " << result.how_it_stopped() << std::endl;
    for (const auto &named : parameterization->named_values(result.q))
      log << "  " << named.name << ": " << std::setprecision(10)
          << named.value * (named.unit == "Pa" ? scale : 1.) << " "
          << (named.unit == "Pa" ? problem.stiffness_unit() : named.unit)
          << std::endl;
    if (problem.to_reference)
      log << "  " << problem.stiffness_key()
          << " is alpha_relative times the reference stiffness "
          << problem.reference_stiffness << " " << problem.stiffness_unit()
          << ", not a measurement" << std::endl;
    const auto errors = problem.mean_errors();
    log << std::setprecision(5) << "  mean error of free vertices "
        << 1e3 * errors.first << " mm";
    if (errors.second > 0)
      log << ", held out " << 1e3 * errors.second << " mm";
    log << std::endl
        << "  " << counts.forward << " forward, " << counts.adjoint
        << " adjoint, " << counts.incremental << " incremental solves, "
        << counts.linear_iterations << " linear iterations" << std::endl
        << std::setprecision(3) << "  seconds: reading and checking "
        << seconds_input << ", assembly " << counts.seconds_assembly
        << ", set-up " << counts.seconds_setup << ", forward "
        << counts.seconds_forward << ", adjoint " << counts.seconds_adjoint
        << ", incremental " << counts.seconds_incremental << ", optimizer "
        << summary["seconds"]["optimizer"].template get<double>()
        << ", output (with images) " << timer.wall_time() - seconds_minimised
        << ", all " << timer.wall_time() << std::endl
        << "results in " << outputs.directory() << std::endl;
    if (interrupted != 0)
      throw Interrupted(interrupted - 128,
                        "the best iterate so far, " +
                          std::to_string(result.iterations) + ", is in " +
                          outputs.directory() + "; --resume goes on");
    if (const int signal = Interruption::received_signal(comm))
      throw Interrupted(signal,
                        "after the last iterate; the result is complete, in " +
                          outputs.directory());
    return 0;
  }

  template int
  run_identify<2>(Parameters &,
                  const RunOptions &,
                  const MPI_Comm &,
                  const ConditionalOStream &);
  template int
  run_identify<3>(Parameters &,
                  const RunOptions &,
                  const MPI_Comm &,
                  const ConditionalOStream &);
} // namespace Palpate
