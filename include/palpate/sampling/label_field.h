#ifndef palpate_sampling_label_field_h
#define palpate_sampling_label_field_h

#include <palpate/image/image.h>

#include <array>
#include <cstdint>
#include <vector>

namespace Palpate
{
  /// The labels of the voxels of a mask, on the grid of an image: 0 outside, 1
  /// ... L (the place in the list of labels) inside.
  struct LabelVolume
  {
    Image                      grid; ///< without values
    unsigned int               n_labels = 0;
    std::vector<std::uint16_t> values; ///< as Image::values

    double
    voxel_volume() const; ///< [m^3]
    /// Voxels of every label, (L).
    std::vector<double>
    count() const;
  };

  /// What happened to parts of a mask, by the number of voxels.
  struct SmallParts
  {
    unsigned int n_parts  = 0;
    std::size_t  n_voxels = 0;
  };

  /**
   * Give islands (voxels of one label that hang together by their faces) of
   * less than so many voxels to what most of their faces touch: the outside, or
   * the label around them.
   */
  SmallParts
  drop_islands(LabelVolume &volume, const double n_voxels);

  /// Give outside voxels from which no path by faces leads to the image's
  /// border to the label that most of their faces touch.
  SmallParts
  fill_holes(LabelVolume &volume);

  /**
   * The label of any point by the voxels around it, without their steps: the
   * indicator of every label is smoothed by a Gaussian and interpolated, and
   * the largest wins, the outside among them. A Gaussian shrinks what is
   * convex: a level is added to every indicator, so that the label's volume is
   * kept.
   */
  class LabelField
  {
  public:
    /// @param sigma of the Gaussian [voxels], 0: none
    LabelField(const LabelVolume &volume, const double sigma);

    /// @param x in voxel coordinates; whole numbers are centres
    unsigned int
    label(const dealii::Tensor<1, 3> &x) const;

    /**
     * Find the levels at which the labels have these volumes.
     * @param volumes [voxels] (L), as LabelVolume::count()
     */
    void
    keep_volumes(const std::vector<double> &volumes);

    /**
     * A point inside every island of every label: the centre of the voxel where
     * the smoothed indicator is largest.
     * @return points in voxel coordinates, and which labels have none
     */
    std::vector<dealii::Tensor<1, 3>>
    islands() const;

    /// The box [voxels] outside of which all is outside.
    std::array<dealii::Tensor<1, 3>, 2>
    box() const;

  private:
    /// Smoothed, on the part of the grid where it is not 0.
    struct Indicator
    {
      std::array<int, 3> lower{}, size{};
      std::vector<float> values;
      double             level = 0;

      double
      at_voxel(const int i, const int j, const int k) const;
      double
      at(const dealii::Tensor<1, 3> &x) const;
    };
    /// The label by the values of the indicators.
    template <typename Values>
    unsigned int
    decide(const Values &value_of) const;

    /// Volumes of all labels [voxels].
    std::vector<double>
    volumes() const;

    std::array<unsigned int, 3> size;
    std::vector<Indicator>      indicators;
    /// Cubes between voxels' centres that are of one label (counted), and those
    /// that are to be cut, by their lowest corner.
    std::vector<double>             pure;
    std::vector<std::array<int, 3>> mixed;
  };
} // namespace Palpate

#endif
