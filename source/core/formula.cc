#include <deal.II/base/function_parser.h>

#include <palpate/core/formula.h>

#include <boost/algorithm/string.hpp>

#include <iostream>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  std::shared_ptr<Function<dim>>
  make_formula(const std::string &variables,
               const std::string &expressions,
               const unsigned int n_components,
               const bool         with_time)
  {
    auto function = std::make_shared<FunctionParser<dim>>(n_components);
    // muParser's wrapper explains itself on std::cerr: the callers do it.
    struct Silence
    {
      std::streambuf *kept = std::cerr.rdbuf(nullptr);
      ~Silence()
      {
        std::cerr.rdbuf(kept);
        std::cerr.clear();
      }
    } silence;
    try
      {
        function->initialize(variables, expressions, {}, with_time);
        for (unsigned int c = 0; c < n_components; ++c)
          function->value(Point<dim>(), c); // what is wrong shows here
      }
    catch (const ExceptionBase &)
      {
        return nullptr;
      }
    return function;
  }

  template <int dim>
  std::shared_ptr<Function<dim>>
  read_formula(const std::string &entry,
               Parameters        &parameters,
               const unsigned int n_components,
               const bool         with_time)
  {
    const std::string space = dim == 2 ? "x,y" : "x,y,z";
    const auto function     = make_formula<dim>(space + (with_time ? ",t" : ""),
                                            parameters.get(entry),
                                            n_components,
                                            with_time);
    if (function == nullptr)
      {
        const std::string of =
          std::string(dim == 2 ? "x, y" : "x, y, z") + (with_time ? ", t" : "");
        parameters.fail(entry,
                        n_components == 1
                          ? "cannot be understood, expected an expression of " +
                              of + " such as 1000 + 500*sin(10*x)"
                          : "cannot be understood, expected " +
                              std::to_string(n_components) +
                              " expressions of " + of +
                              ", separated by semicolons");
      }
    return function;
  }

  std::vector<std::string>
  split_formulas(const std::string &text, const char separator)
  {
    std::vector<std::string> parts(1);
    int                      depth = 0;
    for (const char c : text)
      {
        depth += (c == '(') - (c == ')');
        if (c == separator && depth == 0)
          parts.emplace_back();
        else
          parts.back() += c;
      }
    for (auto &part : parts)
      boost::algorithm::trim(part);
    return parts;
  }

  template std::shared_ptr<Function<1>>
  make_formula(const std::string &,
               const std::string &,
               const unsigned int,
               const bool);
  template std::shared_ptr<Function<2>>
  read_formula(const std::string &,
               Parameters &,
               const unsigned int,
               const bool);
  template std::shared_ptr<Function<3>>
  read_formula(const std::string &,
               Parameters &,
               const unsigned int,
               const bool);
} // namespace Palpate
