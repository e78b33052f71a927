#ifndef palpate_equilibrium_symmetric_factorization_h
#define palpate_equilibrium_symmetric_factorization_h

#include <palpate/geometry/tangent_matrix.h>

#include <memory>

namespace Palpate
{
  /**
   * L D L^T of a symmetric, possibly indefinite tangent (MUMPS): what it knows
   * beside solving is the inertia, the number of negative eigenvalues.
   * Collective.
   */
  template <int dim>
  class SymmetricFactorization
  {
  public:
    /// Factorize K + shift I. @throw SolverError
    SymmetricFactorization(const TangentMatrix<dim> &K, const double shift = 0);
    ~SymmetricFactorization();

    /// Negative eigenvalues of the free-free matrix.
    unsigned long
    n_negative() const;

    /// x := (K + shift I)^-1 x for every vector.
    void
    solve(std::vector<Vector> &x) const;

  private:
    struct Implementation;
    std::unique_ptr<Implementation> implementation;
  };

  /// The lowest eigenvalues of a tangent on free DoFs, relative to its largest,
  /// ascending, and their modes (largest entry 1, ghosted).
  template <int dim>
  struct LowestModes
  {
    std::vector<double> eigenvalues;
    std::vector<Vector> modes;

    /// Below this an eigenvalue is zero: rounding gives 1e-16 to 1e-14.
    static constexpr double zero = 1e-12;
    unsigned int
    n_zero() const
    {
      unsigned int n = 0;
      for (const double e : eigenvalues)
        n += (e < zero);
      return n;
    }
  };

  /**
   * Subspace iteration with the factors of the shifted matrix. @param K
   * positive semidefinite
   */
  template <int dim>
  LowestModes<dim>
  lowest_modes(const TangentMatrix<dim> &K, const unsigned int n);
} // namespace Palpate

#endif
