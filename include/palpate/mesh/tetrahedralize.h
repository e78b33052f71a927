#ifndef palpate_mesh_tetrahedralize_h
#define palpate_mesh_tetrahedralize_h

#include <array>
#include <functional>
#include <string>
#include <vector>

namespace Palpate
{
  /**
   * A body that is known by the label of any point, and how fine it shall be
   * meshed. All lengths in one unit, near the size of the cells (mm).
   */
  struct LabelledBody
  {
    using Point = std::array<double, 3>;

    /// 0 outside, 1 ... L inside.
    std::function<int(const Point &)> label;
    Point                             lower, upper; ///< of a box around it
    /// A point inside every island of every label: islands without one may be
    /// missed.
    std::vector<Point> inner;
    /// Mean edge aimed at of the cells of each label, (L).
    std::vector<double> cell_size;
    /// Edges on the surface and between labels, relative to those of the cells.
    double surface_factor = 1;
    /// How far the triangles there may be from what they stand for.
    double surface_distance = 1;
    /// Cells with a smaller dihedral angle are worked on [degrees].
    double least_angle = 12;
  };

  /// A closed surface of triangles.
  struct TriangleSurface
  {
    std::vector<std::array<double, 3>>       vertices;
    std::vector<std::array<unsigned int, 3>> triangles;
  };

  struct LabelledTetrahedra
  {
    std::vector<std::array<double, 3>>       vertices; ///< (N)
    std::vector<std::array<unsigned int, 4>> cells;    ///< (M)
    std::vector<int>                         labels;   ///< (M) 1 ... L
    std::string library;                ///< name and version of what made them
    double      volume = 0;             ///< that a surface encloses
    std::string error;                  ///< empty if they were made
    bool        input_is_wrong = false; ///< and the input is why
  };

  /**
   * Conforming tetrahedra of all labels by Delaunay refinement (Boissonnat and
   * Oudot 2005; Oudot, Rineau and Yvinec 2005, in CGAL's Mesh_3), then vertices
   * of flat cells are moved (Tournois, Srinivasan and Alliez 2009). Sharp edges
   * are cut. The same input gives the same mesh, as no clock and no parallel
   * work is involved; other versions of CGAL give others.
   * @throw InputError without the module, ComputationError if it fails
   */
  LabelledTetrahedra
  tetrahedralize(const LabelledBody &body);

  /**
   * The same of what a surface encloses (with one label): bodies apart, and
   * cavities by surfaces within.
   * @param how its sizes; label, box and inner points are found
   * @throw InputError if the surface is open or cuts itself
   */
  LabelledTetrahedra
  tetrahedralize(const std::string     &source,
                 const TriangleSurface &surface,
                 const LabelledBody    &how);
} // namespace Palpate

#endif
