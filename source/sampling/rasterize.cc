#include <palpate/mesh/faces.h>
#include <palpate/sampling/rasterize.h>

#include <algorithm>
#include <cmath>

namespace Palpate
{
  using namespace dealii;

  std::vector<unsigned int>
  rasterize_cells(const SerialMesh<3> &mesh, const Image &grid)
  {
    std::vector<unsigned int> cell_of(grid.n_voxels(), no_cell);
    std::vector<Tensor<1, 3>> vertices;
    for (const auto &x : mesh.vertices)
      vertices.push_back(grid.voxel(x));
    for (unsigned int k = 0; k < mesh.cells.size(); ++k)
      {
        const auto                 &cell = mesh.cells[k];
        Tensor<2, 3>                J; // columns are edges, in voxels
        std::array<unsigned int, 3> low, high;
        bool                        empty = false;
        for (unsigned int d = 0; d < 3; ++d)
          {
            double least = vertices[cell[0]][d], most = least;
            for (unsigned int a = 1; a < 4; ++a)
              {
                J[d][a - 1] = vertices[cell[a]][d] - vertices[cell[0]][d];
                least       = std::min(least, vertices[cell[a]][d]);
                most        = std::max(most, vertices[cell[a]][d]);
              }
            const double first = std::max(0., std::ceil(least - 1e-9)),
                         last =
                           std::min(grid.size[d] - 1., std::floor(most + 1e-9));
            empty   = empty || last < first;
            low[d]  = empty ? 0 : first;
            high[d] = empty ? 0 : last;
          }
        if (empty)
          continue;
        const Tensor<2, 3> inverse = invert(J);
        for (unsigned int z = low[2]; z <= high[2]; ++z)
          for (unsigned int y = low[1]; y <= high[1]; ++y)
            for (unsigned int x = low[0]; x <= high[0]; ++x)
              {
                const Tensor<1, 3> p({double(x), double(y), double(z)});
                const Tensor<1, 3> b = inverse * (p - vertices[cell[0]]);
                if (b[0] < -1e-9 || b[1] < -1e-9 || b[2] < -1e-9 ||
                    b[0] + b[1] + b[2] > 1 + 1e-9)
                  continue;
                unsigned int &owner =
                  cell_of[x +
                          static_cast<std::size_t>(grid.size[0]) *
                            (y + static_cast<std::size_t>(grid.size[1]) * z)];
                if (owner == no_cell)
                  owner = k;
              }
      }
    return cell_of;
  }

  Image
  rasterize(const std::vector<unsigned int> &cell_of_voxel,
            const std::vector<double>       &values,
            const Image                     &grid,
            const double                     background)
  {
    Image image        = grid;
    image.n_components = 1;
    image.values.resize(grid.n_voxels());
    for (std::size_t v = 0; v < cell_of_voxel.size(); ++v)
      image.values[v] = static_cast<float>(
        cell_of_voxel[v] == no_cell ? background : values[cell_of_voxel[v]]);
    return image;
  }
} // namespace Palpate
