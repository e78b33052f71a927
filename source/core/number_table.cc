#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/number_table.h>
#include <palpate/core/text.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <sstream>

namespace Palpate
{
  namespace
  {
    /// Stands for a comma within quotes.
    constexpr char quoted_comma = '\x01';

    bool
    is_digit(const char c)
    {
      return std::isdigit(static_cast<unsigned char>(c)) != 0;
    }

    bool
    is_blank(const char c)
    {
      return c == ' ' || c == '\t';
    }

    std::string
    trimmed(const std::string &text)
    {
      const std::size_t first = text.find_first_not_of(" \t");
      if (first == std::string::npos)
        return "";
      return text.substr(first, text.find_last_not_of(" \t") - first + 1);
    }

    /// The lines, whatever ends them.
    std::vector<std::string>
    lines_of(const std::string &filename)
    {
      std::string text = read_file(filename);
      if (text.compare(0, 3, "\xEF\xBB\xBF") == 0)
        text.erase(0, 3);
      if (text.find('\0') != std::string::npos ||
          text.compare(0, 2, "\xFF\xFE") == 0 ||
          text.compare(0, 2, "\xFE\xFF") == 0)
        throw InputError(filename,
                         "is binary or UTF-16, expected numbers as plain text "
                         "(UTF-8)");
      return Text::split_lines(text);
    }

    /// Words of a line without regard to what separates them.
    std::vector<std::string>
    words_of(std::string line)
    {
      for (char &c : line)
        if (c == ',' || c == ';' || c == '\t' || c == '"' || c == '\'')
          c = ' ';
      std::istringstream       in(line);
      std::vector<std::string> words;
      for (std::string word; in >> word;)
        words.push_back(word);
      return words;
    }

    /// A word that no number was meant by: "x", "x1", "moved_z", "(mm)".
    bool
    is_name(const std::string &word)
    {
      char *end = nullptr;
      std::strtod(word.c_str(), &end);
      if (*end == '\0') // inf and nan, too
        return false;
      const bool letter =
        std::isalpha(static_cast<unsigned char>(word[0])) != 0 ||
        word[0] == '_' || static_cast<unsigned char>(word[0]) >= 128;
      const bool digits = std::any_of(word.begin(), word.end(), is_digit);
      return letter ? !(digits && word.find('.') != std::string::npos)
                    : !digits;
    }

    struct Cells
    {
      std::vector<std::string> texts;
      bool        decimal_commas = false; ///< those left in texts are some
      const char *ambiguous      = nullptr;
    };

    /// Without quotes; commas within them are marked.
    std::string
    unquoted(const std::string &line)
    {
      std::string result;
      bool        inside = false;
      for (const char c : line)
        if (c == '"')
          inside = !inside;
        else
          result += (inside && c == ',' ? quoted_comma : c);
      return result;
    }

    Cells
    split(const std::string &raw)
    {
      Cells             cells;
      const std::string line     = trimmed(unquoted(raw));
      std::size_t       attached = 0, loose = 0;
      for (std::size_t i = 0; i < line.size(); ++i)
        if (line[i] == ',' && i + 1 < line.size()) // the last may be one more
          {
            const bool next_to_blank =
              (i > 0 && is_blank(line[i - 1])) || is_blank(line[i + 1]);
            ++(next_to_blank ? loose : attached);
          }
      // Blanks about a separator mean nothing.
      const auto separated_by = [&](const char separator) {
        std::istringstream in(line);
        for (std::string cell; std::getline(in, cell, separator);)
          {
            // (Other white space is none of a table.)
            const std::size_t before = cells.texts.size();
            for (std::size_t end, at = cell.find_first_not_of(" \t");
                 at != std::string::npos;
                 at = cell.find_first_not_of(" \t", end))
              {
                end = std::min(cell.find_first_of(" \t", at), cell.size());
                cells.texts.push_back(cell.substr(at, end - at));
              }
            if (cells.texts.size() == before)
              cells.texts.emplace_back();
          }
      };
      // Tabs that are not just beside a comma.
      bool tabs = false, blanks = false;
      for (std::size_t i = 0; i < line.size(); ++i)
        if (is_blank(line[i]))
          {
            const std::size_t first = line.find_last_not_of(" \t", i),
                              last  = line.find_first_not_of(" \t", i);
            const bool between      = line[first] != ',' && line[last] != ',';
            tabs                    = tabs || (between && line[i] == '\t');
            blanks                  = blanks || between;
          }
      if (line.find(';') != std::string::npos)
        {
          separated_by(';');
          cells.decimal_commas = true;
        }
      else if (tabs)
        {
          if (loose > 0)
            cells.ambiguous = "commas and tabs";
          separated_by('\t');
          cells.decimal_commas = true;
        }
      else
        {
          if (attached > 0 && (loose > 0 || blanks))
            cells.ambiguous = "commas with and without blanks";
          separated_by(',');
        }
      return cells;
    }

    /// @return whether the text is a number; a decimal comma has digits behind
    bool
    parse(std::string text, const bool decimal_comma, double &value)
    {
      for (std::size_t i = 0; i < text.size(); ++i)
        if (text[i] == quoted_comma || (decimal_comma && text[i] == ','))
          {
            if (i + 1 == text.size() || !is_digit(text[i + 1]))
              return false;
            text[i] = '.';
          }
      char *end = nullptr;
      value     = std::strtod(text.c_str(), &end);
      return !text.empty() && *end == '\0' && std::isfinite(value);
    }

    bool
    contains(const std::vector<std::string> &texts, const char *characters)
    {
      return std::any_of(texts.begin(),
                         texts.end(),
                         [&](const std::string &text) {
                           return text.find_first_of(characters) !=
                                  std::string::npos;
                         });
    }

    std::string
    in_words(const std::vector<unsigned int> &widths)
    {
      const char *names[] = {
        "no", "one", "two", "three", "four", "five", "six"};
      std::string text;
      for (std::size_t i = 0; i < widths.size(); ++i)
        text +=
          (i > 0 ? " or " : "") + (widths[i] < 7 ? std::string(names[widths[i]])
                                                 : std::to_string(widths[i]));
      return text;
    }
  } // namespace

  std::vector<std::vector<double>>
  read_number_table(const std::string               &filename,
                    const std::vector<unsigned int> &widths)
  {
    std::vector<std::vector<double>> rows;
    const auto                       lines = lines_of(filename);
    bool first = true, points = false, commas = false;
    for (std::size_t number = 1; number <= lines.size(); ++number)
      {
        const std::string line = trimmed(lines[number - 1]);
        if (line.empty() || line[0] == '#')
          continue;
        const auto words = words_of(line);
        const bool names = first && !words.empty() &&
                           std::all_of(words.begin(), words.end(), is_name);
        first = false;
        if (names)
          continue;
        const auto fail = [&](const std::string &what) {
          std::string shown = line.substr(0, 60);
          for (char &c : shown)
            if (static_cast<unsigned char>(c) < 32)
              c = ' ';
          throw InputError(filename,
                           "line " + std::to_string(number) + " is '" + shown +
                             "', " + what);
        };
        const std::string expected =
          "expected " +
          in_words(rows.empty()
                     ? widths
                     : std::vector<unsigned int>(1, rows[0].size())) +
          " numbers";
        const Cells cells = split(line);
        if (cells.ambiguous != nullptr)
          fail(std::string("which has ") + cells.ambiguous +
               ": separators or decimal commas? " + expected +
               " with one separator (semicolons, if commas are decimal)");
        points = points || contains(cells.texts, ".");
        commas = commas ||
                 contains(cells.texts, cells.decimal_commas ? ",\x01" : "\x01");
        if (points && commas)
          fail("which has decimal commas, and the file decimal points as "
               "well, " +
               expected + " with either");
        std::vector<double> row(cells.texts.size());
        bool                good = true;
        for (std::size_t i = 0; i < row.size(); ++i)
          good = parse(cells.texts[i], cells.decimal_commas, row[i]) && good;
        if (!good ||
            std::find(widths.begin(), widths.end(), row.size()) ==
              widths.end() ||
            (!rows.empty() && row.size() != rows[0].size()))
          fail(expected);
        rows.push_back(row);
      }
    if (rows.empty())
      throw InputError(filename, "has no points, expected at least one");
    return rows;
  }
} // namespace Palpate
