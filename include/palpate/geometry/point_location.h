#ifndef palpate_geometry_point_location_h
#define palpate_geometry_point_location_h

#include <palpate/mesh/serial_mesh.h>

#include <array>
#include <vector>

namespace Palpate
{
  /**
   * Finds the simplex that holds a point, by a uniform grid of bins over the
   * bounding box (deal.II 9.4's own search is wrong on simplices). Expected
   * cost O(1) per point.
   */
  template <int dim>
  class PointLocation
  {
  public:
    explicit PointLocation(const SerialMesh<dim> &mesh);

    struct Result
    {
      unsigned int                cell;
      std::array<double, dim + 1> barycentric; ///< clipped to [0,1], sum 1
      double distance; ///< from the point to the cell, 0 inside [m]
    };

    /// The cell that holds p, or, outside the mesh, the nearest cell with the
    /// barycentric coordinates of the nearest point on it.
    Result
    locate(const dealii::Point<dim> &p) const;

  private:
    const SerialMesh<dim>        &mesh;
    dealii::Point<dim>            origin;
    double                        bin_size;
    std::array<unsigned int, dim> n_bins;
    std::vector<std::size_t>      offsets;
    std::vector<unsigned int>     cells;
  };
} // namespace Palpate

#endif
