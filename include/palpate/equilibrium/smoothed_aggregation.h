#ifndef palpate_equilibrium_smoothed_aggregation_h
#define palpate_equilibrium_smoothed_aggregation_h

#include <palpate/equilibrium/block_matrix.h>

namespace Palpate
{
  /// Blocks of one level on this rank: ranks own contiguous ranges; local
  /// numbers are owned blocks first, then ghosts sorted by global number.
  struct BlockNumbering
  {
    std::size_t              first   = 0;
    unsigned int             n_owned = 0;
    std::vector<std::size_t> ghosts;

    unsigned int
    n_local() const
    {
      return n_owned + ghosts.size();
    }
    std::size_t
    global(const unsigned int local) const
    {
      return local < n_owned ? first + local : ghosts[local - n_owned];
    }
    unsigned int
    local(const std::size_t global) const;
  };

  /// Blocks of this rank in double precision, each row-major.
  struct BlockRows
  {
    unsigned int              height = 0, width = 0;
    std::vector<unsigned int> start = {0}, columns;
    std::vector<double>       values;
  };

  /// A square matrix of blocks to read from: BlockRows, or the TangentMatrix,
  /// which keeps the rows of a block row one after the other.
  struct BlockView
  {
    unsigned int        width, n_rows;
    const unsigned int *start, *columns;
    const double       *values;
    bool                by_row;

    /// The block at place @p e of @p row; its rows are stride(row) apart.
    const double *
    block(const unsigned int row, const unsigned int e) const
    {
      return by_row ? values + std::size_t(start[row]) * (width * width) +
                        (e - start[row]) * width
                    : values + std::size_t(e) * (width * width);
    }
    unsigned int
    stride(const unsigned int row) const
    {
      return by_row ? (start[row + 1] - start[row]) * width : width;
    }
  };

  struct CoarseLevel
  {
    BlockNumbering      numbering; ///< ghosts of P and A
    BlockRows           P;         ///< from here to the finer level
    BlockRows           A;         ///< P^T A P
    std::vector<double> modes;     ///< (blocks, n_modes, n_modes)
  };

  /**
   * The next coarser level of smoothed aggregation (Vanek, Mandel, Brezina
   * 1996). Blocks are aggregated with those on the same rank that the matrix
   * couples them with strongly
   * (or less so, where the aggregates would be small). On each aggregate the
   * modes are orthonormalized to T, and P = (1 - omega D^-1 A) T. A mode that
   * an aggregate cannot tell from the others gets a zero column. Depends on the
   * arguments only. Collective.
   * @param modes what P must reproduce: (owned blocks, A.width, n_modes)
   * @param inverse_diagonal D^-1, of owned blocks
   */
  CoarseLevel
  coarsen(const BlockView           &A,
          const BlockNumbering      &fine,
          const std::vector<double> &modes,
          const unsigned int         n_modes,
          const BlockMatrix         &inverse_diagonal,
          const double               omega,
          const MPI_Comm            &comm);
} // namespace Palpate

#endif
