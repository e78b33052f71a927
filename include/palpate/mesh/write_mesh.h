#ifndef palpate_mesh_write_mesh_h
#define palpate_mesh_write_mesh_h

#include <palpate/mesh/serial_mesh.h>

namespace Palpate
{
  /**
   * Write tetrahedra as Gmsh .msh (4.1, ASCII), labels as physical volumes. The
   * file appears whole or not at all.
   * @param length_unit [m] of the coordinates in the file
   * @throw ComputationError
   */
  void
  write_gmsh(const std::string   &filename,
             const SerialMesh<3> &mesh,
             const double         length_unit);
} // namespace Palpate

#endif
