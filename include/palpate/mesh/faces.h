#ifndef palpate_mesh_faces_h
#define palpate_mesh_faces_h

#include <palpate/mesh/serial_mesh.h>

namespace Palpate
{
  /// "There is no neighbour": the face is on the surface.
  constexpr unsigned int no_cell = static_cast<unsigned int>(-1);

  /**
   * The neighbour of every cell through the face opposite to each of its
   * vertices, or no_cell; found by sorting the faces, O(M log M).
   * @throw InputError for a face of three or more cells, naming them.
   */
  template <int dim>
  std::vector<std::array<unsigned int, dim + 1>>
  cell_neighbors(const SerialMesh<dim> &mesh, const std::string &source);

  /// The vertices of the face opposite to vertex f of a cell, ascending.
  template <int dim>
  std::array<unsigned int, dim>
  sorted_face(const std::array<unsigned int, dim + 1> &cell,
              const unsigned int                       f)
  {
    std::array<unsigned int, dim> face;
    unsigned int                  n = 0;
    for (unsigned int v = 0; v < dim + 1; ++v)
      if (v != f)
        face[n++] = cell[v];
    for (unsigned int i = 1; i < dim; ++i)
      for (unsigned int j = i; j > 0 && face[j] < face[j - 1]; --j)
        std::swap(face[j], face[j - 1]);
    return face;
  }
} // namespace Palpate

#endif
