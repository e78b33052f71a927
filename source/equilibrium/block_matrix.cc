#include <deal.II/base/exceptions.h>
#include <deal.II/base/index_set.h>

#include <palpate/core/clones.h>
#include <palpate/equilibrium/block_matrix.h>

#include <cstring>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    struct FloatView
    {
      unsigned int        n_rows;
      const unsigned int *start, *columns;
      const float        *values;
    };
    using Mode = BlockMatrix::Mode;

    template <int R, int C>
    PALPATE_INLINE void
    multiply_one(const FloatView A,
                 const Mode      mode,
                 const float *__restrict x,
                 float *__restrict y,
                 const float *b)
    {
      constexpr int P = padded_height(R);
      using Column    = typename Pack<float, P>::type;
      for (unsigned int row = 0; row < A.n_rows; ++row)
        {
          // A sum for each column, and for every second block where those are
          // few, so that additions do not wait for each other.
          constexpr int      U          = C <= 3 ? 2 : 1;
          Column             sums[U][C] = {};
          const unsigned int end        = A.start[row + 1];
          unsigned int       e          = A.start[row];
          const auto add = [&](const int u) __attribute__((always_inline))
          {
            const float *v  = A.values + std::size_t(e + u) * (P * C),
                        *xe = x + std::size_t(A.columns[e + u]) * C;
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c)
              {
                Column column;
                std::memcpy(&column, v + c * P, sizeof(Column));
                sums[u][c] += column * xe[c];
              }
          };
          for (; e + U <= end; e += U)
#pragma GCC unroll 2
            for (int u = 0; u < U; ++u)
              add(u);
          if (U == 2 && e < end)
            add(0);
#pragma GCC unroll 2
          for (int u = 0; u < U; ++u)
#pragma GCC unroll 8
            for (int c = (u == 0 ? 1 : 0); c < C; ++c)
              sums[0][0] += sums[u][c];
          const Column sum = sums[0][0];
          float       *out = y + std::size_t(row) * R;
          for (int r = 0; r < R; ++r)
            out[r] = mode == Mode::set   ? sum[r]
                     : mode == Mode::add ? out[r] + sum[r]
                                         : b[std::size_t(row) * R + r] - sum[r];
        }
    }

    template <int R, int C, int S>
    PALPATE_INLINE void
    multiply_many(const FloatView A,
                  const Mode      mode,
                  const float *__restrict x,
                  float *__restrict y,
                  const float *b)
    {
      constexpr int P = padded_height(R);
      using Numbers   = typename Pack<float, S>::type;
      for (unsigned int row = 0; row < A.n_rows; ++row)
        {
          Numbers sums[R] = {};
          for (unsigned int e = A.start[row]; e < A.start[row + 1]; ++e)
            {
              const float *v  = A.values + std::size_t(e) * (P * C),
                          *xe = x + std::size_t(A.columns[e]) * (C * S);
#pragma GCC unroll 8
              for (int c = 0; c < C; ++c)
                {
                  Numbers xc;
                  std::memcpy(&xc, xe + c * S, sizeof(Numbers));
#pragma GCC unroll 8
                  for (int r = 0; r < R; ++r)
                    sums[r] += v[c * P + r] * xc;
                }
            }
          const std::size_t at = std::size_t(row) * (R * S);
#pragma GCC unroll 8
          for (int r = 0; r < R; ++r)
            {
              Numbers old = {};
              if (mode == Mode::add)
                std::memcpy(&old, y + at + r * S, sizeof(Numbers));
              else if (mode == Mode::residual)
                std::memcpy(&old, b + at + r * S, sizeof(Numbers));
              old = mode == Mode::residual ? old - sums[r] : old + sums[r];
              std::memcpy(y + at + r * S, &old, sizeof(Numbers));
            }
        }
    }

    template <int R, int C>
    PALPATE_INLINE void
    multiply_any(const FloatView    A,
                 const Mode         mode,
                 const unsigned int n_columns,
                 const float       *x,
                 float             *y,
                 const float       *b)
    {
      if (n_columns == 1)
        multiply_one<R, C>(A, mode, x, y, b);
      else if (n_columns == 4)
        multiply_many<R, C, 4>(A, mode, x, y, b);
      else
        multiply_many<R, C, 8>(A, mode, x, y, b);
    }

#define PALPATE_KERNEL(R, C)                                \
  PALPATE_CLONES void multiply_##R##C(const FloatView A,    \
                                      const Mode      mode, \
                                      unsigned int    n,    \
                                      const float    *x,    \
                                      float          *y,    \
                                      const float    *b)    \
  {                                                         \
    multiply_any<R, C>(A, mode, n, x, y, b);                \
  }
    PALPATE_KERNEL(2, 2)
    PALPATE_KERNEL(2, 3)
    PALPATE_KERNEL(3, 2)
    PALPATE_KERNEL(3, 3)
    PALPATE_KERNEL(3, 6)
    PALPATE_KERNEL(6, 3)
    PALPATE_KERNEL(6, 6)
#undef PALPATE_KERNEL

    /// Rows of a block one after the other, so no columns to load. S right-hand
    /// sides, four in a vector: wider ones would go through memory on
    /// processors without them.
    template <int dim, int S>
    PALPATE_INLINE void
    multiply_rows(const unsigned int  n_rows,
                  const unsigned int *start,
                  const unsigned int *columns,
                  const double *__restrict values,
                  const double *__restrict x,
                  double *__restrict y)
    {
      constexpr int V = S / 4;
      using Numbers   = typename Pack<double, 4>::type;
      for (unsigned int row = 0; row < n_rows; ++row)
        {
          const unsigned int begin = start[row], n = start[row + 1] - begin;
          const double      *v = values + std::size_t(begin) * (dim * dim);
          Numbers            sums[dim][V] = {};
          for (unsigned int e = 0; e < n; ++e)
            {
              const double *xe =
                x + std::size_t(columns[begin + e]) * (dim * S);
#pragma GCC unroll 8
              for (int c = 0; c < dim; ++c)
#pragma GCC unroll 2
                for (int w = 0; w < V; ++w)
                  {
                    Numbers xc;
                    std::memcpy(&xc, xe + c * S + w * 4, sizeof(Numbers));
#pragma GCC unroll 8
                    for (int r = 0; r < dim; ++r)
                      sums[r][w] += v[r * (n * dim) + e * dim + c] * xc;
                  }
            }
#pragma GCC unroll 8
          for (int r = 0; r < dim; ++r)
#pragma GCC unroll 2
            for (int w = 0; w < V; ++w)
              std::memcpy(y + std::size_t(row) * (dim * S) + r * S + w * 4,
                          &sums[r][w],
                          sizeof(Numbers));
        }
    }

    /// A block is added as whole vector instructions, four wide for three
    /// columns: what the fourth sums up is never read. The last block of all
    /// would read past the end and goes one by one.
    template <int dim>
    PALPATE_INLINE void
    multiply_rows_one(const unsigned int  n_rows,
                      const unsigned int *start,
                      const unsigned int *columns,
                      const double *__restrict values,
                      const double *__restrict x,
                      double *__restrict y)
    {
      constexpr int W = dim == 2 ? 2 : 4;
      using Numbers   = typename Pack<double, W>::type;
      for (unsigned int row = 0; row < n_rows; ++row)
        {
          const unsigned int begin = start[row], n = start[row + 1] - begin,
                             whole = row + 1 < n_rows ? n : n - 1;
          const double *v          = values + std::size_t(begin) * (dim * dim);
          Numbers       sums[dim]  = {};
          for (unsigned int e = 0; e < whole; ++e)
            {
              Numbers xe, block;
              std::memcpy(&xe,
                          x + std::size_t(columns[begin + e]) * dim,
                          sizeof(Numbers));
#pragma GCC unroll 8
              for (int r = 0; r < dim; ++r)
                {
                  std::memcpy(&block,
                              v + r * (n * dim) + e * dim,
                              sizeof(Numbers));
                  sums[r] += block * xe;
                }
            }
          double *out = y + std::size_t(row) * dim;
          for (int r = 0; r < dim; ++r)
            {
              out[r] = sums[r][0];
              for (int c = 1; c < dim; ++c)
                out[r] += sums[r][c];
              for (unsigned int e = whole; e < n; ++e)
                for (int c = 0; c < dim; ++c)
                  out[r] += v[r * (n * dim) + e * dim + c] *
                            x[std::size_t(columns[begin + e]) * dim + c];
            }
        }
    }

#define PALPATE_KERNEL(dim)                                              \
  PALPATE_CLONES void multiply_rows_##dim(const unsigned int  n_columns, \
                                          const unsigned int  n_rows,    \
                                          const unsigned int *start,     \
                                          const unsigned int *columns,   \
                                          const double       *values,    \
                                          const double       *x,         \
                                          double             *y)         \
  {                                                                      \
    if (n_columns == 1)                                                  \
      multiply_rows_one<dim>(n_rows, start, columns, values, x, y);      \
    else if (n_columns == 4)                                             \
      multiply_rows<dim, 4>(n_rows, start, columns, values, x, y);       \
    else                                                                 \
      multiply_rows<dim, 8>(n_rows, start, columns, values, x, y);       \
  }
    PALPATE_KERNEL(2)
    PALPATE_KERNEL(3)
#undef PALPATE_KERNEL
  } // namespace

  void
  BlockMatrix::set_pattern(std::vector<unsigned int> &&new_start,
                           std::vector<unsigned int> &&new_columns)
  {
    start   = std::move(new_start);
    columns = std::move(new_columns);
    values.clear();
    values.resize(columns.size() * width * padded_height(height), 0.f);
  }

  BlockMatrix
  BlockMatrix::transposed(const unsigned int n) const
  {
    BlockMatrix               T(width, height);
    std::vector<unsigned int> first(n + 1, 0), others(columns.size());
    for (const unsigned int c : columns)
      ++first[c + 1];
    for (unsigned int i = 0; i < n; ++i)
      first[i + 1] += first[i];
    std::vector<unsigned int> next(first.begin(), first.end() - 1),
      place(columns.size());
    for (unsigned int row = 0; row < n_rows(); ++row)
      for (unsigned int e = start[row]; e < start[row + 1]; ++e)
        {
          place[e]         = next[columns[e]]++;
          others[place[e]] = row;
        }
    T.set_pattern(std::move(first), std::move(others));
    for (unsigned int e = 0; e < columns.size(); ++e)
      for (unsigned int i = 0; i < height; ++i)
        for (unsigned int j = 0; j < width; ++j)
          T(place[e], j, i) = (*this)(e, i, j);
    return T;
  }

  void
  BlockMatrix::multiply(const Mode         mode,
                        const unsigned int n,
                        const float       *x,
                        float             *y,
                        const float       *b) const
  {
    Assert(n == 1 || n == 4 || n == 8, ExcInternalError());
    const FloatView A = {n_rows(), start.data(), columns.data(), values.data()};
    switch (height * 10 + width)
      {
        case 22:
          return multiply_22(A, mode, n, x, y, b);
        case 23:
          return multiply_23(A, mode, n, x, y, b);
        case 32:
          return multiply_32(A, mode, n, x, y, b);
        case 33:
          return multiply_33(A, mode, n, x, y, b);
        case 36:
          return multiply_36(A, mode, n, x, y, b);
        case 63:
          return multiply_63(A, mode, n, x, y, b);
        case 66:
          return multiply_66(A, mode, n, x, y, b);
        default:
          AssertThrow(false, ExcInternalError());
      }
  }

  void
  multiply_block_rows(const unsigned int               dim,
                      const unsigned int               n_columns,
                      const std::vector<unsigned int> &start,
                      const std::vector<unsigned int> &columns,
                      const double                    *values,
                      const double                    *x,
                      double                          *y)
  {
    (dim == 2 ? multiply_rows_2 : multiply_rows_3)(
      n_columns, start.size() - 1, start.data(), columns.data(), values, x, y);
  }

  Halo::Halo(const std::size_t               first_owned,
             const unsigned int              n_owned,
             const std::vector<std::size_t> &ghosts,
             const unsigned int              width,
             const MPI_Comm                 &comm)
    : n_owned(n_owned)
    , width(width)
    , first_owned(first_owned)
    , ghosts(ghosts)
    , comm(comm)
  {}

  const Utilities::MPI::Partitioner &
  Halo::partitioner(const unsigned int n_columns) const
  {
    auto &p = partitioners[n_columns];
    if (!p)
      {
        const std::size_t w = width * n_columns;
        const std::size_t n =
          Utilities::MPI::sum(static_cast<std::size_t>(n_owned), comm);
        IndexSet owned(n * w), others(n * w);
        owned.add_range(first_owned * w, (first_owned + n_owned) * w);
        for (const std::size_t g : ghosts)
          others.add_range(g * w, (g + 1) * w);
        owned.compress();
        others.compress();
        p = std::make_unique<Utilities::MPI::Partitioner>(owned, others, comm);
      }
    return *p;
  }

  template <typename Number>
  void
  Halo::update(const unsigned int n_columns, Number *x) const
  {
    if (Utilities::MPI::n_mpi_processes(comm) == 1)
      return;
    const auto              &p = partitioner(n_columns);
    std::vector<Number>      buffer(p.n_import_indices());
    std::vector<MPI_Request> requests;
    const ArrayView<const Number, MemorySpace::Host> owned(
      x, p.locally_owned_size());
    const ArrayView<Number, MemorySpace::Host> ghost(x + p.locally_owned_size(),
                                                     p.n_ghost_indices()),
      send(buffer.data(), buffer.size());
    p.export_to_ghosted_array_start<Number, MemorySpace::Host>(
      7, owned, send, ghost, requests);
    p.export_to_ghosted_array_finish<Number, MemorySpace::Host>(ghost,
                                                                requests);
  }

  void
  Halo::add_to_owners(const unsigned int n_columns, float *x) const
  {
    if (Utilities::MPI::n_mpi_processes(comm) == 1)
      return;
    const auto                               &p = partitioner(n_columns);
    std::vector<float>                        buffer(p.n_import_indices());
    std::vector<MPI_Request>                  requests;
    const ArrayView<float, MemorySpace::Host> owned(x, p.locally_owned_size()),
      ghost(x + p.locally_owned_size(), p.n_ghost_indices()),
      received(buffer.data(), buffer.size());
    p.import_from_ghosted_array_start<float, MemorySpace::Host>(
      VectorOperation::add, 8, ghost, received, requests);
    p.import_from_ghosted_array_finish<float, MemorySpace::Host>(
      VectorOperation::add,
      ArrayView<const float, MemorySpace::Host>(buffer.data(), buffer.size()),
      owned,
      ghost,
      requests);
  }

  template void
  Halo::update(const unsigned int, float *) const;
  template void
  Halo::update(const unsigned int, double *) const;
} // namespace Palpate
