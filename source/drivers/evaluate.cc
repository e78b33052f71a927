#include <deal.II/base/timer.h>

#include <palpate/core/outputs.h>
#include <palpate/drivers/evaluated_unknowns.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>
#include <palpate/drivers/taylor_tests.h>
#include <palpate/parameterizations/lame_parameters.h>

#include <cmath>
#include <iomanip>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// The fields to evaluate at: those given, or those that Parameterization
    /// starts with. Collective.
    template <int dim>
    Fields
    fields_to_evaluate_at(const Problem<dim> &problem)
    {
      Fields fields = problem.initial_fields();
      if (!problem.parameterization)
        return fields;
      auto &parameterization = *problem.parameterization;
      parameterization.bind(*problem.discretization, fields);
      Fields start;
      parameterization.apply(parameterization.initial(), start);
      double moved = 0;
      for (const auto &[name, field] : start)
        {
          for (unsigned int k = 0; name == "stiffness" &&
                                   k < problem.discretization->n_owned_cells();
               ++k)
            moved += std::abs(field[k] - problem.stiffness[k]) >
                     1e-9 * problem.stiffness[k];
          fields[name] = field;
        }
      moved = problem.discretization->sum(moved);
      if (moved > 0)
        problem.log << "note: Parameterization starts with another stiffness "
                       "than its Initial value in "
                    << moved << " cells (bounds, or what it is made of)"
                    << std::endl;
      return fields;
    }

    /// The product of the Hessian with a random direction of log alpha.
    template <int dim>
    void
    add_hessian_product(ReducedFunctional<dim>    &J,
                        const Discretization<dim> &D,
                        const std::vector<double> &q,
                        const unsigned int         per_cell,
                        const unsigned int         seed,
                        NpzArrays                 &arrays)
    {
      std::vector<double> v(q.size(), 0.), Hv;
      Field               direction(D.n_cells()), result(D.n_cells());
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        direction[k] = random_number(seed, D.cell_id[k]);
      // log alpha of a cell moves all its springs; other unknowns come after.
      const unsigned int n = D.n_owned_cells() * per_cell;
      for (unsigned int i = 0; i < n; ++i)
        v[i] = direction[i / per_cell];
      J.hessian(q, v, false, Hv);
      for (unsigned int i = 0; i < n; ++i)
        result[i / per_cell] += Hv[i];
      const std::vector<std::size_t> shape = {D.n_global_cells()};
      arrays["hessian_direction"] = NpyArray(shape, D.gather_cells(direction));
      arrays["hessian_product"]   = NpyArray(shape, D.gather_cells(result));
    }
  } // namespace

  template <int dim>
  int
  run_evaluate(Parameters               &parameters,
               const RunOptions         &options,
               const MPI_Comm           &comm,
               const ConditionalOStream &log)
  {
    Timer        timer;
    Problem<dim> problem(parameters,
                         comm,
                         log,
                         true,
                         stiffness_is_of_parameterization(parameters),
                         options.dry_run);
    bool         wants_hessian;
    unsigned int seed = 1;
    {
      const Parameters::Section section(parameters, "Evaluate");
      wants_hessian = parameters.get_bool("Hessian product");
      if (wants_hessian && problem.trajectory)
        parameters.fail("Hessian product",
                        "expected false: a motion in time has no second "
                        "derivatives");
      if (wants_hessian &&
          dynamic_cast<LameParameters<dim> *>(problem.more_unknowns.get()))
        parameters.fail("Hessian product",
                        "is one by the stiffness, expected false with Lame's "
                        "parameters among More unknowns");
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

    const double seconds_input = timer.wall_time();
    const auto  &D             = *problem.discretization;
    log << "  stiffness: of "
        << (problem.parameterization ? "Parameterization" : "Stiffness")
        << std::endl;
    const Fields start = fields_to_evaluate_at(problem);
    const auto   unknowns =
      evaluated_unknowns<dim>(D, start, std::move(problem.more_unknowns));
    ReducedFunctional<dim> J(
      problem.states(), *unknowns, problem.terms, problem.fixed_fields, comm);
    const auto          q = unknowns->initial();
    std::vector<double> g;
    J.value(q);
    J.gradient(q, g);

    NpzArrays more;
    if (wants_hessian)
      add_hessian_product(
        J, D, q, start.has("spring_stiffness") ? dim : 1, seed, more);
    problem.watch_motion();
    nlohmann::json summary;
    summary["task"]        = "evaluate";
    summary["objective"]   = problem.objective_json(J.parts());
    summary["stop_reason"] = "evaluated";
    summary["seconds"]     = {{"input", seconds_input},
                              {"elapsed", timer.wall_time()}};
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
