#include <palpate/forces/force.h>

namespace Palpate
{
  template <>
  std::map<std::string, Registry<Force<2>>::Item> &
  Registry<Force<2>>::items()
  {
    static std::map<std::string, Item> all;
    return all;
  }

  template <>
  std::map<std::string, Registry<Force<3>>::Item> &
  Registry<Force<3>>::items()
  {
    static std::map<std::string, Item> all;
    return all;
  }
} // namespace Palpate
