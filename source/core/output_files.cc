#include <deal.II/base/utilities.h>

#include <palpate/core/declared_parameters.h>
#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/output_files.h>

#include <fnmatch.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>

namespace Palpate
{
  namespace fs = std::filesystem;

  std::vector<std::string>
  names_of_results()
  {
    std::vector<std::string> names = OutputFiles::pictures();
    for (const char *name : {"result.npz",
                             "summary.json",
                             "parameters.prm",
                             "zero_energy_modes.*"})
      names.push_back(name);
    return names;
  }

  std::vector<std::string>
  OutputFiles::pictures()
  {
    std::vector<std::string> names;
    for (const char *name : {"alpha_Pa",
                             "alpha_Pa_of_stated_reference",
                             "youngs_modulus_Pa",
                             "alpha_Pa_not_identified",
                             "youngs_modulus_Pa_of_stated_reference",
                             "youngs_modulus_Pa_not_identified",
                             "alpha_relative",
                             "observable",
                             "largest_principal_strain",
                             "jacobian",
                             "displacement"})
      for (const char *ending : {".nii.gz", "_[0-9][0-9]*.nii.gz"})
        names.push_back(std::string(name) + ending);
    for (const char *name : {"solution", "springs", "points"})
      for (const char *ending : {".pvd", "_[0-9]*.vtu", "_[0-9]*.pvtu"})
        names.push_back(std::string(name) + ending);
    return names;
  }

  bool
  OutputFiles::matches(const std::string              &name,
                       const std::vector<std::string> &patterns,
                       const int                       flags)
  {
    return std::any_of(patterns.begin(),
                       patterns.end(),
                       [&](const std::string &p) {
                         return fnmatch(p.c_str(), name.c_str(), flags) == 0;
                       });
  }

  bool
  OutputFiles::same_file(const std::string &a, const std::string &b)
  {
    struct stat of_a, of_b;
    return ::stat(a.c_str(), &of_a) == 0 && ::stat(b.c_str(), &of_b) == 0 &&
           of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
  }

  const InputFile *
  OutputFiles::input_at(const std::string &name)
  {
    struct stat status;
    if (::stat(name.c_str(), &status) != 0)
      return nullptr;
    for (const InputFile &input : input_files())
      if (input.device == status.st_dev && input.inode == status.st_ino)
        return &input;
    return nullptr;
  }

  std::vector<std::string>
  OutputFiles::below(const std::string &folder)
  {
    std::vector<std::string> names;
    std::error_code          error;
    for (fs::recursive_directory_iterator i(folder, error), end;
         !error && i != end;
         i.increment(error))
      if (!fs::is_directory(i->symlink_status()))
        names.push_back(i->path().lexically_relative(folder).generic_string());
    std::sort(names.begin(), names.end());
    return names;
  }

  namespace
  {
    /// Whether writing a file by a name that fits the patterns would replace
    /// this one; where a file system does not tell upper from lower case, a
    /// name that differs in it is the same.
    bool
    is_replaced(const std::string              &folder,
                const std::string              &name,
                const std::vector<std::string> &patterns)
    {
      if (OutputFiles::matches(name, patterns))
        return true;
      if (!OutputFiles::matches(name, patterns, FNM_CASEFOLD))
        return false;
      std::string other = name;
      for (char &c : other)
        {
          const auto u = static_cast<unsigned char>(c);
          c            = static_cast<char>(std::isupper(u) ? std::tolower(u)
                                                           : std::toupper(u));
        }
      return OutputFiles::same_file(folder + "/" + name, folder + "/" + other);
    }
  } // namespace

  std::vector<std::string>
  OutputFiles::to_be_replaced(const std::string   &folder,
                              const Outputs::Plan &plan,
                              const std::string   &parameter_file)
  {
    std::vector<std::string> names;
    std::error_code          error;
    for (fs::directory_iterator i(folder, error), end; !error && i != end;
         i.increment(error))
      {
        const std::string name = i->path().filename().string();
        std::error_code   ignored;
        if (!fs::is_directory(i->path(), ignored))
          {
            if (is_replaced(folder, name, plan.names) &&
                !(name == "parameters.prm" &&
                  same_file(i->path().string(), parameter_file)))
              names.push_back(name);
            continue;
          }
        const bool is_checkpoint = plan.has_checkpoint && name == "checkpoint";
        if (is_checkpoint || matches(name, {"epoch_[0-9]*"}))
          for (const auto &file : below(i->path().string()))
            if (is_checkpoint ||
                is_replaced(folder, name + "/" + file, plan.names))
              names.push_back(name + "/" + file);
        if (matches(name, plan.names, FNM_PATHNAME))
          throw InputError(i->path().string(),
                           "is a folder, where the run would write a file, "
                           "expected another Output directory");
      }
    std::sort(names.begin(), names.end());
    return names;
  }

  void
  OutputFiles::rename(const std::string &from, const std::string &to)
  {
    if (std::rename(from.c_str(), to.c_str()) != 0)
      throw ComputationError(to +
                             ": cannot be written: " + std::strerror(errno));
  }

  std::string
  OutputFiles::entry_with(const Parameters  &parameters,
                          const std::string &value)
  {
    std::string found;
    const std::function<void(const nlohmann::json &, const std::string &)>
      look = [&](const nlohmann::json &node, const std::string &where) {
        for (const auto &[name, child] : node.items())
          if (child.is_object())
            look(child, where + name + "/");
          else if (child.is_string() && name != "Output file")
            for (const auto &part :
                 dealii::Utilities::split_string_list(child.get<std::string>(),
                                                      ','))
              if (dealii::Utilities::trim(part) == value)
                found = where + name;
      };
    look(parameters_as_json(parameters.handler,
                            dealii::ParameterHandler::ShortJSON),
         "");
    return found;
  }

  std::map<std::string, std::size_t>
  OutputFiles::of_summary(const std::string &name)
  {
    std::map<std::string, std::size_t> files;
    std::error_code                    error;
    if (!fs::is_regular_file(name, error))
      return files;
    const auto json =
      nlohmann::json::parse(read_file(name, false), nullptr, false);
    if (!json.is_object() || !json.contains("files") ||
        !json["files"].is_object())
      return files;
    for (const auto &[file, size] : json["files"].items())
      if (size.is_number_unsigned())
        files[file] = size.get<std::size_t>();
    return files;
  }

  OutputFiles::OwnFiles::OwnFiles(const std::string &folder)
    : folder(folder)
    , listed(of_summary(folder + "/summary.json"))
  {
    std::error_code   error;
    const std::string summary = folder + "/summary.json";
    if (fs::is_regular_file(summary, error))
      {
        const auto json =
          nlohmann::json::parse(read_file(summary, false), nullptr, false);
        has_summary = json.is_object() && json.contains("task");
        has_list    = has_summary && json.contains("files");
      }
    has_checkpoint =
      fs::is_regular_file(folder + "/checkpoint/fingerprint", error);
  }

  bool
  OutputFiles::OwnFiles::wrote(const std::string &name) const
  {
    if (name == "summary.json" || (has_summary && !has_list))
      return has_summary;
    const std::string in_checkpoint = "checkpoint/";
    if (name.compare(0, in_checkpoint.size(), in_checkpoint) == 0)
      return has_checkpoint &&
             is_of_checkpoint(name.substr(in_checkpoint.size()));
    if (name == "history.csv" && has_checkpoint)
      return true;
    const auto      own = listed.find(name);
    std::error_code error;
    return own != listed.end() &&
           fs::file_size(folder + "/" + name, error) == own->second;
  }

  bool
  OutputFiles::is_of_checkpoint(const std::string &name)
  {
    return matches(name,
                   {"fingerprint",
                    "evaluations*",
                    "warm_start_*",
                    "training.npz",
                    "results/*"});
  }

  std::string
  OutputFiles::kept_name(const std::string &file)
  {
    std::string name = file + ".kept";
    for (unsigned int i = 2; fs::exists(fs::symlink_status(name)); ++i)
      name = file + ".kept" + std::to_string(i);
    return name;
  }

  std::string
  OutputFiles::listed(const std::vector<std::string> &names)
  {
    std::string text;
    for (std::size_t i = 0; i < std::min<std::size_t>(3, names.size()); ++i)
      text += (i == 0 ? "" : ", ") + names[i];
    return names.size() <= 3
             ? text
             : text + " and " + std::to_string(names.size() - 3) + " more";
  }
} // namespace Palpate
