#ifndef palpate_geometry_tangent_matrix_h
#define palpate_geometry_tangent_matrix_h

#include <palpate/geometry/discretization.h>

namespace Palpate
{
  /**
   * The sparse matrix of a body with some DoFs prescribed. Cell matrices go
   * straight to their places in the compressed rows (found once), ghost cells
   * included, so that assembling needs no search and no communication. Rows
   * and columns of constrained DoFs keep only their diagonal: the matrix is
   * K_FF beside a positive diagonal.
   */
  template <int dim>
  class TangentMatrix
  {
  public:
    /// @param constrained 1 for constrained local DoFs (ghosts included).
    TangentMatrix(const Discretization<dim> &discretization,
                  const std::vector<char>   &constrained);

    void
    set_zero();

    void
    scale(const double factor);

    /// Add a cell matrix, row-major, (nodes_per_cell * dim)^2.
    void
    add(const unsigned int cell, const double *matrix);

    /**
     * Add a block of a cell matrix. The fast way for kernels that work node by
     * node: @p block is d h_a / d u_b of one cell.
     */
    void
    add_block(const unsigned int            cell,
              const unsigned int            a,
              const unsigned int            b,
              const dealii::Tensor<2, dim> &block);

    const SparseMatrix &
    matrix() const
    {
      return sparse_matrix;
    }

    const Discretization<dim> &discretization;
    const std::vector<char>   &constrained;

    /// @name The same matrix as dim x dim blocks
    /// @{
    /// Block rows of owned nodes, and the local nodes of their blocks.
    const std::vector<unsigned int> &
    block_start() const
    {
      return block_row_start;
    }
    const std::vector<unsigned int> &
    block_columns() const
    {
      return block_column;
    }
    /// Row i of a block row with n blocks is at
    /// block_start * dim^2 + i * n * dim.
    const double *
    values_by_row() const
    {
      return values;
    }
    /// @}

  private:
    SparseMatrix              sparse_matrix;
    double                   *values;
    std::vector<unsigned int> row_start; ///< of owned DoFs
    std::vector<unsigned int> block_row_start, block_column;
    /// Offset of block (a, b) of a cell in the rows of node a.
    std::vector<unsigned int> offset;
    std::vector<char>         cell_has_constraint;
  };

  /// Adds blocks of nodes with themselves, which belong to no cell.
  template <int dim>
  class NodeBlocks
  {
  public:
    explicit NodeBlocks(TangentMatrix<dim> &K);
    /// @param node a local one; others than owned ones do nothing
    void
    add(const unsigned int node, const dealii::Tensor<2, dim> &block);

  private:
    TangentMatrix<dim>       &K;
    std::vector<unsigned int> place; ///< of a node in a cell
  };
} // namespace Palpate

#endif
