#include <deal.II/lac/lapack_full_matrix.h>

#include <palpate/core/errors.h>
#include <palpate/equilibrium/symmetric_factorization.h>

#include <Epetra_CrsMatrix.h>
#include <Epetra_Map.h>
#include <dmumps_c.h>

#include <algorithm>
#include <cmath>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  struct SymmetricFactorization<dim>::Implementation
  {
    explicit Implementation(const Discretization<dim> &D)
      : D(D)
      , n(D.n_dofs())
    {
      MPI_Comm_dup(D.comm, &comm);
      mumps.comm_fortran = MPI_Comm_c2f(comm);
      mumps.par          = 1;
      mumps.sym          = 2; // symmetric, pivoting for stability
      call(-1);
      for (const int silent : {1, 2, 3})
        control(silent) = -1;
      control(4)  = 0;
      control(13) = 1; // no ScaLAPACK: the inertia counts every pivot
      control(18) = 3; // the matrix is spread over the ranks
    }
    ~Implementation()
    {
      mumps.job = -2;
      dmumps_c(&mumps);
      MPI_Comm_free(&comm);
    }
    /// Control parameters as the manual numbers them.
    MUMPS_INT &
    control(const int i)
    {
      return mumps.icntl[i - 1];
    }
    /// @return INFOG(1)
    int
    call(const int job)
    {
      mumps.job = job;
      dmumps_c(&mumps);
      return mumps.infog[0];
    }

    const Discretization<dim>    &D;
    MPI_Comm                      comm;
    DMUMPS_STRUC_C                mumps{};
    const types::global_dof_index n;
    std::vector<MUMPS_INT>        rows, columns;
    std::vector<double>           values;
  };

  template <int dim>
  SymmetricFactorization<dim>::SymmetricFactorization(
    const TangentMatrix<dim> &K,
    const double              shift)
    : implementation(std::make_unique<Implementation>(K.discretization))
  {
    auto                   &I = *implementation;
    const Epetra_CrsMatrix &A = K.matrix().trilinos_matrix();
    for (int i = 0; i < A.NumMyRows(); ++i)
      {
        int     n, *index;
        double *value;
        A.ExtractMyRowView(i, n, value, index);
        const int row = A.RowMap().GID(i);
        for (int j = 0; j < n; ++j)
          {
            const int column = A.ColMap().GID(index[j]);
            if (column > row)
              continue; // the other triangle
            I.rows.push_back(row + 1);
            I.columns.push_back(column + 1);
            I.values.push_back(value[j] + (column == row ? shift : 0.));
          }
      }
    I.mumps.n       = I.n;
    I.mumps.nnz_loc = I.values.size();
    I.mumps.irn_loc = I.rows.data();
    I.mumps.jcn_loc = I.columns.data();
    I.mumps.a_loc   = I.values.data();
    int error       = I.call(1);
    // Pivoting may need more room than the analysis foresaw.
    for (unsigned int attempt = 0; error == 0 && attempt < 4; ++attempt)
      {
        error = I.call(2);
        if (error != -8 && error != -9)
          break;
        I.control(14) = 2 * I.control(14) + 50;
        error         = (attempt == 3 ? error : 0);
      }
    if (error < 0)
      throw SolverError("the symmetric factorization (MUMPS) failed with "
                        "code " +
                        std::to_string(error) +
                        ": the matrix is singular, or memory is short");
  }

  template <int dim>
  SymmetricFactorization<dim>::~SymmetricFactorization() = default;

  template <int dim>
  unsigned long
  SymmetricFactorization<dim>::n_negative() const
  {
    return implementation->mumps.infog[11];
  }

  template <int dim>
  void
  SymmetricFactorization<dim>::solve(std::vector<Vector> &x) const
  {
    // MUMPS takes and gives whole vectors on the first rank.
    auto               &I           = *implementation;
    const auto         &partitioner = *I.D.dof_partitioner();
    std::vector<double> whole(I.n * x.size(), 0.);
    for (std::size_t v = 0; v < x.size(); ++v)
      for (unsigned int i = 0; i < partitioner.locally_owned_size(); ++i)
        whole[v * I.n + partitioner.local_to_global(i)] = x[v].local_element(i);
    Utilities::MPI::sum(whole, I.comm, whole);
    I.mumps.rhs  = whole.data();
    I.mumps.nrhs = x.size();
    I.mumps.lrhs = I.n;
    if (I.call(3) < 0)
      throw SolverError("a symmetric direct solve (MUMPS) failed");
    MPI_Bcast(whole.data(), whole.size(), MPI_DOUBLE, 0, I.comm);
    for (std::size_t v = 0; v < x.size(); ++v)
      {
        x[v].zero_out_ghost_values();
        for (unsigned int i = 0; i < partitioner.locally_owned_size(); ++i)
          x[v].local_element(i) =
            whole[v * I.n + partitioner.local_to_global(i)];
      }
  }

  namespace
  {
    /// Orthonormal columns, modified Gram-Schmidt twice.
    void
    orthonormalize(std::vector<Vector> &x)
    {
      for (std::size_t i = 0; i < x.size(); ++i)
        {
          for (unsigned int pass = 0; pass < 2; ++pass)
            for (std::size_t j = 0; j < i; ++j)
              x[i].add(-(x[i] * x[j]), x[j]);
          x[i] /= x[i].l2_norm();
        }
    }
  } // namespace

  template <int dim>
  LowestModes<dim>
  lowest_modes(const TangentMatrix<dim> &K, const unsigned int wanted)
  {
    const auto         &D      = K.discretization;
    unsigned long       n_free = 0;
    std::vector<Vector> x;
    for (unsigned int i = 0; i < D.n_owned_nodes() * dim; ++i)
      n_free += !K.constrained[i];
    n_free               = Utilities::MPI::sum(n_free, D.comm);
    const unsigned int n = std::min<unsigned long>(wanted, n_free);
    for (unsigned int v = 0; v <= n; ++v)
      {
        // Some vector that no mode is orthogonal to, the same on all ranks.
        x.push_back(D.make_vector());
        for (unsigned int i = 0; i < D.n_owned_nodes() * dim; ++i)
          if (!K.constrained[i])
            {
              const auto &ends = D.node_vertices[i / dim];
              x.back().local_element(i) =
                std::sin(1. + (v + 1.) * (ends[0] + 0.37 * ends[1]) +
                         2.1 * (i % dim) + 0.01 * v * v);
            }
      }
    // Largest eigenvalue.
    Vector power = x.back(), product = power;
    x.pop_back();
    double largest = 0;
    for (unsigned int it = 0; it < 50; ++it)
      {
        power /= power.l2_norm();
        K.matrix().vmult(product, power);
        largest = product.l2_norm();
        power.swap(product);
      }

    // The shift leaves the order of the modes and makes zero ones dominate.
    const SymmetricFactorization<dim> factors(K, 1e-13 * largest);
    LAPACKFullMatrix<double>          projected(n);
    LowestModes<dim>                  result;
    result.modes.reserve(n); // moving a vector loses its ghosts
    for (unsigned int it = 0; it < 15; ++it)
      {
        factors.solve(x);
        orthonormalize(x);
      }
    std::vector<Vector> Kx(n, product);
    for (unsigned int i = 0; i < n; ++i)
      K.matrix().vmult(Kx[i], x[i]);
    for (unsigned int i = 0; i < n; ++i)
      for (unsigned int j = 0; j < n; ++j)
        projected(i, j) = 0.5 * (x[i] * Kx[j] + x[j] * Kx[i]);
    FullMatrix<double>     rotation;
    dealii::Vector<double> values;
    projected.compute_eigenvalues_symmetric(
      -2 * largest, 2 * largest, 0., values, rotation);
    for (unsigned int m = 0; m < values.size(); ++m)
      {
        Vector mode = D.make_vector();
        for (unsigned int i = 0; i < n; ++i)
          mode.add(rotation(i, m), x[i]);
        mode /= mode.linfty_norm();
        result.modes.push_back(ghosted_copy(mode));
        result.eigenvalues.push_back(values[m] / largest);
      }
    return result;
  }

#define INSTANTIATE(dim)                                             \
  template class SymmetricFactorization<dim>;                        \
  template LowestModes<dim> lowest_modes(const TangentMatrix<dim> &, \
                                         const unsigned int);

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
