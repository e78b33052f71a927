#ifndef palpate_core_parameter_file_h
#define palpate_core_parameter_file_h

#include <functional>
#include <string>
#include <vector>

namespace Palpate
{
  /// "Section/Sub/Name".
  std::string
  parameter_path(const std::vector<std::string> &sections,
                 const std::string              &name);

  /// What one line of a parameter file says: `set NAME = VALUE` or
  /// `subsection NAME`.
  struct ParameterLine
  {
    std::string              file;
    unsigned int             number; ///< of the line, from 1
    std::vector<std::string> sections;
    std::string              name;
    std::string              value;
    bool                     opens_section;
  };

  /**
   * Read the lines of a parameter file and of those it includes, in order. The
   * grammar is that of deal.II's ParameterHandler: `set NAME = VALUE`,
   * `subsection NAME`, `end`, `include FILE` (keywords in lower or upper case),
   * `#` begins a comment, `\` at the end of a line continues it. More than
   * there: `\#` is a `#` that belongs to the value, and the text may begin with
   * a UTF-8 byte order mark. What deal.II drops silently is refused: a line
   * that continues a comment although it says something, and a second `set` of
   * an entry in one file (an including file may override).
   *
   * @param is_section whether a path names a declared section; it tells a
   * missing `end` where the next section begins. Empty: nothing is known.
   * @throw InputError "FILE: line N: ...": not readable, not text, a line that
   * is none of the above, sections that do not match, includes without end.
   */
  std::vector<ParameterLine>
  read_parameter_file(
    const std::string                              &file,
    const std::function<bool(const std::string &)> &is_section = {});

  /// Why a value cannot stand in a parameter file (line ends and other control
  /// characters, bytes that are not UTF-8); empty if it can.
  std::string
  unwritable(const std::string &value);

  /// As it must stand behind `set NAME =` to be read as this value.
  std::string
  written_value(const std::string &value);
} // namespace Palpate

#endif
