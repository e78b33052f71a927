#include <deal.II/base/utilities.h>

#include <palpate/core/declared_parameters.h>
#include <palpate/core/parameter_file.h>
#include <palpate/core/text.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <iomanip>
#include <ostream>
#include <sstream>

namespace Palpate
{
  using namespace Text;
  using dealii::ParameterHandler;
  using dealii::Utilities::split_string_list;

  namespace
  {
    bool
    is_entry(const nlohmann::json &node)
    {
      return node.contains("value") && node["value"].is_string();
    }

    DeclaredParameters::Entry
    entry_of(const nlohmann::json           &node,
             const std::vector<std::string> &sections,
             const std::string              &name)
    {
      return {sections,
              name,
              trim(node["value"]),
              trim(node["default_value"]),
              node["documentation"],
              node["pattern_description"]};
    }

    bool
    begins(const std::string &text, const std::string &start)
    {
      return text.compare(0, start.size(), start) == 0;
    }

    /// "a number", "a number from 0 to 1"; bounds as deal.II prints them.
    std::string
    with_range(const std::string &kind, const std::string &range)
    {
      const auto  dots = range.find("...");
      std::string low, high;
      if (dots != std::string::npos)
        {
          low  = range.substr(0, dots);
          high = range.substr(dots + 3);
          high = high.substr(0, high.find_first_of(" ]"));
        }
      const bool bounded_below =
                   !low.empty() && low != "-MAX_DOUBLE" && low != "-2147483648",
                 bounded_above = !high.empty() && high != "MAX_DOUBLE" &&
                                 high != "2147483647";
      if (bounded_below && bounded_above)
        return kind + " from " + low + " to " + high;
      if (bounded_below)
        return kind + " of at least " + low;
      return kind + (bounded_above ? " of at most " + high : "");
    }

    /// The choices of "[Selection a|b ]".
    std::vector<std::string>
    choices_of(const std::string &pattern)
    {
      const auto blank = pattern.find(' ');
      auto       list  = pattern.substr(blank + 1);
      list             = trim(list.substr(0, list.rfind(']')));
      std::vector<std::string> result;
      for (std::size_t at = 0; at <= list.size();)
        {
          const auto bar = std::min(list.find('|', at), list.size());
          result.push_back(trim(list.substr(at, bar - at)));
          at = bar + 1;
        }
      return result;
    }

    std::string
    one_of(const std::string &pattern)
    {
      auto       choices = choices_of(pattern);
      const auto empty   = std::find(choices.begin(), choices.end(), "");
      const bool none    = empty != choices.end();
      if (none)
        choices.erase(empty);
      return (none ? "nothing or one of " : "one of ") +
             enumerate(choices, ", ");
    }

    /// The choice that a word of the value means, where there are choices.
    std::string
    meant(const std::string &pattern, const std::string &value)
    {
      const auto choices = choices_of(pattern);
      for (const auto &word : split_string_list(value, ','))
        if (std::find(choices.begin(), choices.end(), trim(word)) ==
            choices.end())
          {
            const std::string text = did_you_mean(word, choices);
            if (!text.empty())
              return text;
          }
      return "";
    }

    /// In words, from deal.II's description of a pattern.
    std::string
    words_of(const std::string &pattern, const std::string &value)
    {
      if (begins(pattern, "[Double"))
        return with_range("a number", pattern.substr(8));
      if (begins(pattern, "[Integer range "))
        {
          char        *end    = nullptr;
          const double number = std::strtod(value.c_str(), &end);
          return with_range("a whole number", pattern.substr(15)) +
                 (*end == 0 && number > 2147483647. ? ", at most 2147483647"
                                                    : "");
        }
      if (begins(pattern, "[Integer"))
        return "a whole number";
      if (begins(pattern, "[Bool"))
        return "true or false";
      if (begins(pattern, "[Selection "))
        return one_of(pattern) + meant(pattern, value);
      if (begins(pattern, "[MultipleSelection "))
        return "a list, separated by commas, of " + one_of(pattern) +
               meant(pattern, value);
      if (begins(pattern, "[List of <"))
        {
          const auto end         = pattern.rfind("> of length ");
          auto       size        = pattern.substr(end + 12);
          size                   = size.substr(0, size.find_first_of(" ]"));
          const auto        dots = size.find("...");
          const std::string low  = size.substr(0, dots),
                            high = size.substr(dots + 3);
          const std::string part =
            words_of(pattern.substr(10, end - 10), value);
          const bool one = begins(part, "a ");
          return "a list of " +
                 (low == high ? low
                  : high == "4294967295" || high == "MAX_INT"
                    ? low + " or more"
                    : low + " to " + high) +
                 (one ? " parts, each " + part : " parts: " + part);
        }
      if (begins(pattern, "[Anything"))
        return "any text";
      return "another value (see --print-parameters)";
    }
  } // namespace

  DeclaredParameters::DeclaredParameters(const ParameterHandler &handler)
  {
    const std::function<void(const nlohmann::json &,
                             const std::vector<std::string> &)>
      add =
        [&](const nlohmann::json &node, const std::vector<std::string> &outer) {
          for (const auto &[name, child] : node.items())
            if (is_entry(child))
              declared[parameter_path(outer, name)] =
                entry_of(child, outer, name);
            else if (child.is_object())
              {
                std::vector<std::string> inner = outer;
                inner.push_back(name);
                sections[parameter_path(outer, name)] = inner;
                add(child, inner);
              }
        };
    add(parameters_as_json(handler, ParameterHandler::JSON), {});
  }

  bool
  DeclaredParameters::has_section(const std::string &path) const
  {
    return sections.count(path) > 0;
  }

  std::vector<std::string>
  DeclaredParameters::sections_in(const std::string &outer) const
  {
    std::vector<std::string> result;
    for (const auto &[path, names] : sections)
      if (parameter_path({names.begin(), names.end() - 1}, "") == outer)
        result.push_back(path);
    return result;
  }

  std::vector<std::string>
  DeclaredParameters::entries_in(const std::string &section) const
  {
    std::vector<std::string> result;
    for (const auto &[path, entry] : declared)
      if (parameter_path(entry.sections, "") == section)
        result.push_back(path);
    return result;
  }

  namespace
  {
    /// The nearest of some paths by their last name alone.
    std::string
    nearest_name(const std::string &name, const std::vector<std::string> &paths)
    {
      std::vector<std::string> names;
      for (const auto &path : paths)
        names.push_back(path.substr(path.rfind('/') + 1));
      const std::string found = nearest(name, names);
      const auto        at    = std::find(names.begin(), names.end(), found);
      return found.empty() ? "" : paths[at - names.begin()];
    }
  } // namespace

  std::string
  DeclaredParameters::wrong_section(const std::vector<std::string> &outer,
                                    const std::string              &name) const
  {
    const std::string path = parameter_path(outer, name);
    if (has_section(path))
      return "";
    const std::string text = "no such section " + one_line(path);
    if (declared.count(path) > 0)
      return text + ", it is an entry, expected 'set'";
    std::string found =
      nearest_name(name, sections_in(parameter_path(outer, "")));
    if (found.empty())
      {
        std::vector<std::string> all;
        for (const auto &[other, names] : sections)
          all.push_back(other);
        found = nearest_name(name, all);
      }
    return text + (found.empty()
                     ? ", expected one that --print-parameters shows"
                     : ", did you mean " + found + "?");
  }

  std::string
  DeclaredParameters::wrong_name(const std::vector<std::string> &outer,
                                 const std::string              &name) const
  {
    const std::string path = parameter_path(outer, name);
    if (declared.count(path) > 0)
      return "";
    const std::string text = "no such entry " + one_line(path);
    if (has_section(path))
      return text + ", it is a section, expected 'subsection'";
    std::string found =
      nearest_name(name, entries_in(parameter_path(outer, "")));
    // The same name elsewhere is nearer than a similar one here.
    std::vector<std::string> same, all;
    for (const auto &[other, entry] : declared)
      {
        all.push_back(other);
        if (entry.name == name)
          same.push_back(other);
      }
    if (same.size() > 3)
      same.resize(3);
    if (!same.empty())
      return text + ", did you mean " + enumerate(same, " or ") + "?";
    if (found.empty())
      found = nearest_name(name, all);
    return text + (found.empty()
                     ? ", expected one that --print-parameters shows"
                     : ", did you mean " + found + "?");
  }

  std::string
  DeclaredParameters::expected(const std::string &path,
                               const std::string &value) const
  {
    return "expected " + words_of(declared.at(path).pattern, value);
  }

  bool
  same_meaning(const std::string &a, const std::string &b)
  {
    const auto parts = [](const std::string &text) {
      std::vector<std::string> result(1);
      for (const char c : text)
        if (c == ',' || c == ';' || c == ':' || c == ' ' || c == '\t')
          {
            // Blanks separate, but beside another separator they say nothing.
            if (c != ' ' && c != '\t')
              result.push_back(std::string(1, c));
            result.emplace_back();
          }
        else
          result.back() += c;
      result.erase(std::remove(result.begin(), result.end(), ""), result.end());
      return result;
    };
    const auto equal = [](const std::string &x, const std::string &y) {
      if (x == y)
        return true;
      char        *end_x = nullptr, *end_y = nullptr;
      const double of_x = std::strtod(x.c_str(), &end_x);
      const double of_y = std::strtod(y.c_str(), &end_y);
      return *end_x == 0 && *end_y == 0 && of_x == of_y;
    };
    const auto first = parts(a), second = parts(b);
    return std::equal(
      first.begin(), first.end(), second.begin(), second.end(), equal);
  }

  nlohmann::json
  parameters_as_json(const ParameterHandler             &handler,
                     const ParameterHandler::OutputStyle style)
  {
    std::stringstream text;
    handler.print_parameters(text, style);
    nlohmann::json result;
    text >> result;
    return result;
  }

  void
  write_parameters(std::ostream &out, const ParameterHandler &handler)
  {
    const std::function<void(const nlohmann::json &, const std::string &)>
      write = [&](const nlohmann::json &node, const std::string &indent) {
        std::size_t width = 0;
        for (const auto &[name, child] : node.items())
          if (is_entry(child))
            width = std::max(width, name.size());
        for (const auto &[name, child] : node.items())
          if (is_entry(child))
            {
              const auto entry = entry_of(child, {}, name);
              out << "\n";
              for (const auto &line : dealii::Utilities::break_text_into_lines(
                     entry.documentation, 78 - indent.size() - 2))
                out << indent << "# " << line << "\n";
              out << indent << "set " << std::left << std::setw(width) << name
                  << " = " << written_value(entry.value);
              if (entry.value != entry.default_value)
                out << " # default: " << entry.default_value;
              out << "\n";
            }
        for (const auto &[name, child] : node.items())
          if (!is_entry(child) && child.is_object())
            {
              out << "\n" << indent << "subsection " << name << "\n";
              write(child, indent + "  ");
              out << indent << "end\n";
            }
      };
    out << "# Listing of Parameters\n# ---------------------\n";
    write(parameters_as_json(handler, ParameterHandler::JSON), "");
  }
} // namespace Palpate
