#include <palpate/geometry/springs.h>
#include <palpate/output/operators.h>

#include <algorithm>
#include <utility>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// A sparse matrix that is filled row by row.
    class CompressedRows
    {
    public:
      using Row = std::vector<std::pair<std::int64_t, double>>;

      /// Append a row; columns may come in any order, each once.
      void
      add_row(Row row)
      {
        std::sort(row.begin(), row.end());
        for (const auto &[column, value] : row)
          {
            indices.push_back(column);
            data.push_back(value);
          }
        indptr.push_back(indices.size());
      }

      /// The row for each of dim components.
      void
      add_rows_of_components(const Row &row, const unsigned int dim)
      {
        for (unsigned int d = 0; d < dim; ++d)
          {
            Row component = row;
            for (auto &entry : component)
              entry.first = dim * entry.first + d;
            add_row(std::move(component));
          }
      }

      void
      write(const std::string &name,
            const std::size_t  n_columns,
            NpzArrays         &arrays) const
      {
        const auto n_rows      = static_cast<std::int64_t>(indptr.size() - 1);
        arrays[name + "_data"] = NpyArray({data.size()}, data);
        arrays[name + "_indices"] =
          NpyArray::integers({indices.size()}, indices);
        arrays[name + "_indptr"] = NpyArray::integers({indptr.size()}, indptr);
        arrays[name + "_shape"] =
          NpyArray::integers({2},
                             {n_rows, static_cast<std::int64_t>(n_columns)});
      }

    private:
      std::vector<double>       data;
      std::vector<std::int64_t> indices, indptr = {0};
    };
  } // namespace

  template <int dim>
  NpzArrays
  spring_operators(const Discretization<dim>         &D,
                   const std::vector<Tensor<2, dim>> &frames,
                   const Field                       *rest_length)
  {
    AssertThrow(D.degree == 1 && !D.is_network(), ExcNotImplemented());
    constexpr unsigned int n_points = 2 * dim, width = dim + 1;
    Field                  vertices(D.n_cells(), 0., width),
      weights(D.n_cells(), 0., n_points * width), lengths(D.n_cells(), 0., dim);
    for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
      {
        const IntersectionSprings<dim> springs(D.barycentric_gradients(k),
                                               frames[k]);
        for (unsigned int a = 0; a < width; ++a)
          {
            vertices[k * width + a] =
              D.node_vertices[D.cell_nodes[k * D.nodes_per_cell + a]][0];
            for (unsigned int p = 0; p < n_points; ++p)
              weights[(k * n_points + p) * width + a] = springs.C[p][a];
          }
        for (unsigned int l = 0; l < dim; ++l)
          lengths[k * dim + l] =
            rest_length ? (*rest_length)[k * dim + l] : springs.rest_length[l];
      }
    const auto root = Discretization<dim>::To::root;
    const auto v    = D.gather_cells(vertices, root),
               w    = D.gather_cells(weights, root),
               L0   = D.gather_cells(lengths, root);
    NpzArrays arrays;
    if (Utilities::MPI::this_mpi_process(D.comm) != 0)
      return arrays;
    const std::size_t M = D.n_global_cells(), N = D.mesh.n_all_vertices();
    CompressedRows    C, B, of_springs, A0;
    for (std::size_t k = 0; k < M; ++k)
      {
        const auto vertex = [&](const unsigned int a) {
          return static_cast<std::int64_t>(v[k * width + a]);
        };
        const auto weight = [&](const unsigned int p, const unsigned int a) {
          return w[(k * n_points + p) * width + a];
        };
        for (unsigned int p = 0; p < n_points; ++p)
          {
            CompressedRows::Row row;
            for (unsigned int a = 0; a < width; ++a)
              if (weight(p, a) != 0) // all but that of the face's opposite
                row.emplace_back(vertex(a), weight(p, a));
            C.add_row(row);
            B.add_rows_of_components(row, dim);
          }
        for (unsigned int l = 0; l < dim; ++l)
          {
            const std::int64_t point = n_points * k + 2 * l;
            of_springs.add_rows_of_components({{point, 1.}, {point + 1, -1.}},
                                              dim);
            CompressedRows::Row row;
            for (unsigned int a = 0; a < width; ++a)
              row.emplace_back(vertex(a),
                               weight(2 * l, a) - weight(2 * l + 1, a));
            A0.add_rows_of_components(row, dim);
          }
      }
    C.write("C", N, arrays);
    B.write("B", dim * N, arrays);
    of_springs.write("M", dim * n_points * M, arrays);
    A0.write("A0", dim * N, arrays);
    arrays["L0"] = NpyArray({M, dim}, L0);
    return arrays;
  }

  template NpzArrays
  spring_operators<2>(const Discretization<2> &,
                      const std::vector<Tensor<2, 2>> &,
                      const Field *);
  template NpzArrays
  spring_operators<3>(const Discretization<3> &,
                      const std::vector<Tensor<2, 3>> &,
                      const Field *);
} // namespace Palpate
