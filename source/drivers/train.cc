#include <deal.II/base/timer.h>

#include <palpate/core/declared_parameters.h>
#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/interruption.h>
#include <palpate/core/outputs.h>
#include <palpate/core/text.h>
#include <palpate/drivers/evaluated_unknowns.h>
#include <palpate/drivers/evaluation_log.h>
#include <palpate/drivers/fingerprint.h>
#include <palpate/drivers/network_file.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>
#include <palpate/inverse/free_directions.h>
#include <palpate/optimizers/adam.h>
#include <palpate/optimizers/optimizer.h>

#include <boost/random/mersenne_twister.hpp>
#include <boost/random/uniform_int_distribution.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iomanip>
#include <set>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    using Q           = std::vector<double>;
    using Description = GraphNetwork<3>::Description;

    struct TrainingParameters
    {
      std::vector<std::string> cases, validation, baselines;
      Description              network;
      AdamParameters           adam;
      unsigned int seed = 42, cases_per_update = 0, ranks_per_case = 0,
                   patience = 0, in_memory = 0, output_every = 10;
      std::string output_case;
      double      reference = 0; ///< [Pa], 0: not stated
    };

    /// @param original the user's file, not the copy a case reads
    TrainingParameters
    read_training_parameters(Parameters &parameters, const bool original)
    {
      TrainingParameters p;
      {
        const Parameters::Section section(parameters, "Cohort");
        p.cases      = parameters.get_list("Cases");
        p.validation = parameters.get_list("Validation cases");
        if (p.cases.empty())
          parameters.fail("Cases", "expected at least one case pack");
        std::set<std::string> seen;
        for (const auto *list : {&p.cases, &p.validation})
          for (const auto &file : *list)
            if (!seen.insert(file).second)
              parameters.fail(list == &p.cases ? "Cases" : "Validation cases",
                              "'" + file +
                                "' is there twice, expected every "
                                "case once, in one of the two lists");
      }
      {
        const Parameters::Section section(parameters, "Network");
        GraphNetwork<3>           network;
        network.parse_network(parameters);
        p.network = network.description;
        if (!parameters.get("Reference stiffness").empty())
          {
            p.reference = parameters.get_double("Reference stiffness");
            if (!(p.reference > 0))
              parameters.fail("Reference stiffness",
                              "expected a positive stiffness, or nothing");
          }
      }
      {
        const Parameters::Section section(parameters, "Training");
        p.adam.parse_parameters(parameters);
        p.seed             = parameters.get_integer("Seed");
        p.network.seed     = p.seed;
        p.cases_per_update = parameters.get_integer("Cases per update");
        p.ranks_per_case   = parameters.get_integer("Ranks per case");
        p.patience         = parameters.get_integer("Patience");
        if (p.patience > 0 && p.validation.empty())
          parameters.fail("Patience", "expected Cohort/Validation cases");
        p.in_memory   = parameters.get_integer("Cases in memory");
        p.baselines   = parameters.get_list("Baselines");
        p.output_case = parameters.get("Output case");
        const std::vector<std::string> known = {"mean value",
                                                "linear law",
                                                "smoothed linear law",
                                                "per-case inversion"};
        for (const auto &name : p.baselines)
          if (std::find(known.begin(), known.end(), name) == known.end())
            parameters.fail("Baselines",
                            "'" + name + "' is unknown, expected " +
                              Text::enumerate(known, ", ") +
                              Text::did_you_mean(name, known));
        if (!p.output_case.empty())
          {
            p.output_every = parameters.get_integer("Output every");
            if (std::count(p.cases.begin(), p.cases.end(), p.output_case) +
                  std::count(p.validation.begin(),
                             p.validation.end(),
                             p.output_case) ==
                0)
              parameters.fail("Output case",
                              "is not in the cohort, expected one of "
                              "Cohort/Cases or Validation cases");
          }
      }
      if (original)
        {
          const Parameters::Section section(parameters, "Case");
          for (const char *name : {"File", "Shape"})
            if (parameters.is_changed(name) && !parameters.get(name).empty())
              parameters.fail(name,
                              "has no effect with Task = train, expected "
                              "Cohort/Cases");
        }
      {
        const Parameters::Section section(parameters, "Stiffness");
        for (const char *name : {"Source", "Value", "Values", "Function"})
          if (parameters.is_changed(name))
            parameters.fail(name,
                            "has no effect with Task = train: the network says "
                            "the stiffness");
      }
      for (const char *name : {"Task",
                               "Output directory",
                               "Verbosity",
                               "Additional shared libraries"})
        parameters.get(name);
      return p;
    }

    /// What one evaluation of a case gives.
    struct Outcome
    {
      unsigned int index = 0; ///< of the case
      double total = 0, clipped = 0, iterations = 0, seconds = 0, error = 0;
      std::vector<double> parts;
      Q                   gradient;

      std::vector<double>
      pack() const
      {
        std::vector<double> v = {double(index),
                                 total,
                                 clipped,
                                 iterations,
                                 seconds,
                                 error,
                                 double(parts.size())};
        v.insert(v.end(), parts.begin(), parts.end());
        v.push_back(gradient.size());
        v.insert(v.end(), gradient.begin(), gradient.end());
        return v;
      }
      void
      unpack(const std::vector<double> &v, std::size_t &at)
      {
        index         = static_cast<unsigned int>(v.at(at++));
        total         = v.at(at++);
        clipped       = v.at(at++);
        iterations    = v.at(at++);
        seconds       = v.at(at++);
        error         = v.at(at++);
        std::size_t n = static_cast<std::size_t>(v.at(at++));
        parts.assign(v.begin() + at, v.begin() + at + n);
        at += n;
        n = static_cast<std::size_t>(v.at(at++));
        gradient.assign(v.begin() + at, v.begin() + at + n);
        at += n;
      }
    };

    /// The cases of one group of ranks: read when they are needed, dropped
    /// when there are too many. What a case starts its next solves from stays.
    class Cohort
    {
    public:
      struct Entry
      {
        std::string                           file;
        std::unique_ptr<Parameters>           parameters;
        std::unique_ptr<Problem<3>>           problem;
        std::unique_ptr<GraphNetwork<3>>      network;
        std::unique_ptr<ReducedFunctional<3>> J;
        std::vector<double>                   warm;
        unsigned long                         last_use = 0;
      };

      Cohort(const Parameters               &original,
             const std::vector<std::string> &files,
             const MPI_Comm                 &comm,
             const ConditionalOStream       &log,
             const unsigned int              in_memory)
        : comm(comm)
        , original(original)
        , log(log)
        , quiet(std::cout, false)
        , in_memory(in_memory)
      {
        for (const auto &file : files)
          {
            entries.emplace_back();
            entries.back().file = file;
          }
      }

      Entry &
      get(const unsigned int i)
      {
        Entry &e = entries[i];
        if (!e.problem)
          {
            make_room(i);
            e.parameters = std::make_unique<Parameters>();
            declare_parameters(e.parameters->handler);
            auto overrides = original.overrides;
            overrides.push_back("Case/File=" + e.file);
            e.parameters->parse(original.filename, overrides);
            e.parameters->get("Task");
            e.problem = std::make_unique<Problem<3>>(
              *e.parameters, comm, e.last_use == 0 ? log : quiet, true, false);
            if (std::none_of(e.problem->terms.begin(),
                             e.problem->terms.end(),
                             [](const auto &t) { return t.weight > 0; }))
              throw InputError(original.filename,
                               "all weights in Objective are 0, expected "
                               "something to minimise");
          }
        e.last_use = ++clock;
        if (!e.J && model)
          {
            Fields inputs = e.problem->initial_fields();
            e.network     = std::make_unique<GraphNetwork<3>>();
            e.problem->add_inputs(*e.network, inputs);
            e.network->description = *model;
            e.network->bind(*e.problem->discretization, inputs);
            e.J =
              std::make_unique<ReducedFunctional<3>>(*e.problem->equilibrium,
                                                     *e.network,
                                                     e.problem->terms,
                                                     e.problem->fixed_fields,
                                                     comm);
            if (!e.warm.empty())
              e.J->restore(e.warm);
          }
        return e;
      }

      /// Another network for all; nothing is left of the one before.
      void
      set_model(const Description &description)
      {
        model = std::make_unique<Description>(description);
        for (Entry &e : entries)
          {
            e.J.reset();
            e.network.reset();
            e.warm.clear();
            if (e.problem)
              {
                auto states = e.problem->equilibrium->states();
                for (Vector &u : states)
                  {
                    u.zero_out_ghost_values();
                    u = 0;
                  }
                e.problem->equilibrium->set_states(states);
              }
          }
      }

      std::vector<double>
      warm_start(const unsigned int i) const
      {
        return entries[i].J ? entries[i].J->checkpoint() : entries[i].warm;
      }
      void
      set_warm_start(const unsigned int i, const std::vector<double> &data)
      {
        entries[i].warm = data;
        if (entries[i].J && !data.empty())
          entries[i].J->restore(data);
      }

      Outcome
      evaluate(const unsigned int i, const Q &q, const bool with_gradient)
      {
        Timer      timer;
        Entry     &e      = get(i);
        const Q    mine   = e.network->n_local() > 0 ? q : Q();
        const auto before = e.problem->equilibrium->counts.linear_iterations;
        Outcome    o;
        o.index = i;
        o.total = e.J->value(mine);
        o.parts = e.J->parts();
        if (with_gradient)
          e.J->gradient(mine, o.gradient);
        o.clipped = e.network->share_at_bound(mine);
        o.error   = e.problem->mean_errors().first;
        o.iterations =
          e.problem->equilibrium->counts.linear_iterations - before;
        o.seconds = timer.wall_time();
        return o;
      }

      std::vector<Entry> entries;
      const MPI_Comm     comm;

    private:
      void
      make_room(const unsigned int wanted)
      {
        if (in_memory == 0)
          return;
        while (true)
          {
            unsigned int n = 0, oldest = entries.size();
            for (unsigned int i = 0; i < entries.size(); ++i)
              if (i != wanted && entries[i].problem)
                {
                  ++n;
                  if (oldest == entries.size() ||
                      entries[i].last_use < entries[oldest].last_use)
                    oldest = i;
                }
            if (n < in_memory)
              return;
            Entry &e = entries[oldest];
            if (e.J)
              e.warm = e.J->checkpoint();
            e.J.reset();
            e.network.reset();
            e.problem.reset();
            e.parameters.reset();
          }
      }

      const Parameters            &original;
      const ConditionalOStream    &log;
      const ConditionalOStream     quiet;
      const unsigned int           in_memory;
      unsigned long                clock = 0;
      std::unique_ptr<Description> model;
    };

    /// One network that was trained, and what is reported of it.
    struct Model
    {
      std::string  name;
      Description  description;
      Q            q;
      unsigned int epochs = 0, best_epoch = 0;
      double       training_loss = 0, validation_loss = 0, training_error = 0,
             validation_error = 0;
      std::string stop_reason;
      bool        done = false;
    };

    class Trainer
    {
    public:
      Trainer(Parameters               &parameters,
              const TrainingParameters &p,
              const RunOptions         &options,
              const MPI_Comm           &world,
              const MPI_Comm           &group,
              const unsigned int        n_groups,
              const ConditionalOStream &log)
        : parameters(parameters)
        , p(p)
        , options(options)
        , world(world)
        , rank(Utilities::MPI::this_mpi_process(world))
        , n_groups(n_groups)
        , my_group(p.ranks_per_case > 0 ? rank / p.ranks_per_case : 0)
        , group_root(Utilities::MPI::this_mpi_process(group) == 0)
        , log(log)
        , cohort(parameters, all_files(p), group, log, p.in_memory)
      {}

      /// Read every case once; find the range of HU.
      void
      read_cases()
      {
        double low = 1e300, high = -1e300;
        together("reading", [&]() {
          for (unsigned int i = 0; i < cohort.entries.size(); ++i)
            {
              if (owner(i) != my_group)
                continue;
              auto           &e   = cohort.get(i);
              Fields          all = e.problem->initial_fields();
              GraphNetwork<3> network;
              e.problem->add_inputs(network, all);
              if (i < p.cases.size())
                for (const double h : all["hounsfield"].values)
                  {
                    low  = std::min(low, h);
                    high = std::max(high, h);
                  }
              identified = identified || e.problem->scale_identified;
              columns.clear();
              for (const auto &term : e.problem->terms)
                columns.push_back(term.objective->column_name());
              if (i == 0)
                {
                  read_training_parameters(*e.parameters, false);
                  if (uses_inversion())
                    e.parameters->mark_section_used("Optimizer");
                  e.parameters->refuse_unused("train");
                }
            }
        });
        hu_low     = Utilities::MPI::min(low, world);
        hu_high    = Utilities::MPI::max(high, world);
        identified = Utilities::MPI::max(identified ? 1 : 0, world) > 0;
        columns    = Utilities::MPI::broadcast(world, columns, 0);
        log << "  HU of the cohort: " << hu_low << " to " << hu_high
            << std::endl;
        if (identified && p.reference > 0)
          {
            const Parameters::Section section(parameters, "Network");
            parameters.fail("Reference stiffness",
                            "the loads give the scale already, expected "
                            "nothing");
          }
        outputs =
          std::make_unique<Outputs>(parameters, output_plan(), world, log);
      }

      void
      run()
      {
        std::vector<Model> models(1);
        models[0].name        = "graph network";
        models[0].description = p.network;
        for (const auto &name : p.baselines)
          if (name != "per-case inversion")
            {
              Model m;
              m.name              = name;
              m.description       = p.network;
              m.description.width = 0;
              m.description.linear_map =
                (name == "mean value" ? "none" : "learned");
              m.description.smoothing = (name == "smoothed linear law" ? 3 : 0);
              models.push_back(m);
            }
        for (Model &m : models)
          {
            m.description.hu_low   = hu_low;
            m.description.hu_high  = hu_high;
            m.description.hu_known = true;
          }
        run_on_root(world, [&]() {
          if (options.resume && !std::filesystem::exists(checkpoint_file()))
            throw InputError(checkpoint_file(),
                             "does not exist, nothing to resume");
        });
        outputs->probe(options.resume);
        outputs->begin(options.resume);
        if (!options.resume)
          {
            const auto now = fingerprint();
            run_on_root(world, [&]() {
              write_file(fingerprint_file(), now.dump(1) + "\n");
            });
          }
        csv << "model,epoch,case,role";
        for (const auto &name : columns)
          csv << "," << name;
        csv << ",total,mean_error_m,clipped_share,linear_iterations,seconds,a,"
               "b,gradient_norm,learning_rate\n"
            << std::setprecision(16);
        if (options.resume)
          resume(models);
        int            interrupted = train_all(models);
        nlohmann::json summary;
        for (const Model &m : models)
          summary["models"].push_back(
            {{"name", m.name},
             {"epochs", m.epochs},
             {"best_epoch", m.best_epoch},
             {"training_loss", m.training_loss},
             {"training_mean_error_m", m.training_error},
             {"validation_loss", number(m.validation_loss)},
             {"validation_mean_error_m", number(m.validation_error)},
             {"stop_reason", m.stop_reason}});
        if (uses_inversion() && interrupted == 0)
          try
            {
              summary["models"].push_back(invert());
            }
          catch (const Interrupted &e)
            {
              interrupted = e.exit_code;
            }
        Interruption::acknowledge(); // there is a result to be written
        log << std::endl
            << "  model                    training   validation  mean error "
               "of validation [mm]"
            << std::endl;
        for (const auto &m : summary["models"])
          {
            std::ostringstream row;
            const auto put = [&](const nlohmann::json &v, const double factor) {
              if (v.is_null())
                row << std::setw(13) << "-";
              else
                row << std::setw(13) << factor * v.get<double>();
            };
            row << "  " << std::left << std::setw(21)
                << m["name"].get<std::string>() << std::right
                << std::setprecision(5);
            put(m["training_loss"], 1);
            put(m["validation_loss"], 1);
            put(m["validation_mean_error_m"], 1e3);
            log << row.str() << std::endl;
          }
        summary["task"] = "train";
        summary["stop_reason"] =
          interrupted != 0 ? "interrupted" : models[0].stop_reason;
        summary["HU_range"]         = {hu_low, hu_high};
        summary["scale_identified"] = identified;
        summary["cases"]            = p.cases;
        summary["validation_cases"] = p.validation;
        summary["seconds"]          = {{"elapsed", timer.wall_time()}};
        if (!identified)
          {
            summary["reference_stiffness"] = {
              {"value_Pa", reference},
              {"meaning",
               std::string("without loads only relative stiffness can be "
                           "learned; this geometric mean over the cohort is ") +
                 (p.reference > 0 ? "stated"
                                  : "assumed (from the start within "
                                    "the bounds)") +
                 ", not a measurement"}};
            log << "  no load: stiffness is relative to a geometric mean of "
                << std::setprecision(5) << reference
                << " Pa over the cohort, not a measurement" << std::endl;
          }
        run_on_root(world, [&]() {
          write_summary(outputs->folder(), parameters, summary, world);
        });
        outputs->commit();
        if (interrupted != 0)
          throw Interrupted(interrupted - 128,
                            "the best network so far, of epoch " +
                              std::to_string(models[0].best_epoch) +
                              ", is in " + outputs->directory() +
                              "; --resume goes on");
        if (const int signal = Interruption::received_signal(world))
          throw Interrupted(
            signal,
            "after the last epoch; the result is complete, in " +
              outputs->directory());
        log << "network in " << outputs->directory() << "/network.json ("
            << std::setprecision(4) << timer.wall_time() << " s)" << std::endl;
      }

    private:
      static Outputs::Plan
      output_plan()
      {
        Outputs::Plan plan;
        for (const char *name :
             {"network", "mean_value", "linear_law", "smoothed_linear_law"})
          for (const char *ending : {".json", ".npz"})
            plan.names.push_back(std::string(name) + ending);
        for (const auto &name : names_of_results())
          plan.names.push_back("epoch_[0-9]*/" + name);
        for (const char *name :
             {"training.csv", "summary.json", "parameters.prm"})
          plan.names.push_back(name);
        plan.has_checkpoint = true;
        return plan;
      }

      /// One after the other; what is trained when the run is told to stop
      /// keeps its best epoch, and later ones are dropped. @return the exit
      /// code of an interruption, or 0
      int
      train_all(std::vector<Model> &models)
      {
        for (std::size_t i = 0; i < models.size(); ++i)
          if (!models[i].done)
            try
              {
                train(models[i], models);
              }
            catch (const Interrupted &e)
              {
                const bool has_epoch = models[i].best_epoch > 0;
                if (i == 0 && !has_epoch)
                  throw; // there is no network yet
                Interruption::acknowledge();
                models[i].stop_reason = "interrupted";
                if (has_epoch)
                  ask_for_scale(models[i]);
                if (has_epoch)
                  save(models[i], identified ? 1. : scale(models[i]), true);
                models.resize(has_epoch ? i + 1 : i);
                run_on_root(world, [&]() {
                  write_file(outputs->folder() + "/training.csv",
                             finished_rows);
                });
                return e.exit_code;
              }
            catch (const ComputationError &)
              {
                // Half a training is worth less than the results of a whole
                // one.
                if (failed_in_solve && kept_epoch > 0 &&
                    !outputs->holds_results())
                  outputs->commit();
                throw;
              }
        return 0;
      }

      static std::vector<std::string>
      all_files(const TrainingParameters &p)
      {
        std::vector<std::string> files = p.cases;
        files.insert(files.end(), p.validation.begin(), p.validation.end());
        return files;
      }

      bool
      uses_inversion() const
      {
        return std::count(p.baselines.begin(),
                          p.baselines.end(),
                          "per-case inversion") > 0;
      }

      static nlohmann::json
      number(const double v)
      {
        return std::isfinite(v) ? nlohmann::json(v) : nlohmann::json();
      }

      unsigned int
      per_update() const
      {
        return p.cases_per_update > 0 ? p.cases_per_update : n_groups;
      }

      /// The group that works on a case: a training case of class c = i mod
      /// (cases per update) belongs to group c mod (groups).
      unsigned int
      owner(const unsigned int i) const
      {
        return i < p.cases.size() ? (i % per_update()) % n_groups
                                  : (i - p.cases.size()) % n_groups;
      }

      /// Work that may fail in one group: then all fail with its message.
      void
      together(const std::string &what, const std::function<void()> &work)
      {
        std::string message;
        int         code = 0;
        try
          {
            work();
          }
        catch (const SolverError &e)
          {
            message = parameters.filename + ": " + what + ": " + e.what();
            code    = 1;
          }
        catch (const EntryError &e)
          {
            message = parameters.filename + ": " + e.what();
            code    = 2;
          }
        catch (const Error &e)
          {
            message = e.what();
            code    = e.exit_code;
          }
        code = Utilities::MPI::max(code, world);
        if (code == 0)
          return;
        for (const auto &m : Utilities::MPI::all_gather(world, message))
          if (!m.empty())
            {
              if (code > 128)
                throw Interrupted(code - 128);
              if (code == 2)
                throw InputError(m);
              throw ComputationError(m);
            }
      }

      /// What a run that fails leaves.
      std::string
      kept_model() const
      {
        if (outputs->holds_results())
          return "; the results in " + outputs->directory() +
                 " are left as they were";
        return kept_epoch == 0 ? "; there is no model yet"
                               : "; the model of epoch " +
                                   std::to_string(kept_epoch) + " is kept";
      }

      /// Outcomes of some cases, in this order, on every rank.
      std::vector<Outcome>
      evaluate(const std::vector<unsigned int> &cases,
               const Q                         &q,
               const bool                       with_gradient,
               const unsigned int               epoch)
      {
        std::vector<double> mine;
        Interruption::check(world);
        failed_in_solve = true;
        together("epoch " + std::to_string(epoch), [&]() {
          for (const unsigned int i : cases)
            if (owner(i) == my_group)
              {
                const std::string &file = cohort.entries[i].file;
                Outcome            o;
                try
                  {
                    o = cohort.evaluate(i, q, with_gradient);
                  }
                catch (const SolverError &e)
                  {
                    throw SolverError("case " + file + ": " + e.what() +
                                      kept_model());
                  }
                double sum = o.total;
                for (const double g : o.gradient)
                  sum += g;
                // All ranks of the group must see it.
                if (Utilities::MPI::max(std::isfinite(sum) ? 0 : 1,
                                        cohort.comm) > 0)
                  throw SolverError(
                    "case " + file +
                    ": the loss or its gradient is not a number, expected a "
                    "smaller Training/Learning rate" +
                    kept_model());
                if (group_root)
                  {
                    const auto v = o.pack();
                    mine.insert(mine.end(), v.begin(), v.end());
                  }
              }
        });
        failed_in_solve = false;
        std::map<unsigned int, Outcome> found;
        for (const auto &part : Utilities::MPI::all_gather(world, mine))
          for (std::size_t at = 0; at < part.size();)
            {
              Outcome o;
              o.unpack(part, at);
              found[o.index] = o;
            }
        std::vector<Outcome> outcomes;
        for (const unsigned int i : cases)
          outcomes.push_back(found.at(i));
        return outcomes;
      }

      /// The updates of an epoch: every class of cases is shuffled, and update
      /// j takes the j-th of every class.
      std::vector<std::vector<unsigned int>>
      order(const unsigned int epoch) const
      {
        const unsigned int                     B = per_update();
        std::vector<std::vector<unsigned int>> updates;
        for (unsigned int c = 0; c < B; ++c)
          {
            std::vector<unsigned int> list;
            for (unsigned int i = c; i < p.cases.size(); i += B)
              list.push_back(i);
            boost::random::mt19937 random(p.seed + 1009 * epoch + 15485863 * c);
            for (std::size_t i = list.size(); i > 1; --i)
              std::swap(
                list[i - 1],
                list[boost::random::uniform_int_distribution<std::size_t>(
                  0, i - 1)(random)]);
            updates.resize(std::max(updates.size(), list.size()));
            for (std::size_t j = 0; j < list.size(); ++j)
              updates[j].push_back(list[j]);
          }
        return updates;
      }

      void
      add_row(const Model       &m,
              const unsigned int epoch,
              const Outcome     &o,
              const bool         training,
              const Q           &q,
              const double       norm)
      {
        GraphNetwork<3> network;
        network.description = m.description;
        const auto ab       = network.linear_map(q);
        csv << m.name << "," << epoch << "," << cohort.entries[o.index].file
            << "," << (training ? "training" : "validation");
        for (const double part : o.parts)
          csv << "," << part;
        csv << "," << o.total << "," << o.error << "," << o.clipped << ","
            << o.iterations << "," << o.seconds << "," << ab.first << ","
            << ab.second << ",";
        if (training)
          csv << norm << "," << p.adam.rate(epoch);
        else
          csv << ",";
        csv << "\n";
      }

      void
      train(Model &m, const std::vector<Model> &models)
      {
        cohort.set_model(m.description);
        GraphNetwork<3> network;
        network.description = m.description;
        Q            q      = network.start();
        Adam         adam(p.adam, network.decays());
        double       best  = std::numeric_limits<double>::infinity();
        unsigned int begin = 1, since = 0;
        m.q = q;
        if (restart)
          {
            // In the middle of this model.
            const auto &numbers = at("numbers", 7);
            q                   = at("q");
            adam.first          = at("first");
            adam.second         = at("second");
            m.q                 = at("best_q");
            begin               = numbers[1] + 1;
            adam.n_steps        = numbers[2];
            best = numbers[3] < 0 ? std::numeric_limits<double>::infinity()
                                  : at("best", 1)[0];
            m.best_epoch       = numbers[4];
            since              = numbers[5];
            m.training_loss    = at("losses", 4)[0];
            m.training_error   = at("losses", 4)[1];
            m.validation_loss  = unless_missing(at("losses", 4)[2]);
            m.validation_error = unless_missing(at("losses", 4)[3]);
            for (unsigned int i = 0; i < cohort.entries.size(); ++i)
              {
                const auto data = restart->find("warm_" + std::to_string(i) +
                                                "_" + std::to_string(rank));
                if (owner(i) == my_group && data != restart->end() &&
                    data->second.size() > 0)
                  cohort.set_warm_start(i, data->second.values);
              }
            restart.reset();
          }
        log << std::endl
            << "  " << m.name << ", " << q.size() << " unknowns" << std::endl
            << "  epoch     training   validation  mean error  clipped       "
               "a          b    elapsed  remaining at most"
            << std::endl;
        const double started      = timer.wall_time();
        double       last_clipped = 0;
        m.stop_reason             = "all epochs done";
        m.epochs                  = begin - 1;
        kept_epoch                = m.best_epoch;
        for (unsigned int epoch = begin; epoch <= p.adam.epochs; ++epoch)
          {
            if (p.patience > 0 && since >= p.patience)
              {
                m.stop_reason = stop_reason(0);
                break;
              }
            double loss = 0, error = 0, clipped = 0;
            for (const auto &update : order(epoch))
              {
                const auto outcomes = evaluate(update, q, true, epoch);
                Q          g(q.size(), 0.);
                for (const Outcome &o : outcomes)
                  {
                    for (std::size_t i = 0; i < g.size(); ++i)
                      g[i] += o.gradient[i] / outcomes.size();
                    loss += o.total / p.cases.size();
                    error += o.error / p.cases.size();
                    clipped += o.clipped / p.cases.size();
                  }
                const Q      before = q;
                const double norm   = adam.step(q, g, epoch);
                for (const Outcome &o : outcomes)
                  add_row(m, epoch, o, true, before, norm);
              }
            std::vector<unsigned int> held;
            for (unsigned int i = p.cases.size(); i < cohort.entries.size();
                 ++i)
              held.push_back(i);
            double     validation = 0, validation_error = 0;
            const auto outcomes = evaluate(held, q, false, epoch);
            for (const Outcome &o : outcomes)
              {
                add_row(m, epoch, o, false, q, 0);
                validation += o.total / held.size();
                validation_error += o.error / held.size();
              }
            if (held.empty())
              validation = validation_error =
                std::numeric_limits<double>::quiet_NaN();
            // Without validation the last one is the result.
            ++since;
            m.epochs = epoch;
            if (held.empty() || validation < best)
              {
                best               = validation;
                since              = 0;
                m.q                = q;
                m.best_epoch       = epoch;
                m.training_loss    = loss;
                m.training_error   = error;
                m.validation_loss  = validation;
                m.validation_error = validation_error;
                save(m, 1, false);
                kept_epoch = epoch;
              }
            last_clipped          = clipped;
            const auto         ab = network.linear_map(q);
            std::ostringstream row;
            const double       elapsed = timer.wall_time() - started;
            row << std::setw(7) << epoch << std::scientific
                << std::setprecision(4) << std::setw(13) << loss
                << std::setw(13);
            if (held.empty())
              row << "-";
            else
              row << validation;
            row << std::setw(12) << error << std::fixed << std::setprecision(3)
                << std::setw(9) << clipped << std::setprecision(3)
                << std::setw(9) << ab.first << std::scientific
                << std::setprecision(2) << std::setw(11) << ab.second
                << std::fixed << std::setprecision(1) << std::setw(10)
                << elapsed << "s" << std::setw(10)
                << elapsed / (epoch - begin + 1) * (p.adam.epochs - epoch)
                << "s";
            log << row.str() << std::endl;
            write_output(m, epoch);
            finished_rows = csv.str();
            run_on_root(world, [&]() {
              write_file(outputs->folder() + "/training.csv", finished_rows);
            });
            checkpoint(m, models, q, adam, epoch, best, since);
          }
        if (last_clipped > 0.05)
          log
            << "  warning: " << std::setprecision(3) << 100 * last_clipped
            << " % of the cells are clipped in the last epoch, which takes "
               "them out of the training: widen Network/Lower bound and Upper "
               "bound"
            << std::endl;
        m.done = true;
        ask_for_scale(m);
        save(m, identified ? 1. : scale(m), true);
      }

      /// Without a load at rest something else may give the scale (a ground):
      /// that is asked of the cases once they are solved with the network.
      void
      ask_for_scale(const Model &m)
      {
        if (identified || m.name != "graph network")
          return;
        int known = 0;
        together("scale", [&]() {
          for (unsigned int i = 0; i < p.cases.size(); ++i)
            if (owner(i) == my_group)
              {
                // Of free cells: that bounds clip some tells nothing.
                cohort.evaluate(i, m.q, false);
                const auto      &problem = *cohort.get(i).problem;
                StateProblem<3> &states  = cohort.get(i).problem->states();
                const Fields     fields  = states.context(0).fields;
                const auto       cells =
                  evaluated_unknowns<3>(*problem.discretization,
                                        fields,
                                        nullptr);
                const FreeDirections<3> found(states,
                                              *cells,
                                              cells->initial(),
                                              fields);
                known = std::max(known, found.stiffness ? 0 : 1);
              }
        });
        identified = Utilities::MPI::max(known, world) > 0;
        if (identified && p.reference > 0)
          log << "  note: Reference stiffness has no effect: the scale is not "
                 "free"
              << std::endl;
      }

      /// What brings the cohort's geometric mean of alpha to the reference.
      double
      scale(const Model &m)
      {
        double sum = 0, volume = 0;
        together("scale", [&]() {
          for (unsigned int i = 0; i < p.cases.size(); ++i)
            if (owner(i) == my_group)
              {
                auto  &e = cohort.get(i);
                Fields fields;
                e.network->apply(e.network->n_local() > 0 ? m.q : Q(), fields);
                const auto &D = *e.problem->discretization;
                for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
                  {
                    volume += D.volume[k];
                    sum += D.volume[k] * std::log(fields["stiffness"][k]);
                  }
              }
        });
        const double mean   = std::exp(Utilities::MPI::sum(sum, world) /
                                     Utilities::MPI::sum(volume, world));
        const double factor = p.reference > 0 ? p.reference / mean : 1;
        if (m.name == "graph network")
          reference = factor * mean;
        return factor;
      }

      void
      save(const Model &m, const double factor, const bool final)
      {
        std::string name = m.name == "graph network" ? "network" : m.name;
        std::replace(name.begin(), name.end(), ' ', '_');
        NetworkFile file;
        file.description      = m.description;
        file.q                = m.q;
        file.factor           = factor;
        file.scale_identified = identified;
        file.training         = {{"cases", p.cases},
                                 {"validation_cases", p.validation},
                                 {"finished", final},
                                 {"epochs", m.epochs},
                                 {"best_epoch", m.best_epoch},
                                 {"training_loss", m.training_loss},
                                 {"validation_loss", number(m.validation_loss)},
                                 {"seed", p.seed},
                                 {"parameters",
                                  parameters_as_json(parameters.handler,
                                             ParameterHandler::ShortJSON)}};
        if (!identified)
          file.training["scale"] =
            p.reference > 0 && final
              ? "relative stiffness, stated reference: geometric mean " +
                  std::to_string(p.reference) + " Pa over the cohort"
              : std::string("relative stiffness; the scale is an assumption");
        run_on_root(world, [&]() {
          write_network(outputs->folder() + "/" + name, file);
        });
      }

      void
      write_output(const Model &m, const unsigned int epoch)
      {
        if (p.output_case.empty() || m.name != "graph network" ||
            epoch % p.output_every != 0)
          return;
        const std::string folder =
          outputs->folder() + "/epoch_" + Utilities::int_to_string(epoch, 4);
        for (unsigned int i = 0; i < cohort.entries.size(); ++i)
          if (cohort.entries[i].file == p.output_case)
            {
              together("writing", [&]() {
                if (owner(i) != my_group)
                  return;
                auto &e = cohort.get(i);
                run_on_root(cohort.comm, [&]() {
                  std::filesystem::create_directories(folder);
                });
                nlohmann::json summary;
                summary["task"]        = "train";
                summary["epoch"]       = epoch;
                summary["stop_reason"] = "epoch done";
                e.problem->reference_stiffness =
                  geometric_mean(*e.problem->discretization,
                                 e.J->fields()["stiffness"]);
                Q g; // of the last evaluation: adjoints and derivatives
                e.J->gradient(Q(e.J->point()), g);
                e.problem->write_results(folder, e.J.get(), summary);
              });
              return;
            }
      }

      /// Collective.
      nlohmann::json
      fingerprint() const
      {
        std::vector<std::string> but = {"Training/Patience"};
        // More epochs: for one model only, so that models compare.
        if (p.adam.schedule != "cosine" &&
            p.baselines.size() == (uses_inversion() ? 1 : 0))
          but.push_back("Training/Epochs");
        return fingerprint_of(parameters, but, world);
      }

      std::string
      fingerprint_file() const
      {
        return outputs->checkpoint() + "/fingerprint";
      }

      std::string
      checkpoint_file() const
      {
        return outputs->checkpoint() + "/training.npz";
      }

      /// Everything a restart needs, in one file that is replaced at once.
      void
      checkpoint(const Model              &m,
                 const std::vector<Model> &models,
                 const Q                  &q,
                 const Adam               &adam,
                 const unsigned int        epoch,
                 const double              best,
                 const unsigned int        since)
      {
        NpzArrays    arrays;
        unsigned int index = 0;
        const auto   put   = [&](const std::string &name, const Q &v) {
          arrays[name] = NpyArray({v.size()}, v);
        };
        for (const Model &other : models)
          {
            if (other.done)
              {
                const std::string number = std::to_string(index);
                put("done_" + number + "_q", other.q);
                put("done_" + number,
                    {double(other.epochs),
                     double(other.best_epoch),
                     other.training_loss,
                     other.training_error,
                     finite(other.validation_loss),
                     finite(other.validation_error)});
              }
            else if (&other == &m)
              put("numbers",
                  {double(index),
                   double(epoch),
                   double(adam.n_steps),
                   std::isfinite(best) ? 1. : -1.,
                   double(m.best_epoch),
                   double(since),
                   double(n_lines())});
            ++index;
          }
        put("q", q);
        put("first", adam.first);
        put("second", adam.second);
        put("best_q", m.q);
        put("best", {finite(best)});
        put("reference", {reference});
        put("losses",
            {m.training_loss,
             m.training_error,
             finite(m.validation_loss),
             finite(m.validation_error)});
        for (unsigned int i = 0; i < cohort.entries.size(); ++i)
          {
            const auto mine = owner(i) == my_group ? cohort.warm_start(i) : Q();
            const auto all  = Utilities::MPI::gather(world, mine, 0);
            for (unsigned int r = 0; r < all.size(); ++r)
              if (!all[r].empty())
                put("warm_" + std::to_string(i) + "_" + std::to_string(r),
                    all[r]);
          }
        run_on_root(world,
                    [&]() { write_npz(checkpoint_file(), arrays, false); });
      }

      /// Losses of validation cases, where there are none.
      double
      unless_missing(const double v) const
      {
        return p.validation.empty() ? std::numeric_limits<double>::quiet_NaN()
                                    : v;
      }

      std::string
      stop_reason(const double epochs) const
      {
        return epochs < p.adam.epochs ? "no better validation loss in " +
                                          std::to_string(p.patience) + " epochs"
                                      : "all epochs done";
      }

      /// An array of the checkpoint.
      const Q &
      at(const std::string &name, const std::size_t at_least = 0) const
      {
        const auto array = restart->find(name);
        if (array == restart->end() || array->second.size() < at_least)
          throw InputError(checkpoint_file(),
                           "key '" + name +
                             "' is missing or too short, expected a "
                             "checkpoint of this program");
        return array->second.values;
      }

      static double
      finite(const double v)
      {
        return std::isfinite(v) ? v : 0;
      }

      std::size_t
      n_lines() const
      {
        const std::string text = csv.str();
        return std::count(text.begin(), text.end(), '\n');
      }

      void
      resume(std::vector<Model> &models)
      {
        restart = std::make_unique<NpzArrays>(read_npz(checkpoint_file()));
        const auto now = fingerprint();
        run_on_root(world, [&]() {
          check_fingerprint(fingerprint_file(), outputs->checkpoint(), now);
        });
        const auto &numbers = at("numbers", 7);
        for (unsigned int i = 0; i < models.size(); ++i)
          {
            const auto done = restart->find("done_" + std::to_string(i));
            if (done == restart->end())
              continue;
            const auto &v              = done->second.values;
            models[i].done             = true;
            models[i].q                = at("done_" + std::to_string(i) + "_q");
            models[i].epochs           = v[0];
            models[i].best_epoch       = v[1];
            models[i].training_loss    = v[2];
            models[i].training_error   = v[3];
            models[i].validation_loss  = unless_missing(v[4]);
            models[i].validation_error = unless_missing(v[5]);
            models[i].stop_reason      = stop_reason(v[0]);
          }
        if (restart->count("reference"))
          reference = at("reference", 1)[0];
        std::istringstream lines(
          read_file(outputs->existing("training.csv"), false));
        std::string line;
        csv.str("");
        for (std::size_t i = 0; i < numbers[6] && std::getline(lines, line);
             ++i)
          csv << line << "\n";
        finished_rows = csv.str();
        log << "resuming " << models[numbers[0]].name << " after epoch "
            << numbers[1] << std::endl;
      }

      /// The upper reference: every validation case has unknowns of its own.
      nlohmann::json
      invert()
      {
        const unsigned int first =
          p.validation.empty() ? 0 : p.cases.size(); // else those of training
        const unsigned int  n = cohort.entries.size() - first;
        std::vector<double> sums(2, 0.);
        together("inversion", [&]() {
          for (unsigned int i = first; i < cohort.entries.size(); ++i)
            {
              if (owner(i) != my_group)
                continue;
              auto &e  = cohort.get(i);
              auto &pm = *e.parameters;
              for (const char *bound : {"Lower bound", "Upper bound"})
                {
                  pm.handler.enter_subsection("Network");
                  const std::string value = pm.handler.get(bound);
                  pm.handler.leave_subsection();
                  pm.handler.enter_subsection("Parameterization");
                  pm.handler.set(bound, value);
                  pm.handler.leave_subsection();
                }
              const auto unknowns =
                Registry<Parameterization<3>>::create("per cell");
              {
                const Parameters::Section section(pm, "Parameterization");
                unknowns->parse_parameters(pm);
              }
              OptimizerParameters optimizer;
              {
                const Parameters::Section section(pm, "Optimizer");
                optimizer.parse_parameters(pm);
              }
              unknowns->bind(*e.problem->discretization,
                             e.problem->initial_fields());
              ReducedFunctional<3> J(*e.problem->equilibrium,
                                     *unknowns,
                                     e.problem->terms,
                                     e.problem->fixed_fields,
                                     cohort.comm);
              struct Function : SmoothFunction
              {
                explicit Function(ReducedFunctional<3> &J)
                  : J(J)
                {}
                double
                value(const Q &q) override
                {
                  return J.value(q);
                }
                void
                gradient(const Q &q, Q &g) override
                {
                  J.gradient(q, g);
                }
                void
                hessian(const Q &q, const Q &v, Q &Hv) override
                {
                  J.hessian(q, v, false, Hv);
                }
                ReducedFunctional<3> &J;
              } function(J);
              Q lower, upper;
              unknowns->bounds(lower, upper);
              const auto &counts = e.problem->equilibrium->counts;
              const auto  result = minimize(
                function,
                unknowns->initial(),
                lower,
                upper,
                unknowns->weights(),
                optimizer,
                cohort.comm,
                [](const OptimizerIteration &) {},
                [&]() {
                  return counts.forward + counts.adjoint + counts.incremental;
                });
              J.evaluate(result.q);
              if (group_root)
                {
                  sums[0] += result.value / n;
                  sums[1] += e.problem->mean_errors().first / n;
                }
              else
                e.problem->mean_errors();
              log << "  per-case inversion, " << e.file << ": " << result.value
                  << " after " << result.iterations << " iterations"
                  << std::endl;
            }
        });
        Utilities::MPI::sum(sums, world, sums);
        const bool held = !p.validation.empty();
        return {{"name", "per-case inversion"},
                {held ? "validation_loss" : "training_loss", sums[0]},
                {held ? "training_loss" : "validation_loss", nullptr},
                {"validation_mean_error_m",
                 held ? nlohmann::json(sums[1]) : nlohmann::json()}};
      }

      Parameters                &parameters;
      const TrainingParameters  &p;
      const RunOptions          &options;
      const MPI_Comm             world;
      const unsigned int         rank, n_groups, my_group;
      const bool                 group_root;
      const ConditionalOStream  &log;
      Cohort                     cohort;
      std::unique_ptr<Outputs>   outputs; ///< since all cases are read
      Timer                      timer;
      double                     hu_low = 0, hu_high = 0, reference = 0;
      unsigned int               kept_epoch = 0; ///< of the model being trained
      bool                       identified = false, failed_in_solve = false;
      std::vector<std::string>   columns;
      std::ostringstream         csv;
      std::string                finished_rows; ///< up to the last checkpoint
      std::unique_ptr<NpzArrays> restart;
    };
  } // namespace

  int
  run_train(Parameters               &parameters,
            const RunOptions         &options,
            const MPI_Comm           &comm,
            const ConditionalOStream &log)
  {
    TrainingParameters p = read_training_parameters(parameters, true);
    for (const auto *list : {&p.cases, &p.validation})
      for (const auto &file : *list)
        if (!std::filesystem::exists(file))
          throw InputError(file, "no such file, expected a case of Cohort");
    const unsigned int n_ranks = Utilities::MPI::n_mpi_processes(comm),
                       rank    = Utilities::MPI::this_mpi_process(comm);
    if (p.ranks_per_case == 0)
      p.ranks_per_case = n_ranks;
    const unsigned int n_groups = n_ranks / p.ranks_per_case;
    {
      const Parameters::Section section(parameters, "Training");
      if (n_ranks % p.ranks_per_case != 0)
        parameters.fail("Ranks per case",
                        "expected a divisor of the number of ranks, " +
                          std::to_string(n_ranks));
      const unsigned int B =
        p.cases_per_update > 0 ? p.cases_per_update : n_groups;
      if (B % n_groups != 0)
        parameters.fail("Cases per update",
                        "expected a multiple of the number of groups, " +
                          std::to_string(n_groups));
      if (B > p.cases.size())
        parameters.fail(p.cases_per_update > 0 ? "Cases per update"
                                               : "Ranks per case",
                        "makes " + std::to_string(B) +
                          " cases per update, expected at most their number, " +
                          std::to_string(p.cases.size()));
    }
    MPI_Comm group;
    MPI_Comm_split(comm, rank / p.ranks_per_case, rank, &group);
    struct Free
    {
      MPI_Comm &group;
      ~Free()
      {
        MPI_Comm_free(&group);
      }
    } free{group};
    log << "task train: " << p.cases.size() << " case(s), "
        << p.validation.size() << " for validation, " << n_groups
        << " group(s) of " << p.ranks_per_case << " rank(s)" << std::endl;
    Trainer trainer(parameters, p, options, comm, group, n_groups, log);
    trainer.read_cases();
    if (options.dry_run)
      return 0;
    trainer.run();
    return 0;
  }
} // namespace Palpate
