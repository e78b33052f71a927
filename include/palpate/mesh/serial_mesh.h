#ifndef palpate_mesh_serial_mesh_h
#define palpate_mesh_serial_mesh_h

#include <deal.II/base/point.h>

#include <palpate/core/npz.h>

#include <array>
#include <string>
#include <vector>

namespace Palpate
{
  /// A face of the boundary with the id users refer to in `boundary ids`.
  template <int dim>
  struct BoundaryFace
  {
    std::array<unsigned int, dim> vertices;
    unsigned int                  id;
  };

  /**
   * A simplex mesh (triangles in 2D, tetrahedra in 3D) as it was read or
   * generated, in input numbering, in metres. Positively oriented after
   * check_and_repair().
   */
  template <int dim>
  struct SerialMesh
  {
    std::vector<dealii::Point<dim>>                vertices; ///< (N) m
    std::vector<std::array<unsigned int, dim + 1>> cells;    ///< (M)
    std::vector<int>                               labels;   ///< (M)
    /// Faces that carry an id; boundary faces not listed have id 0.
    std::vector<BoundaryFace<dim>> boundary_faces;
  };

  /**
   * One mesh with the arrays that came with it: the content of a case pack, or
   * just a mesh. All lengths in metres.
   */
  template <int dim>
  struct CaseData
  {
    std::string     source; ///< file name, or "generated truncated cone"
    SerialMesh<dim> mesh;
    /// The other arrays of the pack by key (DESIGN: displacement_field,
    /// alpha_k, ...), validated for shape, type and finiteness.
    NpzArrays arrays;
    /// Things a user should be told (unknown keys ignored, cells reordered).
    std::vector<std::string> notes;
  };
} // namespace Palpate

#endif
