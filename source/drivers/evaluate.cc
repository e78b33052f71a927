#include <deal.II/base/timer.h>

#include <palpate/core/files.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>
#include <palpate/drivers/taylor_tests.h>
#include <palpate/parameterizations/log_linear.h>

#include <iomanip>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  int
  run_evaluate(Parameters               &parameters,
               const RunOptions         &options,
               const MPI_Comm           &comm,
               const ConditionalOStream &log)
  {
    Timer             timer;
    const std::string directory = parameters.get("Output directory");
    Problem<dim> problem(parameters, comm, log, true, false, options.dry_run);
    bool         wants_hessian;
    unsigned int seed = 1;
    {
      const Parameters::Section section(parameters, "Evaluate");
      wants_hessian = parameters.get_bool("Hessian product");
      if (wants_hessian)
        seed = parameters.get_integer("Seed");
    }
    parameters.refuse_unused("evaluate");
    problem.print_plan("evaluate");
    if (options.dry_run)
      return 0;
    run_on_root(comm, [&]() { create_output_directory(directory); });

    const auto    &D = *problem.discretization;
    LogLinear<dim> per_cell(false, false, true);
    per_cell.lower_bound = 1e-300; // evaluate at the given field as it is
    per_cell.upper_bound = 1e300;
    per_cell.bind(D, problem.stiffness);
    ReducedFunctional<dim> J(*problem.equilibrium,
                             per_cell,
                             problem.terms,
                             problem.fixed_fields,
                             comm);
    const auto             q = per_cell.initial();
    std::vector<double>    g;
    J.value(q);
    J.gradient(q, g);

    NpzArrays more;
    if (wants_hessian)
      {
        std::vector<double> v(q.size()), Hv;
        Field               direction(D.n_cells()), result(D.n_cells());
        for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
          direction[k] = v[k] = random_number(seed, D.cell_id[k]);
        J.hessian(q, v, false, Hv);
        for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
          result[k] = Hv[k];
        const std::vector<std::size_t> shape = {D.n_global_cells()};
        more["hessian_direction"] = NpyArray(shape, D.gather_cells(direction));
        more["hessian_product"]   = NpyArray(shape, D.gather_cells(result));
      }
    nlohmann::json summary;
    summary["task"]        = "evaluate";
    summary["objective"]   = problem.objective_json(J.parts());
    summary["stop_reason"] = "evaluated";
    problem.write_results(directory,
                          J.fields()["stiffness"],
                          J.adjoints(),
                          &J.field_gradient()["stiffness"],
                          summary,
                          more);
    for (const auto &[name, value] : summary["objective"].items())
      log << "  " << name << " = " << std::setprecision(10)
          << value.template get<double>() << std::endl;
    log << "results in " << directory << " (" << std::setprecision(3)
        << timer.wall_time() << " s)" << std::endl;
    return 0;
  }

  template int
  run_evaluate<2>(Parameters &,
                  const RunOptions &,
                  const MPI_Comm &,
                  const ConditionalOStream &);
  template int
  run_evaluate<3>(Parameters &,
                  const RunOptions &,
                  const MPI_Comm &,
                  const ConditionalOStream &);
} // namespace Palpate
