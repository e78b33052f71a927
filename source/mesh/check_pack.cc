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
              const std::string &cell,
              const std::string &expected)
    {
      throw InputError(source,
                       "key '" + key + "' of cell " + cell +
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

  namespace
  {
    /// The rows of one timestamp, null where there are none.
    struct StrainRows
    {
      const double *axial = nullptr, *shear = nullptr, *vol = nullptr;
    };

    /// Those of one cell. @param cell in messages
    template <int dim>
    void
    check_rows(const CaseData<dim> &data,
               const StrainRows    &rows,
               const std::size_t    k,
               const std::string   &cell)
    {
      const auto            &mesh = data.mesh;
      constexpr unsigned int n = dim * (dim + 1), planes = dim * (dim - 1) / 2;
      const Tensor<2, dim>   identity(unit_symmetric_tensor<dim>());
      const Simplex<dim>     simplex(mesh, k);
      if (simplex.flat)
        return; // refused elsewhere
      const auto &g = simplex.gradients;
      if (rows.vol && row_error(g, identity, rows.vol + k * n) > tolerance)
        disagrees(data.source, "r_vol", cell, "the gradients of its vertices");
      // e_l (x) e_l of every axis: orthonormal directions, exact rows.
      std::array<Tensor<2, dim>, dim> P;
      Tensor<2, dim>                  sum;
      for (unsigned int l = 0; rows.axial && l < dim; ++l)
        {
          const double *row = rows.axial + (k * dim + l) * n;
          P[l]              = moment(mesh, k, row);
          sum += P[l];
          if (std::abs(trace(P[l]) - 1) > tolerance ||
              (P[l] * P[l] - P[l]).norm() > tolerance ||
              row_error(g, P[l], row) > tolerance)
            disagrees(data.source,
                      "r_axis",
                      cell,
                      "(g_a . e_l) e_l with a unit vector e_l in row " +
                        std::to_string(l));
        }
      if (rows.axial && (sum - identity).norm() > dim * tolerance)
        disagrees(data.source, "r_axis", cell, "orthogonal axes");
      unsigned int pair = 0;
      for (unsigned int l = 0; rows.shear && rows.axial && l < dim; ++l)
        for (unsigned int m = l + 1; m < dim; ++m, ++pair)
          {
            // S = (e_l e_m^T + e_m e_l^T) / 2, so S^2 = (P_l + P_m) / 4.
            const double        *row = rows.shear + (k * planes + pair) * n;
            const Tensor<2, dim> S   = moment(mesh, k, row);
            if ((4. * S * S - P[l] - P[m]).norm() > 10 * tolerance ||
                row_error(g, S, row) > tolerance)
              disagrees(data.source,
                        "r_shear",
                        cell,
                        "the axes of r_axis in row " + std::to_string(pair));
          }
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
      const std::size_t M = mesh.cells.size();
      if (const double *volumes = array("volume"))
        for (std::size_t k = 0; k < M; ++k)
          {
            const Simplex<dim> simplex(mesh, k);
            if (!simplex.flat &&
                std::abs(volumes[k] - simplex.volume) > 1e-3 * simplex.volume)
              disagrees(data.source,
                        "volume",
                        std::to_string(k),
                        std::to_string(simplex.volume) + " (file units)");
          }
      // Rows of a timestamp each, or the same ones for all.
      std::size_t S    = 1;
      const auto  rows = [&](const std::string &key,
                            const std::size_t  size,
                            const std::size_t  s) -> const double  *{
        const double *values = array(key);
        if (values == nullptr)
          return nullptr;
        const std::size_t n = data.arrays.at(key).size() / (M * size);
        S                   = std::max(S, n);
        return values + (n > 1 ? s * M * size : 0);
      };
      constexpr unsigned int n = dim * (dim + 1), planes = dim * (dim - 1) / 2;
      for (std::size_t s = 0; s < S; ++s)
        {
          const StrainRows here = {rows("r_axis", dim * n, s),
                                   rows("r_shear", planes * n, s),
                                   rows("r_vol", n, s)};
          for (std::size_t k = 0;
               k < M && (here.axial || here.shear || here.vol);
               ++k)
            check_rows(data,
                       here,
                       k,
                       std::to_string(k) +
                         (S > 1 ? " in step " + std::to_string(s) : ""));
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
                      std::to_string(k),
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
