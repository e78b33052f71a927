#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/input_files.h>
#include <palpate/core/interruption.h>
#include <palpate/core/output_files.h>
#include <palpate/core/outputs.h>

#include <fcntl.h>
#include <fnmatch.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace Palpate
{
  namespace fs = std::filesystem;
  using namespace OutputFiles;

  Outputs::Outputs(Parameters                       &parameters,
                   const Plan                       &plan,
                   const MPI_Comm                   &comm,
                   const dealii::ConditionalOStream &log)
    : parameters(parameters)
    , plan(plan)
    , comm(comm)
    , log(log)
    , is_root(dealii::Utilities::MPI::this_mpi_process(comm) == 0)
    , target(parameters.get("Output directory"))
    , hidden(target + "/.palpate")
  {
    if (target.empty())
      throw EntryError("Output directory", "is empty, expected a folder");
    run_on_all(comm, [&]() { check_names(); });
    run_on_root(comm, [&]() {
      const OwnFiles own(target);
      for (const auto &name : to_be_replaced(target, plan, parameters.filename))
        {
          const bool in_checkpoint = name.compare(0, 11, "checkpoint/") == 0;
          if (!own.wrote(name)) // what is in checkpoint/ just stays
            {
              if (!in_checkpoint)
                kept.push_back(name);
            }
          else if (!in_checkpoint)
            replaced.push_back(name);
          else if (replaced.empty() || replaced.back() != "checkpoint")
            replaced.push_back("checkpoint");
        }
    });
    replaced = dealii::Utilities::MPI::broadcast(comm, replaced, 0);
    kept     = dealii::Utilities::MPI::broadcast(comm, kept, 0);
  }

  Outputs::~Outputs()
  {
    if (!begun)
      return;
    if (is_root)
      take_back();
    Interruption::defer(false);
  }

  void
  Outputs::check_input(const std::string &file,
                       const std::string &expected) const
  {
    const InputFile *input = input_at(file);
    if (input == nullptr)
      return;
    const std::string entry = entry_with(parameters, input->name);
    std::string       what  = input->name + " is read";
    if (!entry.empty())
      what = entry + " reads " + input->name;
    else if (!input->parameter_file.empty())
      what = input->name + " is the parameter file or a part of it";
    throw InputError(parameters.filename,
                     what + ", which the run would replace (" + file +
                       "), expected another " + expected);
  }

  void
  Outputs::check_names() const
  {
    const auto names = to_be_replaced(target, plan, parameters.filename);
    for (const auto &name : names)
      check_input(target + "/" + name, "Output directory");
    std::error_code error;
    const auto      path_of = [&](const std::string &name) {
      return fs::weakly_canonical(fs::absolute(name, error), error);
    };
    std::vector<std::string> seen;
    for (const auto &[entry, file] : plan.files)
      {
        check_input(file, entry);
        const auto refuse =
          [&, &entry = entry, &file = file](const std::string &what) {
            throw InputError(parameters.filename,
                             entry + " = " + file + ": " + what);
          };
        const fs::path path = path_of(file);
        if (path.filename().empty() || fs::is_directory(path, error))
          refuse("is a folder, expected a file");
        const std::string name = path.filename().string();
        const bool        inside =
          path.parent_path() == path_of(target + "/x").parent_path();
        bool taken = inside && matches(name, plan.names, FNM_CASEFOLD);
        for (const auto &other : names)
          taken = taken || same_file(file, target + "/" + other);
        for (const auto &other : seen)
          taken = taken || other == path.string() || same_file(other, file);
        if (taken)
          refuse("another result of the run is written to this file as well, "
                 "expected a name of its own");
        seen.push_back(path.string());
      }
  }

  void
  Outputs::say_what_is_replaced() const
  {
    if (!replaced.empty() && !resumed)
      log << "note: " << target << " holds " << listed(replaced)
          << " of an earlier run, replaced when this one is done" << std::endl;
    if (!kept.empty())
      log
        << "note: " << target << " holds " << listed(kept)
        << " by the name of a result, which the program did not write (or not "
           "so): kept beside, as NAME.kept"
        << std::endl;
  }

  void
  Outputs::probe(const bool resume)
  {
    resumed = resume;
    run_on_root(comm, [&]() {
      make_place();
      take_back();
    });
    say_what_is_replaced();
  }

  void
  Outputs::make_folder(const std::string &folder,
                       const std::string &what,
                       const std::string &name)
  {
    std::error_code error;
    for (fs::path p = fs::absolute(folder, error).lexically_normal();
         !error && !fs::exists(p, error) && p.has_relative_path();
         p = p.parent_path())
      if (!p.filename().empty())
        made_folders.push_back(p.string());
    error.clear();
    fs::create_directories(folder, error);
    if (error)
      throw InputError(name, what + error.message());
  }

  /// On the root: folders, and a lock on what is in them.
  void
  Outputs::make_place()
  {
    const std::string not_writable =
      "cannot be written to (Output directory): ";
    struct stat status;
    try
      {
        if (::stat(target.c_str(), &status) == 0)
          changed_at = status.st_mtim;
        make_folder(hidden, not_writable, target);
        lock = ::open((hidden + "/lock").c_str(),
                      O_RDWR | O_CREAT | O_CLOEXEC,
                      0666);
        if (lock < 0)
          throw InputError(target, not_writable + std::strerror(errno));
        if (::flock(lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
          {
            ::close(lock);
            lock = -1;
            throw InputError(target,
                             "another run writes there, expected one at a time "
                             "(Output directory)");
          }
        // Of a run that was killed while it wrote.
        std::error_code ignored;
        fs::remove_all(hidden + "/results", ignored);
        fs::remove_all(hidden + "/replaced", ignored);
        for (const auto &[entry, file] : plan.files)
          {
            const std::string folder = fs::path(file).parent_path().string();
            if (!folder.empty())
              make_folder(
                folder, "its folder cannot be made (" + entry + "): ", file);
          }
      }
    catch (...)
      {
        take_back();
        throw;
      }
  }

  /// On the root: the checkpoint and the history that are there.
  void
  Outputs::put_aside()
  {
    n_aside = 1; // a run that was killed has left its own
    while (fs::exists(hidden + "/before_" + std::to_string(n_aside)))
      ++n_aside;
    const std::string aside = hidden + "/before_" + std::to_string(n_aside);
    fs::create_directory(aside);
    has_own_history = OwnFiles(target).wrote("history.csv");
    for (const char *name : {"history.csv", "checkpoint"})
      {
        const std::string at = target + "/" + name;
        if (fs::exists(fs::symlink_status(at)))
          OutputFiles::rename(at, aside + "/" + name);
        own_names.push_back(name);
      }
    if (!resumed)
      return;
    // Logs of answers are appended to; other files are only ever replaced, so
    // that a second name for them is a copy.
    for (const auto &name : below(aside + "/checkpoint"))
      {
        const fs::path from = aside + "/checkpoint/" + name,
                       to   = checkpoint() + "/" + name;
        fs::create_directories(to.parent_path());
        std::error_code error = std::make_error_code(std::errc::not_supported);
        if (name.compare(0, 11, "evaluations") != 0)
          fs::create_hard_link(from, to, error);
        if (error)
          fs::copy_file(from, to);
      }
  }

  void
  Outputs::begin(const bool resume)
  {
    Interruption::defer(true);
    begun   = true;
    resumed = resume;
    staging =
      plan.has_checkpoint ? checkpoint() + "/results" : hidden + "/results";
    const unsigned int n_ranks = dealii::Utilities::MPI::n_mpi_processes(comm);
    run_on_root(comm, [&]() {
      if (resume && !fs::is_directory(checkpoint()))
        throw InputError(checkpoint(),
                         "holds no checkpoint of a run with " +
                           std::to_string(n_ranks) +
                           " rank(s), expected one to resume");
      make_place();
      try
        {
          if (plan.has_checkpoint)
            put_aside();
          fs::create_directories(staging);
        }
      catch (const fs::filesystem_error &e)
        {
          throw ComputationError(target +
                                 ": cannot be written: " + e.code().message());
        }
      for (const auto &[entry, file] : plan.files)
        {
          std::string name =
            (fs::path(file).parent_path() / ".palpate-XXXXXX").string();
          if (mkdtemp(&name[0]) == nullptr)
            throw InputError(file,
                             "cannot be written (" + entry +
                               "): " + std::strerror(errno));
          staged_files[entry] = name + "/" + fs::path(file).filename().string();
        }
    });
    staged_files = dealii::Utilities::MPI::broadcast(comm, staged_files, 0);
    ignore_inputs_below(hidden);
    ignore_inputs_below(checkpoint());
  }

  std::string
  Outputs::existing(const std::string &name) const
  {
    const std::string staged = staging + "/" + name;
    return fs::exists(staged) ? staged : target + "/" + name;
  }

  void
  Outputs::grow(const std::string &name, const std::string &content) const
  {
    write_file(staging + "/" + name, content);
    OutputFiles::rename(staging + "/" + name, target + "/" + name);
  }

  /// On the root: everything that was not committed goes; nothing is thrown.
  void
  Outputs::take_back()
  {
    std::error_code ignored;
    for (const auto &[entry, file] : staged_files)
      fs::remove_all(fs::path(file).parent_path(), ignored);
    if (lock >= 0)
      {
        if (begun)
          fs::remove_all(staging, ignored);
        const std::string aside = hidden + "/before_" + std::to_string(n_aside);
        for (const auto &name : own_names)
          {
            fs::remove_all(target + "/" + name, ignored);
            std::rename((aside + "/" + name).c_str(),
                        (target + "/" + name).c_str());
          }
        if (n_aside > 0)
          fs::remove(aside, ignored);
        fs::remove_all(hidden + "/results", ignored);
        fs::remove_all(hidden + "/replaced", ignored);
        std::remove((hidden + "/lock").c_str());
        ::close(lock);
        lock = -1;
        fs::remove(hidden, ignored); // not if a killed run's things are there
        if (changed_at.tv_sec != 0)
          {
            const timespec times[2] = {{0, UTIME_OMIT}, changed_at};
            ::utimensat(AT_FDCWD, target.c_str(), times, 0);
          }
      }
    // The innermost ones first; what is not empty stays.
    for (const auto &folder : made_folders)
      fs::remove(folder, ignored);
    staged_files.clear();
    own_names.clear();
    made_folders.clear();
  }
} // namespace Palpate
