#ifndef palpate_equilibrium_linear_solver_h
#define palpate_equilibrium_linear_solver_h

#include <palpate/core/parameters.h>
#include <palpate/geometry/tangent_matrix.h>

#include <memory>

namespace Palpate
{
  struct SolverParameters
  {
    bool         direct             = false;
    double       relative_tolerance = 1e-8;
    unsigned int maximum_iterations = 1000;
    bool         follow_optimizer   = false;

    static void
    declare_parameters(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters);
  };

  /**
   * Solves with one assembled matrix: conjugate gradients, or GMRES where the
   * matrix is not symmetric, with smoothed aggregation AMG on the rigid-body
   * modes (Multigrid); or a sparse direct
   * factorization (Amesos: MUMPS where there is one and it is symmetric, else
   * KLU) that serves all right-hand sides. One set-up serves forward, adjoint
   * and incremental solves.
   */
  template <int dim>
  class LinearSolver
  {
  public:
    explicit LinearSolver(const SolverParameters &parameters);
    ~LinearSolver();

    /**
     * Take a matrix (kept by reference) and build preconditioner or factors.
     * @throw ComputationError if the factorization fails (singular).
     */
    void
    set_up(const TangentMatrix<dim> &K, const bool symmetric = true);

    /// Negative eigenvalues of the matrix of the last set-up; 0 where no
    /// symmetric direct solver counts them.
    unsigned long
    n_negative() const;

    /// The matrix of the last set-up has other values, not too different: keep
    /// what was made for the old ones as far as it serves. Not for a direct
    /// solver.
    void
    refresh();

    /// How well the preconditioner of the last set_up() serves.
    struct Service
    {
      /// Iterations for a decimal of the residual, of the first solves since
      /// the set-up and of the last ones; 0 before.
      double first = 0, last = 0;
      /// Work since the last rate was found, which takes two decimals.
      double iterations = 0, decimals = 0;
    } service;

    /**
     * K x = b (or K^T x = b) to |b - K x| <= tolerance in the Euclidean norm,
     * starting from x. Constrained entries of b and x must be zero.
     * @return iterations (0 for a direct solve)
     * @throw ComputationError if not converged, singular or indefinite.
     */
    unsigned int
    solve(Vector       &x,
          const Vector &b,
          const double  tolerance,
          const bool    transposed = false)
    {
      return solve({&x}, {&b}, {tolerance}, transposed);
    }

    /// The same for several right-hand sides, which read the matrix together.
    /// @return the sum of their iterations
    unsigned int
    solve(const std::vector<Vector *>       &x,
          const std::vector<const Vector *> &b,
          const std::vector<double>         &tolerances,
          const bool                         transposed = false);

    /// Name of what is used for such a matrix, for the log.
    std::string
    description(const bool symmetric) const;

  private:
    /// Conjugate gradients for up to most_columns vectors: dx from zero with
    /// residuals r.
    unsigned int
    conjugate_gradients(const std::vector<Vector *> &dx,
                        const std::vector<Vector *> &r,
                        const std::vector<double>   &tolerances,
                        const std::vector<double>   &sizes);
    /// The same with (flexible) GMRES for one vector.
    unsigned int
    gmres(Vector       &dx,
          const Vector &r,
          const double  tolerance,
          const double  size,
          const bool    transposed) const;
    [[noreturn]] void
    fail_to_converge(const char        *method,
                     const unsigned int iterations,
                     const double       reached,
                     const double       wanted) const;
    struct Implementation;
    std::unique_ptr<Implementation> implementation;
    bool                            symmetric = true;
    const SolverParameters         &parameters;
    const TangentMatrix<dim>       *K = nullptr;
  };
} // namespace Palpate

#endif
