#ifndef palpate_image_image_h
#define palpate_image_image_h

#include <deal.II/base/point.h>
#include <deal.II/base/tensor.h>

#include <array>
#include <map>
#include <string>
#include <vector>

namespace Palpate
{
  /**
   * A volume of scalars or of vectors with its place in the world: RAS
   * coordinates in metres, whatever the file's unit.
   */
  struct Image
  {
    std::string                 source; ///< file name
    std::array<unsigned int, 3> size{};
    unsigned int                n_components = 1; ///< 1 or 3
    /// Voxel (i, j, k), component c at ((c nz + k) ny + j) nx + i.
    std::vector<float> values;
    /// World position of the centre of voxel (i, j, k):
    /// origin + matrix (i, j, k) [m].
    dealii::Tensor<2, 3> matrix;
    dealii::Point<3>     origin;
    /// Where the orientation comes from: "sform", "qform", a field of the
    /// format, or "voxel sizes" (not stated).
    std::string orientation;
    /// Of displacement vectors, where the file says so: "RAS" or "LPS".
    std::string convention;
    /// What those mean who write the format, where the file does not say.
    std::string usual_convention = "RAS";

    /// Of the header, what is text there (MetaImage, NRRD, DICOM).
    std::map<std::string, std::string> fields;

    std::size_t
    n_voxels() const
    {
      return static_cast<std::size_t>(size[0]) * size[1] * size[2];
    }
    dealii::Point<3>
    world(const double i, const double j, const double k) const;
    /// Voxel coordinates of a point [m]; whole numbers at voxel centres.
    dealii::Tensor<1, 3>
    voxel(const dealii::Point<3> &x) const
    {
      return inverse * (x - origin);
    }
    /// After a change of matrix. @throw InputError if it has no inverse.
    void
    update();
    /// Lengths of the voxel edges [m].
    std::array<double, 3>
    spacing() const;

    /// @throw InputError naming the first voxel that is not finite
    void
    check_values() const;
    /// "voxel (i, j, k)"
    std::string
    place_of(const std::size_t voxel) const;

  private:
    dealii::Tensor<2, 3> inverse;
  };

  /**
   * Read a NIfTI-1 or NIfTI-2 file (.nii, .nii.gz, .hdr/.img): scalar volumes,
   * vector fields as 5-D (five dimensions, three components last) or as 4-D
   * with three entries, every integer and real type, scl_slope and scl_inter.
   * The sform places it where its code is above 0, else the qform, else the
   * voxel sizes alone. A header that is not sound is refused
   * (read_nifti_header()), and so are vectors that the file calls something
   * else than a displacement in the world; intent 1006 means RAS.
   * @param n_components 1 or 3: what is expected
   * @param phase the one to take where the file has several (x, y, z, t or x,
   * y, z, t, 3); -1: it has one
   * @throw InputError for: no such file, no NIfTI, truncated or damaged data,
   * other dimensions or types, NaN voxels, a placement without inverse.
   */
  Image
  read_nifti(const std::string &filename,
             const unsigned int n_components,
             const int          phase = -1);

  /// Volumes (n_components 1) or vector fields (3) in a file; 1 for what
  /// read_nifti() will refuse. @throw InputError
  unsigned int
  n_nifti_phases(const std::string &filename, const unsigned int n_components);

  /**
   * Write a NIfTI-1 file of float32, in mm, with sform and, if the voxel
   * directions are at right angles, qform. Vectors get intent 1006 if they are
   * in RAS, else 1007 (as ITK >= 5.4). It appears whole or not at all. @param
   * filename ends with .nii or .nii.gz
   * @throw ComputationError
   */
  void
  write_nifti(const std::string &filename, const Image &image);
} // namespace Palpate

#endif
