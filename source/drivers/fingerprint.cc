#include <palpate/core/declared_parameters.h>
#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/input_files.h>
#include <palpate/drivers/fingerprint.h>

#include <algorithm>
#include <filesystem>
#include <functional>

namespace Palpate
{
  namespace
  {
    /// "was A and is B" of a piece of text, or that it is new or gone.
    std::string
    change(const std::string    &name,
           const nlohmann::json &then,
           const nlohmann::json &now)
    {
      const auto value = [&](const nlohmann::json &all) {
        return !all.contains(name) ? std::string("not there")
               : all[name].is_string()
                 ? "'" + all[name].get<std::string>() + "'"
                 : all[name].dump();
      };
      return name + " was " + value(then) + " and is " + value(now);
    }

    /// Names whose value differs or that are in one of the two only.
    std::vector<std::string>
    differing(const nlohmann::json &then, const nlohmann::json &now)
    {
      std::vector<std::string> names;
      for (const auto &[name, value] : now.items())
        if (!then.contains(name) || then[name] != value)
          names.push_back(name);
      for (const auto &[name, value] : then.items())
        if (!now.contains(name))
          names.push_back(name);
      return names;
    }
  } // namespace

  nlohmann::json
  fingerprint_of(const Parameters               &parameters,
                 const std::vector<std::string> &but,
                 const MPI_Comm                 &comm)
  {
    nlohmann::json entries = nlohmann::json::object();
    const std::function<void(const nlohmann::json &, const std::string &)> add =
      [&](const nlohmann::json &node, const std::string &where) {
        for (const auto &[name, child] : node.items())
          if (child.is_object())
            add(child, where + name + "/");
          else
            entries[where + name] = child;
      };
    add(parameters_as_json(parameters.handler,
                           dealii::ParameterHandler::ShortJSON),
        "");
    for (const char *name : {"Output directory", "Verbosity"})
      entries.erase(name);
    for (const auto &name : but)
      entries.erase(name);
    return {{"ranks", dealii::Utilities::MPI::n_mpi_processes(comm)},
            {"entries", entries},
            {"files", input_checksums(parameters.filename, comm)}};
  }

  std::string
  difference(const nlohmann::json &then, const nlohmann::json &now)
  {
    for (const char *part : {"ranks", "entries", "files"})
      if (!then.is_object() || !then.contains(part) ||
          then[part].is_object() != now[part].is_object())
        return "another version of the program wrote it";
    if (then["ranks"] != now["ranks"])
      return "it is of a run with " + then["ranks"].dump() +
             " rank(s), this is a run with " + now["ranks"].dump() + " rank(s)";
    std::vector<std::string> changes;
    for (const auto &name : differing(then["entries"], now["entries"]))
      changes.push_back(change(name, then["entries"], now["entries"]));
    // Another file by another name: the entry says it.
    if (changes.empty())
      for (const auto &name : differing(then["files"], now["files"]))
        changes.push_back("the contents of " + name + " are others");
    if (changes.empty() && then != now)
      changes.push_back("the mesh or the fields of the case are others");
    std::string       text;
    const std::size_t n = std::min<std::size_t>(3, changes.size());
    for (std::size_t i = 0; i < n; ++i)
      text += (i == 0 ? "" : "; ") + changes[i];
    if (changes.size() > n)
      text += "; and " + std::to_string(changes.size() - n) + " more";
    return text;
  }

  void
  check_fingerprint(const std::string    &file,
                    const std::string    &checkpoint,
                    const nlohmann::json &now)
  {
    if (!std::filesystem::exists(file))
      throw InputError(checkpoint,
                       "has no file 'fingerprint', expected a checkpoint that "
                       "this version of the program wrote");
    const std::string what =
      difference(nlohmann::json::parse(read_file(file, false), nullptr, false),
                 now);
    if (!what.empty())
      throw InputError(checkpoint,
                       "does not belong to this run: " + what +
                         ", expected those of the interrupted run");
  }
} // namespace Palpate
