#ifndef palpate_geometry_cell_batch_h
#define palpate_geometry_cell_batch_h

#include <palpate/core/lanes.h>
#include <palpate/geometry/discretization.h>

#include <algorithm>

namespace Palpate
{
  /**
   * Eight cells of linear displacements, one per lane. Where fewer are left,
   * the last one fills the other lanes, and nothing is written for those.
   */
  template <int dim>
  class CellBatch
  {
  public:
    using T1 = dealii::Tensor<1, dim, Lanes>;
    using T2 = dealii::Tensor<2, dim, Lanes>;

    /// Cells @p first to first + 7 of @p n.
    CellBatch(const Discretization<dim> &D,
              const unsigned int         first,
              const unsigned int         n)
      : D(D)
      , count(std::min(Lanes::width, n - first))
    {
      for (unsigned int l = 0; l < Lanes::width; ++l)
        {
          cell[l]  = std::min(first + l, n - 1);
          nodes[l] = &D.cell_nodes[cell[l] * (dim + 1)];
        }
      for (unsigned int a = 0; a < dim + 1; ++a)
        for (unsigned int d = 0; d < dim; ++d)
          g[a][d] = Lanes::from([&](const unsigned int l) {
            return D.gradients(cell[l], 0)[a][d];
          });
      volume =
        Lanes::from([&](const unsigned int l) { return D.volume[cell[l]]; });
    }

    /// Gradient of a ghosted nodal vector.
    T2
    gradient(const Vector &u) const
    {
      const double *values = u.begin();
      T2            H;
      for (unsigned int a = 0; a < dim + 1; ++a)
        for (unsigned int i = 0; i < dim; ++i)
          {
            const Lanes at_node = Lanes::from([&](const unsigned int l) {
              return values[nodes[l][a] * dim + i];
            });
            for (unsigned int j = 0; j < dim; ++j)
              H[i][j] += at_node * g[a][j];
          }
      return H;
    }

    /// result_a += volume P g_a on owned nodes.
    void
    add_forces(const T2 &P, Vector &result) const
    {
      double            *values  = result.begin();
      const unsigned int n_owned = D.n_owned_nodes();
      const T2           VP      = volume * P;
      for (unsigned int a = 0; a < dim + 1; ++a)
        {
          T1 f;
          for (unsigned int i = 0; i < dim; ++i)
            for (unsigned int j = 0; j < dim; ++j)
              f[i] += VP[i][j] * g[a][j];
          for (unsigned int l = 0; l < count; ++l)
            if (nodes[l][a] < n_owned)
              for (unsigned int i = 0; i < dim; ++i)
                values[nodes[l][a] * dim + i] += f[i][l];
        }
    }

    const Discretization<dim>                     &D;
    const unsigned int                             count; ///< cells, not copies
    std::array<unsigned int, Lanes::width>         cell;
    std::array<const unsigned int *, Lanes::width> nodes;
    std::array<T1, dim + 1>                        g;
    Lanes                                          volume;
  };
} // namespace Palpate

#endif
