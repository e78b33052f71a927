#ifndef palpate_mesh_read_surface_h
#define palpate_mesh_read_surface_h

#include <palpate/mesh/tetrahedralize.h>

#include <string>

namespace Palpate
{
  /// Is this the name of a surface of triangles: .stl, .ply, .obj or .off?
  bool
  is_surface_file(const std::string &filename);

  /**
   * The triangles of a surface, by assimp; polygons are cut into triangles.
   * Corners closer than 1e-6 of the size are one vertex (.stl has three for
   * each triangle, which rounding may have moved apart).
   * @param space "LPS" or "RAS" where the file says so (SPACE=LPS, as 3D Slicer
   * writes), else empty
   * @throw InputError
   */
  TriangleSurface
  read_surface(const std::string &filename, std::string &space);
} // namespace Palpate

#endif
