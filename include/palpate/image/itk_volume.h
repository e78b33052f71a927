#ifndef palpate_image_itk_volume_h
#define palpate_image_itk_volume_h

#include <array>
#include <map>
#include <string>
#include <vector>

namespace Palpate
{
  /// What the library that holds ITK (libpalpate_itk) returns: as in the file,
  /// in LPS and mm.
  struct ItkVolume
  {
    std::vector<unsigned int> size; ///< two to four dimensions
    unsigned int              n_components = 1;
    /// Component c of voxel v at v n_components + c.
    std::vector<float> values;
    /// Column d: the step from a voxel to the next in direction d.
    std::array<std::array<double, 3>, 3> matrix{};
    std::array<double, 3>                origin{}; ///< of the first voxel
    /// Of the header, what is text there.
    std::map<std::string, std::string> fields;
    std::vector<std::string>           files; ///< that were read
    std::string                        error; ///< empty if it was read
  };

  /**
   * The only function of libpalpate_itk: read a MetaImage or NRRD file, or a
   * folder with a DICOM series.
   * @param format "MetaImage", "NRRD" or "DICOM"
   * @param series a part of the wanted DICOM series' UID or description; empty:
   * there must be one series
   */
  using ReadByItk = void(const std::string &format,
                         const std::string &name,
                         const std::string &series,
                         ItkVolume         &volume);
} // namespace Palpate

#endif
