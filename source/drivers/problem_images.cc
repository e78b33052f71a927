#include <palpate/core/files.h>
#include <palpate/drivers/problem.h>
#include <palpate/geometry/stretch.h>
#include <palpate/mesh/distributed_mesh.h>
#include <palpate/mesh/faces.h>
#include <palpate/sampling/rasterize.h>

#include <algorithm>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// The image of one timestamp, numbered if there are several.
    std::string
    of_timestamp(const std::string &name,
                 const std::size_t  s,
                 const std::size_t  n)
    {
      return n == 1 ? name : name + "_" + Utilities::int_to_string(s, 2);
    }

    /// Displacement [mm] of the voxels in the mesh and, from its nearest point,
    /// of those within two voxels of it, so that it can be interpolated up to
    /// the surface; 0 elsewhere.
    Image
    raster_displacement(const SerialDisplacement<3>     &u,
                        const std::vector<unsigned int> &cell_of_voxel,
                        const Image                     &grid,
                        const bool                       lps)
    {
      const std::array<std::size_t, 3> stride = {
        {1, grid.size[0], std::size_t(grid.size[0]) * grid.size[1]}};
      std::vector<char> near(cell_of_voxel.size());
      for (std::size_t v = 0; v < near.size(); ++v)
        near[v] = (cell_of_voxel[v] != no_cell);
      // A box around every voxel inside, direction by direction.
      for (unsigned int d = 0; d < 3; ++d)
        {
          const std::vector<char> before = near;
          for (std::size_t v = 0; v < near.size(); ++v)
            if (before[v])
              {
                const std::size_t at = v / stride[d] % grid.size[d];
                for (std::size_t i = at < 2 ? 0 : at - 2;
                     i < std::min<std::size_t>(at + 3, grid.size[d]);
                     ++i)
                  near[v + i * stride[d] - at * stride[d]] = 1;
              }
        }
      Image image        = grid;
      image.n_components = 3;
      image.values.assign(3 * grid.n_voxels(), 0);
      const PointLocation<3> locator(*u.mesh);
      for (std::size_t v = 0; v < near.size(); ++v)
        if (near[v])
          {
            const auto here = u.value(locator.locate(grid.world(
              v % grid.size[0], v / stride[1] % grid.size[1], v / stride[2])));
            for (unsigned int d = 0; d < 3; ++d)
              image.values[d * grid.n_voxels() + v] =
                (lps && d < 2 ? -1e3 : 1e3) * here[d];
          }
      return image;
    }

    /// Largest principal strain and det F of owned cells.
    template <int dim>
    std::vector<std::pair<std::string, Field>>
    strains(const Discretization<dim> &D, const Vector &u)
    {
      Field                       strain(D.n_cells()), jacobian(D.n_cells());
      std::vector<Tensor<1, dim>> values;
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          D.gather(u, k, values);
          const Tensor<2, dim> F = D.deformation_gradient(values, k, 0);
          jacobian[k]            = determinant(F);
          strain[k]              = largest_strain<dim>(principal_stretches(F));
        }
      return {{"largest_principal_strain", strain}, {"jacobian", jacobian}};
    }
  } // namespace

  template <int dim>
  std::vector<std::string>
  Problem<dim>::image_files(
    const std::vector<std::pair<std::string, Field>> &stiffnesses) const
  {
    std::vector<std::string> names;
    for (const auto &item : stiffnesses)
      names.push_back(item.first + ".nii.gz");
    for (std::size_t s = 0; s < snapshots.size(); ++s)
      for (const char *name :
           {"displacement", "largest_principal_strain", "jacobian"})
        names.push_back(of_timestamp(name, s, snapshots.size()) + ".nii.gz");
    return names;
  }

  template <int dim>
  void
  Problem<dim>::write_images(
    const std::string                                &directory,
    const std::vector<std::pair<std::string, Field>> &stiffnesses)
  {
    const auto       &D = *discretization;
    const std::size_t S = snapshots.size();
    std::vector<std::pair<std::string, std::vector<double>>> all;
    const auto add = [&](const std::string &name, const Field &field) {
      all.emplace_back(name,
                       D.gather_cells(field, Discretization<dim>::To::root));
    };
    for (const auto &[name, field] : stiffnesses)
      add(name, field);
    const auto whole = std::make_shared<const SerialMesh<dim>>(
      whole_mesh(data.mesh, comm, true));
    std::vector<SerialDisplacement<dim>> displacements;
    for (std::size_t s = 0; s < S; ++s)
      {
        const Vector &u = states().context(s).state.u;
        for (const auto &[name, field] : strains(D, u))
          add(of_timestamp(name, s, S), field);
        displacements.push_back(serial_displacement(u, whole));
      }
    run_on_root(comm, [&]() {
      if constexpr (dim == 3)
        {
          const auto cells = rasterize_cells(*whole, *raster_grid);
          for (std::size_t s = 0; s < S; ++s)
            {
              Image field      = raster_displacement(displacements[s],
                                                cells,
                                                *raster_grid,
                                                raster_lps);
              field.convention = raster_lps ? "LPS" : "RAS";
              write_nifti(directory + "/" + of_timestamp("displacement", s, S) +
                            ".nii.gz",
                          field);
            }
          for (const auto &[name, field] : all)
            write_nifti(
              directory + "/" + name + ".nii.gz",
              rasterize(cells, field, *raster_grid, raster_background));
        }
    });
  }

#define INSTANTIATE(dim)                                       \
  template std::vector<std::string> Problem<dim>::image_files( \
    const std::vector<std::pair<std::string, Field>> &) const; \
  template void Problem<dim>::write_images(                    \
    const std::string &, const std::vector<std::pair<std::string, Field>> &);

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
