#include <deal.II/lac/lapack_full_matrix.h>

#include <palpate/core/errors.h>
#include <palpate/equilibrium/multigrid.h>
#include <palpate/equilibrium/smoothed_aggregation.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace Palpate
{
  using namespace dealii;
  using Mode = BlockMatrix::Mode;

  namespace
  {
    // The coarsest matrix is inverted densely: small, so that this costs
    // little.
    constexpr unsigned int smoother_degree = 2;
    constexpr double       smoother_range  = 20;
    constexpr std::size_t  coarsest_size   = 200;

    /// The rigid-body modes at the owned nodes, (nodes, dim, modes); zero where
    /// the body is held.
    template <int dim>
    std::vector<double>
    rigid_body_modes(const TangentMatrix<dim> &matrix)
    {
      const auto            &D = matrix.discretization;
      constexpr unsigned int m = dim * (dim + 1) / 2;
      std::vector<double>    sums(dim + 1, 0.); // positions, their number
      for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
        if (D.is_vertex(n))
          {
            for (unsigned int d = 0; d < dim; ++d)
              sums[d] += D.node_position(n)[d];
            ++sums[dim];
          }
      Utilities::MPI::sum(sums, D.comm, sums);
      Point<dim> centre;
      for (unsigned int d = 0; d < dim; ++d)
        centre[d] = sums[d] / sums[dim];
      std::vector<double> modes(std::size_t(D.n_owned_nodes()) * dim * m, 0.);
      for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
        {
          const Tensor<1, dim> x  = D.node_position(n) - centre;
          const auto           at = [&](const unsigned int component,
                              const unsigned int mode) -> double           &{
            return modes[(std::size_t(n) * dim + component) * m + mode];
          };
          for (unsigned int d = 0; d < dim; ++d)
            at(d, d) = 1;
          if constexpr (dim == 2)
            {
              at(0, 2) = -x[1];
              at(1, 2) = x[0];
            }
          else
            for (unsigned int d = 0; d < 3; ++d)
              {
                const unsigned int i = (d + 1) % 3, j = (d + 2) % 3;
                at(i, 3 + d) = -x[j];
                at(j, 3 + d) = x[i];
              }
          for (unsigned int d = 0; d < dim; ++d)
            if (matrix.constrained[n * dim + d])
              for (unsigned int mode = 0; mode < m; ++mode)
                at(d, mode) = 0;
        }
      return modes;
    }

    template <int dim>
    BlockView
    finest_view(const TangentMatrix<dim> &matrix)
    {
      return {dim,
              matrix.discretization.n_owned_nodes(),
              matrix.block_start().data(),
              matrix.block_columns().data(),
              matrix.values_by_row(),
              true};
    }

    /// Blocks in single precision.
    BlockMatrix
    to_single(BlockRows &&rows)
    {
      BlockMatrix A(rows.height, rows.width);
      A.set_pattern(std::move(rows.start), std::move(rows.columns));
      const double *v = rows.values.data();
      for (std::size_t e = 0; e < A.columns.size(); ++e)
        for (unsigned int i = 0; i < A.height; ++i)
          for (unsigned int j = 0; j < A.width; ++j)
            A(e, i, j) = *v++;
      return A;
    }

    BlockMatrix
    to_single(const BlockView &view)
    {
      BlockMatrix A(view.width, view.width);
      A.set_pattern({view.start, view.start + view.n_rows + 1},
                    {view.columns, view.columns + view.start[view.n_rows]});
      for (unsigned int row = 0; row < view.n_rows; ++row)
        for (unsigned int e = view.start[row]; e < view.start[row + 1]; ++e)
          {
            const double      *v      = view.block(row, e);
            const unsigned int stride = view.stride(row);
            for (unsigned int i = 0; i < view.width; ++i)
              for (unsigned int j = 0; j < view.width; ++j)
                A(e, i, j) = v[i * stride + j];
          }
      return A;
    }

    /// Inverse of a symmetric positive matrix, row-major, in place; rows whose
    /// pivot vanishes become zero.
    void
    invert(std::vector<double> &a, const unsigned int n)
    {
      std::vector<double> original(n);
      for (unsigned int i = 0; i < n; ++i)
        original[i] = a[i * n + i];
      // Gauss-Jordan, the pivots on the diagonal.
      std::vector<char> dead(n, 0);
      for (unsigned int k = 0; k < n; ++k)
        {
          const double pivot = a[k * n + k];
          if (!(pivot > 1e-6 * original[k]))
            {
              dead[k] = 1;
              for (unsigned int i = 0; i < n; ++i)
                a[k * n + i] = a[i * n + k] = 0;
              continue;
            }
          const double inverse = 1 / pivot;
          a[k * n + k]         = 1;
          for (unsigned int j = 0; j < n; ++j)
            a[k * n + j] *= inverse;
          for (unsigned int i = 0; i < n; ++i)
            if (i != k)
              {
                const double factor = a[i * n + k];
                a[i * n + k]        = 0;
                for (unsigned int j = 0; j < n; ++j)
                  a[i * n + j] -= factor * a[k * n + j];
              }
        }
      for (unsigned int k = 0; k < n; ++k)
        if (dead[k])
          for (unsigned int i = 0; i < n; ++i)
            a[k * n + i] = a[i * n + k] = 0;
    }

    /// A dense symmetric positive matrix, row-major; directions that it hardly
    /// holds are left out.
    std::vector<double>
    invert_dense(std::vector<double> a, const std::size_t n)
    {
      LAPACKFullMatrix<double> matrix(n);
      for (std::size_t i = 0; i < n; ++i)
        {
          for (std::size_t j = 0; j < n; ++j)
            matrix(i, j) = 0.5 * (a[i * n + j] + a[j * n + i]);
          // A mode that an aggregate could not tell from the others.
          if (a[i * n + i] == 0)
            matrix(i, i) = 1;
        }
      bool good = true;
      for (std::size_t i = 0; i < n; ++i)
        good = good && matrix(i, i) > 0;
      try
        {
          if (good)
            matrix.invert();
        }
      catch (const std::exception &)
        {
          good = false;
        }
      for (std::size_t i = 0; good && i < n; ++i)
        good = std::isfinite(matrix(i, i)) && matrix(i, i) > 0;
      if (!good)
        {
          invert(a, n);
          return a;
        }
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j)
          a[i * n + j] =
            a[i * n + i] == 0 ? 0. : 0.5 * (matrix(i, j) + matrix(j, i));
      return a;
    }

  } // namespace

  template <int dim>
  void
  Multigrid<dim>::refresh(const TangentMatrix<dim> &matrix)
  {
    if (levels.size() == 1)
      return set_up(matrix);
    levels[0].A = to_single(finest_view(matrix));
    prepare_smoother(levels[0]);
  }

  template <int dim>
  void
  Multigrid<dim>::set_up(const TangentMatrix<dim> &matrix)
  {
    const auto            &D     = matrix.discretization;
    const auto            &nodes = *D.node_partitioner();
    constexpr unsigned int m     = dim * (dim + 1) / 2;
    comm                         = D.comm;
    levels.clear();

    // The finest level has the discretization's numbering.
    BlockNumbering numbering;
    numbering.first   = nodes.local_range().first;
    numbering.n_owned = D.n_owned_nodes();
    for (const auto i : nodes.ghost_indices())
      numbering.ghosts.push_back(i);
    BlockView   A = finest_view(matrix);
    CoarseLevel current;
    current.modes = rigid_body_modes(matrix);
    std::size_t total =
      Utilities::MPI::sum(std::size_t(numbering.n_owned), comm) * dim;
    while (true)
      {
        levels.emplace_back();
        Level &level = levels.back();
        level.halo   = Halo(
          numbering.first, numbering.n_owned, numbering.ghosts, A.width, comm);
        if (total <= coarsest_size)
          break;
        level.A = to_single(A);
        prepare_smoother(level);
        CoarseLevel       next = coarsen(A,
                                   numbering,
                                   current.modes,
                                   m,
                                   level.inverse_diagonal,
                                   4. / 3 / level.largest_eigenvalue,
                                   comm);
        const std::size_t n =
          Utilities::MPI::sum(std::size_t(next.numbering.n_owned), comm) * m;
        // Where blocks hardly meet others of their rank, aggregates do not
        // make them fewer.
        if (n == 0 || n > total / 2)
          break;
        total     = n;
        current   = std::move(next);
        numbering = current.numbering;
        level.P   = to_single(std::move(current.P));
        level.R   = level.P.transposed(numbering.n_local());
        A         = {m,
                     numbering.n_owned,
                     current.A.start.data(),
                     current.A.columns.data(),
                     current.A.values.data(),
                     false};
      }

    // The coarsest matrix goes to all, who invert it alike, in double
    // precision: rounding must not hide how it holds the rigid-body modes.
    if (total > 5000)
      throw SolverError("multigrid ended with " + std::to_string(total) +
                        " unknowns on the coarsest level: too many for these "
                        "ranks; use fewer ranks or Linear solver/Type = "
                        "direct");
    const unsigned int  w = A.width, mine = numbering.n_owned * w;
    std::vector<double> rows(mine * total, 0.);
    for (unsigned int row = 0; row < A.n_rows; ++row)
      for (unsigned int e = A.start[row]; e < A.start[row + 1]; ++e)
        for (unsigned int i = 0; i < w; ++i)
          for (unsigned int j = 0; j < w; ++j)
            rows[(row * w + i) * total + numbering.global(A.columns[e]) * w +
                 j] = A.block(row, e)[i * A.stride(row) + j];
    std::vector<double> dense;
    for (const auto &part : Utilities::MPI::all_gather(comm, rows))
      dense.insert(dense.end(), part.begin(), part.end());
    const auto        inverse = invert_dense(dense, total);
    const std::size_t first   = numbering.first * w;
    coarse_inverse.assign(inverse.begin() + first * total,
                          inverse.begin() + (first + mine) * total);
    coarse_counts = Utilities::MPI::all_gather(comm, int(mine));
    coarse_starts.assign(1, 0);
    for (const int c : coarse_counts)
      coarse_starts.push_back(coarse_starts.back() + c);
  }

  template <int dim>
  void
  Multigrid<dim>::prepare_smoother(Level &level) const
  {
    const BlockMatrix        &A = level.A;
    const unsigned int        w = A.height, n = A.n_rows();
    BlockMatrix              &D = level.inverse_diagonal;
    std::vector<unsigned int> start(n + 1), columns(n);
    std::iota(start.begin(), start.end(), 0u);
    std::iota(columns.begin(), columns.end(), 0u);
    D = BlockMatrix(w, w);
    D.set_pattern(std::move(start), std::move(columns));
    std::vector<double> block(w * w);
    for (unsigned int row = 0; row < n; ++row)
      {
        std::fill(block.begin(), block.end(), 0.);
        for (unsigned int e = A.start[row]; e < A.start[row + 1]; ++e)
          if (A.columns[e] == row)
            for (unsigned int i = 0; i < w; ++i)
              for (unsigned int j = 0; j < w; ++j)
                block[i * w + j] = 0.5 * (double(A(e, i, j)) + A(e, j, i));
        invert(block, w);
        for (unsigned int i = 0; i < w; ++i)
          for (unsigned int j = 0; j < w; ++j)
            D(row, i, j) = block[i * w + j];
      }

    // Largest eigenvalue of D^-1 A: Lanczos by conjugate gradient steps on a
    // rough right-hand side, the same on every run. With half of them it is up
    // to a fifth too small for strong contrasts, and the smoother not positive.
    const unsigned int size = n * w;
    const auto        &comm = this->comm;
    std::vector<float> r(size), z(size), p(level.halo.n_blocks() * w), q(size);
    for (unsigned int i = 0; i < size; ++i)
      r[i] = ((i * 2654435761u) >> 8) / float(1 << 23) - 1;
    const auto product = [&](const std::vector<float> &a,
                             const std::vector<float> &b) {
      double sum = 0;
      for (unsigned int i = 0; i < size; ++i)
        sum += double(a[i]) * b[i];
      return Utilities::MPI::sum(sum, comm);
    };
    std::vector<double> diagonal, beside;
    double              rz = 0, alpha = 1, beta = 0;
    for (unsigned int step = 0; step < 20; ++step)
      {
        D.multiply(Mode::set, 1, r.data(), z.data());
        const double now = product(r, z);
        if (!(now > 0) || (step > 0 && now < 1e-10 * rz))
          break;
        beta = step > 0 ? now / rz : 0;
        for (unsigned int i = 0; i < size; ++i)
          p[i] = z[i] + float(beta) * p[i];
        rz = now;
        level.halo.update(1, p.data());
        A.multiply(Mode::set, 1, p.data(), q.data());
        const double before = alpha, pq = product(p, q);
        if (!(pq > 0))
          break;
        alpha = rz / pq;
        diagonal.push_back(1 / alpha + (step > 0 ? beta / before : 0));
        if (step > 0)
          beside.push_back(std::sqrt(beta) / before);
        for (unsigned int i = 0; i < size; ++i)
          r[i] -= float(alpha) * q[i];
      }
    // Gershgorin's circles bound the tridiagonal matrix; bisection by Sturm's
    // sequence finds its largest eigenvalue.
    const std::size_t m  = diagonal.size();
    double            hi = 0;
    for (std::size_t i = 0; i < m; ++i)
      hi = std::max(hi,
                    diagonal[i] + (i > 0 ? beside[i - 1] : 0) +
                      (i + 1 < m ? beside[i] : 0));
    double lo = 0;
    for (unsigned int it = 0; it < 40; ++it)
      {
        const double middle = 0.5 * (lo + hi);
        bool         above  = false; // an eigenvalue above the middle?
        double       d      = 1;
        for (std::size_t i = 0; i < m && !above; ++i)
          {
            d = diagonal[i] - middle -
                (i > 0 ? beside[i - 1] * beside[i - 1] / d : 0);
            if (d == 0)
              d = -1e-300;
            above = d > 0;
          }
        (above ? lo : hi) = middle;
      }
    level.largest_eigenvalue = hi > 0 ? hi : 1;
  }

  template <int dim>
  void
  Multigrid<dim>::smooth(const Level       &level,
                         const unsigned int S,
                         const bool         from_zero) const
  {
    const double high = 1.1 * level.largest_eigenvalue,
                 low = high / smoother_range, theta = 0.5 * (high + low),
                 delta = 0.5 * (high - low), sigma = theta / delta;
    const std::size_t n =
      std::size_t(level.halo.n_owned) * level.halo.width * S;
    float *x = level.x.data(), *b = level.b.data(), *r = level.r.data(),
          *p   = level.p.data();
    double rho = 1 / sigma;
    for (unsigned int k = 0; k < smoother_degree; ++k)
      {
        const float *residual = b;
        if (k > 0 || !from_zero)
          {
            level.halo.update(S, x);
            level.A.multiply(Mode::residual, S, x, r, b);
            residual = r;
          }
        if (k == 0)
          {
            level.inverse_diagonal.multiply(Mode::set, S, residual, p);
            const float factor = 1 / theta;
            if (from_zero)
              for (std::size_t i = 0; i < n; ++i)
                x[i] = (p[i] *= factor);
            else
              for (std::size_t i = 0; i < n; ++i)
                x[i] += (p[i] *= factor);
          }
        else
          {
            const double next = 1 / (2 * sigma - rho);
            const float  keep = next * rho, fresh = 2 * next / delta;
            rho = next;
            // p = keep p + fresh D^-1 r, with D^-1 r scaled through p.
            const float scale = keep / fresh;
            for (std::size_t i = 0; i < n; ++i)
              p[i] *= scale;
            level.inverse_diagonal.multiply(Mode::add, S, residual, p);
            for (std::size_t i = 0; i < n; ++i)
              x[i] += (p[i] *= fresh);
          }
      }
  }

  template <int dim>
  void
  Multigrid<dim>::solve_coarsest(const unsigned int S) const
  {
    const Level       &level = levels.back();
    const unsigned int mine  = level.halo.n_owned * level.halo.width;
    const unsigned int total = coarse_starts.back();
    std::vector<float> all(std::size_t(total) * S);
    std::vector<int>   counts, starts;
    for (const int c : coarse_counts)
      counts.push_back(c * S);
    for (const int s : coarse_starts)
      starts.push_back(s * S);
    const int ierr = MPI_Allgatherv(level.b.data(),
                                    mine * S,
                                    MPI_FLOAT,
                                    all.data(),
                                    counts.data(),
                                    starts.data(),
                                    MPI_FLOAT,
                                    comm);
    AssertThrowMPI(ierr);
    for (unsigned int i = 0; i < mine; ++i)
      {
        const double *row = &coarse_inverse[std::size_t(i) * total];
        double        sum[most_columns] = {};
        for (unsigned int j = 0; j < total; ++j)
          for (unsigned int s = 0; s < S; ++s)
            sum[s] += row[j] * all[std::size_t(j) * S + s];
        for (unsigned int s = 0; s < S; ++s)
          level.x[std::size_t(i) * S + s] = sum[s];
      }
  }

  template <int dim>
  void
  Multigrid<dim>::cycle(const unsigned int l, const unsigned int S) const
  {
    const Level &level = levels[l];
    if (l + 1 == levels.size())
      {
        solve_coarsest(S);
        return;
      }
    const Level &coarse = levels[l + 1];
    smooth(level, S, true);
    level.halo.update(S, level.x.data());
    level.A.multiply(
      Mode::residual, S, level.x.data(), level.r.data(), level.b.data());
    level.R.multiply(Mode::set, S, level.r.data(), coarse.b.data());
    coarse.halo.add_to_owners(S, coarse.b.data());
    cycle(l + 1, S);
    coarse.halo.update(S, coarse.x.data());
    level.P.multiply(Mode::add, S, coarse.x.data(), level.x.data());
    smooth(level, S, false);
  }

  template <int dim>
  void
  Multigrid<dim>::apply(const unsigned int         S,
                        const double              *r,
                        const std::vector<double> &size,
                        float                     *z) const
  {
    for (const Level &level : levels)
      {
        const std::size_t n =
          std::size_t(level.halo.n_blocks()) * level.halo.width * S;
        if (level.x.size() < n)
          for (auto *v : {&level.x, &level.b, &level.r, &level.p})
            v->assign(n, 0.f);
      }
    const Level      &finest = levels[0];
    const std::size_t n      = std::size_t(finest.halo.n_owned) * dim;
    double            scale[most_columns];
    for (unsigned int s = 0; s < S; ++s)
      scale[s] = size[s] > 0 ? 1 / size[s] : 0;
    for (std::size_t i = 0; i < n; ++i)
      for (unsigned int s = 0; s < S; ++s)
        finest.b[i * S + s] = scale[s] * r[i * S + s];
    cycle(0, S);
    std::copy(finest.x.begin(), finest.x.begin() + n * S, z);
  }

  template class Multigrid<2>;
  template class Multigrid<3>;
} // namespace Palpate
