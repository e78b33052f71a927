#ifndef palpate_image_raw_data_h
#define palpate_image_raw_data_h

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace Palpate
{
  /**
   * What the text header of a MetaImage or NRRD file says, and where its voxels
   * are.
   */
  struct TextHeader
  {
    std::map<std::string, std::string> fields;         ///< as they are written
    std::vector<std::uint64_t>         sizes;          ///< of every axis
    std::uint64_t                      bytes = 0;      ///< of all voxels
    std::string                        data_file;      ///< itself or another
    std::uint64_t                      offset     = 0; ///< of the voxels in it
    bool                               compressed = false;
  };

  /**
   * Read the header and see that all voxels are there before memory is asked
   * for them; what is compressed is read to its end, so that its checksum
   * counts. ITK fills what is missing with whatever lies in memory.
   * @throw InputError naming field, value and what was expected
   */
  TextHeader
  read_meta_image_header(const std::string &filename);
  TextHeader
  read_nrrd_header(const std::string &filename);
} // namespace Palpate

#endif
