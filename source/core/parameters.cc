#include <deal.II/base/utilities.h>

#include <palpate/core/declared_parameters.h>
#include <palpate/core/errors.h>
#include <palpate/core/parameter_file.h>
#include <palpate/core/parameters.h>
#include <palpate/core/text.h>

#include <algorithm>
#include <cmath>
#include <tuple>

namespace Palpate
{
  using namespace dealii;
  using namespace Text;

  namespace
  {
    /// Errors of several entries on one line.
    class WrongEntries
    {
    public:
      /// @param file empty: none to be named
      void
      add(const std::string &file,
          const std::string &where,
          const std::string &message)
      {
        if (message.empty())
          return;
        ++n;
        if (n == 1)
          source = file;
        if (n <= 8)
          text += (n == 1 ? "" : "; ") +
                  (n > 1 && file != source ? file + ": " : "") + where + ": " +
                  message;
      }

      /// @throw InputError if there is one.
      void
      refuse() const
      {
        if (n == 0)
          return;
        const std::string all =
          text + (n > 8 ? "; and " + std::to_string(n - 8) + " more" : "");
        throw source.empty() ? InputError(all) : InputError(source, all);
      }

    private:
      unsigned int n = 0;
      std::string  source, text;
    };

    /// Give an entry a value. @return What is wrong with it.
    std::string
    set_value(ParameterHandler         &handler,
              const DeclaredParameters &declared,
              const std::string        &path,
              const std::string        &value)
    {
      const auto       &entry      = declared.entries().at(path);
      const std::string impossible = unwritable(value);
      if (!impossible.empty())
        return path + " " + impossible;
      std::string wrong;
      for (const auto &section : entry.sections)
        handler.enter_subsection(section);
      try
        {
          handler.set(entry.name, value);
        }
      catch (const ExceptionBase &)
        {
          wrong = path + " = " + one_line(value) + ": " +
                  declared.expected(path, value);
        }
      for (std::size_t i = 0; i < entry.sections.size(); ++i)
        handler.leave_subsection();
      return wrong;
    }
  } // namespace

  void
  Parameters::parse_file(const DeclaredParameters &declared)
  {
    const auto lines = read_parameter_file(filename, [&](const std::string &p) {
      return declared.has_section(p);
    });
    WrongEntries wrong;
    for (const ParameterLine &line : lines)
      {
        const std::string path  = parameter_path(line.sections, line.name),
                          outer = parameter_path(line.sections, ""),
                          where = "line " + std::to_string(line.number);
        if (line.opens_section)
          {
            // What is in a section that is unknown is not looked at.
            if (outer.empty() ||
                declared.has_section(outer.substr(0, outer.size() - 1)))
              wrong.add(line.file,
                        where,
                        declared.wrong_section(line.sections, line.name));
            continue;
          }
        if (!outer.empty() &&
            !declared.has_section(outer.substr(0, outer.size() - 1)))
          continue;
        std::string message = declared.wrong_name(line.sections, line.name);
        if (message.empty())
          message = set_value(handler, declared, path, line.value);
        wrong.add(line.file, where, message);
        written[path] = {line.file, line.number, line.value};
      }
    wrong.refuse();
  }

  void
  Parameters::parse_overrides(const DeclaredParameters &declared)
  {
    WrongEntries wrong;
    for (const std::string &entry : overrides)
      {
        const std::string where  = "--set " + one_line(entry);
        const auto        equals = entry.find('=');
        if (equals == std::string::npos)
          {
            wrong.add("", where, "expected \"Section/Sub/Name=value\"");
            continue;
          }
        std::vector<std::string> sections =
          Utilities::split_string_list(entry.substr(0, equals), '/');
        const std::string value = trim(entry.substr(equals + 1));
        if (sections.empty() || sections.back().empty() ||
            entry[trim(entry.substr(0, equals)).size() - 1] == '/')
          {
            wrong.add("", where, "names no entry");
            continue;
          }
        const std::string name = sections.back();
        sections.pop_back();
        const std::string path = parameter_path(sections, name);
        std::string       message;
        for (std::size_t i = 0; i < sections.size() && message.empty(); ++i)
          message =
            declared.wrong_section({sections.begin(), sections.begin() + i},
                                   sections[i]);
        if (message.empty())
          message = declared.wrong_name(sections, name);
        if (message.empty())
          message = set_value(handler, declared, path, value);
        wrong.add("", where, message);
        written[path] = {"", 0, value};
      }
    wrong.refuse();
  }

  void
  Parameters::parse(const std::string              &file,
                    const std::vector<std::string> &given)
  {
    filename  = file;
    overrides = given;
    const DeclaredParameters declared(handler);
    parse_file(declared);
    parse_overrides(declared);
    for (auto &[path, line] : written)
      line.is_default =
        same_meaning(line.value, declared.entries().at(path).default_value);
  }

  void
  Parameters::enter(const std::string &section)
  {
    handler.enter_subsection(section);
    path.push_back(section);
  }

  void
  Parameters::leave()
  {
    handler.leave_subsection();
    path.pop_back();
  }

  std::string
  Parameters::path_of(const std::string &name) const
  {
    return parameter_path(path, name);
  }

  std::string
  Parameters::get(const std::string &name)
  {
    used.insert(path_of(name));
    return Utilities::trim(handler.get(name));
  }

  double
  Parameters::get_double(const std::string &name)
  {
    const std::string text  = get(name);
    char             *end   = nullptr;
    const double      value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != 0 || !std::isfinite(value))
      fail(name, "expected a finite number");
    return value;
  }

  long
  Parameters::get_integer(const std::string &name)
  {
    used.insert(path_of(name));
    return handler.get_integer(name);
  }

  bool
  Parameters::get_bool(const std::string &name)
  {
    used.insert(path_of(name));
    return handler.get_bool(name);
  }

  std::vector<std::string>
  Parameters::get_list(const std::string &name)
  {
    std::vector<std::string> parts;
    for (const auto &part : Utilities::split_string_list(get(name), ','))
      if (!part.empty())
        parts.push_back(part);
    return parts;
  }

  std::vector<double>
  Parameters::get_doubles(const std::string &name)
  {
    std::vector<double> values;
    for (const auto &item : Utilities::split_string_list(get(name), ','))
      {
        char        *end   = nullptr;
        const double value = std::strtod(item.c_str(), &end);
        if (item.empty() || *end != 0 || !std::isfinite(value))
          fail(name, "'" + item + "' is not a finite number");
        values.push_back(value);
      }
    return values;
  }

  std::vector<int>
  Parameters::get_integers(const std::string &name)
  {
    std::vector<int> values;
    for (const double v : get_doubles(name))
      {
        if (v != std::floor(v) || std::abs(v) > 2e9)
          fail(name, "expected whole numbers, separated by commas");
        values.push_back(static_cast<int>(v));
      }
    return values;
  }

  std::map<int, std::vector<double>>
  Parameters::get_map(const std::string &name, const unsigned int n_values)
  {
    const std::string expected = "expected \"id: " + std::to_string(n_values) +
                                 (n_values == 1 ? " number" : " numbers") +
                                 "; id: ...\"";
    std::map<int, std::vector<double>> result;
    for (const auto &item : Utilities::split_string_list(get(name), ';'))
      {
        if (item.empty())
          continue;
        const auto colon = item.find(':');
        if (colon == std::string::npos)
          fail(name, expected);
        try
          {
            const int  id = Utilities::string_to_int(item.substr(0, colon));
            const auto v  = Utilities::string_to_double(
              Utilities::split_string_list(item.substr(colon + 1), ','));
            if (v.size() != n_values || result.count(id) > 0)
              fail(name, expected + ", each id once");
            for (const double value : v)
              if (!std::isfinite(value))
                fail(name, expected + ", all finite");
            result[id] = v;
          }
        catch (const ExceptionBase &)
          {
            fail(name, expected);
          }
      }
    return result;
  }

  bool
  Parameters::is_set(const std::string &name) const
  {
    return written.count(path_of(name)) > 0;
  }

  bool
  Parameters::is_changed(const std::string &name) const
  {
    const auto it = written.find(path_of(name));
    return it != written.end() && !it->second.is_default;
  }

  void
  Parameters::fail(const std::string &name, const std::string &message) const
  {
    const auto        it      = written.find(path_of(name));
    const bool        in_file = (it != written.end() && it->second.number > 0);
    const std::string line =
      (in_file ? "line " + std::to_string(it->second.number) + ": " : "");
    throw InputError(in_file ? it->second.file : filename,
                     line + path_of(name) + " = " +
                       one_line(handler.get(name)) + ": " + message);
  }

  void
  Parameters::refuse_unused(const std::string &task) const
  {
    // In the order of the files' lines; those of --set last.
    std::vector<std::pair<Written, std::string>> unused;
    for (const auto &[name, line] : written)
      if (used.count(name) == 0 && !line.is_default)
        unused.emplace_back(line, name);
    if (unused.empty())
      return;
    std::stable_sort(
      unused.begin(), unused.end(), [&](const auto &a, const auto &b) {
        const auto rank = [&](const Written &w) {
          return w.number == 0 ? 2 : w.file == filename ? 0 : 1;
        };
        return std::make_tuple(rank(a.first), a.first.file, a.first.number) <
               std::make_tuple(rank(b.first), b.first.file, b.first.number);
      });
    std::vector<std::string> parts;
    for (const auto &[line, name] : unused)
      parts.push_back((line.number == 0
                         ? "--set "
                         : (line.file != filename ? line.file + ": " : "") +
                             "line " + std::to_string(line.number) + ": ") +
                      name);
    const std::size_t most = 40, n = parts.size();
    if (n > most)
      {
        parts.resize(most);
        parts.push_back(std::to_string(n - most) + " more");
      }
    throw InputError(filename,
                     enumerate(parts) +
                       (n == 1 ? " is set but has no effect"
                               : " are set but have no effect") +
                       " with the chosen task (" + task +
                       ") and model, expected only entries that are used, or "
                       "their defaults");
  }

  void
  Parameters::mark_section_used(const std::string &section)
  {
    for (const auto &[name, line] : written)
      if (name.compare(0, section.size() + 1, section + "/") == 0)
        used.insert(name);
  }
} // namespace Palpate
