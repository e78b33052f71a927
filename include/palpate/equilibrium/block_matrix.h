#ifndef palpate_equilibrium_block_matrix_h
#define palpate_equilibrium_block_matrix_h

#include <deal.II/base/aligned_vector.h>
#include <deal.II/base/partitioner.h>

#include <map>
#include <memory>
#include <vector>

namespace Palpate
{
  /**
   * Several vectors of one length are handled together, their entries
   * interleaved: entry i of vector s is at i * columns + s, with 1, 4 or 8
   * columns. A matrix is then read once for all of them.
   */
  constexpr unsigned int most_columns = 8;

  /// 1, 4 or 8 for up to that many vectors.
  inline unsigned int
  padded_columns(const unsigned int n)
  {
    return n <= 1 ? 1 : n <= 4 ? 4 : most_columns;
  }

  /// Rows of a block column as it is stored: whole vector instructions.
  constexpr unsigned int
  padded_height(const unsigned int height)
  {
    return height == 2 ? 2 : height == 3 ? 4 : 8;
  }

  /**
   * A sparse matrix of dense blocks in single precision, for preconditioners.
   * Blocks are 2x2, 2x3, 3x2, 3x3, 3x6, 6x3 or 6x6: nodes and rigid-body modes
   * of 2D and 3D.
   */
  class BlockMatrix
  {
  public:
    enum class Mode
    {
      set,      ///< y = A x
      add,      ///< y += A x
      residual, ///< y = b - A x
    };

    BlockMatrix() = default;
    /// @param height, width of a block
    BlockMatrix(const unsigned int height, const unsigned int width)
      : height(height)
      , width(width)
    {}
    /// Room for a pattern; all values zero.
    void
    set_pattern(std::vector<unsigned int> &&start,
                std::vector<unsigned int> &&columns);
    /// Value (i, j) of the block at place @p at of the pattern.
    float &
    operator()(const std::size_t at, const unsigned int i, const unsigned int j)
    {
      return values[(at * width + j) * padded_height(height) + i];
    }
    float
    operator()(const std::size_t  at,
               const unsigned int i,
               const unsigned int j) const
    {
      return values[(at * width + j) * padded_height(height) + i];
    }
    /// The transpose; it has @p n_rows block rows.
    BlockMatrix
    transposed(const unsigned int n_rows) const;

    void
    multiply(const Mode         mode,
             const unsigned int n_columns,
             const float       *x,
             float             *y,
             const float       *b = nullptr) const;

    unsigned int
    n_rows() const
    {
      return start.size() - 1;
    }

    unsigned int              height = 0, width = 0;
    std::vector<unsigned int> start = {0}, columns;

  private:
    /// Column by column, the columns padded for vector instructions.
    dealii::AlignedVector<float> values;
  };

  /**
   * y = K x in double precision for a matrix of dim x dim blocks whose rows
   * are kept row by row, as Epetra does. One number after the end of x is
   * read, but not used.
   */
  void
  multiply_block_rows(const unsigned int               dim,
                      const unsigned int               n_columns,
                      const std::vector<unsigned int> &start,
                      const std::vector<unsigned int> &columns,
                      const double                    *values,
                      const double                    *x,
                      double                          *y);

  /**
   * Brings entries of blocks that other ranks own. Local numbering: owned
   * blocks, then ghosts sorted by global number.
   */
  class Halo
  {
  public:
    Halo() = default;
    /// @param ghosts global block numbers, sorted
    Halo(const std::size_t               first_owned,
         const unsigned int              n_owned,
         const std::vector<std::size_t> &ghosts,
         const unsigned int              width,
         const MPI_Comm                 &comm);

    /// Ghosts from their owners. x: (n_blocks, width, n_columns).
    template <typename Number>
    void
    update(const unsigned int n_columns, Number *x) const;
    /// Add ghosts to their owners' entries.
    void
    add_to_owners(const unsigned int n_columns, float *x) const;

    unsigned int
    n_blocks() const
    {
      return n_owned + ghosts.size();
    }
    unsigned int n_owned = 0, width = 0;

  private:
    /// One for each number of columns.
    const dealii::Utilities::MPI::Partitioner &
    partitioner(const unsigned int n_columns) const;

    std::size_t              first_owned = 0;
    std::vector<std::size_t> ghosts;
    MPI_Comm                 comm = MPI_COMM_SELF;
    mutable std::map<unsigned int,
                     std::unique_ptr<dealii::Utilities::MPI::Partitioner>>
      partitioners;
  };
} // namespace Palpate

#endif
