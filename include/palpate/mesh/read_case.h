#ifndef palpate_mesh_read_case_h
#define palpate_mesh_read_case_h

#include <palpate/mesh/serial_mesh.h>

namespace Palpate
{
  /**
   * Space dimension (2 or 3) of the mesh in a file, from its extension and
   * content: .npz (mesh_points (N,3) or (N,2)), .msh (Gmsh), .vtk, .vtu.
   * @throw InputError if the file is missing or of another kind.
   */
  int
  mesh_dimension(const std::string &filename);

  /**
   * Read a case pack (.npz) or a mesh (.msh: Gmsh 2.2 and 4.1, ASCII and
   * binary, physical volumes become labels, physical surfaces boundary ids;
   * .vtk legacy and .vtu of simplices only, ASCII, binary and appended; a cell
   * array becomes the labels, see Vtk::label_names()).
   * @param length_unit factor from the file's unit to metres; coordinates and
   * displacements are multiplied by it.
   * @param label_array of a .vtk or .vtu, in place of the usual names
   * @throw InputError naming file, key, index and what was expected.
   */
  template <int dim>
  CaseData<dim>
  read_case(const std::string &filename,
            const double       length_unit,
            const std::string &label_array = "");

  /**
   * Check what the pack must fulfil whatever the parameters say: shapes,
   * integer types, finiteness, index ranges, duplicate vertices in a cell,
   * duplicate cells, vertices of no cell.
   */
  template <int dim>
  void
  validate_case(const CaseData<dim> &data);
} // namespace Palpate

#endif
