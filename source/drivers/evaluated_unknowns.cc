#include <palpate/drivers/evaluated_unknowns.h>
#include <palpate/drivers/problem.h>
#include <palpate/parameterizations/field_unknowns.h>
#include <palpate/parameterizations/lame_parameters.h>
#include <palpate/parameterizations/log_linear.h>
#include <palpate/parameterizations/per_spring.h>

#include <algorithm>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  std::unique_ptr<Parameterization<dim>>
  read_more_unknowns(Parameters &parameters)
  {
    const Parameters::Section section(parameters, "Parameterization");
    std::vector<std::unique_ptr<Parameterization<dim>>> parts;
    for (auto &part : FieldUnknowns<dim>::read(parameters))
      parts.push_back(std::move(part));
    if (parts.empty())
      return nullptr;
    std::unique_ptr<Parameterization<dim>> all =
      std::make_unique<Combined<dim>>(std::move(parts));
    if (LameParameters<dim>::is_needed(*all))
      all = std::make_unique<LameParameters<dim>>(std::move(all));
    return all;
  }

  bool
  stiffness_is_of_parameterization(Parameters &parameters)
  {
    const Parameters::Section section(parameters, "Parameterization");
    for (const char *entry : {"Type",
                              "Initial value",
                              "Reference stiffness",
                              "Lower bound",
                              "Upper bound",
                              "Fixed labels"})
      if (parameters.is_changed(entry) &&
          !(std::string(entry) == "Type" &&
            parameters.handler.get(entry) == "none"))
        return true;
    return false;
  }

  template <int dim>
  std::unique_ptr<Parameterization<dim>>
  evaluated_unknowns(const Discretization<dim>               &discretization,
                     const Fields                            &start,
                     std::unique_ptr<Parameterization<dim>> &&more)
  {
    std::vector<std::unique_ptr<Parameterization<dim>>> parts;
    const auto without_bounds = [&](auto parameterization) {
      parameterization->limits.lower = 1e-300;
      parameterization->limits.upper = 1e300;
      parts.push_back(std::move(parameterization));
    };
    const auto names = more ? more->field_names() : std::vector<std::string>();
    // Lame's parameters set the stiffness themselves.
    if (std::find(names.begin(), names.end(), "stiffness") == names.end())
      {
        if (start.has("spring_stiffness"))
          without_bounds(std::make_unique<PerSpring<dim>>());
        else
          without_bounds(std::make_unique<LogLinear<dim>>(false, false, true));
      }
    if (more)
      parts.push_back(std::move(more));
    std::unique_ptr<Parameterization<dim>> result;
    if (parts.size() == 1)
      result = std::move(parts[0]);
    else
      result = std::make_unique<Combined<dim>>(std::move(parts));
    result->bind(discretization, start);
    return result;
  }

#define INSTANTIATE(dim)                                                   \
  template std::unique_ptr<Parameterization<dim>> read_more_unknowns<dim>( \
    Parameters &);                                                         \
  template std::unique_ptr<Parameterization<dim>> evaluated_unknowns(      \
    const Discretization<dim> &,                                           \
    const Fields &,                                                        \
    std::unique_ptr<Parameterization<dim>> &&);

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
