#ifndef palpate_core_declared_parameters_h
#define palpate_core_declared_parameters_h

#include <deal.II/base/parameter_handler.h>

#include <nlohmann/json_fwd.hpp>

#include <iosfwd>
#include <map>
#include <string>
#include <vector>

namespace Palpate
{
  /**
   * What a ParameterHandler declares, by path ("Section/Sub/Name"): to say what
   * an entry expects and what a mistyped one might mean. ParameterHandler
   * itself tells this only to its printers.
   */
  class DeclaredParameters
  {
  public:
    struct Entry
    {
      std::vector<std::string> sections;
      std::string              name;
      std::string              value;
      std::string              default_value;
      std::string              documentation;
      std::string              pattern; ///< "[Double 0...1 (inclusive)]"
    };

    explicit DeclaredParameters(const dealii::ParameterHandler &handler);

    bool
    has_section(const std::string &path) const;

    const std::map<std::string, Entry> &
    entries() const
    {
      return declared;
    }

    /// What is wrong with the name of an entry, and what is near; empty if it
    /// is declared.
    std::string
    wrong_name(const std::vector<std::string> &sections,
               const std::string              &name) const;

    /// What is wrong with the name of a section, and what is near; empty if it
    /// is declared.
    std::string
    wrong_section(const std::vector<std::string> &outer,
                  const std::string              &name) const;

    /// Why a declared entry cannot take a value: "expected a number, ...".
    std::string
    expected(const std::string &path, const std::string &value) const;

  private:
    std::vector<std::string>
    sections_in(const std::string &outer) const;
    std::vector<std::string>
    entries_in(const std::string &section) const;

    std::map<std::string, Entry>                    declared;
    std::map<std::string, std::vector<std::string>> sections; ///< by path
  };

  /**
   * True if two values of an entry mean the same: lists part by part, numbers
   * by their value ("1", "1.0" and "1e0").
   */
  bool
  same_meaning(const std::string &a, const std::string &b);

  /**
   * All entries by section, as ParameterHandler prints them in a style of JSON:
   * values alone (ShortJSON), or with defaults, descriptions and patterns.
   * What it prints is read to the end of the first value: version 9.6 of
   * deal.II goes on after it.
   */
  nlohmann::json
  parameters_as_json(const dealii::ParameterHandler             &handler,
                     const dealii::ParameterHandler::OutputStyle style);

  /// All entries with their values, sorted, explained, as a parameter file that
  /// read_parameter_file() reads to the same values.
  void
  write_parameters(std::ostream &out, const dealii::ParameterHandler &handler);
} // namespace Palpate

#endif
