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
  /// Refuse a parameter file that includes itself, directly or not.
  /// @throw InputError
  void
  check_includes(const std::string &file);

  /**
   * deal.II's ParameterHandler plus two things users need: it knows which
   * entries the user wrote (in the file or by --set) and which ones the program
   * read, so that an entry the chosen task ignores can be refused by name; and
   * its errors are one line that names file, line and key.
   */
  class Parameters
  {
  public:
    /// The declarations; filled before parse().
    dealii::ParameterHandler handler;

    /**
     * Read a .prm file, then overrides "Section/Sub/Name=value".
     * @throw InputError
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

    /// The exception for a value that cannot be: "FILE: Model/Poisson ratio =
    /// 0.6: MESSAGE".
    [[noreturn]] void
    fail(const std::string &name, const std::string &message) const;

    /**
     * Refuse entries the user wrote and nobody read.
     * @throw InputError naming the entry and why it is refused.
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
    scan(const std::string &file);

    std::vector<std::string>   path;
    std::map<std::string, int> user_set; ///< path -> line (0: --set)
    std::set<std::string>      used;
  };
} // namespace Palpate

#endif
