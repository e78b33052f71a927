#include <palpate/parameterizations/per_spring.h>

namespace Palpate
{
  namespace
  {
    const char *per_spring_description =
      "log k of every axial spring (intersection "
      "springs)";
    const Registry<Parameterization<2>>::Entry<PerSpring<2>>
      per_spring_2d("per spring", per_spring_description);
    const Registry<Parameterization<3>>::Entry<PerSpring<3>>
      per_spring_3d("per spring", per_spring_description);
  } // namespace
} // namespace Palpate
