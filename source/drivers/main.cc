#include <deal.II/base/mpi.h>
#include <deal.II/base/revision.h>

#include <palpate/core/declared_parameters.h>
#include <palpate/core/errors.h>
#include <palpate/core/input_files.h>
#include <palpate/core/interruption.h>
#include <palpate/core/parameter_file.h>
#include <palpate/core/text.h>
#include <palpate/core/version.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>

#include <Trilinos_version.h>
#include <boost/program_options.hpp>
#include <dlfcn.h>
#include <unistd.h>

#include <iostream>
#include <sstream>

namespace
{
  using namespace Palpate;
  namespace po = boost::program_options;

  void
  print_list(std::ostream &out)
  {
    const auto print = [&](const std::string &title, const auto &items) {
      out << title << ":\n";
      for (const auto &[name, item] : items)
        out << "  " << name << ": " << item.description << "\n";
    };
    print("forces", Registry<Force<3>>::items());
    print("objectives", Registry<Objective<3>>::items());
    print("parameterizations", Registry<Parameterization<3>>::items());
    print("integrators", Registry<Integrator<3>>::items());
  }

  /// A bar would end the cell of a Markdown table.
  std::string
  escaped(const std::string &text)
  {
    std::string result;
    for (const char c : text)
      result += (c == '|' ? std::string("\\|") : std::string(1, c));
    return result;
  }

  /// Entries as a Markdown table.
  void
  print_markdown(std::ostream         &out,
                 const nlohmann::json &node,
                 const std::string    &path)
  {
    for (const auto &[name, child] : node.items())
      {
        if (child.contains("value") && child["value"].is_string())
          {
            const std::string value   = child["default_value"];
            std::string       choices = child["pattern_description"];
            if (choices.compare(0, 11, "[Selection ") != 0)
              choices.clear();
            else
              choices =
                " Choices: " +
                choices.substr(11, choices.find_last_not_of(" ]") - 10) + ".";
            out << "| " << path << name << " | "
                << (value.empty() ? "" : "`" + escaped(value) + "`") << " | "
                << escaped(child["documentation"].get<std::string>() + choices)
                << " |\n";
          }
        else if (child.is_object())
          print_markdown(out, child, path + name + "/");
      }
  }

  void
  load_libraries(const std::string &list)
  {
    for (const auto &name : dealii::Utilities::split_string_list(list, ','))
      if (!name.empty() &&
          dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr)
        throw InputError(name,
                         std::string("cannot be loaded (Additional shared "
                                     "libraries): ") +
                           dlerror());
      else if (!name.empty())
        note_input(name);
    if (!duplicate_terms().empty())
      throw InputError(list,
                       "registers '" + duplicate_terms()[0] +
                         "', which is registered already, expected a name of "
                         "its own");
  }

  /// Libraries must be loaded before their terms can be declared: look for
  /// their names in the raw text.
  std::string
  find_libraries(const std::string              &file,
                 const std::vector<std::string> &overrides)
  {
    std::string list;
    try
      {
        for (const ParameterLine &line : read_parameter_file(file))
          if (line.sections.empty() && !line.opens_section &&
              line.name == "Additional shared libraries")
            list = line.value;
      }
    catch (const InputError &)
      {} // reported by the real parse
    for (const auto &o : overrides)
      if (dealii::Utilities::trim(o.substr(0, o.find('='))) ==
            "Additional shared libraries" &&
          o.find('=') != std::string::npos)
        list = o.substr(o.find('=') + 1);
    return list;
  }

  template <int dim>
  int
  run(const std::string                &task,
      Parameters                       &parameters,
      const RunOptions                 &options,
      const MPI_Comm                   &comm,
      const dealii::ConditionalOStream &log)
  {
    if (task == "forward")
      return run_forward<dim>(parameters, options, comm, log);
    if (task == "simulate")
      return run_simulate<dim>(parameters, options, comm, log);
    if (task == "partition")
      return run_partition<dim>(parameters, options, comm, log);
    if (task == "evaluate")
      return run_evaluate<dim>(parameters, options, comm, log);
    if (task == "identify")
      return run_identify<dim>(parameters, options, comm, log);
    return run_verify<dim>(parameters, options, comm, log);
  }

  int
  start(int argc, char **argv, const MPI_Comm &comm)
  {
    const bool root = dealii::Utilities::MPI::this_mpi_process(comm) == 0;
    po::options_description visible("usage: palpate FILE.prm [options]");
    visible.add_options()("help", "this text")(
      "set",
      po::value<std::vector<std::string>>()->composing(),
      "\"Section/Sub/Name=value\": override an entry (may be repeated; "
      "the last of an entry counts)")(
      "dry-run", "read and check everything, print the plan, solve nothing")(
      "resume",
      "identify, train, simulate: go on from the checkpoint in the output "
      "directory")("print-parameters",
                   po::value<std::string>(),
                   "all entries with defaults: prm, json or markdown")(
      "list",
      "registered forces, objectives, parameterizations and "
      "integrators")("version", "of palpate and its libraries");
    po::options_description all;
    all.add(visible).add_options()("file", po::value<std::string>());
    po::positional_options_description position;
    position.add("file", 1);
    po::variables_map given;
    try
      {
        po::store(po::command_line_parser(argc, argv)
                    .options(all)
                    .positional(position)
                    .run(),
                  given);
        po::notify(given);
      }
    catch (const po::unknown_option &e)
      {
        throw InputError("command line",
                         "unknown option " +
                           Text::one_line(e.get_option_name()) +
                           Text::did_you_mean(e.get_option_name(),
                                              {"--help",
                                               "--set",
                                               "--dry-run",
                                               "--resume",
                                               "--print-parameters",
                                               "--list",
                                               "--version"}) +
                           " (see --help)");
      }
    catch (const po::error &e)
      {
        throw InputError("command line",
                         std::string(e.what()) + ", expected palpate FILE.prm "
                                                 "[options] (see --help)");
      }
    if (given.count("help"))
      {
        if (root)
          std::cout << visible;
        return 0;
      }
    if (given.count("version"))
      {
        char library[MPI_MAX_LIBRARY_VERSION_STRING];
        int  length;
        MPI_Get_library_version(library, &length);
        if (root)
          std::cout
            << "palpate " << PALPATE_VERSION << "\ndeal.II "
            << DEAL_II_PACKAGE_VERSION << "\nTrilinos "
            << TRILINOS_VERSION_STRING << "\nMPI "
            << std::string(library).substr(0, std::string(library).find('\n'))
            << std::endl;
        return 0;
      }

    std::vector<std::string> overrides;
    if (given.count("set"))
      overrides = given["set"].as<std::vector<std::string>>();
    if (given.count("file"))
      load_libraries(
        find_libraries(given["file"].as<std::string>(), overrides));
    if (given.count("list"))
      {
        if (root)
          print_list(std::cout);
        return 0;
      }
    Parameters parameters;
    declare_parameters(parameters.handler);
    if (given.count("print-parameters"))
      {
        const std::string style = given["print-parameters"].as<std::string>();
        if (style != "prm" && style != "json" && style != "markdown")
          throw InputError("command line",
                           "--print-parameters " + style +
                             ", expected prm, json or markdown" +
                             Text::did_you_mean(style,
                                                {"prm", "json", "markdown"}));
        if (root && style == "prm")
          write_parameters(std::cout, parameters.handler);
        else if (root && style == "json")
          std::cout << parameters_as_json(parameters.handler,
                                          dealii::ParameterHandler::JSON)
                         .dump(4)
                    << "\n";
        else if (root)
          {
            std::cout << "| Entry | Default | Meaning |\n|---|---|---|\n";
            print_markdown(std::cout,
                           parameters_as_json(parameters.handler,
                                              dealii::ParameterHandler::JSON),
                           "");
          }
        return 0;
      }
    if (!given.count("file"))
      throw InputError("command line",
                       "no parameter file, expected palpate FILE.prm [options] "
                       "(see --help)");
    parameters.parse(given["file"].as<std::string>(), overrides);
    for (const char *name : {"Additional shared libraries", "Output directory"})
      parameters.get(name);
    const std::string task = parameters.get("Task");
    if (task.empty())
      parameters.fail("Task",
                      "expected forward, simulate, evaluate, identify, verify, "
                      "mesh, pack, partition, train, predict or phantom");
    RunOptions options;
    options.dry_run = given.count("dry-run") > 0;
    options.resume  = given.count("resume") > 0;
    if (options.resume && task != "identify" && task != "train" &&
        task != "simulate")
      throw InputError(
        "command line",
        "--resume goes with Task = identify, train or simulate only");
    const bool quiet = parameters.get("Verbosity") == "quiet";
    const dealii::ConditionalOStream log(std::cout, root && !quiet);
    try
      {
        if (task == "phantom")
          return run_phantom(parameters, options, comm, log);
        if (task == "mesh")
          return run_mesh(parameters, options, comm, log);
        if (task == "train")
          return run_train(parameters, options, comm, log);
        const int dim = case_dimension(parameters);
        if (task == "pack")
          {
            if (dim != 3)
              parameters.fail("Task",
                              "pack needs tetrahedra, expected a 3D case");
            return run_pack(parameters, options, comm, log);
          }
        if (task == "predict")
          {
            if (dim != 3)
              parameters.fail("Task",
                              "predict needs tetrahedra, expected a 3D case");
            return run_predict(parameters, options, comm, log);
          }
        if (dim == 2)
          return run<2>(task, parameters, options, comm, log);
        return run<3>(task, parameters, options, comm, log);
      }
    catch (const SolverError &e)
      {
        throw ComputationError(parameters.filename + ": " + e.what());
      }
    catch (const EntryError &e)
      {
        throw InputError(parameters.filename, e.what());
      }
  }

  /// True if all ranks arrive here within some seconds.
  bool
  all_failed(const MPI_Comm &comm)
  {
    MPI_Request request;
    MPI_Ibarrier(comm, &request);
    for (unsigned int i = 0; i < 500; ++i)
      {
        int done = 0;
        MPI_Test(&request, &done, MPI_STATUS_IGNORE);
        if (done)
          return true;
        usleep(10000);
      }
    return false;
  }
} // namespace

int
main(int argc, char **argv)
{
  // Some of our libraries print where deal.II would like to abort: errors are
  // exceptions here, in Debug too.
  dealii::deal_II_exceptions::disable_abort_on_exception();
  dealii::deal_II_exceptions::suppress_stacktrace_in_exceptions();
  // The libraries behind deal.II see the program's name alone: PETSc takes
  // every option for one of its own and prints those that it does not know.
  int                                      only_name = 1;
  dealii::Utilities::MPI::MPI_InitFinalize mpi(only_name, argv, 1);
  const MPI_Comm                           comm = MPI_COMM_WORLD;
  std::string                              message;
  int                                      code = 0;
  Palpate::Interruption::install(
    dealii::Utilities::MPI::this_mpi_process(comm) == 0);
  try
    {
      return start(argc, argv, comm);
    }
  catch (const Palpate::Error &e)
    {
      message = e.what();
      code    = e.exit_code;
    }
  catch (const std::bad_alloc &)
    {
      message = "out of memory";
      code    = 1;
    }
  catch (const std::exception &e)
    {
      message = "internal error: ";
      message += e.what();
      if (const auto *d = dynamic_cast<const dealii::ExceptionBase *>(&e))
        {
          std::ostringstream text;
          text << "internal error: " << d->get_exc_name() << ": ";
          d->print_info(text);
          message = text.str();
        }
      for (char &c : message)
        if (c == '\n')
          c = ' ';
      code = 1;
    }
  const bool all = all_failed(comm);
  if (!all || dealii::Utilities::MPI::this_mpi_process(comm) == 0)
    std::cerr << (code > 128 ? "palpate: " : "palpate: error: ") << message
              << std::endl;
  if (!all)
    MPI_Abort(comm, code);
  return code;
}
