#include <palpate/core/errors.h>
#include <palpate/parameterizations/bounds.h>

namespace Palpate
{
  using namespace dealii;

  void
  StiffnessBounds::declare_range(ParameterHandler &prm)
  {
    prm.declare_entry("Lower bound",
                      "500",
                      Patterns::Double(),
                      "Smallest stiffness alpha [Pa]; per spring: k [N/m].");
    prm.declare_entry("Upper bound",
                      "1e4",
                      Patterns::Double(),
                      "Largest stiffness alpha [Pa]; per spring: k [N/m].");
  }

  void
  StiffnessBounds::declare_parameters(ParameterHandler &prm)
  {
    declare_range(prm);
    prm.declare_entry("Fixed labels",
                      "",
                      Patterns::Anything(),
                      "Labels whose cells keep the initial value, e.g. 2, 3.");
  }

  void
  StiffnessBounds::parse_range(Parameters &parameters)
  {
    lower = parameters.get_double("Lower bound");
    upper = parameters.get_double("Upper bound");
    if (!(lower > 0))
      parameters.fail("Lower bound", "expected a positive value");
    if (!(upper > lower))
      parameters.fail("Upper bound",
                      "expected a value above Lower bound = " +
                        parameters.get("Lower bound"));
  }

  void
  StiffnessBounds::parse_parameters(Parameters &parameters)
  {
    parse_range(parameters);
    fixed_labels = parameters.get_integers("Fixed labels");
  }

  template <int dim>
  std::set<int>
  StiffnessBounds::free_labels(const Discretization<dim> &D) const
  {
    const std::set<int> all(D.labels.begin(), D.labels.end());
    std::set<int>       labels = all;
    for (const int label : fixed_labels)
      {
        if (all.count(label) == 0)
          throw EntryError("Parameterization/Fixed labels",
                           "no cell has label " + std::to_string(label));
        labels.erase(label);
      }
    if (labels.empty())
      throw EntryError("Parameterization/Fixed labels",
                       "all labels are fixed, expected a cell to identify");
    return labels;
  }

  template std::set<int>
  StiffnessBounds::free_labels(const Discretization<2> &) const;
  template std::set<int>
  StiffnessBounds::free_labels(const Discretization<3> &) const;
} // namespace Palpate
