#ifndef palpate_image_read_image_h
#define palpate_image_read_image_h

#include <palpate/image/image.h>

namespace Palpate
{
  /**
   * Read a volume or a vector field in the format of its name: NIfTI (.nii,
   * .nii.gz, .hdr, .img; read_nifti()), and by ITK MetaImage (.mha, .mhd), NRRD
   * (.nrrd, .nhdr) and a DICOM series, given by its folder. LPS, which those
   * are in, becomes RAS; the components of vectors stay as they are.
   * @param n_components 1 or 3: what is expected; 0: one, or in NRRD as many as
   * there are (segmentations in layers)
   * @param series a part of the UID or the description of the DICOM series,
   * where a folder has several
   * @throw InputError for what can't be read, is damaged or says that it is
   * something else; without ITK for its formats
   */
  Image
  read_image(const std::string &filename,
             const unsigned int n_components,
             const std::string &series = "",
             const int          phase  = -1);

  /// Phases in a file of four dimensions (NIfTI, MetaImage; the last one, of
  /// vectors in NIfTI the fourth), else 1. @throw InputError
  unsigned int
  n_phases(const std::string &filename, const unsigned int n_components);

  /**
   * Two images have the same voxels: sizes, and places to a hundredth of a
   * voxel.
   * @throw InputError naming both
   */
  void
  check_same_grid(const Image &image, const Image &first);
} // namespace Palpate

#endif
