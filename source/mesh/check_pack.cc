#include <deal.II/base/symmetric_tensor.h>
#include <deal.II/base/tensor.h>

#include <palpate/core/errors.h>
#include <palpate/mesh/faces.h>
#include <palpate/mesh/readers.h>
#include <palpate/mesh/simplex.h>

#include <algorithm>
#include <cmath>

// Arrays of a pack that repeat what the mesh says must agree with it.
namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// Packs are often stored in single precision.
    constexpr double tolerance = 1e-4;

    [[noreturn]] void
    disagrees(const std::string &source,
              const std::string &key,
              const std::size_t  cell,
              const std::string &expected)
    {
      throw InputError(source,
                       "key '" + key + "' of cell " + std::to_string(cell) +
                         " does not fit the mesh, expected " + expected);
    }

    /// sum_a x_a (x) row_a: for r = (g_a . p) q this is p (x) q, as
    /// sum_a x_a (x) g_a = I.
    template <int dim>
    Tensor<2, dim>
    moment(const SerialMesh<dim> &mesh,
           const std::size_t      cell,
           const double          *row)
    {
      Tensor<2, dim> result;
      const auto    &v = mesh.cells[cell];
      for (unsigned int a = 0; a < dim + 1; ++a)
        for (unsigned int i = 0; i < dim; ++i)
          for (unsigned int j = 0; j < dim; ++j)
            result[i][j] += (mesh.vertices[v[a]][i] - mesh.vertices[v[0]][i]) *
                            row[a * dim + j];
      return result;
    }

    /// Largest difference of a row from T g_a, relative to the largest entry.
    template <int dim>
    double
    row_error(const std::array<Tensor<1, dim>, dim + 1> &g,
              const Tensor<2, dim>                      &T,
              const double                              *row)
    {
      double error = 0, size = 0;
      for (unsigned int a = 0; a < dim + 1; ++a)
        {
          const Tensor<1, dim> expected = transpose(T) * g[a];
          size                          = std::max(size, g[a].norm());
          for (unsigned int i = 0; i < dim; ++i)
            error = std::max(error, std::abs(row[a * dim + i] - expected[i]));
        }
      return error / size;
    }
  } // namespace

  namespace Readers
  {
    template <int dim>
    void
    check_against_mesh(const CaseData<dim> &data)
    {
      const auto &mesh  = data.mesh;
      const auto  array = [&](const std::string &key) -> const double  *{
        const auto it = data.arrays.find(key);
        return it == data.arrays.end() ? nullptr : it->second.values.data();
      };
      const double *volumes = array("volume"), *axial = array("r_axis"),
                   *shear = array("r_shear"), *vol = array("r_vol");
      constexpr unsigned int n = dim * (dim + 1), planes = dim * (dim - 1) / 2;
      const Tensor<2, dim>   identity(unit_symmetric_tensor<dim>());
      for (std::size_t k = 0; k < mesh.cells.size(); ++k)
        {
          if (!(volumes || axial || shear || vol))
            break;
          const Simplex<dim> simplex(mesh, k);
          if (simplex.flat)
            continue; // refused elsewhere
          const double volume = simplex.volume;
          const auto  &g      = simplex.gradients;
          if (volumes && std::abs(volumes[k] - volume) > 1e-3 * volume)
            disagrees(data.source,
                      "volume",
                      k,
                      std::to_string(volume) + " (file units)");
          if (vol && row_error(g, identity, vol + k * n) > tolerance)
            disagrees(data.source, "r_vol", k, "the gradients of its vertices");
          // e_l (x) e_l of every axis: orthonormal directions, exact rows.
          std::array<Tensor<2, dim>, dim> P;
          Tensor<2, dim>                  sum;
          for (unsigned int l = 0; axial && l < dim; ++l)
            {
              const double *row = axial + (k * dim + l) * n;
              P[l]              = moment(mesh, k, row);
              sum += P[l];
              if (std::abs(trace(P[l]) - 1) > tolerance ||
                  (P[l] * P[l] - P[l]).norm() > tolerance ||
                  row_error(g, P[l], row) > tolerance)
                disagrees(data.source,
                          "r_axis",
                          k,
                          "(g_a . e_l) e_l with a unit vector e_l in row " +
                            std::to_string(l));
            }
          if (axial && (sum - identity).norm() > dim * tolerance)
            disagrees(data.source, "r_axis", k, "orthogonal axes");
          unsigned int pair = 0;
          for (unsigned int l = 0; shear && axial && l < dim; ++l)
            for (unsigned int m = l + 1; m < dim; ++m, ++pair)
              {
                // S = (e_l e_m^T + e_m e_l^T) / 2, so S^2 = (P_l + P_m) / 4.
                const double        *row = shear + (k * planes + pair) * n;
                const Tensor<2, dim> S   = moment(mesh, k, row);
                if ((4. * S * S - P[l] - P[m]).norm() > 10 * tolerance ||
                    row_error(g, S, row) > tolerance)
                  disagrees(data.source,
                            "r_shear",
                            k,
                            "the axes of r_axis in row " +
                              std::to_string(pair));
              }
        }
      const double *offset  = array("tet_neighbor_offsets"),
                   *indices = array("tet_neighbor_indices");
      if (!offset || !indices)
        return;
      const auto neighbors = cell_neighbors(mesh, data.source);
      for (std::size_t k = 0; k < mesh.cells.size(); ++k)
        {
          std::vector<double> given(indices + std::size_t(offset[k]),
                                    indices + std::size_t(offset[k + 1]));
          std::vector<double> found;
          for (const unsigned int c : neighbors[k])
            if (c != no_cell)
              found.push_back(c);
          std::sort(given.begin(), given.end());
          std::sort(found.begin(), found.end());
          if (given != found)
            disagrees(data.source,
                      "tet_neighbor_indices",
                      k,
                      "the " + std::to_string(found.size()) +
                        " cells that share a face with it");
        }
    }

    template void
    check_against_mesh<2>(const CaseData<2> &);
    template void
    check_against_mesh<3>(const CaseData<3> &);
  } // namespace Readers
} // namespace Palpate
