#ifndef palpate_mesh_quality_h
#define palpate_mesh_quality_h

#include <palpate/mesh/serial_mesh.h>

#include <array>
#include <string>
#include <vector>

namespace Palpate
{
  /// What a user should know of a mesh before trusting a result on it.
  template <int dim>
  struct QualityReport
  {
    bool        is_network = false; ///< springs; lengths in place of volumes
    std::size_t n_vertices = 0, n_cells = 0;
    double      volume = 0, min_volume = 0, median_volume = 0, max_volume = 0;
    /// Dihedral angles in 3D, interior angles in 2D [degrees].
    double      min_angle = 0, max_angle = 0;
    std::size_t n_reordered = 0; ///< cells given with negative orientation
    /// Connected component (through shared faces) of each cell, from 0 in the
    /// order of their first cell.
    std::vector<unsigned int> component_of_cell;
    unsigned int              n_components = 0;
    /// 1 for vertices on the surface (of a face with one owner).
    std::vector<char> surface_vertex;
    std::size_t       n_surface_vertices = 0;
  };

  /**
   * Reorder negatively oriented cells (swap their last two vertices, and the
   * matching columns of r_axis, r_shear, r_vol) or refuse them, refuse flat
   * cells (volume below 1e-12 of the cube of the longest edge), faces with more
   * than two owners, and measure the mesh.
   * @throw InputError naming the cell.
   */
  template <int dim>
  QualityReport<dim>
  check_and_repair(CaseData<dim> &data, const bool repair_orientation);

  /**
   * Pairs of vertices (by place) closer to each other than a tolerance, by
   * default (0) 1e-6 of the body's size: at interfaces whose nodes are doubled,
   * or corners of an STL file that rounding has moved.
   */
  template <int dim>
  std::vector<std::array<unsigned int, 2>>
  coincident_vertices(const std::vector<dealii::Point<dim>> &vertices,
                      const double                           tolerance = 0);

  /**
   * Face neighbours of every cell in compressed rows, by sorting faces:
   * neighbours of cell k are indices[offsets[k] .. offsets[k+1]-1], ascending.
   * @throw InputError for a face of three or more cells.
   */
  template <int dim>
  void
  face_adjacency(const SerialMesh<dim>     &mesh,
                 const std::string         &source,
                 std::vector<unsigned int> &indices,
                 std::vector<std::size_t>  &offsets);

  /// A few lines for the log: "8142 vertices, 35860 tetrahedra, 2 components,
  /// ...".
  template <int dim>
  std::string
  describe(const QualityReport<dim> &report);
} // namespace Palpate

#endif
