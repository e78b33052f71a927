#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/interruption.h>
#include <palpate/core/output_files.h>
#include <palpate/core/outputs.h>

#include <fnmatch.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <set>

namespace Palpate
{
  namespace fs = std::filesystem;
  using namespace OutputFiles;

  /// A file that was moved away or into its place, and how to take it back.
  struct Outputs::Move
  {
    std::string at, backup; ///< no backup: there was no file

    void
    take_back() const
    {
      if (backup.empty())
        std::remove(at.c_str());
      else
        std::rename(backup.c_str(), at.c_str());
    }
  };

  void
  Outputs::check_staged() const
  {
    for (const auto &[entry, file] : plan.files)
      check_input(file, entry);
    for (const auto &name : below(staging))
      {
        const std::string at    = target + "/" + name;
        const InputFile  *input = input_at(at);
        if (input != nullptr &&
            !(name == "parameters.prm" && same_file(at, parameters.filename)))
          throw InputError(parameters.filename,
                           input->name +
                             " is read, and the results would replace it (" +
                             at + "), expected another Output directory");
      }
  }

  /// On the root: what somebody put into an earlier checkpoint, and a
  /// history.csv that is none of ours.
  void
  Outputs::give_back_others() const
  {
    const std::string aside = hidden + "/before_" + std::to_string(n_aside);
    if (!has_own_history &&
        fs::exists(fs::symlink_status(aside + "/history.csv")))
      OutputFiles::rename(aside + "/history.csv",
                          kept_name(target + "/history.csv"));
    for (const auto &name : below(aside + "/checkpoint"))
      if (!is_of_checkpoint(name))
        {
          const fs::path to = checkpoint() + "/" + name;
          fs::create_directories(to.parent_path());
          if (!fs::exists(fs::symlink_status(to)))
            OutputFiles::rename(aside + "/checkpoint/" + name, to.string());
        }
  }

  /// Remove those of an earlier run's series that this one does not write; what
  /// else it left is named.
  void
  Outputs::remove_older(const std::vector<std::string> &names,
                        std::vector<Move>              &moves,
                        std::vector<std::string>       &left) const
  {
    const std::set<std::string> now(names.begin(), names.end());
    std::vector<std::string>    patterns = pictures();
    patterns.insert(patterns.end(), plan.series.begin(), plan.series.end());
    for (const auto &[name, size] : of_summary(target + "/summary.json"))
      {
        const std::string at = target + "/" + name;
        std::error_code   error;
        if (now.count(name) > 0 || !fs::is_regular_file(at, error) ||
            (name == "history.csv" && plan.has_checkpoint))
          continue;
        // A file of another size is no longer the one that we wrote.
        if (matches(name, patterns, FNM_PATHNAME) && input_at(at) == nullptr &&
            fs::file_size(at, error) == size)
          {
            const std::string backup = hidden + "/replaced/" + name;
            OutputFiles::rename(at, backup);
            moves.push_back({at, backup});
          }
        else
          left.push_back(name);
      }
  }

  /// The next run into this folder learns from summary.json what is here.
  void
  Outputs::list_files(const std::vector<std::string> &names) const
  {
    const std::string summary = staging + "/summary.json";
    if (!fs::exists(summary))
      return;
    std::map<std::string, std::size_t> files;
    if (resumed)
      files = of_summary(target + "/summary.json");
    for (const auto &name : names)
      if (name != "summary.json")
        files[name] = fs::file_size(staging + "/" + name);
    if (plan.has_checkpoint && fs::exists(target + "/history.csv"))
      files["history.csv"] = fs::file_size(target + "/history.csv");
    auto json     = nlohmann::json::parse(read_file(summary, false));
    json["files"] = files;
    write_file(summary, json.dump(2) + "\n");
  }

  /// On the root. @return notes
  std::vector<std::string>
  Outputs::move_into_place()
  {
    std::vector<std::string> names = below(staging), notes, left;
    const auto own = std::find(names.begin(), names.end(), "parameters.prm");
    if (own != names.end() &&
        same_file(target + "/parameters.prm", parameters.filename))
      {
        names.erase(own);
        std::remove((staging + "/parameters.prm").c_str());
        notes.push_back(target + "/parameters.prm is this run's own parameter "
                                 "file and stays as it is; summary.json has "
                                 "all values in force");
      }
    list_files(names);
    // From where, to where, and where an older file goes: what entries name may
    // lie on another disk.
    std::vector<std::array<std::string, 3>> all;
    for (const auto &name : names)
      all.push_back({{staging + "/" + name,
                      target + "/" + name,
                      hidden + "/replaced/" + std::to_string(all.size())}});
    for (const auto &[entry, file] : plan.files)
      {
        const std::string &from = staged_files.at(entry);
        if (fs::exists(from))
          all.push_back({{from, file, from + ".replaced"}});
      }
    std::vector<Move> moves;
    const OwnFiles    ours(target); // while the earlier run's summary is there
    for (std::size_t i = 0; i < names.size(); ++i)
      if (!ours.wrote(names[i]))
        all[i][2] = kept_name(all[i][1]);
    try
      {
        fs::create_directories(hidden + "/replaced");
        if (!resumed) // while the earlier run's summary is there
          remove_older(names, moves, left);
        for (const auto &[from, to, backup] : all)
          {
            fs::create_directories(fs::absolute(to).parent_path());
            const bool is_new = !fs::exists(fs::symlink_status(to));
            if (!is_new)
              {
                OutputFiles::rename(to, backup);
                moves.push_back({to, backup});
              }
            OutputFiles::rename(from, to);
            if (is_new)
              moves.push_back({to, ""});
          }
      }
    catch (...)
      {
        for (auto move = moves.rbegin(); move != moves.rend(); ++move)
          move->take_back();
        throw;
      }
    if (!left.empty())
      notes.push_back("files of an earlier run that this one does not write "
                      "stay in " +
                      target + ": " + listed(left));
    return notes;
  }

  void
  Outputs::commit()
  {
    Interruption::check(comm);
    run_on_all(comm, [&]() { check_staged(); });
    std::vector<std::string> notes;
    run_on_root(comm, [&]() {
      try
        {
          notes = move_into_place();
        }
      catch (const fs::filesystem_error &e)
        {
          throw ComputationError(shown_name(e.path1().string()) +
                                 ": cannot be written: " + e.code().message());
        }
      // Nothing is left to be taken back.
      made_folders.clear();
      own_names.clear();
      changed_at = timespec{0, 0};
      std::error_code ignored;
      if (plan.has_checkpoint)
        give_back_others();
      if (plan.has_checkpoint)
        for (unsigned int n = 1; n <= n_aside; ++n)
          fs::remove_all(hidden + "/before_" + std::to_string(n), ignored);
      take_back();
    });
    begun = false;
    Interruption::defer(false);
    for (const auto &note : notes)
      log << "note: " << note << std::endl;
  }
} // namespace Palpate
