#include <palpate/core/errors.h>
#include <palpate/mesh/faces.h>

#include <algorithm>

namespace Palpate
{
  template <int dim>
  std::vector<std::array<unsigned int, dim + 1>>
  cell_neighbors(const SerialMesh<dim> &mesh, const std::string &source)
  {
    struct Face
    {
      std::array<unsigned int, dim> vertices;
      unsigned int                  cell;
      unsigned int                  opposite;
    };
    std::vector<Face> faces;
    faces.reserve(mesh.cells.size() * (dim + 1));
    for (unsigned int k = 0; k < mesh.cells.size(); ++k)
      for (unsigned int f = 0; f < dim + 1; ++f)
        faces.push_back({sorted_face<dim>(mesh.cells[k], f), k, f});
    std::sort(faces.begin(), faces.end(), [](const Face &a, const Face &b) {
      return a.vertices != b.vertices ? a.vertices < b.vertices
                                      : a.cell < b.cell;
    });

    std::array<unsigned int, dim + 1> none;
    none.fill(no_cell);
    std::vector<std::array<unsigned int, dim + 1>> neighbors(mesh.cells.size(),
                                                             none);
    for (std::size_t i = 0; i + 1 < faces.size(); ++i)
      if (faces[i].vertices == faces[i + 1].vertices)
        {
          if (i + 2 < faces.size() &&
              faces[i + 2].vertices == faces[i].vertices)
            throw InputError(source,
                             "cells " + std::to_string(faces[i].cell) + ", " +
                               std::to_string(faces[i + 1].cell) + " and " +
                               std::to_string(faces[i + 2].cell) +
                               " share one face, expected at most two cells "
                               "at a face");
          neighbors[faces[i].cell][faces[i].opposite] = faces[i + 1].cell;
          neighbors[faces[i + 1].cell][faces[i + 1].opposite] = faces[i].cell;
        }
    return neighbors;
  }

  template std::vector<std::array<unsigned int, 3>>
  cell_neighbors(const SerialMesh<2> &, const std::string &);
  template std::vector<std::array<unsigned int, 4>>
  cell_neighbors(const SerialMesh<3> &, const std::string &);
} // namespace Palpate
