#include <deal.II/base/timer.h>

#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/drivers/observation.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>

#include <iomanip>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// Collects and writes what a motion leaves behind.
    template <int dim>
    class MotionOutput
    {
    public:
      MotionOutput(const Problem<dim> &problem, const std::string &directory)
        : problem(problem)
        , directory(directory)
      {}

      /// Collective.
      void
      add(const State                            &state,
          const typename MovingBody<dim>::Energy &energy,
          const double                            dissipated)
      {
        const auto       &D = *problem.discretization;
        VtuData<dim>      out;
        const std::string name =
          "solution_" + Utilities::int_to_string(times.size(), 4);
        out.nodal.emplace_back("displacement", state.u);
        out.nodal.emplace_back("velocity", state.v);
        std::vector<double> label(D.n_owned_cells());
        for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
          label[k] = problem.data.mesh.labels[D.cell_id[k]];
        out.cell.emplace_back("label", label);
        for (const auto &[field, values] : problem.initial_fields())
          if (values.n_components == 1 && values.place == Place::cells)
            out.cell.emplace_back(
              field == "stiffness" ? problem.stiffness_key() : field,
              std::vector<double>(values.values.begin(),
                                  values.values.begin() + D.n_owned_cells()));
        files.emplace_back(state.time, write_vtu(directory, name, D, out));
        write_pvd(directory, "solution", files, problem.comm);
        times.push_back(state.time);
        for (auto *pair : {&u, &v})
          {
            const auto all = D.gather_vertices(pair == &u ? state.u : state.v);
            if (Utilities::MPI::this_mpi_process(problem.comm) == 0)
              pair->insert(pair->end(), all.begin(), all.end());
          }
        table << std::setprecision(16) << state.time << "," << energy.kinetic
              << "," << energy.elastic << "," << energy.loads << ","
              << dissipated << "," << energy.total() << "\n";
        run_on_root(problem.comm, [&]() {
          write_file(directory + "/energies.csv",
                     "time_s,kinetic_J,elastic_J,loads_J,dissipated_J,"
                     "total_J\n" +
                       table.str());
        });
      }

      /// result.npz: time (T,), displacement and velocity (T,N,dim).
      /// Collective.
      void
      finish() const
      {
        run_on_root(problem.comm, [&]() {
          const std::size_t T = times.size(),
                            N = problem.data.mesh.vertices.size();
          NpzArrays arrays;
          arrays["time"]         = NpyArray({T}, times);
          arrays["displacement"] = NpyArray({T, N, dim}, u);
          arrays["velocity"]     = NpyArray({T, N, dim}, v);
          problem.add_generated_mesh(arrays);
          write_npz(directory + "/result.npz", arrays);
        });
      }

      std::size_t
      n() const
      {
        return times.size();
      }
      double
      last_time() const
      {
        return times.back();
      }

    private:
      const Problem<dim>                         &problem;
      const std::string                           directory;
      std::vector<std::pair<double, std::string>> files;
      std::vector<double>                         times, u, v;
      std::ostringstream                          table;
    };

    /// Cells that a state turns inside out. Collective.
    template <int dim>
    unsigned long
    n_inverted(const Discretization<dim> &D, const State &state)
    {
      unsigned long               n = 0;
      std::vector<Tensor<1, dim>> u;
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          D.gather(state.u, k, u);
          bool inverted = false;
          for (unsigned int q = 0; q < D.n_q; ++q)
            inverted =
              inverted || !(determinant(D.deformation_gradient(u, k, q)) > 0);
          n += inverted;
        }
      return Utilities::MPI::sum(n, D.comm);
    }
  } // namespace

  template <int dim>
  int
  run_simulate(Parameters               &parameters,
               const RunOptions         &options,
               const MPI_Comm           &comm,
               const ConditionalOStream &log)
  {
    Timer             timer;
    const std::string directory = parameters.get("Output directory");
    Problem<dim> problem(parameters, comm, log, false, false, options.dry_run);
    const TimeParameters &time = *problem.time;
    parameters.refuse_unused("simulate");
    problem.print_plan("simulate");

    const auto      &D    = *problem.discretization;
    MovingBody<dim> &body = *problem.body;
    History          past = {body.initial_state(time.step)};
    try
      {
        Vector f = D.make_vector();
        body.force(*past[0], f);
      }
    catch (const SolverError &e)
      {
        throw InputError(parameters.filename,
                         std::string("Initial state: ") + e.what());
      }
    const auto integrator = Registry<Integrator<dim>>::create(time.integrator);
    integrator->start(body, time, *past[0]);
    if (!integrator->note.empty())
      log << "  " << integrator->note << std::endl;
    if (options.dry_run)
      return 0;

    run_on_root(comm, [&]() { create_output_directory(directory); });
    MotionOutput<dim> output(problem, directory);
    log << std::endl
        << "      time [s]   kinetic [J]   elastic [J]     loads [J]     "
           "total [J]   steps/s  remaining"
        << std::endl;
    const unsigned int n = time.n_steps();
    Timer              stepping;
    unsigned long      inverted = 0; // most of any output
    const auto         report   = [&](const unsigned int step) {
      const State &state  = *past[0];
      const auto   energy = body.energy(state);
      inverted            = std::max(inverted, n_inverted(D, state));
      output.add(state, energy, integrator->dissipated());
      std::ostringstream row;
      row << std::scientific << std::setprecision(5) << std::setw(14)
          << state.time;
      for (const double e :
           {energy.kinetic, energy.elastic, energy.loads, energy.total()})
        row << std::setw(14) << e;
      if (step > 0)
        {
          const double rate = step / stepping.wall_time();
          row << std::defaultfloat << std::setprecision(3) << std::setw(10)
              << rate << std::setw(10) << std::fixed << std::setprecision(1)
              << (n - step) / rate << "s";
        }
      log << row.str() << std::endl;
    };
    report(0);
    nlohmann::json summary;
    summary["stop_reason"] = "end of time";
    std::string failure;
    for (unsigned int step = 1; step <= n; ++step)
      {
        try
          {
            integrator->advance(past);
          }
        catch (const SolverError &e)
          {
            // The last good state is kept.
            failure = "step " + std::to_string(step) + ", from " +
                      std::to_string(past[0]->time) + " s: " + e.what();
            if (output.last_time() < past[0]->time)
              report(step);
            summary["stop_reason"] = failure;
            break;
          }
        if (step % time.output_every == 0 || step == n)
          report(step);
      }
    const double seconds = stepping.wall_time();
    if (inverted > 0)
      {
        problem.warnings.push_back("the motion turns up to " +
                                   std::to_string(inverted) +
                                   " cells inside out");
        log << "warning: " << problem.warnings.back() << std::endl;
      }
    output.finish();
    const auto &counts = problem.equilibrium->counts;
    const auto  energy = body.energy(*past[0]);
    summary["task"]    = "simulate";
    summary["case"]    = problem.data.source;
    summary["sizes"]   = {{"vertices", problem.data.mesh.vertices.size()},
                          {"cells", D.n_global_cells()},
                          {"degrees_of_freedom", D.dof_handler().n_dofs()},
                          {"steps", n},
                          {"substeps", time.substeps},
                          {"outputs", output.n()}};
    summary["time_s"]  = past[0]->time;
    summary["inverted_cells"] = inverted;
    summary["energy_J"]       = {{"kinetic", energy.kinetic},
                                 {"elastic", energy.elastic},
                                 {"loads", energy.loads},
                                 {"dissipated", integrator->dissipated()},
                                 {"total", energy.total()}};
    summary["solves"]   = {{"newton_iterations", counts.newton_iterations},
                           {"linear_iterations", counts.linear_iterations},
                           {"set_ups", counts.set_ups}};
    summary["seconds"]  = {{"input", timer.wall_time() - seconds},
                           {"steps", seconds}};
    summary["warnings"] = problem.warnings;
    run_on_root(comm,
                [&]() { write_summary(directory, parameters, summary, comm); });
    if (!failure.empty())
      throw SolverError(failure + "; the last good state is in " + directory);
    log << "results in " << directory << " (" << std::setprecision(3)
        << timer.wall_time() << " s)" << std::endl;
    return 0;
  }

  template int
  run_simulate<2>(Parameters &,
                  const RunOptions &,
                  const MPI_Comm &,
                  const ConditionalOStream &);
  template int
  run_simulate<3>(Parameters &,
                  const RunOptions &,
                  const MPI_Comm &,
                  const ConditionalOStream &);
} // namespace Palpate
