#ifndef palpate_mesh_generate_h
#define palpate_mesh_generate_h

#include <palpate/mesh/serial_mesh.h>

#include <array>
#include <string>

namespace Palpate
{
  /// A shape the program can mesh itself; lengths in m.
  struct ShapeDescription
  {
    /// dim 3: "box", "truncated cone", "ball", "ellipsoid pair";
    /// dim 2: "rectangle", "disk". Surfaces of networks: "torus", "sheet".
    std::string type;
    /// Target edge length of the unstructured meshes [m].
    double mesh_size = 0.05;

    /// box and rectangle: opposite corners.
    std::array<double, 3> lower = {{0, 0, 0}};
    std::array<double, 3> upper = {{1, 1, 1}};
    /// box and rectangle: cubes (squares) per side of a structured mesh; all 0
    /// means an unstructured mesh of `mesh_size`.
    std::array<unsigned int, 3> subdivisions = {{0, 0, 0}};
    /// box: 5 or 6 tetrahedra per cube of the structured mesh.
    unsigned int tets_per_cube = 6;

    /// truncated cone along z from z = 0 to z = height.
    double bottom_radius = 0.2, top_radius = 0.1, height = 0.6;
    /// truncated cone: cells with azimuth in [0, wedge_angle] degrees get label
    /// 2, the others 1; the mesh conforms to the interface. 0: no wedge.
    double wedge_angle = 0;

    /// ball and disk, around the origin.
    double radius = 0.5;

    /// torus around the z axis [m]; Subdivisions along and around it. A sheet
    /// has the corners and Subdivisions in x and y, at the lower z.
    double major_radius = 1, minor_radius = 0.4;

    /// ellipsoid pair: semi-axes of each, and the gap between the two along x.
    std::array<double, 3> semi_axes = {{0.06, 0.08, 0.12}};
    double                gap       = 0.03;
  };

  /**
   * Mesh a shape. Labels are 1 (ellipsoid pair: 1 and 2; wedge: 2). Boundary
   * ids: box and rectangle 2 d + s for direction d, side s (as deal.II's
   * colorize); truncated cone 1 at z = 0, 2 at z = height, 3 on the side;
   * others 0. Unstructured meshes come from Gmsh; the same input gives the same
   * mesh.
   * @throw InputError for impossible sizes (name the key and the expectation).
   */
  template <int dim>
  SerialMesh<dim>
  generate_shape(const ShapeDescription &shape);
} // namespace Palpate

#endif
