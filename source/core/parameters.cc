#include <deal.II/base/utilities.h>

#include <palpate/core/errors.h>
#include <palpate/core/parameters.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// On one line, of bounded length; binary data as question marks.
    std::string
    one_line(const std::string &raw)
    {
      std::string text, word;
      for (std::istringstream in(raw); in >> word;)
        text += (text.empty() ? "" : " ") + word;
      const auto is_control = [](const unsigned char c) {
        return c < 32 || c == 127;
      };
      if (std::any_of(text.begin(), text.end(), is_control))
        for (char &c : text)
          if (is_control(c) || static_cast<unsigned char>(c) > 127)
            c = '?';
      if (text.size() > 500)
        text = text.substr(0, 500) + "...";
      return text;
    }

    /// The middle part of a deal.II exception as one line.
    std::string
    one_line(const ExceptionBase &e)
    {
      std::ostringstream out;
      e.print_info(out);
      return one_line(out.str());
    }

    /// Without comment, and without leading, trailing and repeated blanks.
    std::string
    clean(const std::string &raw)
    {
      std::string        line = raw.substr(0, raw.find('#'));
      std::istringstream in(line);
      std::string        word, result;
      while (in >> word)
        result += (result.empty() ? "" : " ") + word;
      return result;
    }

    std::string
    joined(const std::vector<std::string> &path, const std::string &name)
    {
      std::string result;
      for (const auto &p : path)
        result += p + "/";
      return result + name;
    }

    /// As ParameterHandler: keywords in lower or upper case.
    bool
    begins(const std::string &line, const std::string &word)
    {
      std::string upper = word;
      for (char &c : upper)
        c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      return line.compare(0, word.size(), word) == 0 ||
             line.compare(0, word.size(), upper) == 0;
    }

    void
    check_includes_below(const std::string              &file,
                         const std::vector<std::string> &parents)
    {
      // A file by another name ends here too.
      if (parents.size() > 20 ||
          std::find(parents.begin(), parents.end(), file) != parents.end())
        throw InputError(file,
                         "includes itself, or more than 20 files in each "
                         "other, expected an end of the includes");
      std::vector<std::string> path = parents;
      path.push_back(file);
      std::ifstream in(file);
      for (std::string raw; std::getline(in, raw);)
        {
          const std::string line = clean(raw);
          if (begins(line, "include "))
            check_includes_below(line.substr(8), path);
        }
    }
  } // namespace

  /// ParameterHandler does not notice that a file includes itself.
  /// @throw InputError if it does.

  void
  check_includes(const std::string &file)
  {
    check_includes_below(file, {});
  }

  void
  Parameters::scan(const std::string &file)
  {
    std::ifstream            in(file);
    std::string              raw;
    std::vector<std::string> where = path; // includes begin inside a section
    for (int number = 1; std::getline(in, raw); ++number)
      {
        const std::string line = clean(raw);
        if (begins(line, "subsection "))
          where.push_back(line.substr(11));
        else if ((line == "end" || line == "END") && !where.empty())
          where.pop_back();
        else if (begins(line, "include "))
          {
            const std::vector<std::string> outer = path;
            path                                 = where;
            scan(line.substr(8));
            path = outer;
          }
        else if (begins(line, "set "))
          user_set[joined(
            where, Utilities::trim(line.substr(4, line.find('=') - 4)))] =
            number;
      }
  }

  void
  Parameters::parse(const std::string              &file,
                    const std::vector<std::string> &given)
  {
    filename  = file;
    overrides = given;
    {
      std::ifstream in(file);
      if (!in || in.peek() == std::ifstream::traits_type::eof())
        throw InputError(file,
                         "cannot be read or is empty, expected a parameter "
                         "file (.prm)");
    }
    check_includes(file);
    try
      {
        handler.parse_input(file);
      }
    catch (const ExceptionBase &e)
      {
        throw InputError(file, one_line(e));
      }
    scan(file);

    for (const std::string &entry : overrides)
      {
        const std::string text   = one_line(entry); // for messages
        const auto        equals = entry.find('=');
        if (equals == std::string::npos)
          throw InputError("--set " + text,
                           "expected \"Section/Sub/Name=value\"");
        std::vector<std::string> parts =
          Utilities::split_string_list(entry.substr(0, equals), '/');
        const std::string value = Utilities::trim(entry.substr(equals + 1));
        if (parts.empty())
          throw InputError("--set " + text, "names no entry");
        const std::string name = parts.back();
        parts.pop_back();
        std::size_t entered = 0;
        try
          {
            // ParameterHandler creates sections that do not exist: look first.
            if (!handler.subsection_path_exists(parts))
              throw InputError("--set " + text, "no such section");
            for (const auto &p : parts)
              {
                handler.enter_subsection(p);
                ++entered;
              }
            try
              {
                handler.get(name);
              }
            catch (const ExceptionBase &)
              {
                throw InputError("--set " + text,
                                 "no such entry, see --print-parameters");
              }
            handler.set(name, value);
          }
        catch (const ExceptionBase &e)
          {
            throw InputError("--set " + text, one_line(e));
          }
        for (; entered > 0; --entered)
          handler.leave_subsection();
        user_set[joined(parts, name)] = 0;
      }
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
    return joined(path, name);
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
    return user_set.count(path_of(name)) > 0;
  }

  void
  Parameters::fail(const std::string &name, const std::string &message) const
  {
    const auto        it   = user_set.find(path_of(name));
    const std::string line = (it != user_set.end() && it->second > 0
                                ? "line " + std::to_string(it->second) + ": "
                                : "");
    throw InputError(filename,
                     line + path_of(name) + " = " +
                       one_line(handler.get(name)) + ": " + message);
  }

  void
  Parameters::refuse_unused(const std::string &task) const
  {
    for (const auto &[name, line] : user_set)
      if (used.count(name) == 0)
        throw InputError(
          filename,
          (line > 0 ? "line " + std::to_string(line) + ": " : "--set ") + name +
            " is set but has no effect with the chosen task (" + task +
            ") and model, expected only entries that are used");
  }

  void
  Parameters::mark_section_used(const std::string &section)
  {
    for (const auto &[name, line] : user_set)
      {
        (void)line;
        if (name.compare(0, section.size() + 1, section + "/") == 0)
          used.insert(name);
      }
  }
} // namespace Palpate
