#include <palpate/core/errors.h>
#include <palpate/drivers/admissible_start.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>
#include <palpate/drivers/taylor_tests.h>

#include <iomanip>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// A line of the log: where the derivatives are tested.
    void
    tell(const std::string        &what,
         const AdmissibleSize     &size,
         const ConditionalOStream &log)
    {
      log << what;
      if (!size.why.empty())
        log << " times " << size.size << " (all of it: " << size.why << ")";
      log << std::endl;
    }

    /// Forces and objectives near the case's own start.
    template <int dim>
    void
    verify_terms(Problem<dim>              &problem,
                 const unsigned int         seed,
                 std::vector<Verification> &all)
    {
      const auto add = [&](const std::vector<Verification> &more) {
        all.insert(all.end(), more.begin(), more.end());
      };
      const Fields       fields = problem.initial_fields();
      const Context<dim> now    = problem.states().context(0);
      State              start;
      if (problem.trajectory)
        copy_state(*problem.body->initial_state(problem.time->step), start);
      else
        copy_state(now.state, start);
      const Context<dim> context{
        now.discretization, start, fields, now.snapshot, now.constrained};
      const auto &forces = problem.equilibrium->forces;
      const auto  size =
        admissible_size<dim>(forces, problem.terms, context, seed);
      tell(problem.trajectory
             ? "terms: at the initial state, moved by up to 0.1 edges"
             : "terms: at the state before the first solve, moved by up to 0.1 "
               "edges",
           size,
           problem.log);
      const TestPoint point{true, size.size};
      for (const auto &force : forces)
        add(verify_force<dim>(force->scales_with_stiffness() ? "force" : "load",
                              *force,
                              context,
                              seed,
                              point));
      for (const auto &term : problem.terms)
        if (term.weight > 0)
          add(verify_objective<dim>(
            term.name, *term.objective, context, seed, point));
    }

    /// The reduced functional near the start of the unknowns.
    template <int dim>
    void
    verify_whole(Problem<dim>              &problem,
                 const unsigned int         seed,
                 std::vector<Verification> &all)
    {
      ReducedFunctional<dim> J(problem.states(),
                               *problem.parameterization,
                               problem.terms,
                               problem.fixed_fields,
                               problem.comm);
      const auto             start = problem.parameterization->initial();
      const unsigned int     n     = start.size();
      const unsigned int  rank = Utilities::MPI::this_mpi_process(problem.comm);
      std::vector<double> dq(n), v(n);
      for (unsigned int j = 0; j < n; ++j)
        {
          dq[j] = 0.2 * random_number(seed + 50, j);
          v[j]  = 0.3 * random_number(seed, 1000003ul * rank + j);
        }
      const auto size = admissible_size<dim>(J, start, dq, v);
      tell("reduced functional: at the start of the unknowns, moved by up to "
           "0.2",
           size,
           problem.log);
      std::vector<double> q = start;
      for (unsigned int j = 0; j < n; ++j)
        q[j] += size.size * dq[j];
      const auto more =
        verify_reduced<dim>(J, q, problem.comm, seed, 0.3 * size.size);
      all.insert(all.end(), more.begin(), more.end());
    }

    /// The table. @throw ComputationError if a derivative failed
    void
    print(const std::vector<Verification> &all,
          const std::string               &file,
          const ConditionalOStream        &log)
    {
      unsigned int failed = 0;
      log << std::left << std::setw(34) << "term" << std::setw(32)
          << "derivative"
          << "Taylor test" << std::endl;
      for (const auto &v : all)
        {
          const bool good = v.passed(1.9, 1e300);
          failed += !good;
          log << std::setw(34) << v.term << std::setw(32) << v.derivative
              << v.taylor.text() << (good ? "" : "   FAILED") << std::endl;
        }
      if (failed > 0)
        throw ComputationError(file + ": " + std::to_string(failed) + " of " +
                               std::to_string(all.size()) +
                               " derivatives failed their Taylor test");
      log << "all " << all.size() << " derivatives passed" << std::endl;
    }
  } // namespace

  template <int dim>
  int
  run_verify(Parameters               &parameters,
             const RunOptions         &options,
             const MPI_Comm           &comm,
             const ConditionalOStream &log)
  {
    parameters.get("Output directory"); // nothing is written
    Problem<dim> problem(parameters, comm, log, true, true, options.dry_run);
    unsigned int n, seed;
    {
      const Parameters::Section section(parameters, "Verify");
      n    = parameters.get_integer("Directions");
      seed = parameters.get_integer("Seed");
    }
    Parameterization<dim> &parameterization = *problem.parameterization;
    std::string            type;
    {
      const Parameters::Section section(parameters, "Parameterization");
      type = parameters.get("Type");
    }
    parameters.mark_section_used(
      "Optimizer"); // verify an identify file as it is
    parameters.refuse_unused("verify");
    parameterization.bind(*problem.discretization, problem.initial_fields());
    problem.print_plan("verify");
    if (options.dry_run)
      return 0;

    problem.check_zero_energy_modes("");
    // Derivatives are only as exact as the solves.
    problem.states().set_tolerance(
      std::min(1e-13, problem.solver_parameters.relative_tolerance));
    problem.newton_parameters.relative_tolerance =
      std::min(1e-13, problem.newton_parameters.relative_tolerance);

    std::vector<Verification> all;
    for (unsigned int i = 0; i < n; ++i)
      {
        verify_terms(problem, seed + 100 * i, all);
        for (const auto &v : verify_parameterization<dim>(
               type, parameterization, *problem.discretization, seed + 100 * i))
          all.push_back(v);
        verify_whole(problem, seed + 100 * i, all);
      }
    print(all, parameters.filename, log);
    return 0;
  }

  template int
  run_verify<2>(Parameters &,
                const RunOptions &,
                const MPI_Comm &,
                const ConditionalOStream &);
  template int
  run_verify<3>(Parameters &,
                const RunOptions &,
                const MPI_Comm &,
                const ConditionalOStream &);
} // namespace Palpate
