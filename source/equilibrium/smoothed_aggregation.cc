#include <deal.II/base/index_set.h>
#include <deal.II/base/mpi.h>
#include <deal.II/base/partitioner.h>

#include <palpate/core/clones.h>
#include <palpate/equilibrium/smoothed_aggregation.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace Palpate
{
  using namespace dealii;

  unsigned int
  BlockNumbering::local(const std::size_t global) const
  {
    if (global >= first && global < first + n_owned)
      return global - first;
    return n_owned + (std::lower_bound(ghosts.begin(), ghosts.end(), global) -
                      ghosts.begin());
  }

  namespace
  {
    constexpr unsigned int none = numbers::invalid_unsigned_int;

    // Blocks are neighbours where |A_ij| > strength sqrt(|A_ii| |A_jj|) in the
    // Frobenius norm. From 0.02 to 0.08 all is well; with 0, a jump of the
    // stiffness costs iterations, with 0.1 aggregates become small. Flat cells
    // couple strongly in one direction only: the second is for them, the third
    // for whatever else.
    constexpr double strengths[] = {0.04, 0.01, 0};

    double
    norm_square(const BlockView   &A,
                const unsigned int row,
                const unsigned int e)
    {
      const double      *block  = A.block(row, e);
      const unsigned int stride = A.stride(row);
      double             sum    = 0;
      for (unsigned int i = 0; i < A.width; ++i)
        for (unsigned int j = 0; j < A.width; ++j)
          sum += block[i * stride + j] * block[i * stride + j];
      return sum;
    }

    /// The aggregate of every owned block; none for those without a strong
    /// neighbour on this rank.
    std::vector<unsigned int>
    aggregate(const BlockView         &A,
              const std::vector<char> &strong,
              unsigned int            &n_aggregates)
    {
      const unsigned int        n_owned = A.n_rows;
      std::vector<unsigned int> of(n_owned, none);
      n_aggregates         = 0;
      const auto neighbors = [&](const unsigned int row, const auto &f) {
        for (unsigned int e = A.start[row]; e < A.start[row + 1]; ++e)
          if (strong[e] && A.columns[e] != row)
            f(A.columns[e]);
      };
      // A block whose neighbours are all free makes an aggregate with them.
      for (unsigned int row = 0; row < n_owned; ++row)
        if (of[row] == none)
          {
            bool free = true, alone = true;
            neighbors(row, [&](const unsigned int other) {
              alone = false;
              free  = free && of[other] == none;
            });
            if (alone || !free)
              continue;
            of[row] = n_aggregates;
            neighbors(row, [&](const unsigned int other) {
              of[other] = n_aggregates;
            });
            ++n_aggregates;
          }
      // The others join the aggregate that most of their neighbours are in.
      std::vector<unsigned int> joined = of, count(n_aggregates, 0);
      for (unsigned int row = 0; row < n_owned; ++row)
        if (of[row] == none)
          {
            unsigned int best = none;
            neighbors(row, [&](const unsigned int other) {
              if (of[other] != none)
                {
                  ++count[of[other]];
                  if (best == none || count[of[other]] > count[best])
                    best = of[other];
                }
            });
            neighbors(row, [&](const unsigned int other) {
              if (of[other] != none)
                count[of[other]] = 0;
            });
            joined[row] = best;
          }
      return joined;
    }

    /// Modes orthonormalized on each aggregate: T (blocks, h, m), and the
    /// coefficients of the modes in it, (aggregates, m, m).
    void
    orthonormalize(const std::vector<unsigned int> &of,
                   const unsigned int               n_aggregates,
                   const unsigned int               h,
                   const unsigned int               m,
                   const std::vector<double>       &modes,
                   std::vector<double>             &T,
                   std::vector<double>             &coefficients)
    {
      std::vector<std::vector<unsigned int>> members(n_aggregates);
      for (unsigned int i = 0; i < of.size(); ++i)
        if (of[i] != none)
          members[of[i]].push_back(i);
      T.assign(of.size() * h * m, 0.);
      coefficients.assign(std::size_t(n_aggregates) * m * m, 0.);
      std::vector<double> q; // columns of one aggregate
      for (unsigned int a = 0; a < n_aggregates; ++a)
        {
          const std::size_t n = members[a].size() * h;
          q.resize(m * n);
          for (unsigned int b = 0; b < members[a].size(); ++b)
            for (unsigned int i = 0; i < h; ++i)
              for (unsigned int c = 0; c < m; ++c)
                q[c * n + b * h + i] =
                  modes[(std::size_t(members[a][b]) * h + i) * m + c];
          double    *R   = &coefficients[std::size_t(a) * m * m];
          const auto dot = [&](const unsigned int c, const unsigned int d) {
            double sum = 0;
            for (std::size_t i = 0; i < n; ++i)
              sum += q[c * n + i] * q[d * n + i];
            return sum;
          };
          for (unsigned int c = 0; c < m; ++c)
            {
              const double before = std::sqrt(dot(c, c));
              // Twice is enough.
              for (unsigned int pass = 0; pass < 2; ++pass)
                for (unsigned int d = 0; d < c; ++d)
                  {
                    const double part = dot(c, d);
                    R[d * m + c] += part;
                    for (std::size_t i = 0; i < n; ++i)
                      q[c * n + i] -= part * q[d * n + i];
                  }
              const double norm = std::sqrt(dot(c, c));
              const bool   good = norm > 1e-8 * before;
              R[c * m + c]      = good ? norm : 0.;
              for (std::size_t i = 0; i < n; ++i)
                q[c * n + i] = good ? q[c * n + i] / norm : 0.;
            }
          for (unsigned int b = 0; b < members[a].size(); ++b)
            for (unsigned int i = 0; i < h; ++i)
              for (unsigned int c = 0; c < m; ++c)
                T[(std::size_t(members[a][b]) * h + i) * m + c] =
                  q[c * n + b * h + i];
        }
    }

    /// Rows of blocks with global columns, for exchange.
    struct GlobalRows
    {
      std::vector<unsigned int> start = {0};
      std::vector<std::size_t>  columns;
      std::vector<double>       values; ///< row-major blocks
    };

    // Messages are numbers: a row is its length, its columns, its values.
    void
    append(const GlobalRows    &rows,
           const unsigned int   row,
           const unsigned int   block_size,
           std::vector<double> &message)
    {
      const unsigned int begin = rows.start[row], end = rows.start[row + 1];
      message.push_back(end - begin);
      for (unsigned int e = begin; e < end; ++e)
        message.push_back(rows.columns[e]);
      message.insert(message.end(),
                     rows.values.begin() + std::size_t(begin) * block_size,
                     rows.values.begin() + std::size_t(end) * block_size);
    }

    /// Append the rows of ghost blocks, fetched from their owners.
    void
    fetch_ghost_rows(GlobalRows           &rows,
                     const BlockNumbering &numbering,
                     const unsigned int    block_size,
                     const MPI_Comm       &comm)
    {
      if (Utilities::MPI::n_mpi_processes(comm) == 1)
        return;
      const std::size_t n =
        Utilities::MPI::sum(std::size_t(numbering.n_owned), comm);
      IndexSet owned(n), ghosts(n);
      owned.add_range(numbering.first, numbering.first + numbering.n_owned);
      ghosts.add_indices(numbering.ghosts.begin(), numbering.ghosts.end());
      const Utilities::MPI::Partitioner           p(owned, ghosts, comm);
      std::map<unsigned int, std::vector<double>> send;
      std::vector<unsigned int>                   wanted;
      for (const auto &range : p.import_indices())
        for (unsigned int i = range.first; i < range.second; ++i)
          wanted.push_back(i);
      unsigned int at = 0;
      for (const auto &[rank, count] : p.import_targets())
        for (unsigned int i = 0; i < count; ++i)
          append(rows, wanted[at++], block_size, send[rank]);
      const auto received = Utilities::MPI::some_to_some(comm, send);
      for (const auto &[rank, count] : p.ghost_targets())
        {
          const auto &message = received.at(rank);
          std::size_t next    = 0;
          for (unsigned int i = 0; i < count; ++i)
            {
              const unsigned int length = message[next++];
              for (unsigned int e = 0; e < length; ++e)
                rows.columns.push_back(
                  static_cast<std::size_t>(message[next++]));
              rows.values.insert(rows.values.end(),
                                 message.begin() + next,
                                 message.begin() + next +
                                   std::size_t(length) * block_size);
              next += std::size_t(length) * block_size;
              rows.start.push_back(rows.columns.size());
            }
        }
    }

    /// Rows that grow: a list of columns, and room for a block for each.
    struct GrowingRow
    {
      static constexpr unsigned int usual = 48; ///< blocks in a row
      std::vector<unsigned int>     columns;
      std::vector<double>           values;

      PALPATE_INLINE double *
      block(const unsigned int column, const unsigned int size)
      {
        const unsigned int *begin = columns.data();
        const std::size_t   n     = columns.size();
        std::size_t         e     = 0;
        while (e < n && begin[e] != column)
          ++e;
        if (e == n)
          {
            if (n == 0)
              {
                columns.reserve(usual);
                values.reserve(usual * size);
              }
            columns.push_back(column);
            values.resize(values.size() + size, 0.);
          }
        return values.data() + e * size;
      }
    };

    struct Blocks
    {
      const unsigned int *start, *columns;
      const double       *values;
    };

    /// C += A B for row-major blocks (h, k) and (k, m).
    template <int h, int k, int m>
    PALPATE_INLINE void
    add_product(const double      *A,
                const unsigned int stride,
                const double *__restrict B,
                double *__restrict C)
    {
      // Two vectors for six columns, so that all stay in registers.
      using Left      = typename Pack<double, m == 3 ? 2 : 4>::type;
      using Right     = typename Pack<double, m == 3 ? 1 : 2>::type;
      constexpr int l = sizeof(Left) / sizeof(double);
      Left          left[k];
      Right         right[k];
#pragma GCC unroll 8
      for (int j = 0; j < k; ++j)
        {
          std::memcpy(&left[j], B + j * m, sizeof(Left));
          std::memcpy(&right[j], B + j * m + l, sizeof(Right));
        }
#pragma GCC unroll 8
      for (int i = 0; i < h; ++i)
        {
          Left  sum_left;
          Right sum_right;
          std::memcpy(&sum_left, C + i * m, sizeof(Left));
          std::memcpy(&sum_right, C + i * m + l, sizeof(Right));
#pragma GCC unroll 8
          for (int j = 0; j < k; ++j)
            {
              sum_left += A[i * stride + j] * left[j];
              sum_right += A[i * stride + j] * right[j];
            }
          std::memcpy(C + i * m, &sum_left, sizeof(Left));
          std::memcpy(C + i * m + l, &sum_right, sizeof(Right));
        }
    }

    /// Row by row of A: rows of A B (owned and ghost rows of B), given to f
    /// with their columns and blocks (h, m).
    template <int h, int m, typename Function>
    PALPATE_INLINE void
    for_rows_of_product(const BlockView         &A,
                        const std::vector<char> &coupled,
                        const Blocks            &B,
                        const unsigned int       n_columns,
                        const Function          &f)
    {
      std::vector<unsigned int> where(n_columns, none), columns;
      std::vector<double>       values;
      for (unsigned int row = 0; row < A.n_rows; ++row)
        {
          columns.clear();
          values.clear();
          const unsigned int stride = A.stride(row);
          for (unsigned int e = A.start[row]; e < A.start[row + 1]; ++e)
            if (coupled[e])
              {
                const double      *a     = A.block(row, e);
                const unsigned int other = A.columns[e];
                for (unsigned int s = B.start[other]; s < B.start[other + 1];
                     ++s)
                  {
                    unsigned int &w = where[B.columns[s]];
                    if (w == none)
                      {
                        w = columns.size();
                        columns.push_back(B.columns[s]);
                        values.resize(values.size() + h * m, 0.);
                      }
                    add_product<h, h, m>(a,
                                         stride,
                                         B.values + std::size_t(s) * (h * m),
                                         values.data() +
                                           std::size_t(w) * (h * m));
                  }
              }
          for (const unsigned int c : columns)
            where[c] = none;
          f(row, columns, values);
        }
    }

    /// P = T - omega D^-1 A T.
    template <int h, int m>
    PALPATE_INLINE void
    smooth_prolongation(const BlockView         &A,
                        const std::vector<char> &coupled,
                        const Blocks            &T,
                        const unsigned int       n_columns,
                        const BlockMatrix       &inverse_diagonal,
                        const double             omega,
                        BlockRows               &P)
    {
      for_rows_of_product<h, m>(
        A,
        coupled,
        T,
        n_columns,
        [&](const unsigned int               row,
            const std::vector<unsigned int> &columns,
            const std::vector<double> &values) __attribute__((always_inline)) {
          double D[h * h];
          for (int i = 0; i < h; ++i)
            for (int j = 0; j < h; ++j)
              D[i * h + j] = -omega * inverse_diagonal(row, i, j);
          for (unsigned int c = 0; c < columns.size(); ++c)
            {
              double block[h * m] = {};
              for (unsigned int s = T.start[row]; s < T.start[row + 1]; ++s)
                if (T.columns[s] == columns[c])
                  for (int i = 0; i < h * m; ++i)
                    block[i] = T.values[std::size_t(s) * (h * m) + i];
              add_product<h, h, m>(D,
                                   h,
                                   values.data() + std::size_t(c) * (h * m),
                                   block);
              P.columns.push_back(columns[c]);
              P.values.insert(P.values.end(), block, block + h * m);
            }
          P.start.push_back(P.columns.size());
        });
    }

    /// Rows of P^T A P, from the owned rows of A.
    template <int h, int m>
    PALPATE_INLINE void
    galerkin(const BlockView         &A,
             const std::vector<char> &coupled,
             const Blocks            &P,
             const unsigned int       n_columns,
             std::vector<GrowingRow> &coarse)
    {
      for_rows_of_product<h, m>(
        A,
        coupled,
        P,
        n_columns,
        [&](const unsigned int               row,
            const std::vector<unsigned int> &columns,
            const std::vector<double> &values) __attribute__((always_inline)) {
          for (unsigned int s = P.start[row]; s < P.start[row + 1]; ++s)
            {
              double transposed[m * h];
              for (int i = 0; i < h; ++i)
                for (int j = 0; j < m; ++j)
                  transposed[j * h + i] =
                    P.values[std::size_t(s) * (h * m) + i * m + j];
              GrowingRow &out = coarse[P.columns[s]];
              for (unsigned int c = 0; c < columns.size(); ++c)
                add_product<m, h, m>(transposed,
                                     h,
                                     values.data() + std::size_t(c) * (h * m),
                                     out.block(columns[c], m * m));
            }
        });
    }

#define PALPATE_KERNEL(h, m)                                              \
  PALPATE_CLONES void smooth_prolongation_##h##m(                         \
    const BlockView         &A,                                           \
    const std::vector<char> &coupled,                                     \
    const Blocks            &T,                                           \
    const unsigned int       n_columns,                                   \
    const BlockMatrix       &D,                                           \
    const double             omega,                                       \
    BlockRows               &P)                                           \
  {                                                                       \
    smooth_prolongation<h, m>(A, coupled, T, n_columns, D, omega, P);     \
  }                                                                       \
  PALPATE_CLONES void galerkin_##h##m(const BlockView         &A,         \
                                      const std::vector<char> &coupled,   \
                                      const Blocks            &P,         \
                                      const unsigned int       n_columns, \
                                      std::vector<GrowingRow> &coarse)    \
  {                                                                       \
    galerkin<h, m>(A, coupled, P, n_columns, coarse);                     \
  }
    PALPATE_KERNEL(2, 3)
    PALPATE_KERNEL(3, 3)
    PALPATE_KERNEL(3, 6)
    PALPATE_KERNEL(6, 6)
#undef PALPATE_KERNEL

    /// Global columns to local ones; new ghosts come into the numbering.
    void
    add_ghosts(BlockNumbering                 &numbering,
               const std::vector<std::size_t> &columns)
    {
      for (const std::size_t c : columns)
        if (c < numbering.first || c >= numbering.first + numbering.n_owned)
          numbering.ghosts.push_back(c);
      std::sort(numbering.ghosts.begin(), numbering.ghosts.end());
      numbering.ghosts.erase(std::unique(numbering.ghosts.begin(),
                                         numbering.ghosts.end()),
                             numbering.ghosts.end());
    }

    std::vector<unsigned int>
    to_local(const BlockNumbering           &numbering,
             const std::vector<std::size_t> &columns)
    {
      std::vector<unsigned int> local;
      local.reserve(columns.size());
      for (const std::size_t c : columns)
        local.push_back(numbering.local(c));
      return local;
    }

    /// Send rows of blocks that others own to them; returns what came, each
    /// with its global row.
    std::vector<std::pair<std::size_t, GlobalRows>>
    send_to_owners(const std::vector<GrowingRow> &rows,
                   const BlockNumbering          &numbering,
                   const unsigned int             block_size,
                   const MPI_Comm                &comm)
    {
      std::vector<std::pair<std::size_t, GlobalRows>> result;
      if (Utilities::MPI::n_mpi_processes(comm) == 1)
        return result;
      // Ranks own contiguous ranges.
      const auto firsts = Utilities::MPI::all_gather(comm, numbering.first);
      std::map<unsigned int, std::vector<double>> send;
      for (unsigned int i = numbering.n_owned; i < numbering.n_local(); ++i)
        if (!rows[i].columns.empty())
          {
            const std::size_t  global = numbering.global(i);
            const unsigned int rank =
              std::upper_bound(firsts.begin(), firsts.end(), global) -
              firsts.begin() - 1;
            GlobalRows row;
            for (const unsigned int c : rows[i].columns)
              row.columns.push_back(numbering.global(c));
            row.values = rows[i].values;
            row.start.push_back(row.columns.size());
            send[rank].push_back(global);
            append(row, 0, block_size, send[rank]);
          }
      for (const auto &[rank, message] :
           Utilities::MPI::some_to_some(comm, send))
        for (std::size_t next = 0; next < message.size();)
          {
            result.emplace_back(static_cast<std::size_t>(message[next++]),
                                GlobalRows());
            GlobalRows        &row    = result.back().second;
            const unsigned int length = message[next++];
            for (unsigned int e = 0; e < length; ++e)
              row.columns.push_back(static_cast<std::size_t>(message[next++]));
            row.values.assign(message.begin() + next,
                              message.begin() + next +
                                std::size_t(length) * block_size);
            next += std::size_t(length) * block_size;
          }
      return result;
    }
  } // namespace

  CoarseLevel
  coarsen(const BlockView           &A,
          const BlockNumbering      &fine,
          const std::vector<double> &modes,
          const unsigned int         m,
          const BlockMatrix         &inverse_diagonal,
          const double               omega,
          const MPI_Comm            &comm)
  {
    const unsigned int h = A.width, n = fine.n_owned;
    // Zero blocks are left out of products, weak ones of aggregates.
    std::vector<char>   coupled(A.start[n]), strong(A.start[n]);
    std::vector<double> size(A.start[n]), diagonal(n, 0.);
    for (unsigned int row = 0; row < n; ++row)
      for (unsigned int e = A.start[row]; e < A.start[row + 1]; ++e)
        {
          size[e]    = norm_square(A, row, e);
          coupled[e] = size[e] > 0;
          if (A.columns[e] == row)
            diagonal[row] = std::sqrt(size[e]);
        }

    CoarseLevel               coarse;
    unsigned int              n_aggregates;
    std::vector<unsigned int> of;
    for (const double strength : strengths)
      {
        for (unsigned int row = 0; row < n; ++row)
          for (unsigned int e = A.start[row]; e < A.start[row + 1]; ++e)
            if (A.columns[e] < n)
              strong[e] = size[e] > strength * strength * diagonal[row] *
                                      diagonal[A.columns[e]];
        of = aggregate(A, strong, n_aggregates);
        // Unknowns should become a third at least.
        const std::size_t taken = n - std::count(of.begin(), of.end(), none);
        if (3 * std::size_t(n_aggregates) * m <= taken * h)
          break;
      }
    coarse.numbering.n_owned  = n_aggregates;
    const unsigned long mine  = n_aggregates;
    unsigned long       first = 0;
    MPI_Exscan(&mine, &first, 1, MPI_UNSIGNED_LONG, MPI_SUM, comm);
    // MPI leaves it undefined on rank 0.
    coarse.numbering.first =
      Utilities::MPI::this_mpi_process(comm) == 0 ? 0 : first;

    // The tentative prolongation, ghost rows too.
    GlobalRows T;
    orthonormalize(of, n_aggregates, h, m, modes, T.values, coarse.modes);
    {
      std::vector<double> values;
      for (unsigned int i = 0; i < n; ++i)
        {
          if (of[i] != none)
            {
              T.columns.push_back(coarse.numbering.first + of[i]);
              values.insert(values.end(),
                            T.values.begin() + std::size_t(i) * h * m,
                            T.values.begin() + std::size_t(i + 1) * h * m);
            }
          T.start.push_back(T.columns.size());
        }
      T.values = std::move(values);
    }
    fetch_ghost_rows(T, fine, h * m, comm);
    add_ghosts(coarse.numbering, T.columns);

    BlockRows &P = coarse.P;
    P.height     = h;
    P.width      = m;
    {
      const auto   columns = to_local(coarse.numbering, T.columns);
      const Blocks blocks  = {T.start.data(), columns.data(), T.values.data()};
      const auto   smooth  = h == 2   ? smooth_prolongation_23
                             : h == 6 ? smooth_prolongation_66
                             : m == 3 ? smooth_prolongation_33
                                      : smooth_prolongation_36;
      smooth(A,
             coupled,
             blocks,
             coarse.numbering.n_local(),
             inverse_diagonal,
             omega,
             P);
    }

    // New ghosts move the local numbers of those that were there.
    std::vector<GrowingRow> rows;
    const auto grow = [&](const std::vector<std::size_t> &columns) {
      const BlockNumbering before = coarse.numbering;
      add_ghosts(coarse.numbering, columns);
      const auto renumber = [&](std::vector<unsigned int> &local) {
        for (unsigned int &c : local)
          c = coarse.numbering.local(before.global(c));
      };
      renumber(P.columns);
      for (GrowingRow &row : rows)
        renumber(row.columns);
    };

    // P with its ghost rows, which may bring new ghosts.
    {
      GlobalRows all;
      all.start  = P.start;
      all.values = P.values;
      for (const unsigned int c : P.columns)
        all.columns.push_back(coarse.numbering.global(c));
      fetch_ghost_rows(all, fine, h * m, comm);
      grow(all.columns);
      rows.resize(coarse.numbering.n_local());
      const auto   columns = to_local(coarse.numbering, all.columns);
      const Blocks blocks  = {all.start.data(),
                              columns.data(),
                              all.values.data()};
      const auto   product = h == 2   ? galerkin_23
                             : h == 6 ? galerkin_66
                             : m == 3 ? galerkin_33
                                      : galerkin_36;
      product(A, coupled, blocks, coarse.numbering.n_local(), rows);
    }

    // Contributions to rows of other ranks go there.
    const auto received = send_to_owners(rows, coarse.numbering, m * m, comm);
    rows.resize(n_aggregates);
    {
      std::vector<std::size_t> columns;
      for (const auto &[row, part] : received)
        columns.insert(columns.end(), part.columns.begin(), part.columns.end());
      grow(columns);
    }
    for (const auto &[row, part] : received)
      for (unsigned int e = 0; e < part.columns.size(); ++e)
        {
          double *block = rows[row - coarse.numbering.first].block(
            coarse.numbering.local(part.columns[e]), m * m);
          for (unsigned int i = 0; i < m * m; ++i)
            block[i] += part.values[std::size_t(e) * m * m + i];
        }

    BlockRows &C = coarse.A;
    C.height = C.width   = m;
    std::size_t n_blocks = 0;
    for (unsigned int i = 0; i < n_aggregates; ++i)
      n_blocks += rows[i].columns.size();
    C.columns.reserve(n_blocks);
    C.values.reserve(n_blocks * m * m);
    for (unsigned int i = 0; i < n_aggregates; ++i)
      {
        C.columns.insert(C.columns.end(),
                         rows[i].columns.begin(),
                         rows[i].columns.end());
        C.values.insert(C.values.end(),
                        rows[i].values.begin(),
                        rows[i].values.end());
        C.start.push_back(C.columns.size());
        rows[i] = GrowingRow();
      }
    return coarse;
  }
} // namespace Palpate
