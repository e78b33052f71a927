#ifndef palpate_output_vtu_grid_h
#define palpate_output_vtu_grid_h

#include <deal.II/base/point.h>

#include <ostream>
#include <string>
#include <vector>

namespace Palpate
{
  /// The name of a quantity with its unit: "displacement_m". Those without a
  /// unit, and those that are not known, keep theirs.
  std::string
  name_with_unit(const std::string &name);

  /**
   * Points and cells of one kind with values, as a VTU file has them: every
   * point and every value once, in single precision, compressed. Names get
   * their units.
   */
  class VtuGrid
  {
  public:
    /// Cells of VTK, by their number of points.
    enum class Shape
    {
      vertex      = 1,
      line        = 2,
      triangle    = 3,
      tetrahedron = 4
    };
    explicit VtuGrid(const Shape shape)
      : shape(shape)
    {}

    template <int dim>
    void
    add_point(const dealii::Point<dim> &x)
    {
      for (unsigned int d = 0; d < 3; ++d)
        points.push_back(d < dim ? x[d] : 0.);
    }
    /// The next point of the cells, by its place among the points.
    void
    add_corner(const unsigned int point)
    {
      corners.push_back(point);
    }
    unsigned int
    n_points() const
    {
      return points.size() / 3;
    }
    unsigned int
    n_cells() const
    {
      return corners.size() / static_cast<unsigned int>(shape);
    }

    /// Values at the points or in the cells: one each, or a vector of dim
    /// components, padded by 0. The same arrays on every rank.
    void
    add_point_array(const std::string         &name,
                    const std::vector<double> &values,
                    const unsigned int         n_components = 1);
    void
    add_cell_array(const std::string         &name,
                   const std::vector<double> &values,
                   const unsigned int         n_components = 1);

    void
    write_vtu(std::ostream &out) const;
    /// The file that names the pieces of all ranks.
    void
    write_pvtu(std::ostream &out, const std::vector<std::string> &pieces) const;

  private:
    struct Array
    {
      std::string        name;
      unsigned int       n_components; ///< 1 or 3
      std::vector<float> values;
    };
    static Array
    padded(const std::string         &name,
           const std::vector<double> &values,
           const unsigned int         n_components);

    const Shape        shape;
    std::vector<float> points;  ///< 3 each [m]
    std::vector<int>   corners; ///< of all cells
    std::vector<Array> at_points, in_cells;
  };
} // namespace Palpate

#endif
