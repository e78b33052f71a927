#ifndef palpate_mesh_timestamps_h
#define palpate_mesh_timestamps_h

#include <palpate/core/npz.h>

#include <string>
#include <vector>

namespace Palpate
{
  namespace Readers
  {
    /**
     * The files that Case/File names: one; several, separated by commas, in
     * that order; or those that a pattern with * or ? matches, by their names,
     * numbers within these by value (t_2 before t_10). A file that is there
     * under the whole text is that file.
     * @throw InputError if a pattern matches none, or a file is named twice
     */
    std::vector<std::string>
    files_of(const std::string &text);

    /**
     * One pack of those of a timestamp each, on one mesh. displacement_field
     * becomes displacement_steps (S, N, dim); anisotropy_axes, r_axis, r_shear
     * and r_vol get S in front. HU of a phase that differ are the rows of
     * hu_tetra_steps (S, M, 1), and hu_tetra_mean is their mean. All else must
     * be the same in all files; every key must be in all of them.
     * @param files two or more
     * @throw InputError naming file, key and index
     */
    NpzArrays
    join_timestamps(const std::vector<std::string> &files,
                    const std::vector<NpzArrays>   &packs);
  } // namespace Readers
} // namespace Palpate

#endif
