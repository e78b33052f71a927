#ifndef palpate_image_nifti_header_h
#define palpate_image_nifti_header_h

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace Palpate
{
  /**
   * What a NIfTI-1 or NIfTI-2 header says, as it stands in the file and in this
   * machine's byte order: nothing is repaired. Field names are those of the
   * standard (nifti1.h, nifti2.h).
   */
  struct NiftiHeader
  {
    unsigned int              version = 1;     ///< 1 or 2
    bool                      pair    = false; ///< .hdr and .img
    bool                      gzipped = false; ///< the file with the header
    std::int64_t              n_dim   = 0;     ///< dim[0]
    std::vector<std::int64_t> dim;             ///< dim[1 ... dim[0]]
    int                       datatype = 0, bitpix = 0;
    std::array<double, 8>     pixdim{};
    double                    vox_offset = 0, scl_slope = 0, scl_inter = 0;
    int                       xyzt_units = 0, intent_code = 0;
    double                    intent_p1 = 0;
    std::string               intent_name;
    int                       qform_code = 0, sform_code = 0;
    std::array<double, 3>     quatern{}, qoffset{};
    std::array<std::array<double, 4>, 3> srow{};

    /// Voxels of all dimensions. @return 0 if that is more than 2^62.
    std::uint64_t
    n_voxels() const;
    /// "25 x 25 x 12"
    std::string
    shape() const;
    /// Voxel to world by the qform, in the file's unit: rows of (3 x 4).
    std::array<std::array<double, 4>, 3>
    qform() const;
  };

  /**
   * Read the header of a NIfTI file and refuse what is not sound: libraries
   * repair a broken one in silence, each in its own way. Looked at are magic,
   * dimensions, type and bits, voxel offset, slope and intercept, the voxel
   * sizes, quaternion or matrix of the form in use, both forms against each
   * other, and that the claimed voxels can be in the file, also if it is
   * compressed (deflate makes at most 1032 bytes of one).
   * @throw InputError naming the field, its value and what was expected.
   */
  NiftiHeader
  read_nifti_header(const std::string &filename);
} // namespace Palpate

#endif
