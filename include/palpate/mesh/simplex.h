#ifndef palpate_mesh_simplex_h
#define palpate_mesh_simplex_h

#include <palpate/mesh/serial_mesh.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace Palpate
{
  /// Volume and barycentric gradients of one cell of a serial mesh.
  template <int dim>
  struct Simplex
  {
    Simplex(const SerialMesh<dim> &mesh, const std::size_t cell)
    {
      const auto            &v = mesh.cells[cell];
      dealii::Tensor<2, dim> J; // columns are edges
      double                 longest = 0;
      for (unsigned int j = 0; j < dim; ++j)
        {
          const dealii::Tensor<1, dim> edge =
            mesh.vertices[v[j + 1]] - mesh.vertices[v[0]];
          longest = std::max(longest, edge.norm());
          for (unsigned int i = 0; i < dim; ++i)
            J[i][j] = edge[i];
        }
      const double det = determinant(J);
      volume           = std::abs(det) / (dim == 3 ? 6. : 2.);
      flat             = !(std::abs(det) > 1e-14 * std::pow(longest, dim));
      if (flat)
        return;
      const auto inverse = invert(J);
      for (unsigned int j = 0; j < dim; ++j)
        {
          gradients[j + 1] = inverse[j];
          gradients[0] -= inverse[j];
        }
    }

    double volume; ///< without sign [m^dim]
    bool   flat;   ///< then there are no gradients
    std::array<dealii::Tensor<1, dim>, dim + 1> gradients; ///< [1/m]
  };
} // namespace Palpate

#endif
