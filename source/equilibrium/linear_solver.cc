#include <deal.II/lac/solver_gmres.h>

#include <palpate/core/errors.h>
#include <palpate/equilibrium/linear_solver.h>
#include <palpate/equilibrium/multigrid.h>
#include <palpate/equilibrium/norm.h>
#include <palpate/equilibrium/symmetric_factorization.h>

#include <Amesos.h>
#include <Epetra_LinearProblem.h>
#include <Epetra_Vector.h>
#include <Teuchos_ParameterList.hpp>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  void
  SolverParameters::declare_parameters(ParameterHandler &prm)
  {
    prm.declare_entry("Type",
                      "cg amg",
                      Patterns::Selection("cg amg|direct"),
                      "Conjugate gradients (GMRES with viscosity or friction) "
                      "with algebraic multigrid on the rigid-body modes, or a "
                      "sparse direct factorization.");
    prm.declare_entry("Relative tolerance",
                      "1e-8",
                      Patterns::Double(),
                      "True residual |b - K u| / |b| of every solve.");
    prm.declare_entry("Maximum iterations",
                      "1000",
                      Patterns::Integer(1),
                      "Of conjugate gradients or GMRES, in one solve.");
    prm.declare_entry("Reuse limit",
                      "1.2",
                      Patterns::Double(),
                      "identify with lbfgs, linear model with one matrix for "
                      "all snapshots: keep the coarser levels of multigrid for "
                      "new stiffnesses while conjugate gradients need less "
                      "than this times the iterations they needed with levels "
                      "of their own; 0: never.");
    prm.declare_entry("Tolerance follows optimizer",
                      "false",
                      Patterns::Bool(),
                      "identify: start with a tolerance of 1e-5 and tighten it "
                      "to Relative tolerance as the gradient falls.");
  }

  void
  SolverParameters::parse_parameters(Parameters &p)
  {
    direct             = (p.get("Type") == "direct");
    relative_tolerance = p.get_double("Relative tolerance");
    if (!(relative_tolerance > 0 && relative_tolerance < 1))
      p.fail("Relative tolerance", "expected a value between 0 and 1");
    if (!direct)
      maximum_iterations = p.get_integer("Maximum iterations");
  }

  template <int dim>
  struct LinearSolver<dim>::Implementation
  {
    Multigrid<dim> multigrid;

    /// Direct: of symmetric matrices, which tells their inertia, and of others.
    std::unique_ptr<SymmetricFactorization<dim>> factors;
    Epetra_LinearProblem                         problem;
    std::unique_ptr<Amesos_BaseSolver>           direct;
  };

  template <int dim>
  LinearSolver<dim>::LinearSolver(const SolverParameters &parameters)
    : implementation(std::make_unique<Implementation>())
    , parameters(parameters)
  {}

  template <int dim>
  LinearSolver<dim>::~LinearSolver() = default;

  template <int dim>
  std::string
  LinearSolver<dim>::description(const bool is_symmetric) const
  {
    if (parameters.direct)
      return is_symmetric ? "sparse direct (Mumps)" : "sparse direct (Klu)";
    return std::string(is_symmetric ? "conjugate gradients" : "GMRES") +
           " with AMG on rigid-body modes";
  }

  namespace
  {
    const char *remedy =
      "the matrix is singular or not positive definite; check that enough "
      "vertices are constrained and that the stiffness is positive, or use "
      "Linear solver/Type = direct";
  } // namespace

  template <int dim>
  void
  LinearSolver<dim>::set_up(const TangentMatrix<dim> &matrix,
                            const bool                is_symmetric)
  {
    K             = &matrix;
    symmetric     = is_symmetric;
    auto       &I = *implementation;
    const auto &A = matrix.matrix();
    if (parameters.direct && symmetric)
      {
        I.factors.reset();
        I.factors = std::make_unique<SymmetricFactorization<dim>>(matrix);
        return;
      }
    if (parameters.direct)
      {
        auto &epetra = const_cast<Epetra_CrsMatrix &>(A.trilinos_matrix());
        I.direct.reset();
        I.problem.SetOperator(&epetra);
        // Amesos cannot ask MUMPS for the transpose.
        I.direct.reset(Amesos().Create("Amesos_Klu", I.problem));
        if (!I.direct)
          throw SolverError(
            "there is no sparse direct solver for a matrix that "
            "is not symmetric (Amesos without KLU)");
        Teuchos::ParameterList list;
        list.set("PrintStatus", false);
        I.direct->SetParameters(list);
        int ierr = I.direct->SymbolicFactorization();
        if (ierr == 0)
          ierr = I.direct->NumericFactorization();
        if (ierr != 0)
          throw SolverError("the sparse factorization failed (code " +
                            std::to_string(ierr) + "): " + remedy);
        return;
      }
    service = Service();
    I.multigrid.set_up(matrix);
  }

  template <int dim>
  unsigned long
  LinearSolver<dim>::n_negative() const
  {
    return implementation->factors ? implementation->factors->n_negative() : 0;
  }

  template <int dim>
  void
  LinearSolver<dim>::refresh()
  {
    implementation->multigrid.refresh(*K);
  }

  template <int dim>
  unsigned int
  LinearSolver<dim>::conjugate_gradients(const std::vector<Vector *> &dx,
                                         const std::vector<Vector *> &residuals,
                                         const std::vector<double> &tolerances,
                                         const std::vector<double> &sizes)
  {
    const auto        &D = K->discretization;
    const unsigned int m = dx.size(), S = padded_columns(m);
    const std::size_t  n  = std::size_t(D.n_owned_nodes()) * dim,
                      all = std::size_t(D.n_nodes()) * dim;
    using Sums            = std::array<double, most_columns>;
    std::vector<double> x(n * S), r(n * S), q(n * S), p(all * S + 1);
    std::vector<float>  z(n * S);
    for (unsigned int s = 0; s < m; ++s)
      for (std::size_t i = 0; i < n; ++i)
        r[i * S + s] = residuals[s]->local_element(i);
    const Halo &halo = implementation->multigrid.finest_halo();
    const auto  sum  = [&](Sums &a) {
      Utilities::MPI::sum(ArrayView<const double>(a.data(), S),
                          D.comm,
                          ArrayView<double>(a.data(), S));
    };
    // Norms of the residuals; columns of the padding never start.
    std::vector<double>            norms(S, 0.);
    std::array<bool, most_columns> running{};
    for (unsigned int s = 0; s < m; ++s)
      {
        norms[s]   = norm_of(*residuals[s]);
        running[s] = norms[s] > tolerances[s];
      }
    const std::vector<double> start    = norms;
    double                    decimals = 0;
    unsigned int              count    = 0;
    Sums                      rz{};
    for (unsigned int it = 0;; ++it)
      {
        if (std::none_of(running.begin(), running.end(), [](bool b) {
              return b;
            }))
          break;
        if (it == parameters.maximum_iterations)
          {
            for (unsigned int s = 0; s < m; ++s)
              if (running[s])
                fail_to_converge("conjugate gradients",
                                 it,
                                 norms[s] / sizes[s],
                                 tolerances[s] / sizes[s]);
          }
        implementation->multigrid.apply(S, r.data(), norms, z.data());
        // beta in the form that forgives a preconditioner with rounding.
        Sums now{}, mixed{};
        for (std::size_t i = 0; i < n; ++i)
          for (unsigned int s = 0; s < S; ++s)
            {
              now[s] += r[i * S + s] * z[i * S + s];
              mixed[s] += q[i * S + s] * z[i * S + s];
            }
        sum(now);
        sum(mixed);
        Sums beta{}, alpha{}, size{};
        for (unsigned int s = 0; s < m; ++s)
          if (running[s])
            {
              now[s] *= norms[s];
              mixed[s] *= norms[s];
              size[s] = norms[s];
              // r_new z_new / rz - r_old z_new / rz, q scaled by alpha.
              beta[s] = it > 0 ? -mixed[s] / rz[s] : 0;
              rz[s]   = now[s];
            }
        for (std::size_t i = 0; i < n; ++i)
          for (unsigned int s = 0; s < S; ++s)
            p[i * S + s] = size[s] * z[i * S + s] + beta[s] * p[i * S + s];
        halo.update(S, p.data());
        multiply_block_rows(dim,
                            S,
                            K->block_start(),
                            K->block_columns(),
                            K->values_by_row(),
                            p.data(),
                            q.data());
        Sums pq{};
        for (std::size_t i = 0; i < n; ++i)
          for (unsigned int s = 0; s < S; ++s)
            pq[s] += p[i * S + s] * q[i * S + s];
        sum(pq);
        for (unsigned int s = 0; s < m; ++s)
          if (running[s])
            {
              ++count;
              // Rounding in the preconditioner: refinement begins anew.
              if (pq[s] > 0 && !(rz[s] > 0))
                {
                  running[s] = false;
                  continue;
                }
              alpha[s] = rz[s] / pq[s];
              if (!(pq[s] > 0) || !std::isfinite(alpha[s]))
                throw SolverError(
                  std::string("conjugate gradients met a direction of negative "
                              "energy: ") +
                  remedy);
            }
        Sums rr{};
        for (std::size_t i = 0; i < n; ++i)
          for (unsigned int s = 0; s < S; ++s)
            {
              x[i * S + s] += alpha[s] * p[i * S + s];
              // q becomes the change of r, which beta needs.
              q[i * S + s] *= alpha[s];
              r[i * S + s] -= q[i * S + s];
              rr[s] += r[i * S + s] * r[i * S + s];
            }
        sum(rr);
        for (unsigned int s = 0; s < m; ++s)
          if (running[s])
            {
              norms[s]   = std::sqrt(rr[s]);
              running[s] = !(norms[s] <= tolerances[s]);
              if (!running[s])
                decimals += std::log10(start[s] / norms[s]);
            }
          else
            norms[s] = 0; // its columns move no more
      }
    for (unsigned int s = 0; s < m; ++s)
      for (std::size_t i = 0; i < n; ++i)
        dx[s]->local_element(i) = x[i * S + s];
    service.iterations += count;
    service.decimals += decimals;
    if (service.decimals > 2)
      {
        service.last = service.iterations / service.decimals;
        if (service.first == 0)
          service.first = service.last;
        service.iterations = service.decimals = 0;
      }
    return count;
  }

  template <int dim>
  void
  LinearSolver<dim>::fail_to_converge(const char        *method,
                                      const unsigned int iterations,
                                      const double       reached,
                                      const double       wanted) const
  {
    std::ostringstream out;
    out << method << " did not converge in " << iterations
        << " iterations (residual " << reached
        << " of the right-hand side, wanted " << wanted
        << "): raise Linear solver/Maximum iterations or Relative tolerance; "
        << "or " << remedy;
    throw SolverError(out.str());
  }

  template <int dim>
  unsigned int
  LinearSolver<dim>::gmres(Vector       &dx,
                           const Vector &r,
                           const double  tolerance,
                           const double  size,
                           const bool    transposed) const
  {
    struct Matrix
    {
      const SparseMatrix &A;
      const bool          transposed;
      void
      vmult(Vector &y, const Vector &x) const
      {
        if (transposed)
          A.Tvmult(y, x);
        else
          A.vmult(y, x);
      }
    };
    // One V-cycle, of one column and the padding beside it.
    struct Cycle
    {
      const Multigrid<dim> &multigrid;
      void
      vmult(Vector &y, const Vector &x) const
      {
        const unsigned int  S = padded_columns(1);
        const std::size_t   n = x.locally_owned_size();
        std::vector<double> in(n * S);
        std::vector<float>  out(n * S);
        std::vector<double> norms(S, 0.);
        norms[0] = norm_of(x);
        for (std::size_t i = 0; i < n; ++i)
          in[i * S] = x.local_element(i);
        multigrid.apply(S, in.data(), norms, out.data());
        for (std::size_t i = 0; i < n; ++i)
          y.local_element(i) = norms[0] * out[i * S];
      }
    };
    SolverControl control(parameters.maximum_iterations, tolerance);
    try
      {
        SolverFGMRES<Vector>(control, SolverFGMRES<Vector>::AdditionalData(60))
          .solve(Matrix{K->matrix(), transposed},
                 dx,
                 r,
                 Cycle{implementation->multigrid});
      }
    catch (const SolverControl::NoConvergence &)
      {
        fail_to_converge("GMRES",
                         control.last_step(),
                         control.last_value() / size,
                         tolerance / size);
      }
    return control.last_step();
  }

  template <int dim>
  unsigned int
  LinearSolver<dim>::solve(const std::vector<Vector *>       &x,
                           const std::vector<const Vector *> &b,
                           const std::vector<double>         &tolerances,
                           const bool                         transposed)
  {
    auto        &I          = *implementation;
    const auto  &A          = K->matrix();
    unsigned int iterations = 0;
    for (std::size_t first = 0; first < x.size(); first += most_columns)
      {
        const std::size_t m =
          std::min<std::size_t>(most_columns, x.size() - first);
        std::vector<Vector> r(m, *b[first]), dx(m, *b[first]);
        std::vector<double> norms(m), sizes(m), before(m);
        const auto          residual = [&](const unsigned int s) {
          Vector       &u   = *x[first + s];
          const Vector &rhs = *b[first + s];
          u.zero_out_ghost_values();
          if (transposed)
            A.Tvmult(r[s], u);
          else
            A.vmult(r[s], u);
          r[s].sadd(-1., 1., rhs);
          norms[s] = norm_of(r[s]);
        };
        for (unsigned int s = 0; s < m; ++s)
          {
            residual(s);
            sizes[s] = norm_of(*b[first + s]);
            if (!std::isfinite(norms[s]))
              throw SolverError("a right-hand side is not finite");
          }
        std::vector<char> done(m, 0);
        for (unsigned int attempt = 0;; ++attempt)
          {
            std::vector<unsigned int> todo;
            for (unsigned int s = 0; s < m; ++s)
              if (!done[s] && norms[s] > tolerances[first + s])
                todo.push_back(s);
            if (todo.empty())
              break;
            std::vector<Vector *> dxs, rs;
            std::vector<double>   wanted, of;
            for (const unsigned int s : todo)
              {
                dxs.push_back(&dx[s]);
                rs.push_back(&r[s]);
                wanted.push_back(tolerances[first + s]);
                of.push_back(sizes[s]);
                dx[s] = 0;
              }
            if (parameters.direct && symmetric)
              {
                std::vector<Vector> columns;
                columns.reserve(todo.size());
                for (const unsigned int s : todo)
                  columns.push_back(r[s]);
                I.factors->solve(columns);
                for (std::size_t i = 0; i < todo.size(); ++i)
                  dx[todo[i]] = columns[i];
              }
            else if (parameters.direct)
              for (const unsigned int s : todo)
                {
                  const auto   &map = A.trilinos_matrix().OperatorDomainMap();
                  Epetra_Vector lhs(View, map, dx[s].begin()),
                    rhs(View, map, r[s].begin());
                  I.problem.SetLHS(&lhs);
                  I.problem.SetRHS(&rhs);
                  I.direct->SetUseTranspose(transposed);
                  const int ierr = I.direct->Solve();
                  // The next set-up looks at them.
                  I.problem.SetLHS(nullptr);
                  I.problem.SetRHS(nullptr);
                  if (ierr != 0)
                    throw SolverError("the sparse direct solve failed (code " +
                                      std::to_string(ierr) + "): " + remedy);
                }
            else if (symmetric)
              iterations += conjugate_gradients(dxs, rs, wanted, of);
            else
              for (unsigned int i = 0; i < todo.size(); ++i)
                iterations +=
                  gmres(*dxs[i], *rs[i], wanted[i], of[i], transposed);
            for (const unsigned int s : todo)
              {
                const double tolerance = tolerances[first + s];
                before[s]              = norms[s];
                *x[first + s] += dx[s];
                residual(s);
                if (!std::isfinite(norms[s]))
                  throw SolverError(
                    std::string("the linear solve gave no finite result: ") +
                    remedy);
                // One refinement at least; stop where rounding does not let it
                // fall.
                if (norms[s] > tolerance &&
                    (attempt >= 3 || !(norms[s] < 0.5 * before[s])))
                  {
                    if (attempt >= 1 &&
                        norms[s] < std::max(1e-10 * sizes[s], tolerance))
                      {
                        done[s] = 1;
                        continue;
                      }
                    if (attempt >= 3 || !std::isfinite(norms[s]) ||
                        norms[s] > 1e-6 * sizes[s])
                      {
                        std::ostringstream out;
                        out << "the linear solve left a residual of "
                            << norms[s] / sizes[s]
                            << " of the right-hand side, wanted "
                            << tolerance / sizes[s] << ": " << remedy;
                        throw SolverError(out.str());
                      }
                  }
              }
          }
      }
    return iterations;
  }

  template class LinearSolver<2>;
  template class LinearSolver<3>;
} // namespace Palpate
