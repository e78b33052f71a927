#include <deal.II/base/timer.h>

#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/interruption.h>
#include <palpate/core/outputs.h>
#include <palpate/drivers/evaluation_log.h>
#include <palpate/drivers/observation.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>
#include <palpate/equilibrium/together.h>
#include <palpate/forces/charges/field_at_points.h>

#include <algorithm>
#include <iomanip>
#include <numeric>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// One output of a motion.
    struct Row
    {
      double              time = 0;       ///< [s]
      std::vector<double> energies;       ///< kinetic, elastic, loads [J]
      double              lost       = 0; ///< to damping, on this rank [J]
      double              dissipated = 0; ///< on all ranks [J]
      double              inverted   = 0; ///< cells
      std::vector<double> u, v; ///< at the vertices, on the root [m, m/s]
      /// At Loads/Field points, four each: field [V/m] and potential [V].
      std::vector<double> field;

      double
      total() const
      {
        return std::accumulate(energies.begin(), energies.end(), 0.);
      }
      std::vector<double>
      pack() const
      {
        std::vector<double> all = {time,
                                   lost,
                                   dissipated,
                                   inverted,
                                   double(energies.size()),
                                   double(field.size())};
        for (const auto *part : {&energies, &field, &u, &v})
          all.insert(all.end(), part->begin(), part->end());
        return all;
      }
      explicit Row(const std::vector<double> &all)
        : time(all.at(0))
        , lost(all.at(1))
        , dissipated(all.at(2))
        , inverted(all.at(3))
      {
        auto              at = all.begin() + 6;
        const std::size_t n  = static_cast<std::size_t>(all.at(4)),
                          f  = static_cast<std::size_t>(all.at(5)),
                          m  = (all.size() - 6 - n - f) / 2;
        energies.assign(at, at + n);
        at += n;
        field.assign(at, at + f);
        at += f;
        u.assign(at, at + m);
        v.assign(at + m, all.end());
      }
      Row() = default;
    };

    /// Collects and writes what a motion leaves behind.
    template <int dim>
    class MotionOutput
    {
    public:
      MotionOutput(const Problem<dim>             &problem,
                   const std::string              &directory,
                   const std::vector<std::string> &names)
        : problem(problem)
        , directory(directory)
      {
        table << "time_s,";
        for (const auto &name : names)
          table << name << "_J,";
        table << "dissipated_J,total_J\n" << std::setprecision(16);
      }

      /// Collective.
      void
      write(const State &state)
      {
        const auto       &D = *problem.discretization;
        VtuData<dim>      out;
        const std::string name = file_name();
        out.nodal.emplace_back("displacement", state.u);
        out.nodal.emplace_back("velocity", state.v);
        std::vector<double> label(D.n_owned_cells());
        for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
          label[k] = D.label(k);
        out.cell.emplace_back("label", label);
        problem.add_network_fields(problem.initial_fields(), out);
        for (const auto &[field, values] : problem.initial_fields())
          if (values.n_components == 1 && values.place == Place::cells &&
              (field == "stiffness" || !D.is_network()))
            out.cell.emplace_back(
              field == "stiffness" ? problem.stiffness_key() : field,
              std::vector<double>(values.values.begin(),
                                  values.values.begin() + D.n_owned_cells()));
        write_vtu(directory, name, D, out);
        if (!D.is_network())
          return;
        if (problem.writes_electric_field)
          out.nodal.emplace_back("electric_field", electric_field(state));
        write_points(directory, points_name(), D, out);
      }

      /// An output whose file is written, by this run or before. Collective.
      void
      add(const Row &row)
      {
        const auto pieces = piece_names(file_name(), problem.comm);
        files.emplace_back(row.time,
                           Utilities::MPI::n_mpi_processes(problem.comm) == 1
                             ? pieces.front()
                             : pieces.back());
        write_pvd(directory, "solution", files, problem.comm);
        if (problem.discretization->is_network())
          {
            const bool pieces =
              Utilities::MPI::n_mpi_processes(problem.comm) > 1;
            points.emplace_back(row.time,
                                piece_names(points_name(),
                                            problem.comm)[pieces]);
            write_pvd(directory, "points", points, problem.comm);
          }
        times.push_back(row.time);
        field.insert(field.end(), row.field.begin(), row.field.end());
        u.insert(u.end(), row.u.begin(), row.u.end());
        v.insert(v.end(), row.v.begin(), row.v.end());
        table << row.time;
        for (const double e : row.energies)
          table << "," << e;
        table << "," << row.dissipated << "," << row.total() << "\n";
        run_on_root(problem.comm, [&]() {
          write_file(directory + "/energies.csv", table.str());
        });
      }

      /// Field and potential at Loads/Field points. Collective.
      std::vector<double>
      field_at_points(const State &state) const
      {
        std::vector<double> all;
        if constexpr (dim == 3)
          if (!problem.field_points.empty())
            {
              const auto field =
                Palpate::field_at_points(problem.body->context(state),
                                         problem.equilibrium->forces,
                                         problem.field_points);
              for (std::size_t i = 0; i < field.potential.size(); ++i)
                all.insert(all.end(),
                           {field.e[0][i],
                            field.e[1][i],
                            field.e[2][i],
                            field.potential[i]});
            }
        (void)state;
        return all;
      }

      /// result.npz: time (T,), displacement and velocity (T,N,dim), of P
      /// points the field (T,P,3) and potential (T,P) of the charges.
      /// Collective.
      void
      finish() const
      {
        NpzArrays arrays;
        problem.add_generated_mesh(arrays);
        run_on_root(problem.comm, [&]() {
          const std::size_t T    = times.size(),
                            N    = problem.data.mesh.n_all_vertices();
          arrays["time"]         = NpyArray({T}, times);
          arrays["displacement"] = NpyArray({T, N, dim}, u);
          arrays["velocity"]     = NpyArray({T, N, dim}, v);
          if (const std::size_t P = problem.field_points.size(); P > 0)
            {
              NpyArray e, potential, x;
              e.shape         = {T, P, 3};
              potential.shape = {T, P};
              x.shape         = {P, 3};
              for (std::size_t i = 0; i < 4 * T * P; ++i)
                (i % 4 < 3 ? e : potential).values.push_back(field[i]);
              for (const auto &point : problem.field_points)
                x.values.insert(x.values.end(),
                                point.begin_raw(),
                                point.end_raw());
              arrays["field_points"]       = x;
              arrays["electric_field"]     = e;
              arrays["electric_potential"] = potential;
            }
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
      std::string
      file_name() const
      {
        return "solution_" + Utilities::int_to_string(times.size(), 4);
      }
      std::string
      points_name() const
      {
        return "points_" + Utilities::int_to_string(times.size(), 4);
      }

      /// At the charged vertices [V/m]: what acts on a unit of charge.
      /// Collective.
      Vector
      electric_field(const State &state) const
      {
        const MovingBody<dim> &body = *problem.body;
        const auto            &D    = *problem.discretization;
        Vector                 e    = D.make_vector();
        if (!body.fields.has("charge"))
          return e;
        const Field &q = body.fields["charge"];
        for (const auto &force : problem.equilibrium->forces)
          if (!force->has_matrix())
            together(D.comm,
                     [&]() { force->residual(body.context(state), e); });
        for (unsigned int i = 0; i < D.n_owned_nodes() * dim; ++i)
          e.local_element(i) =
            q[i / dim] != 0 ? -e.local_element(i) / q[i / dim] : 0.;
        return e;
      }

      const Problem<dim>                         &problem;
      const std::string                           directory;
      std::vector<std::pair<double, std::string>> files, points;
      std::vector<double>                         times, u, v, field;
      std::ostringstream                          table;
    };

    /// The states of a history, ghosts included, as one list and back.
    template <int dim>
    std::vector<double>
    pack(const History &past, const Discretization<dim> &D)
    {
      std::vector<double> all;
      for (const auto &state : past)
        {
          all.push_back(state->time);
          for (const Vector *x : {&state->u, &state->v})
            for (unsigned int i = 0; i < D.n_nodes() * dim; ++i)
              all.push_back(x->local_element(i));
        }
      return all;
    }
    template <int dim>
    History
    unpack(const std::vector<double> &all, const Discretization<dim> &D)
    {
      History past;
      for (auto at = all.begin(); at != all.end();)
        {
          auto state  = std::make_shared<State>();
          state->time = *at++;
          for (Vector *x : {&state->u, &state->v})
            {
              *x = D.make_vector();
              for (unsigned int i = 0; i < D.n_nodes() * dim; ++i)
                x->local_element(i) = *at++;
              x->set_ghost_state(true);
            }
          past.push_back(state);
        }
      return past;
    }

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
    Timer        timer;
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
    Outputs::Plan plan{names_of_results()};
    plan.names.push_back("energies.csv");
    plan.has_checkpoint = true;
    Outputs outputs(parameters, plan, comm, log);
    if (options.dry_run)
      return 0;

    outputs.probe(options.resume);
    outputs.begin(options.resume);
    const std::string       &directory = outputs.folder();
    std::vector<std::string> names     = {"kinetic", "elastic"};
    for (const auto &load : body.energy(*past[0]).loads)
      {
        names.push_back(load.first); // as a column
        std::replace(names.back().begin(), names.back().end(), ' ', '_');
      }
    MotionOutput<dim> output(problem, directory, names);
    // The outputs are a checkpoint, with what the next step looks back at.
    EvaluationLog      checkpoint(outputs.checkpoint(),
                             problem.fingerprint({"Time/End"}),
                             options.resume,
                             comm);
    const unsigned int n            = time.n_steps();
    unsigned int       output_every = time.output_every;
    const std::size_t  n_known      = checkpoint.size();
    if (options.resume)
      {
        if (time.automatic_output && n_known > 1)
          output_every = checkpoint.question(1);
        if (n_known > 0 && checkpoint.question(n_known - 1) > n)
          throw EntryError("Time/End",
                           "expected at least the " +
                             std::to_string(checkpoint.question(n_known - 1) *
                                            time.step) +
                             " s that the checkpoint has come to");
      }
    log << std::endl
        << "      time [s]   kinetic [J]   elastic [J]     loads [J]     "
           "total [J]   steps/s  remaining"
        << std::endl;
    unsigned int first = 0; // step of the last output of the checkpoint
    Timer        stepping;
    double       seconds_of_output = 0;
    double       inverted          = 0; // most of any output
    EnergyWatch  energy;
    Row          last;
    // @param regular a longer run has this output too
    const auto report = [&](const unsigned int step, const bool regular) {
      const Timer writing;
      const auto *known = regular ? checkpoint.next('S', step) : nullptr;
      if (known != nullptr)
        {
          last  = Row(known->answer);
          first = step;
        }
      else
        {
          const State &state = *past[0];
          // Results hold single precision.
          if (!(state.u.linfty_norm() < 1e30 && state.v.linfty_norm() < 1e30))
            throw SolverError("the motion became infinite (1e30 m or m/s)");
          Row now; // a report that throws leaves the last one
          now.time        = state.time;
          now.energies    = body.energy(state).list();
          now.lost        = integrator->lost;
          now.dissipated  = D.sum(now.lost);
          now.inverted    = n_inverted(D, state);
          const auto root = Discretization<dim>::To::root;
          now.u           = D.gather_vertices(state.u, root);
          now.v           = D.gather_vertices(state.v, root);
          now.field       = output.field_at_points(state);
          output.write(state);
          last = std::move(now);
        }
      inverted = std::max(inverted, last.inverted);
      energy.add(last.energies);
      output.add(last);
      if (regular && known == nullptr)
        checkpoint.append({'S', step, last.pack()}, pack(past, D));
      std::ostringstream row;
      row << std::scientific << std::setprecision(5) << std::setw(14)
          << last.time;
      const double in_body = last.energies[0] + last.energies[1];
      for (const double e : {last.energies[0],
                             last.energies[1],
                             last.total() - in_body,
                             last.total()})
        row << std::setw(14) << e;
      if (step > first)
        {
          const double rate = (step - first) / stepping.wall_time();
          row << std::defaultfloat << std::setprecision(3) << std::setw(10)
              << rate << std::setw(10) << std::fixed << std::setprecision(1)
              << (n - step) / rate << "s";
        }
      log << row.str() << std::endl;
      seconds_of_output += writing.wall_time();
    };
    for (std::size_t i = 0; i < n_known; ++i)
      report(i * output_every, true);
    if (n_known > 0)
      {
        past             = unpack(checkpoint.warm_start(), D);
        integrator->lost = last.lost;
        log << "resuming from " << past[0]->time << " s" << std::endl;
      }
    else
      report(0, true);
    stepping.restart();
    seconds_of_output            = 0;
    const double   seconds_input = timer.wall_time();
    nlohmann::json summary;
    summary["stop_reason"] = "end of time";
    std::string failure;
    int         interrupted = 0; // exit code of an interruption
    for (unsigned int step = first + 1; step <= n; ++step)
      {
        const double lost = integrator->lost;
        try
          {
            Interruption::check(comm);
            integrator->advance(past);
          }
        catch (const Interrupted &e)
          {
            // The outputs so far are the result.
            interrupted            = e.exit_code;
            summary["stop_reason"] = "interrupted";
            break;
          }
        catch (const SolverError &e)
          {
            // The last good state is kept.
            integrator->lost = lost;
            failure          = "step " + std::to_string(step) + ", from " +
                      std::to_string(past[0]->time) + " s: " + e.what();
            if (output.last_time() < past[0]->time)
              try
                {
                  report(step, false);
                }
              catch (const SolverError &)
                {} // the output before is the last that is good
            summary["stop_reason"] = failure;
            break;
          }
        if (step % output_every == 0 || step == n)
          try
            {
              report(step, step % output_every == 0);
            }
          catch (const SolverError &e) // it has no energy
            {
              failure = "step " + std::to_string(step) + ", at " +
                        std::to_string(past[0]->time) + " s: " + e.what();
              summary["stop_reason"] = failure;
              break;
            }
      }
    Interruption::acknowledge(); // there is a result to be written
    const double seconds = stepping.wall_time() - seconds_of_output;
    if (inverted > 0)
      {
        problem.warnings.push_back("the motion turns up to " +
                                   std::to_string(static_cast<long>(inverted)) +
                                   " cells inside out");
        log << "warning: " << problem.warnings.back() << std::endl;
      }
    problem.warn_of_motion(energy, integrator->chatter);
    output.finish();
    const auto &counts = problem.equilibrium->counts;
    summary["task"]    = "simulate";
    summary["case"]    = problem.data.source;
    summary["sizes"]   = {{"vertices", problem.data.mesh.n_all_vertices()},
                          {"cells", D.n_global_cells()},
                          {"degrees_of_freedom", D.n_dofs()},
                          {"steps", n},
                          {"substeps", time.substeps},
                          {"outputs", output.n()}};
    summary["time_s"]  = last.time;
    summary["inverted_cells"] = static_cast<long>(inverted);
    for (unsigned int i = 0; i < names.size(); ++i)
      summary["energy_J"][names[i]] = last.energies[i];
    summary["energy_J"]["dissipated"] = last.dissipated;
    summary["energy_J"]["total"]      = last.total();
    summary["solves"]   = {{"newton_iterations", counts.newton_iterations},
                           {"linear_iterations", counts.linear_iterations},
                           {"set_ups", counts.set_ups}};
    summary["seconds"]  = {{"input", seconds_input},
                           {"steps", seconds},
                           {"output",
                            timer.wall_time() - seconds_input - seconds},
                           {"elapsed", timer.wall_time()}};
    summary["warnings"] = problem.warnings;
    run_on_root(comm,
                [&]() { write_summary(directory, parameters, summary, comm); });
    // Good results of an earlier run are worth more than half a motion.
    if (!failure.empty() && outputs.holds_results())
      throw SolverError(failure + "; the results in " + outputs.directory() +
                        " are left as they were");
    outputs.commit();
    if (!failure.empty())
      throw SolverError(failure + "; the last good state is in " +
                        outputs.directory());
    if (interrupted != 0)
      throw Interrupted(interrupted - 128,
                        "the motion up to " + std::to_string(last.time) +
                          " s is in " + outputs.directory() +
                          "; --resume goes on");
    if (const int signal = Interruption::received_signal(comm))
      throw Interrupted(signal,
                        "after the last step; the motion is complete, in " +
                          outputs.directory());
    log << "results in " << outputs.directory() << " (" << std::setprecision(3)
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
