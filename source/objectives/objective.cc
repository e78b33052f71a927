#include <palpate/objectives/objective.h>

namespace Palpate
{
  template <int dim>
  void
  Objective<dim>::state_gradient(const Context<dim> &,
                                 const double,
                                 Vector &) const
  {}

  template <int dim>
  void
  Objective<dim>::field_gradient(const Context<dim> &,
                                 const double,
                                 FieldDuals &) const
  {}

  template class Objective<2>;
  template class Objective<3>;

  template <>
  std::map<std::string, Registry<Objective<2>>::Item> &
  Registry<Objective<2>>::items()
  {
    static std::map<std::string, Item> all;
    return all;
  }

  template <>
  std::map<std::string, Registry<Objective<3>>::Item> &
  Registry<Objective<3>>::items()
  {
    static std::map<std::string, Item> all;
    return all;
  }
} // namespace Palpate
