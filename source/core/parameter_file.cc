#include <palpate/core/errors.h>
#include <palpate/core/input_files.h>
#include <palpate/core/parameter_file.h>
#include <palpate/core/text.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>

namespace Palpate
{
  using namespace Text;

  std::string
  parameter_path(const std::vector<std::string> &sections,
                 const std::string              &name)
  {
    std::string result;
    for (const auto &section : sections)
      result += section + "/";
    return result + name;
  }

  std::string
  unwritable(const std::string &value)
  {
    for (const char c : value)
      if (static_cast<unsigned char>(c) < 32 || c == 127)
        return "holds a line end or another control character (byte " +
               std::to_string(static_cast<unsigned char>(c)) +
               "), expected text on one line";
    if (!is_utf8(value))
      return "holds bytes that are not UTF-8, expected UTF-8 text";
    return "";
  }

  std::string
  written_value(const std::string &value)
  {
    std::string text;
    for (const char c : value)
      text += (c == '#' ? "\\#" : std::string(1, c));
    // A comment behind it keeps the last backslash from continuing the line.
    return !text.empty() && text.back() == '\\' ? text + " #" : text;
  }

  namespace
  {
    /// The whole text of a file, without byte order mark.
    std::string
    text_of(const std::string &file)
    {
      const std::size_t most = 10000000; // bytes; /dev/zero has no end
      std::ifstream     in(file, std::ios::binary);
      std::string       text(most + 1, ' ');
      in.read(&text[0], most + 1);
      if (in.bad() || (!in && !in.eof()))
        throw InputError(file,
                         "cannot be read, expected a parameter file (.prm)");
      text.resize(in.gcount());
      if (text.size() > most)
        throw InputError(file,
                         "is larger than 10 MB, expected a parameter file "
                         "(.prm)");
      if (text.compare(0, 2, "\xFF\xFE") == 0 ||
          text.compare(0, 2, "\xFE\xFF") == 0)
        throw InputError(file,
                         "is UTF-16 text, expected UTF-8 (save it as such)");
      if (text.compare(0, 3, "\xEF\xBB\xBF") == 0)
        text.erase(0, 3);
      return text;
    }

    /// Where the comment begins, or npos. `\#` is no comment.
    std::size_t
    comment_of(const std::string &line)
    {
      for (std::size_t i = 0; i < line.size(); ++i)
        if (line[i] == '#' && (i == 0 || line[i - 1] != '\\'))
          return i;
      return std::string::npos;
    }

    struct Keyword
    {
      std::string word; ///< empty: none
      std::string rest; ///< of the line
    };

    /// As ParameterHandler: in lower or in upper case, then a blank.
    Keyword
    keyword_of(const std::string &line)
    {
      const auto        blank = line.find(' ');
      const std::string first = line.substr(0, blank);
      const std::string rest =
        blank == std::string::npos ? "" : trim(line.substr(blank));
      const std::vector<std::pair<std::string, std::string>> words = {
        {"set", "SET"},
        {"subsection", "SUBSECTION"},
        {"end", "END"},
        {"include", "INCLUDE"}};
      for (const auto &[lower, upper] : words)
        if (first == lower || first == upper)
          return {lower, rest};
      return {"", line};
    }

    class Reader
    {
    public:
      Reader(const std::function<bool(const std::string &)> &is_section)
        : is_section(is_section)
      {}

      void
      read(const std::string &name);

      std::vector<ParameterLine> lines;

    private:
      struct Open ///< a subsection without its `end` so far
      {
        std::string  name;
        unsigned int number;
        std::size_t  indentation;
      };

      /// State of the file that is being read.
      struct File
      {
        std::string                         name;
        unsigned int                        number      = 0;
        std::size_t                         indentation = 0;
        std::vector<Open>                   open;
        std::map<std::string, unsigned int> set; ///< path -> line
        /// The subsection whose `end` is missing as the indentation tells.
        Open unclosed{"", 0, 0};
        bool indented = false;
      };

      [[noreturn]] static void
      fail(const File &file, const std::string &message)
      {
        throw InputError(file.name,
                         "line " + std::to_string(file.number) + ": " +
                           message);
      }

      static std::string
      joined(File &file, const std::vector<std::string> &raw, std::size_t &i);
      void
      understand(File &file, std::string line);
      void
      set(File &file, const std::string &rest);
      void
      open(File &file, const std::string &name);
      void
      close(File &file, const std::string &rest);
      void
      include(const File &file, const std::string &name);
      static void
      refuse_unclosed(File &file);
      [[noreturn]] static void
      not_understood(const File &file, const std::string &line);

      const std::function<bool(const std::string &)> &is_section;
      std::vector<std::string>                        sections;
      std::vector<std::string>                        files; ///< being read
    };

    void
    Reader::read(const std::string &name)
    {
      // A file by another name ends here too.
      if (files.size() > 20 ||
          std::find(files.begin(), files.end(), name) != files.end())
        throw InputError(name,
                         "includes itself, or more than 20 files in each "
                         "other, expected an end of the includes");
      const std::string text = text_of(name);
      if (files.empty() && text.empty())
        throw InputError(name, "is empty, expected a parameter file (.prm)");
      files.push_back(name);
      note_input(name, 0, files[0]);
      File file;
      file.name                          = name;
      const std::vector<std::string> raw = Text::split_lines(text);
      for (std::size_t i = 0; i < raw.size();)
        understand(file, joined(file, raw, i));
      refuse_unclosed(file);
      files.pop_back();
    }

    /// Line i together with those that continue it; i becomes the next one.
    std::string
    Reader::joined(File                           &file,
                   const std::vector<std::string> &raw,
                   std::size_t                    &i)
    {
      file.number      = i + 1;
      file.indentation = raw[i].find_first_not_of(" \t");
      std::string line;
      for (bool first = true;; first = false)
        {
          std::string part = trim(raw[i++]);
          std::replace(part.begin(), part.end(), '\t', ' ');
          const bool comment = comment_of(line) != std::string::npos;
          const auto keyword = keyword_of(part);
          const bool says    = !keyword.word.empty() &&
                            (keyword.word == "end" ? keyword.rest.empty()
                                                   : !keyword.rest.empty());
          if (!first && (says || (comment && comment_of(line) > 0 &&
                                  comment_of(part) != 0 && !part.empty())))
            {
              const std::string what = " continues line " +
                                       std::to_string(i - 1) +
                                       ", which ends in '\\'";
              file.number = i;
              fail(file,
                   "'" + one_line(part) + "'" + what +
                     (says ? "; expected no '\\' there, or a '#' behind it"
                           : " in a comment, and would be dropped; expected "
                             "no comment there"));
            }
          const bool more = !part.empty() && part.back() == '\\';
          if (more)
            part.pop_back();
          line += part;
          if (!more || i == raw.size())
            return line;
        }
    }

    void
    Reader::understand(File &file, std::string line)
    {
      const auto comment = comment_of(line);
      if (comment != std::string::npos)
        line.erase(comment);
      for (auto at = line.find("\\#"); at != std::string::npos;
           at      = line.find("\\#", at + 1))
        line.erase(at, 1);
      line = trim(line);
      if (line.empty())
        return;
      const std::string wrong = unwritable(line);
      if (!wrong.empty())
        fail(file, wrong);
      if (!file.open.empty() && file.indentation > file.open.back().indentation)
        file.indented = true;
      const Keyword keyword = keyword_of(line);
      if (keyword.word == "set" && !keyword.rest.empty())
        set(file, keyword.rest);
      else if (keyword.word == "subsection" && !keyword.rest.empty())
        open(file, keyword.rest);
      else if (keyword.word == "end")
        close(file, keyword.rest);
      else if (keyword.word == "include" && !keyword.rest.empty())
        include(file, keyword.rest);
      else
        not_understood(file, line);
    }

    void
    Reader::set(File &file, const std::string &rest)
    {
      const auto equals = rest.find('=');
      if (equals == std::string::npos)
        fail(file,
             "'set " + one_line(rest) +
               "' has no '=', expected 'set NAME = VALUE'");
      const std::string name = trim(rest.substr(0, equals));
      if (name.empty())
        fail(file,
             "'set " + one_line(rest) +
               "' names no entry, expected 'set NAME = VALUE'");
      const auto before =
        file.set.emplace(parameter_path(sections, name), file.number);
      if (!before.second)
        fail(file,
             before.first->first + " is set in line " +
               std::to_string(before.first->second) +
               " already, expected it once in a file");
      lines.push_back({file.name,
                       file.number,
                       sections,
                       name,
                       trim(rest.substr(equals + 1)),
                       false});
    }

    void
    Reader::open(File &file, const std::string &name)
    {
      if (!file.open.empty() &&
          file.indentation <= file.open.back().indentation &&
          file.unclosed.number == 0)
        file.unclosed = file.open.back();
      const auto known = [&](std::size_t depth) {
        return is_section(
          parameter_path({sections.begin(), sections.begin() + depth}, name));
      };
      if (is_section && !known(sections.size()))
        for (std::size_t n = 1; n <= file.open.size(); ++n)
          if (known(sections.size() - n))
            {
              const Open &last = file.indented && file.unclosed.number > 0
                                   ? file.unclosed
                                   : file.open.back();
              fail(file,
                   "subsection " + name + " is not part of " +
                     parameter_path({sections.begin(), sections.end() - 1},
                                    sections.back()) +
                     ", expected an 'end' of subsection " + last.name +
                     " (line " + std::to_string(last.number) + ") before it");
            }
      lines.push_back({file.name, file.number, sections, name, "", true});
      file.open.push_back({name, file.number, file.indentation});
      sections.push_back(name);
    }

    void
    Reader::close(File &file, const std::string &rest)
    {
      if (!rest.empty())
        fail(file, "'end " + one_line(rest) + "', expected 'end' alone");
      if (file.open.empty())
        fail(file,
             "'end' closes no subsection, expected one for every 'subsection' "
             "of the file");
      if (file.indentation < file.open.back().indentation &&
          file.unclosed.number == 0)
        file.unclosed = file.open.back();
      file.open.pop_back();
      sections.pop_back();
    }

    void
    Reader::include(const File &file, const std::string &name)
    {
      if (!std::ifstream(name))
        {
          const auto        slash  = file.name.rfind('/');
          const std::string beside = slash == std::string::npos
                                       ? ""
                                       : file.name.substr(0, slash + 1) + name;
          fail(file,
               "include of '" + one_line(name) +
                 "' cannot be read, expected a file, relative to the folder "
                 "the program was started in" +
                 (!beside.empty() && name[0] != '/' && std::ifstream(beside)
                    ? ", did you mean " + beside + "?"
                    : ""));
        }
      read(name);
    }

    void
    Reader::refuse_unclosed(File &file)
    {
      if (file.open.empty())
        return;
      const Open &missing = file.indented && file.unclosed.number > 0
                              ? file.unclosed
                              : file.open.back();
      file.number         = missing.number;
      fail(file,
           "subsection " + missing.name +
             " has no 'end', expected one for every 'subsection' of the file");
    }

    void
    Reader::not_understood(const File &file, const std::string &line)
    {
      const std::string              first    = line.substr(0, line.find(' '));
      const std::vector<std::string> keywords = {"set",
                                                 "subsection",
                                                 "end",
                                                 "include"};
      const std::string              hint =
        !keyword_of(line).word.empty() ? "" : did_you_mean(first, keywords);
      fail(file,
           "'" + one_line(line) + "' is not understood" +
             (line.find("\xC2\xA0") != std::string::npos
                ? " (it holds a no-break space)"
                : "") +
             ", expected 'set NAME = VALUE', 'subsection NAME', 'end' or "
             "'include FILE'" +
             (hint.empty() && line.find('=') != std::string::npos &&
                  keyword_of(line).word.empty()
                ? ", did you mean set " + one_line(line) + "?"
                : hint));
    }
  } // namespace

  std::vector<ParameterLine>
  read_parameter_file(
    const std::string                              &file,
    const std::function<bool(const std::string &)> &is_section)
  {
    Reader reader(is_section);
    reader.read(file);
    return std::move(reader.lines);
  }
} // namespace Palpate
