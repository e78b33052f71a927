#include <deal.II/base/timer.h>

#include <palpate/core/outputs.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>
#include <palpate/drivers/taylor_tests.h>
#include <palpate/parameterizations/log_linear.h>
#include <palpate/parameterizations/per_spring.h>

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
    Timer        timer;
    Problem<dim> problem(parameters, comm, log, true, false, options.dry_run);
    bool         wants_hessian;
    unsigned int seed = 1;
    {
      const Parameters::Section section(parameters, "Evaluate");
      wants_hessian = parameters.get_bool("Hessian product");
      if (wants_hessian && problem.trajectory)
        parameters.fail("Hessian product",
                        "expected false: a motion in time has no second "
                        "derivatives");
      if (wants_hessian)
        seed = parameters.get_integer("Seed");
    }
    parameters.refuse_unused("evaluate");
    problem.print_plan("evaluate");
    Outputs outputs(parameters, {names_of_results()}, comm, log);
    if (options.dry_run)
      return 0;
    outputs.probe();
    problem.check_zero_energy_modes(outputs.directory());

    const auto &D = *problem.discretization;
    // At the given field as it is: springs with a stiffness of their own, else
    // cells.
    std::unique_ptr<Parameterization<dim>> unknowns;
    const auto without_bounds = [&](auto parameterization) {
      parameterization->limits.lower = 1e-300;
      parameterization->limits.upper = 1e300;
      unknowns                       = std::move(parameterization);
    };
    const bool per_spring = problem.fixed_fields.has("spring_stiffness");
    if (per_spring)
      without_bounds(std::make_unique<PerSpring<dim>>());
    else
      without_bounds(std::make_unique<LogLinear<dim>>(false, false, true));
    unknowns->bind(D, problem.initial_fields());
    ReducedFunctional<dim> J(
      problem.states(), *unknowns, problem.terms, problem.fixed_fields, comm);
    const auto          q = unknowns->initial();
    std::vector<double> g;
    J.value(q);
    J.gradient(q, g);

    NpzArrays more;
    if (wants_hessian)
      {
        std::vector<double> v(q.size()), Hv;
        Field               direction(D.n_cells()), result(D.n_cells());
        // log alpha of a cell moves all its springs.
        const unsigned int n = per_spring ? dim : 1;
        for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
          direction[k] = random_number(seed, D.cell_id[k]);
        for (unsigned int i = 0; i < v.size(); ++i)
          v[i] = direction[i / n];
        J.hessian(q, v, false, Hv);
        for (unsigned int i = 0; i < v.size(); ++i)
          result[i / n] += Hv[i];
        const std::vector<std::size_t> shape = {D.n_global_cells()};
        more["hessian_direction"] = NpyArray(shape, D.gather_cells(direction));
        more["hessian_product"]   = NpyArray(shape, D.gather_cells(result));
      }
    problem.watch_motion();
    nlohmann::json summary;
    summary["task"]        = "evaluate";
    summary["objective"]   = problem.objective_json(J.parts());
    summary["stop_reason"] = "evaluated";
    outputs.begin();
    problem.write_results(outputs.folder(), &J, summary, more);
    outputs.commit();
    for (const auto &[name, value] : summary["objective"].items())
      log << "  " << name << " = " << std::setprecision(10)
          << value.template get<double>() << std::endl;
    log << "results in " << outputs.directory() << " (" << std::setprecision(3)
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
