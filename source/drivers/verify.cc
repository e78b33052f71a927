#include <palpate/core/errors.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>
#include <palpate/drivers/taylor_tests.h>

#include <iomanip>

namespace Palpate
{
  using namespace dealii;

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
    const auto                add = [&](const std::vector<Verification> &more) {
      all.insert(all.end(), more.begin(), more.end());
    };
    const Fields       fields = problem.initial_fields();
    const Context<dim> now    = problem.states().context(0);
    const Context<dim> context{
      now.discretization, now.state, fields, now.snapshot, now.constrained};
    for (unsigned int i = 0; i < n; ++i)
      {
        for (const auto &force : problem.equilibrium->forces)
          add(
            verify_force<dim>(force->scales_with_stiffness() ? "force" : "load",
                              *force,
                              context,
                              seed + 100 * i));
        for (const auto &term : problem.terms)
          if (term.weight > 0)
            add(verify_objective<dim>(
              term.name, *term.objective, context, seed + 100 * i));
        add(verify_parameterization<dim>(
          type, parameterization, *problem.discretization, seed + 100 * i));
        ReducedFunctional<dim> J(problem.states(),
                                 parameterization,
                                 problem.terms,
                                 problem.fixed_fields,
                                 comm);
        auto                   q = parameterization.initial();
        for (unsigned int j = 0; j < q.size(); ++j)
          q[j] += 0.2 * random_number(seed + 100 * i + 50, j);
        add(verify_reduced<dim>(J, q, comm, seed + 100 * i));
      }
    unsigned int failed = 0;
    log << std::left << std::setw(34) << "term" << std::setw(32) << "derivative"
        << "Taylor test" << std::endl;
    for (const auto &v : all)
      {
        const bool good = v.passed(1.9, 1e300);
        failed += !good;
        log << std::setw(34) << v.term << std::setw(32) << v.derivative
            << v.taylor.text() << (good ? "" : "   FAILED") << std::endl;
      }
    if (failed > 0)
      throw ComputationError(
        parameters.filename + ": " + std::to_string(failed) + " of " +
        std::to_string(all.size()) + " derivatives failed their Taylor test");
    log << "all " << all.size() << " derivatives passed" << std::endl;
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
