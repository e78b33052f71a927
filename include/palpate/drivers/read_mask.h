#ifndef palpate_drivers_read_mask_h
#define palpate_drivers_read_mask_h

#include <palpate/sampling/label_field.h>

#include <nlohmann/json.hpp>

#include <map>
#include <string>
#include <vector>

namespace Palpate
{
  /// A mask in use: what its numbers are called outside.
  struct Mask
  {
    LabelVolume      volume;
    std::vector<int> names; ///< the users' labels, (L)
    /// What the file calls them, if it does.
    std::map<int, std::string> titles;
  };

  /**
   * Read a segmentation: one file with labels (whole numbers; of a .seg.nrrd
   * also segments in layers), or a list of files, of which each is one label,
   * numbered by its place. Where labels overlap, the first has the voxel, and a
   * warning counts.
   * @param wanted labels of one file; empty: all above 0
   * @throw InputError
   */
  Mask
  read_mask(const std::vector<std::string> &files,
            const std::vector<int>         &wanted,
            nlohmann::json                 &warnings);
} // namespace Palpate

#endif
