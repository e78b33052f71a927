#include <palpate/geometry/tangent_matrix.h>

#include <Epetra_CrsGraph.h>
#include <Epetra_CrsMatrix.h>
#include <Epetra_Map.h>

#include <algorithm>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  TangentMatrix<dim>::TangentMatrix(const Discretization<dim> &discretization,
                                    const std::vector<char>   &constrained)
    : discretization(discretization)
    , constrained(constrained)
  {
    const auto        &D       = discretization;
    const unsigned int nn      = D.nodes_per_cell;
    const unsigned int n_owned = D.n_owned_nodes();

    // Which nodes each owned node meets.
    std::vector<std::vector<unsigned int>> neighbors(n_owned);
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      for (unsigned int a = 0; a < nn; ++a)
        {
          const unsigned int node = D.cell_nodes[k * nn + a];
          if (node < n_owned)
            neighbors[node].insert(neighbors[node].end(),
                                   &D.cell_nodes[k * nn],
                                   &D.cell_nodes[k * nn] + nn);
        }
    // Local columns are numbered as local DoFs (owned, then ghosts), so that
    // the DoFs of a node stay together in every row.
    const auto      &partitioner = *D.dof_partitioner();
    const Epetra_Map rows =
      partitioner.locally_owned_range().make_trilinos_map(D.comm, false);
    std::vector<int> global_columns;
    for (unsigned int i = 0; i < D.n_nodes() * dim; ++i)
      global_columns.push_back(partitioner.local_to_global(i));
    const Epetra_Map columns(
      -1, global_columns.size(), global_columns.data(), 0, rows.Comm());
    std::vector<int> lengths(n_owned * dim), row;
    block_row_start.assign(1, 0);
    for (unsigned int node = 0; node < n_owned; ++node)
      {
        auto &list = neighbors[node];
        std::sort(list.begin(), list.end());
        list.erase(std::unique(list.begin(), list.end()), list.end());
        for (unsigned int d = 0; d < dim; ++d)
          lengths[node * dim + d] = list.size() * dim;
        block_column.insert(block_column.end(), list.begin(), list.end());
        block_row_start.push_back(block_column.size());
      }
    Epetra_CrsGraph graph(Copy, rows, columns, lengths.data(), true);
    for (unsigned int node = 0; node < n_owned; ++node)
      {
        row.clear();
        for (const unsigned int other : neighbors[node])
          for (unsigned int d = 0; d < dim; ++d)
            row.push_back(other * dim + d);
        for (unsigned int d = 0; d < dim; ++d)
          graph.InsertMyIndices(node * dim + d, row.size(), row.data());
      }
    graph.FillComplete(rows, rows);
    graph.OptimizeStorage();
    {
      Epetra_CrsMatrix matrix(Copy, graph);
      matrix.FillComplete(rows, rows);
      sparse_matrix.reinit(matrix, false);
    }

    const Epetra_CrsMatrix &K = sparse_matrix.trilinos_matrix();
    int                    *row_pointer, *column_index;
    const int               ierr =
      K.ExtractCrsDataPointers(row_pointer, column_index, values);
    AssertThrow(ierr == 0, ExcTrilinosError(ierr));
    row_start.assign(row_pointer, row_pointer + n_owned * dim + 1);

    offset.resize(D.n_cells() * nn * nn);
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      for (unsigned int a = 0; a < nn; ++a)
        {
          const unsigned int node = D.cell_nodes[k * nn + a];
          if (node >= n_owned)
            continue;
          const int *begin = column_index + row_start[node * dim],
                    *end   = column_index + row_start[node * dim + 1];
          for (unsigned int b = 0; b < nn; ++b)
            {
              const int  wanted = D.cell_nodes[k * nn + b] * dim;
              const int *found  = std::find(begin, end, wanted);
              AssertThrow(found + dim <= end &&
                            found[dim - 1] == wanted + dim - 1,
                          ExcInternalError());
              offset[(k * nn + a) * nn + b] = found - begin;
            }
        }
    cell_has_constraint.assign(D.n_cells(), 0);
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      for (unsigned int a = 0; a < nn; ++a)
        for (unsigned int d = 0; d < dim; ++d)
          if (constrained[D.cell_nodes[k * nn + a] * dim + d])
            cell_has_constraint[k] = 1;
  }

  template <int dim>
  void
  TangentMatrix<dim>::set_zero()
  {
    std::fill(values, values + row_start.back(), 0.);
  }

  template <int dim>
  void
  TangentMatrix<dim>::scale(const double factor)
  {
    for (unsigned int i = 0; i < row_start.back(); ++i)
      values[i] *= factor;
  }

  template <int dim>
  void
  TangentMatrix<dim>::add_block(const unsigned int    cell,
                                const unsigned int    a,
                                const unsigned int    b,
                                const Tensor<2, dim> &block)
  {
    const auto        &D    = discretization;
    const unsigned int nn   = D.nodes_per_cell;
    const unsigned int node = D.cell_nodes[cell * nn + a];
    if (node >= D.n_owned_nodes())
      return;
    const unsigned int at = offset[(cell * nn + a) * nn + b];
    if (!cell_has_constraint[cell])
      {
        for (unsigned int i = 0; i < dim; ++i)
          {
            double *row = values + row_start[node * dim + i] + at;
            for (unsigned int j = 0; j < dim; ++j)
              row[j] += block[i][j];
          }
        return;
      }
    const unsigned int other = D.cell_nodes[cell * nn + b];
    for (unsigned int i = 0; i < dim; ++i)
      {
        double *row = values + row_start[node * dim + i] + at;
        for (unsigned int j = 0; j < dim; ++j)
          if (!constrained[node * dim + i] && !constrained[other * dim + j])
            row[j] += block[i][j];
          else if (a == b && i == j)
            row[j] += std::abs(block[i][j]); // positive, whatever the tangent
      }
  }

  template <int dim>
  void
  TangentMatrix<dim>::add(const unsigned int cell, const double *matrix)
  {
    const unsigned int nn = discretization.nodes_per_cell;
    Tensor<2, dim>     block;
    for (unsigned int a = 0; a < nn; ++a)
      for (unsigned int b = 0; b < nn; ++b)
        {
          for (unsigned int i = 0; i < dim; ++i)
            for (unsigned int j = 0; j < dim; ++j)
              block[i][j] = matrix[(a * dim + i) * nn * dim + b * dim + j];
          add_block(cell, a, b, block);
        }
  }

  template <int dim>
  NodeBlocks<dim>::NodeBlocks(TangentMatrix<dim> &K)
    : K(K)
    , place(K.discretization.n_nodes())
  {
    // Any cell of a node leads to the node's place in the matrix.
    const auto &D = K.discretization;
    for (unsigned int i = 0; i < D.n_cells() * D.nodes_per_cell; ++i)
      place[D.cell_nodes[i]] = i;
  }

  template <int dim>
  void
  NodeBlocks<dim>::add(const unsigned int node, const Tensor<2, dim> &block)
  {
    const unsigned int nn = K.discretization.nodes_per_cell, i = place[node];
    K.add_block(i / nn, i % nn, i % nn, block);
  }

  template class NodeBlocks<2>;
  template class NodeBlocks<3>;
  template class TangentMatrix<2>;
  template class TangentMatrix<3>;
} // namespace Palpate
