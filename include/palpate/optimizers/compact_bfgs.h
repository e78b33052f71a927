#ifndef palpate_optimizers_compact_bfgs_h
#define palpate_optimizers_compact_bfgs_h

#include <deal.II/lac/lapack_full_matrix.h>

#include <palpate/optimizers/optimizer.h>
#include <palpate/optimizers/weighted_vector.h>

#include <ROL_Secant.hpp>

#include <array>
#include <functional>

namespace Palpate
{
  /**
   * A limited-memory BFGS matrix in compact form (Byrd, Nocedal, Schnabel
   * 1994), B = B_0 - U M^-1 U^T with U = [B_0 S, Y], over B_0 = D + R: D is
   * diagonal, R any positive semidefinite matrix, of which only products are
   * needed. A product with B takes one with R, reads every pair twice and sums
   * over the ranks once. Pairs are kept in single precision.
   */
  class CompactBfgs
  {
  public:
    using Q       = std::vector<double>;
    using Product = std::function<void(const Q &v, Q &Rv)>;

    /// @param storage pairs to keep
    CompactBfgs(const std::shared_ptr<const VectorSpace> &space,
                const unsigned int                        storage)
      : space(space)
      , storage(storage)
      , D(space->weights)
    {}

    /// |s|^2, |y|^2 (dual) and y . s. Collective.
    std::array<double, 3>
    measure(const Q &s, const Q &y) const;

    /// Keep B s = y, in the place of the oldest pair. Collective.
    /// @return false, without keeping it, if y . s is too small for |s| |y|
    bool
    add(const Q &s, const Q &y);

    /// theta W, W the weights of the inner product.
    Q
    uniform(const double theta) const;

    /// theta W times sqrt((b + 0.1) / (a + 0.1)): the curvature is the larger
    /// the more of the changes y an unknown has, compared with its part of the
    /// steps s. a and b are the means over the pairs of s_i^2 / |s|^2 and of
    /// (y_i / w_i)^2 / |y|^2, in units of their weighted mean over the
    /// unknowns. Collective.
    Q
    by_unknown(const double theta) const;

    /// Start from this B_0 (before the first call it is W). Collective; reads
    /// the steps half as often as there are pairs, and takes a product with R
    /// for each. An R that turns out not to be positive is left out.
    /// @param D positive, or empty: 0
    /// @param R may be empty if D is not
    void
    start_from(const Q &D, const Product &R);

    /// Bv = B v, of this rank. Collective.
    void
    vmult(const Q &v, Q &Bv) const;

    unsigned int
    size() const
    {
      return pairs.size();
    }

  private:
    /// Products read nothing but pairs, and take as long as that.
    using Column = std::vector<float>;
    struct Pair
    {
      Column s, y; ///< divided by |s|
      double yy;   ///< |y|^2 of this y
      Q      Rs;   ///< empty without R
    };

    std::shared_ptr<const VectorSpace> space;
    unsigned int                       storage;
    std::vector<Pair>                  pairs;
    Q                                  D;
    Product                            R;
    std::vector<const float *>         s, y;
    std::vector<const double *>        Rs;
    std::vector<std::vector<double>>   sy; ///< s_i . y_j
    /// M with unit diagonal, factorized; and what scaled it.
    dealii::LAPACKFullMatrix<double> middle;
    std::vector<double>              scaling;
  };

  /// A model of the Hessian, for trust_region(); products are collective.
  class HessianModel : public ROL::Secant<double>
  {
  public:
    /// Called with the first point.
    virtual void
    start(const std::vector<double> &point)
    {
      (void)point;
    }

    /// Not needed by a trust region.
    void
    applyH(ROL::Vector<double> &, const ROL::Vector<double> &) const override
    {
      AssertThrow(false, dealii::ExcNotImplemented());
    }
  };
} // namespace Palpate

#endif
