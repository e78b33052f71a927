#ifndef palpate_core_registry_h
#define palpate_core_registry_h

#include <deal.II/base/parameter_handler.h>

#include <palpate/core/errors.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace Palpate
{
  /// Names that were registered twice, which main() refuses (an exception
  /// cannot leave the start of a library).
  std::vector<std::string> &
  duplicate_terms();

  /**
   * Name -> factory and one-line description, one registry per base class. A
   * term puts itself in by one static line in its own .cc file:
   * @code
   * const Registry<Objective<3>>::Entry<MyTerm<3>> r("my term", "what it
   * does");
   * @endcode
   * @tparam Base must have a virtual destructor; Derived needs a default
   * constructor and `static void declare_parameters(ParameterHandler &)`,
   * called in the subsection the base class decides on.
   */
  template <typename Base>
  class Registry
  {
  public:
    struct Item
    {
      std::string description;
      /// What kind of term this is, where a base class has several ("load").
      std::string                                     group;
      std::function<std::unique_ptr<Base>()>          create;
      std::function<void(dealii::ParameterHandler &)> declare_parameters;
    };

    static std::map<std::string, Item> &
    items();

    static const Item &
    item(const std::string &name)
    {
      const auto it = items().find(name);
      if (it == items().end())
        throw InputError("no registered term is called '" + name + "'");
      return it->second;
    }

    static std::unique_ptr<Base>
    create(const std::string &name)
    {
      return item(name).create();
    }

    /// "a|b|c", as ParameterHandler's selections want it.
    static std::string
    names(const std::string &group = "")
    {
      std::string all;
      for (const auto &[name, item] : items())
        if (item.group == group)
          all += (all.empty() ? "" : "|") + name;
      return all;
    }

    template <typename Derived>
    struct Entry
    {
      Entry(const std::string &name,
            const std::string &description,
            const std::string &group = "")
      {
        const Item item{description,
                        group,
                        []() { return std::make_unique<Derived>(); },
                        &Derived::declare_parameters};
        if (!items().emplace(name, item).second)
          duplicate_terms().push_back(name);
      }
    };
  };
} // namespace Palpate

#endif
