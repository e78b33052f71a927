#ifndef palpate_sampling_sample_h
#define palpate_sampling_sample_h

#include <palpate/image/image.h>
#include <palpate/mesh/serial_mesh.h>

namespace Palpate
{
  /// Interpolates an image at points of the world and counts those outside.
  class ImageSampler
  {
  public:
    explicit ImageSampler(const Image &image)
      : image(image)
    {}

    /**
     * Trilinear interpolation between voxel centres; outside of them the value
     * of the nearest point inside. A point is outside if it lies beyond the
     * outer faces of the voxels (half a voxel from the centres).
     * @param x [m], @param component of a vector field
     */
    double
    value(const dealii::Point<3> &x, const unsigned int component = 0) const;
    bool
    is_outside(const dealii::Point<3> &x) const;

  private:
    const Image &image;
  };

  /// The mean of the values at the vertices of every cell (the sources'
  /// choice). @param positions of the vertices [m]
  std::vector<double>
  vertex_mean(const ImageSampler                  &image,
              const SerialMesh<3>                 &mesh,
              const std::vector<dealii::Point<3>> &positions);

  /**
   * The volume average over every cell, by a product Gauss rule fine against
   * the voxels: points at most half a voxel apart along the longest edge, at
   * most 16 per direction.
   */
  std::vector<double>
  cell_average(const Image                         &image,
               const SerialMesh<3>                 &mesh,
               const std::vector<dealii::Point<3>> &positions);
} // namespace Palpate

#endif
