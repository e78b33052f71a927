#include <deal.II/base/timer.h>

#include <palpate/core/errors.h>
#include <palpate/core/outputs.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>
#include <palpate/mesh/partitioned_pack.h>

#include <algorithm>
#include <iomanip>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  int
  run_partition(Parameters               &parameters,
                const RunOptions         &options,
                const MPI_Comm           &comm,
                const ConditionalOStream &log)
  {
    Timer timer;
    if (Utilities::MPI::n_mpi_processes(comm) > 1)
      parameters.fail("Task",
                      "partition holds a whole case, expected one rank");
    QualityReport<dim>  quality;
    const CaseData<dim> data = load_case<dim>(parameters, comm, log, quality);
    refuse_parts(data, "partition");
    unsigned int n_parts;
    {
      const Parameters::Section section(parameters, "Partition");
      n_parts = parameters.get_integer("Number of parts");
      if (n_parts > data.mesh.cells.size())
        parameters.fail("Number of parts",
                        "expected at most the number of cells, " +
                          std::to_string(data.mesh.cells.size()));
    }
    parameters.refuse_unused("partition");
    log << "task partition on " << data.source << std::endl
        << describe(quality) << std::endl
        << "  into " << n_parts << " parts" << std::endl;
    Outputs::Plan plan;
    plan.series = {"part_[0-9]*.npz"};
    plan.names  = {"case.json",
                   "part_[0-9]*.npz",
                   "summary.json",
                   "parameters.prm"};
    Outputs outputs(parameters, plan, comm, log);
    if (options.dry_run)
      return 0;
    outputs.probe();
    outputs.begin();
    const auto sizes =
      write_partitioned_pack(outputs.folder(), data, quality, n_parts);
    nlohmann::json summary;
    std::size_t    smallest = sizes[0][0], largest = 0, all = 0;
    for (const auto &[mine, with_neighbors] : sizes)
      {
        smallest = std::min(smallest, mine);
        largest  = std::max(largest, mine);
        all += with_neighbors;
        summary["parts"].push_back(
          {{"cells", mine}, {"cells_of_others", with_neighbors - mine}});
      }
    summary["task"]        = "partition";
    summary["stop_reason"] = "partitioned";
    summary["case"]        = data.source;
    summary["sizes"]       = {{"vertices", data.mesh.vertices.size()},
                              {"cells", data.mesh.cells.size()},
                              {"parts", n_parts}};
    summary["seconds"]     = {{"elapsed", timer.wall_time()}};
    write_summary(outputs.folder(), parameters, summary, comm);
    outputs.commit();
    log << "  " << smallest << " to " << largest << " cells each, "
        << all / n_parts << " on average with those that touch them"
        << std::endl
        << "partitioned pack in " << outputs.directory() << "/case.json ("
        << timer.wall_time() << " s)" << std::endl;
    return 0;
  }

  template int
  run_partition<2>(Parameters &,
                   const RunOptions &,
                   const MPI_Comm &,
                   const ConditionalOStream &);
  template int
  run_partition<3>(Parameters &,
                   const RunOptions &,
                   const MPI_Comm &,
                   const ConditionalOStream &);
} // namespace Palpate
