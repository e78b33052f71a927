#include <deal.II/lac/lapack_full_matrix.h>
#include <deal.II/lac/trilinos_precondition.h>

#include <palpate/core/errors.h>
#include <palpate/equilibrium/multigrid.h>

#include <Epetra_MultiVector.h>
#include <Teuchos_ParameterList.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

// After the others: it defines macros of common names.
#include <ml_MultiLevelPreconditioner.h>

namespace Palpate
{
  using namespace dealii;
  using Mode = BlockMatrix::Mode;

  namespace
  {
    // As in the usual set-up of ML. The coarsest matrix is inverted densely:
    // small, so that this costs little.
    constexpr unsigned int smoother_degree = 2;
    constexpr double       smoother_range  = 20;
    constexpr int          coarsest_size   = 200;

    /// The rigid-body modes of the nodes as columns.
    template <int dim>
    void
    rigid_body_modes(const Discretization<dim> &D, Epetra_MultiVector &modes)
    {
      Point<dim> centre;
      for (const auto &v : D.serial_mesh.vertices)
        centre += v / static_cast<double>(D.serial_mesh.vertices.size());
      modes.PutScalar(0.);
      for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
        {
          const Tensor<1, dim> x = D.node_position(n) - centre;
          for (unsigned int d = 0; d < dim; ++d)
            modes[d][n * dim + d] = 1;
          if constexpr (dim == 2)
            {
              modes[2][n * 2]     = -x[1];
              modes[2][n * 2 + 1] = x[0];
            }
          else
            for (unsigned int d = 0; d < 3; ++d)
              {
                const unsigned int i = (d + 1) % 3, j = (d + 2) % 3;
                modes[3 + d][n * 3 + i] = -x[j];
                modes[3 + d][n * 3 + j] = x[i];
              }
        }
    }

    /// What the ranks before this one have of something, and what all have.
    std::pair<std::size_t, std::size_t>
    first_and_total(const std::size_t mine, const MPI_Comm &comm)
    {
      const auto all   = Utilities::MPI::all_gather(comm, mine);
      const auto here  = all.begin() + Utilities::MPI::this_mpi_process(comm);
      const auto first = std::accumulate(all.begin(), here, std::size_t(0));
      return {first, std::accumulate(here, all.end(), first)};
    }

    /// The rows of one of ML's operators on this rank, columns by their global
    /// numbers.
    struct Rows
    {
      unsigned int             n_rows = 0, n_owned_columns = 0;
      std::size_t              first_column = 0;
      std::vector<std::size_t> start        = {0}, global_column;
      std::vector<double>      values;
    };

    Rows
    read_rows(ML_Operator *op, const MPI_Comm &comm)
    {
      Rows rows;
      rows.n_rows          = op->outvec_leng;
      rows.n_owned_columns = op->invec_leng;
      rows.first_column    = first_and_total(rows.n_owned_columns, comm).first;
      // Global numbers of local columns travel as a vector would.
      const unsigned int n_ghosts =
        op->getrow->pre_comm == nullptr
          ? 0
          : ML_CommInfoOP_Compute_TotalRcvLength(op->getrow->pre_comm);
      std::vector<double> number(rows.n_owned_columns + n_ghosts + 1);
      for (unsigned int i = 0; i < rows.n_owned_columns; ++i)
        number[i] = rows.first_column + i;
      if (op->getrow->pre_comm != nullptr)
        ML_exchange_bdry(number.data(),
                         op->getrow->pre_comm,
                         op->invec_leng,
                         op->comm,
                         ML_OVERWRITE,
                         nullptr);
      std::vector<int>    columns(100);
      std::vector<double> values(100);
      for (int i = 0; i < int(rows.n_rows); ++i)
        {
          int n = 0;
          while (
            ML_Operator_Getrow(
              op, 1, &i, columns.size(), columns.data(), values.data(), &n) ==
            0)
            {
              columns.resize(2 * columns.size());
              values.resize(columns.size());
            }
          for (int e = 0; e < n; ++e)
            {
              rows.global_column.push_back(
                static_cast<std::size_t>(number[columns[e]] + 0.5));
              rows.values.push_back(values[e]);
            }
          rows.start.push_back(rows.values.size());
        }
      return rows;
    }

    /// Global block columns of @p rows that other ranks own.
    void
    collect_ghosts(const Rows               &rows,
                   const unsigned int        width,
                   std::vector<std::size_t> &ghosts)
    {
      for (const std::size_t c : rows.global_column)
        if (c < rows.first_column ||
            c >= rows.first_column + rows.n_owned_columns)
          ghosts.push_back(c / width);
      std::sort(ghosts.begin(), ghosts.end());
      ghosts.erase(std::unique(ghosts.begin(), ghosts.end()), ghosts.end());
    }

    BlockMatrix
    to_blocks(const Rows                     &rows,
              const unsigned int              height,
              const unsigned int              width,
              const std::vector<std::size_t> &ghosts)
    {
      const std::size_t  first = rows.first_column / width;
      const unsigned int owned = rows.n_owned_columns / width;
      const auto         local = [&](const std::size_t block) -> unsigned int {
        if (block >= first && block < first + owned)
          return block - first;
        return owned + (std::lower_bound(ghosts.begin(), ghosts.end(), block) -
                        ghosts.begin());
      };
      const unsigned int        n = rows.n_rows / height;
      std::vector<unsigned int> start(1, 0), columns, place(rows.values.size());
      std::vector<unsigned int> where(owned + ghosts.size(),
                                      numbers::invalid_unsigned_int);
      for (unsigned int row = 0; row < n; ++row)
        {
          const std::size_t begin = rows.start[row * height],
                            end   = rows.start[(row + 1) * height];
          for (std::size_t e = begin; e < end; ++e)
            {
              const unsigned int c = local(rows.global_column[e] / width);
              if (where[c] == numbers::invalid_unsigned_int)
                {
                  where[c] = columns.size();
                  columns.push_back(c);
                }
              place[e] = where[c];
            }
          for (unsigned int e = start.back(); e < columns.size(); ++e)
            where[columns[e]] = numbers::invalid_unsigned_int;
          start.push_back(columns.size());
        }
      BlockMatrix A(height, width);
      A.set_pattern(std::move(start), std::move(columns));
      for (unsigned int i = 0; i < rows.n_rows; ++i)
        for (std::size_t e = rows.start[i]; e < rows.start[i + 1]; ++e)
          A(place[e], i % height, rows.global_column[e] % width) +=
            rows.values[e];
      return A;
    }

    /// Inverse of a symmetric positive matrix, row-major, in place; rows whose
    /// pivot vanishes become zero.
    void
    invert(std::vector<double> &a, const unsigned int n)
    {
      double largest = 0;
      for (unsigned int i = 0; i < n; ++i)
        largest = std::max(largest, a[i * n + i]);
      // Gauss-Jordan, the pivots on the diagonal.
      std::vector<char> dead(n, 0);
      for (unsigned int k = 0; k < n; ++k)
        {
          const double pivot = a[k * n + k];
          if (!(pivot > 1e-6 * largest))
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
        for (std::size_t j = 0; j < n; ++j)
          matrix(i, j) = 0.5 * (a[i * n + j] + a[j * n + i]);
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
          a[i * n + j] = 0.5 * (matrix(i, j) + matrix(j, i));
      return a;
    }

    /// The finest matrix in that form, where it is the only level.
    template <int dim>
    Rows
    rows_of(const TangentMatrix<dim> &matrix)
    {
      const auto &nodes = *matrix.discretization.node_partitioner();
      const auto &start = matrix.block_start();
      Rows        rows;
      rows.n_rows = (start.size() - 1) * dim;
      for (unsigned int row = 0; row + 1 < start.size(); ++row)
        {
          const unsigned int n = start[row + 1] - start[row];
          const double      *v =
            matrix.values_by_row() + std::size_t(start[row]) * (dim * dim);
          for (unsigned int i = 0; i < dim; ++i)
            {
              for (unsigned int e = 0; e < n; ++e)
                for (unsigned int j = 0; j < dim; ++j)
                  {
                    rows.global_column.push_back(
                      std::size_t(nodes.local_to_global(
                        matrix.block_columns()[start[row] + e])) *
                        dim +
                      j);
                    rows.values.push_back(v[i * (n * dim) + e * dim + j]);
                  }
              rows.start.push_back(rows.values.size());
            }
        }
      return rows;
    }
  } // namespace

  template <int dim>
  void
  Multigrid<dim>::copy_finest(const TangentMatrix<dim> &matrix)
  {
    BlockMatrix  &A      = levels[0].A;
    const auto   &start  = matrix.block_start();
    const double *values = matrix.values_by_row();
    for (unsigned int row = 0; row + 1 < start.size(); ++row)
      {
        const unsigned int n = start[row + 1] - start[row];
        const double      *v = values + std::size_t(start[row]) * (dim * dim);
        for (unsigned int e = 0; e < n; ++e)
          for (unsigned int i = 0; i < dim; ++i)
            for (unsigned int j = 0; j < dim; ++j)
              A(start[row] + e, i, j) = v[i * (n * dim) + e * dim + j];
      }
    prepare_smoother(levels[0]);
  }

  template <int dim>
  void
  Multigrid<dim>::set_up(const TangentMatrix<dim> &matrix)
  {
    const auto &D = matrix.discretization;
    const auto &K = matrix.matrix();
    comm          = D.comm;
    levels.clear();

    TrilinosWrappers::PreconditionAMG::AdditionalData data;
    data.elliptic              = true;
    data.higher_order_elements = (D.degree > 1);
    Teuchos::ParameterList              list;
    std::unique_ptr<Epetra_MultiVector> constants;
    data.set_parameters(list, constants, K);
    constexpr unsigned int n_modes = dim * (dim + 1) / 2;
    if (!modes)
      {
        modes = std::make_shared<Epetra_MultiVector>(
          K.trilinos_matrix().OperatorDomainMap(), n_modes);
        rigid_body_modes(D, *modes);
      }
    list.set("null space: type", "pre-computed");
    list.set("null space: dimension", int(n_modes));
    list.set("null space: vectors", modes->Values());
    list.set("PDE equations", dim);
    list.set("coarse: max size", coarsest_size);
    list.set("increasing or decreasing", "increasing");
    // The cycle is ours.
    list.set("smoother: type", "do-nothing");
    list.set("coarse: type", "do-nothing");
    ML_Epetra::MultiLevelPreconditioner ml(K.trilinos_matrix(), list);
    const ML                           *hierarchy = ml.GetML();
    std::vector<int>                    numbers;
    for (int l = hierarchy->ML_finest_level;; ++l)
      {
        numbers.push_back(l);
        if (l == hierarchy->ML_coarsest_level)
          break;
      }
    const unsigned int n = numbers.size();
    levels.resize(n);

    // The finest level has the discretization's numbering.
    {
      const auto              &nodes = *D.node_partitioner();
      std::vector<std::size_t> ghosts;
      for (const auto i : nodes.ghost_indices())
        ghosts.push_back(i);
      Level &level = levels[0];
      level.halo =
        Halo(nodes.local_range().first, D.n_owned_nodes(), ghosts, dim, comm);
      level.A = BlockMatrix(dim, dim);
      level.A.set_pattern(std::vector<unsigned int>(matrix.block_start()),
                          std::vector<unsigned int>(matrix.block_columns()));
      copy_finest(matrix);
    }
    Rows coarsest;
    for (unsigned int l = 1; l < n; ++l)
      {
        const Rows P = read_rows(&hierarchy->Pmat[numbers[l]], comm);
        Rows       A = read_rows(&hierarchy->Amat[numbers[l]], comm);
        const bool good =
          P.n_owned_columns % n_modes == 0 && A.n_rows % n_modes == 0 &&
          P.n_owned_columns == A.n_rows && A.n_rows == A.n_owned_columns;
        if (Utilities::MPI::min(good ? 1 : 0, comm) == 0)
          throw SolverError(
            "multigrid made a level that does not consist of "
            "rigid-body modes: use Linear solver/Type = direct");
        std::vector<std::size_t> ghosts;
        collect_ghosts(P, n_modes, ghosts);
        collect_ghosts(A, n_modes, ghosts);
        Level &fine = levels[l - 1], &level = levels[l];
        fine.P     = to_blocks(P, l == 1 ? dim : n_modes, n_modes, ghosts);
        level.A    = to_blocks(A, n_modes, n_modes, ghosts);
        level.halo = Halo(P.first_column / n_modes,
                          P.n_owned_columns / n_modes,
                          ghosts,
                          n_modes,
                          comm);
        fine.R     = fine.P.transposed(level.halo.n_blocks());
        if (l + 1 < n)
          prepare_smoother(level);
        else
          coarsest = std::move(A);
      }

    // The coarsest matrix goes to all, who invert it alike, in double
    // precision: rounding must not hide how it holds the rigid-body modes.
    if (n == 1)
      coarsest = rows_of(matrix);
    const unsigned int mine  = coarsest.n_rows;
    const auto         sums  = first_and_total(mine, comm);
    const std::size_t  total = sums.second;
    if (total > 5000)
      throw SolverError("multigrid ended with " + std::to_string(total) +
                        " unknowns on the coarsest level: too many for these "
                        "ranks; use fewer ranks or Linear solver/Type = "
                        "direct");
    std::vector<double> rows(mine * total, 0.);
    for (unsigned int i = 0; i < mine; ++i)
      for (std::size_t e = coarsest.start[i]; e < coarsest.start[i + 1]; ++e)
        rows[i * total + coarsest.global_column[e]] += coarsest.values[e];
    std::vector<double> dense;
    for (const auto &part : Utilities::MPI::all_gather(comm, rows))
      dense.insert(dense.end(), part.begin(), part.end());
    const auto inverse = invert_dense(dense, total);
    coarse_inverse.assign(inverse.begin() + sums.first * total,
                          inverse.begin() + (sums.first + mine) * total);
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

    // Largest eigenvalue of D^-1 A: Lanczos by ten conjugate gradient steps
    // on a rough right-hand side, the same on every run.
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
    for (unsigned int step = 0; step < 10; ++step)
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
