#ifndef palpate_core_parameters_h
#define palpate_core_parameters_h

#include <deal.II/base/parameter_handler.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace Palpate
{
  class DeclaredParameters;

  /**
   * deal.II's ParameterHandler plus two things users need: it knows which
   * entries the user wrote (in the file or by --set) and which ones the program
   * read, so that entries the chosen task ignores can be refused by name; and
   * its errors are one line that names file, line and key, says what was
   * expected and what may have been meant.
   */
  class Parameters
  {
  public:
    /// The declarations; filled before parse().
    dealii::ParameterHandler handler;

    /**
     * Read a .prm file, then overrides "Section/Sub/Name=value", of which the
     * last of an entry counts.
     * @throw InputError that lists all wrong entries of the file, or all wrong
     * overrides.
     */
    void
    parse(const std::string &file, const std::vector<std::string> &given);

    void
    enter(const std::string &section);
    void
    leave();

    /// Enters in the constructor, leaves in the destructor.
    struct Section
    {
      Section(Parameters &p, const std::string &name)
        : p(p)
      {
        p.enter(name);
      }
      ~Section()
      {
        p.leave();
      }
      Parameters &p;
    };

    std::string
    get(const std::string &name);
    double
    get_double(const std::string &name);
    long
    get_integer(const std::string &name);
    bool
    get_bool(const std::string &name);
    /// The non-empty parts of a comma-separated list.
    std::vector<std::string>
    get_list(const std::string &name);
    /// A comma-separated list of numbers.
    std::vector<double>
    get_doubles(const std::string &name);
    /// A comma-separated list of whole numbers.
    std::vector<int>
    get_integers(const std::string &name);
    /// "1: 500; 2: 1, 0, 0": an id and numbers each.
    std::map<int, std::vector<double>>
    get_map(const std::string &name, const unsigned int n_values);

    /// True if the user wrote this entry of the current section.
    bool
    is_set(const std::string &name) const;

    /// True if the user wrote another value than the default: only then an
    /// entry may be refused for having no effect.
    bool
    is_changed(const std::string &name) const;

    /// The exception for a value that cannot be: "FILE: Model/Poisson ratio =
    /// 0.6: MESSAGE".
    [[noreturn]] void
    fail(const std::string &name, const std::string &message) const;

    /**
     * Refuse entries that nobody read and that the user gave another value
     * than their default.
     * @throw InputError naming them all.
     */
    void
    refuse_unused(const std::string &task) const;

    /// Mark every entry below a section as read (for sections that another
    /// program reads).
    void
    mark_section_used(const std::string &section);

    /// The parameter file, and what overrides it.
    std::string              filename;
    std::vector<std::string> overrides;

  private:
    std::string
    path_of(const std::string &name) const;

    void
    parse_file(const DeclaredParameters &declared);
    void
    parse_overrides(const DeclaredParameters &declared);

    /// Where the user wrote the value of an entry.
    struct Written
    {
      std::string  file;
      unsigned int number; ///< of the line; 0: --set
      std::string  value;
      bool         is_default = false; ///< the value means that
    };

    std::vector<std::string>       path;
    std::map<std::string, Written> written; ///< by path
    std::set<std::string>          used;
  };
} // namespace Palpate

#endif
