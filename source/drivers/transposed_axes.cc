#include <palpate/core/errors.h>
#include <palpate/drivers/transposed_axes.h>
#include <palpate/geometry/springs.h>

#include <algorithm>
#include <cmath>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// Whether every column of A is one of R, in any order and of any sign, up
    /// to two degrees.
    template <int dim>
    bool
    same_axes(const Tensor<2, dim> &A, const Tensor<2, dim> &R)
    {
      const Tensor<2, dim> cosines = transpose(A) * R;
      for (unsigned int l = 0; l < dim; ++l)
        {
          double best = 0;
          for (unsigned int m = 0; m < dim; ++m)
            best = std::max(best, std::abs(cosines[l][m]));
          if (best < std::cos(2 * numbers::PI / 180))
            return false;
        }
      return true;
    }
  } // namespace

  template <int dim>
  void
  refuse_transposed_axes(const std::string                &source,
                         const Discretization<dim>        &D,
                         const std::vector<Snapshot<dim>> &snapshots)
  {
    Tensor<2, dim> identity;
    for (unsigned int d = 0; d < dim; ++d)
      identity[d][d] = 1;
    double       columns = 0, rows = 0, all = 0;
    double       first_cell     = D.n_global_cells();
    unsigned int first_snapshot = 0;
    for (unsigned int s = 0; s < snapshots.size(); ++s)
      if (snapshots[s].has_observation())
        {
          FrameCounts counts;
          const auto  found =
            registered_frames(D,
                              snapshots[s].observed,
                              std::vector<Tensor<2, dim>>(D.n_cells(),
                                                          identity),
                              1e-6,
                              counts);
          for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
            {
              const auto &given      = snapshots[s].frames[k];
              const bool  columns_do = same_axes(given, found[k]);
              const bool  rows_do    = same_axes(transpose(given), found[k]);
              ++all;
              columns += columns_do && !rows_do;
              rows += rows_do && !columns_do;
              if (rows_do && !columns_do && first_cell == D.n_global_cells())
                {
                  first_cell     = D.cell_id[k];
                  first_snapshot = s;
                }
            }
        }
    columns = D.sum(columns);
    rows    = D.sum(rows);
    all     = D.sum(all);
    if (all == 0 || rows < 0.3 * all || columns > 0.1 * rows)
      return;
    const double lowest = Utilities::MPI::min(first_cell, D.comm);
    first_snapshot =
      Utilities::MPI::max(first_cell == lowest ? first_snapshot : 0u, D.comm);
    throw InputError(
      source,
      "key 'anisotropy_axes': the rows, not the columns, are the "
      "principal stretch directions of the motion in " +
        std::to_string(static_cast<unsigned long>(rows)) + " of " +
        std::to_string(static_cast<unsigned long>(all)) +
        " cells of all snapshots, first in cell " +
        std::to_string(static_cast<unsigned long>(lowest)) + " of snapshot " +
        std::to_string(first_snapshot) + ", expected axes as columns");
  }

  template void
  refuse_transposed_axes(const std::string &,
                         const Discretization<2> &,
                         const std::vector<Snapshot<2>> &);
  template void
  refuse_transposed_axes(const std::string &,
                         const Discretization<3> &,
                         const std::vector<Snapshot<3>> &);
} // namespace Palpate
