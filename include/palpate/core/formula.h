#ifndef palpate_core_formula_h
#define palpate_core_formula_h

#include <deal.II/base/function.h>

#include <palpate/core/parameters.h>

#include <memory>
#include <string>
#include <vector>

namespace Palpate
{
  /**
   * An entry of the current section as a formula of x, y, z [m] and, if asked
   * for, of the time t [s]; components are separated by semicolons.
   * @throw InputError if it cannot be understood
   */
  template <int dim>
  std::shared_ptr<dealii::Function<dim>>
  read_formula(const std::string &entry,
               Parameters        &parameters,
               const unsigned int n_components,
               const bool         with_time);

  /// Expressions of variables, "x,y,z" or "x,y,z,t", separated by semicolons;
  /// null if they cannot be understood. @param with_time the last variable is
  /// the function's time
  template <int dim>
  std::shared_ptr<dealii::Function<dim>>
  make_formula(const std::string &variables,
               const std::string &expressions,
               const unsigned int n_components,
               const bool         with_time);

  /// The parts of a text between separators that are in no parentheses,
  /// without blanks around them.
  std::vector<std::string>
  split_formulas(const std::string &text, const char separator);
} // namespace Palpate

#endif
