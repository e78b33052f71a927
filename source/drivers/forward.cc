#include <deal.II/base/timer.h>

#include <palpate/core/outputs.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>

#include <iomanip>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  int
  run_forward(Parameters               &parameters,
              const RunOptions         &options,
              const MPI_Comm           &comm,
              const ConditionalOStream &log)
  {
    Timer        timer;
    Problem<dim> problem(parameters, comm, log, false, false, options.dry_run);
    parameters.refuse_unused("forward");
    problem.scale_identified = true; // the stiffness is given
    problem.print_plan("forward");
    Outputs outputs(parameters, {names_of_results()}, comm, log);
    if (options.dry_run)
      return 0;
    outputs.probe();
    problem.check_zero_energy_modes(outputs.directory());
    nlohmann::json summary;
    summary["seconds"]["input"] = timer.wall_time();
    problem.equilibrium->solve(problem.initial_fields());
    summary["task"]        = "forward";
    summary["stop_reason"] = "solved";
    outputs.begin();
    problem.write_results(outputs.folder(), nullptr, summary);
    outputs.commit();
    log << "  solved in " << problem.equilibrium->counts.linear_iterations
        << " linear iterations; volume mean of the displacement [m]:";
    for (const double v : summary["displacement"]["volume_mean_m"]
                            .template get<std::vector<double>>())
      log << " " << std::setprecision(6) << v;
    log << std::endl
        << "results in " << outputs.directory() << " (" << std::setprecision(3)
        << timer.wall_time() << " s)" << std::endl;
    return 0;
  }

  template int
  run_forward<2>(Parameters &,
                 const RunOptions &,
                 const MPI_Comm &,
                 const ConditionalOStream &);
  template int
  run_forward<3>(Parameters &,
                 const RunOptions &,
                 const MPI_Comm &,
                 const ConditionalOStream &);
} // namespace Palpate
