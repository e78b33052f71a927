#include <palpate/core/errors.h>
#include <palpate/image/image.h>

#include <cmath>

namespace Palpate
{
  using namespace dealii;

  Point<3>
  Image::world(const double i, const double j, const double k) const
  {
    return origin + matrix * Tensor<1, 3>({i, j, k});
  }

  void
  Image::update()
  {
    const auto   s   = spacing();
    const double det = determinant(matrix);
    if (!(std::abs(det) > 1e-6 * s[0] * s[1] * s[2]) || !std::isfinite(det))
      throw InputError(source,
                       "the " + orientation +
                         " has no inverse, expected three independent voxel "
                         "directions");
    inverse = invert(matrix);
  }

  std::array<double, 3>
  Image::spacing() const
  {
    std::array<double, 3> s{};
    for (unsigned int j = 0; j < 3; ++j)
      s[j] =
        std::sqrt(matrix[0][j] * matrix[0][j] + matrix[1][j] * matrix[1][j] +
                  matrix[2][j] * matrix[2][j]);
    return s;
  }

  void
  Image::check_values() const
  {
    for (std::size_t i = 0; i < values.size(); ++i)
      if (!std::isfinite(values[i]))
        throw InputError(source,
                         place_of(i % n_voxels()) +
                           " is not a number, expected finite values");
  }

  std::string
  Image::place_of(const std::size_t v) const
  {
    return "voxel (" + std::to_string(v % size[0]) + ", " +
           std::to_string(v / size[0] % size[1]) + ", " +
           std::to_string(v / size[0] / size[1]) + ")";
  }
} // namespace Palpate
