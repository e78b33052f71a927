// Face adjacency and rasterising: cells per minute, seconds. One JSON line.
//   mesh_and_image SUBDIVISIONS VOXELS
#include <deal.II/base/timer.h>

#include <palpate/mesh/generate.h>
#include <palpate/mesh/quality.h>
#include <palpate/sampling/rasterize.h>

#include <algorithm>
#include <iostream>

int
main(int argc, char **argv)
{
  using namespace Palpate;
  const unsigned int n      = argc > 1 ? std::atoi(argv[1]) : 37;
  const unsigned int voxels = argc > 2 ? std::atoi(argv[2]) : 256;
  ShapeDescription   shape;
  shape.type               = "box";
  shape.subdivisions       = {{n, n, n}};
  const SerialMesh<3> mesh = generate_shape<3>(shape);

  std::vector<double> adjacency;
  for (unsigned int i = 0; i < 5; ++i)
    {
      dealii::Timer             timer;
      std::vector<unsigned int> indices;
      std::vector<std::size_t>  offsets;
      face_adjacency(mesh, "box", indices, offsets);
      adjacency.push_back(timer.wall_time());
    }
  std::sort(adjacency.begin(), adjacency.end());

  Image grid;
  grid.size = {{voxels, voxels, voxels}};
  for (unsigned int d = 0; d < 3; ++d)
    {
      grid.matrix[d][d] = 1.2 / voxels;
      grid.origin[d]    = -0.1;
    }
  grid.update();
  const std::vector<double> values(mesh.cells.size(), 1.);
  dealii::Timer             timer;
  const auto   image = rasterize(rasterize_cells(mesh, grid), values, grid, 0.);
  const double raster = timer.wall_time();
  std::cout << "{\"tets\": " << mesh.cells.size()
            << ", \"adjacency_s\": " << adjacency[2]
            << ", \"adjacency_tets_per_minute\": "
            << 60 * mesh.cells.size() / adjacency[2]
            << ", \"voxels\": " << image.values.size()
            << ", \"rasterize_s\": " << raster << "}" << std::endl;
}
