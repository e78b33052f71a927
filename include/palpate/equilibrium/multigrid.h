#ifndef palpate_equilibrium_multigrid_h
#define palpate_equilibrium_multigrid_h

#include <palpate/equilibrium/block_matrix.h>
#include <palpate/geometry/tangent_matrix.h>

namespace Palpate
{
  /**
   * One V-cycle of smoothed aggregation on the rigid-body modes (Vanek, Mandel,
   * Brezina 1996), for one vector or for several at once. Levels are made in
   * double precision (smoothed_aggregation.h); the cycle runs in single
   * precision on dense blocks, as it is limited by the bytes it reads: 5.8 per
   * entry instead of 12, and once for all vectors. Smoother: Chebyshev
   * polynomial of the block Jacobi method, before and after; coarsest level:
   * dense inverse on every rank.
   */
  template <int dim>
  class Multigrid
  {
  public:
    /**
     * Aggregates, prolongations and coarse matrices for this matrix.
     * @throw SolverError if the coarsest level is too large.
     */
    void
    set_up(const TangentMatrix<dim> &matrix);

    /// The same matrix with other values, not too different: the finest level
    /// is made anew, the coarser ones and the way to them stay.
    void
    refresh(const TangentMatrix<dim> &matrix);

    /// z = M r. Owned entries, @p n_columns interleaved vectors (1, 4 or 8),
    /// each divided by its @p size first, so that single precision holds it.
    void
    apply(const unsigned int         n_columns,
          const double              *r,
          const std::vector<double> &size,
          float                     *z) const;

    /// Of vectors on the finest level; after set_up().
    const Halo &
    finest_halo() const
    {
      return levels[0].halo;
    }

  private:
    struct Level
    {
      BlockMatrix                A, inverse_diagonal;
      BlockMatrix                P, R; ///< to and from the next coarser level
      Halo                       halo; ///< of vectors on this level
      double                     largest_eigenvalue = 0;
      mutable std::vector<float> x, b, r, p;
    };
    void
    prepare_smoother(Level &level) const;
    void
    smooth(const Level       &level,
           const unsigned int n_columns,
           const bool         from_zero) const;
    void
    cycle(const unsigned int level, const unsigned int n_columns) const;
    void
    solve_coarsest(const unsigned int n_columns) const;

    std::vector<Level> levels;
    /// Rows of this rank of the inverse of the coarsest matrix.
    std::vector<double> coarse_inverse;
    std::vector<int>    coarse_counts, coarse_starts;
    MPI_Comm            comm = MPI_COMM_SELF;
  };
} // namespace Palpate

#endif
