#include <palpate/core/registry.h>

namespace Palpate
{
  std::vector<std::string> &
  duplicate_terms()
  {
    static std::vector<std::string> names;
    return names;
  }
} // namespace Palpate
