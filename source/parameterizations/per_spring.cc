#include <palpate/parameterizations/per_spring.h>

namespace Palpate
{
  namespace
  {
    const char *description = "log k of every axial spring (intersection "
                              "springs)";
    const Registry<Parameterization<2>>::Entry<PerSpring<2>>
      entry_2d("per spring", description);
    const Registry<Parameterization<3>>::Entry<PerSpring<3>>
      entry_3d("per spring", description);
  } // namespace
} // namespace Palpate
