#ifndef palpate_sampling_rasterize_h
#define palpate_sampling_rasterize_h

#include <palpate/image/image.h>
#include <palpate/mesh/serial_mesh.h>

namespace Palpate
{
  /**
   * The cell that holds the centre of every voxel of a grid, no_cell outside
   * the mesh; a centre on a face belongs to the cell of lower number. Goes
   * through the cells and the voxels of their bounding boxes.
   */
  std::vector<unsigned int>
  rasterize_cells(const SerialMesh<3> &mesh, const Image &grid);

  /// A scalar image on the grid: the values of the cells (input numbering), the
  /// background elsewhere.
  Image
  rasterize(const std::vector<unsigned int> &cell_of_voxel,
            const std::vector<double>       &values,
            const Image                     &grid,
            const double                     background);
} // namespace Palpate

#endif
