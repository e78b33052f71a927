#ifndef palpate_mesh_gmsh_sections_h
#define palpate_mesh_gmsh_sections_h

#include <array>
#include <cstddef>
#include <string>
#include <vector>

namespace Palpate
{
  namespace Readers
  {
    /**
     * What the text of a Gmsh file says that Gmsh's API does not give back.
     * Files of version 2 name a physical group with every element, and repeat
     * an element for each of its groups; Gmsh keeps the groups of the entity
     * only, which is not the same where one entity has elements of several
     * groups, as other programs write them.
     */
    struct GmshSections
    {
      /// A vertex, line, triangle or tetrahedron as it is listed.
      struct Listed
      {
        std::array<std::size_t, 4> nodes; ///< ascending tags, zeros in front
        int                        group; ///< > 0; 0: none

        bool
        operator<(const Listed &other) const
        {
          return nodes != other.nodes ? nodes < other.nodes
                                      : group < other.group;
        }
      };

      std::size_t n_elements = 0; ///< declared; 0 if unknown
      /// Version 2: groups are those of `listed`, else those of the entities.
      bool groups_of_elements = false;
      /// A type of element of unknown size ended the walk.
      bool                unknown_type = false;
      std::vector<Listed> listed; ///< version 2; ascending

      /// The groups of an element of version 2, ascending, without 0.
      /// @param n_repetitions how often it is listed beyond once per group
      std::vector<int>
      groups_of(std::array<std::size_t, 4> nodes,
                std::size_t               &n_repetitions) const;
    };

    /**
     * Refuse what Gmsh would take for something else (any text is a .geo
     * script to it) or read in part without a word (truncated files), and
     * collect the above.
     * @throw InputError
     */
    GmshSections
    check_gmsh_sections(const std::string &filename);
  } // namespace Readers
} // namespace Palpate

#endif
