#ifndef palpate_time_integration_implicit_springs_h
#define palpate_time_integration_implicit_springs_h

#include <array>
#include <memory>
#include <vector>

namespace Palpate
{
  /**
   * The implicit part of an IMEX step of a network (doc/theory.md 14), whole on
   * one rank: x that minimises
   *
   *   Phi(x) = 1/(2 h^2) sum_i m_i |x_i - y_i|^2 + sum_s k/2 (|d_s| - l)^2.
   *
   * A local-global iteration turns every spring's rest length into its present
   * direction and solves A x = M y/h^2 + J d, A = M/h^2 + L with the Laplacian
   * L of the spring constants: one scalar sparse Cholesky factor, made once,
   * serves all components and steps. Near the solution Newton's method goes on,
   * its equations solved by conjugate gradients with A as preconditioner.
   * Arrays of positions are (N * dim), point by point.
   */
  template <int dim>
  class ImplicitSprings
  {
  public:
    using Springs = std::vector<std::array<unsigned int, 2>>;

    /**
     * @param springs,constants,lengths of every spring; constants [N/m] > 0
     * @param masses [kg] of every point, > 0
     * @param fixed 1 for points whose place is given
     * @param h step [s]
     * @throw SolverError if the Cholesky factorization fails
     */
    ImplicitSprings(const Springs             &springs,
                    const std::vector<double> &constants,
                    const std::vector<double> &lengths,
                    const std::vector<double> &masses,
                    const std::vector<char>   &fixed,
                    const double               h);
    ~ImplicitSprings();

    struct Settings
    {
      unsigned int iterations = 0; ///< local-global; 0: to the tolerance
      bool         newton     = true;
      double       tolerance  = 1e-14; ///< of |grad Phi|, see solve()
    };
    struct Counts
    {
      unsigned long local_global = 0, newton = 0, linear = 0, direct = 0;
    };

    /**
     * @param y where the points would go without springs, and fixed points are
     * @param w x - y, which is small where x is far from 0; 0 on fixed points
     * |grad Phi| is compared with |M w|/h^2 + |k |d||.
     * @throw SolverError naming a spring of length 0, or if it does not
     * converge
     */
    void
    solve(const std::vector<double> &y,
          std::vector<double>       &w,
          const Settings            &settings);

    /// z = (M/h^2 + K_s(x))^-1 b on free points, K_s the true Hessian of the
    /// springs; 0 on fixed ones. @throw SolverError if it is singular
    void
    solve_tangent(const std::vector<double> &x,
                  const std::vector<double> &b,
                  std::vector<double>       &z);

    /// Nonzeros of the factor.
    std::size_t
    n_nonzeros() const;

    Counts counts;

  private:
    struct Implementation;
    std::unique_ptr<Implementation> implementation;
  };
} // namespace Palpate

#endif
