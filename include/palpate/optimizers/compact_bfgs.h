#ifndef palpate_optimizers_compact_bfgs_h
#define palpate_optimizers_compact_bfgs_h

#include <deal.II/lac/lapack_full_matrix.h>

#include <palpate/optimizers/optimizer.h>
#include <palpate/optimizers/weighted_vector.h>

#include <ROL_Secant.hpp>

#include <functional>

namespace Palpate
{
  /**
   * A limited-memory BFGS matrix in compact form (Byrd, Nocedal, Schnabel
   * 1994), B = B_0 - U M^-1 U^T with U = [B_0 S, Y], over B_0 = theta W + R: W
   * are the weights of the inner product, R any positive semidefinite matrix,
   * of which only products are needed. A product with B takes one with R, reads
   * every pair twice and sums over the ranks once.
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
    {}

    /// Keep B s = y, in the place of the oldest pair. Collective.
    /// @return false, without keeping it, if y . s is too small for |s| |y|
    bool
    add(const std::shared_ptr<const Q> &s, const std::shared_ptr<const Q> &y);

    /// Start from this B_0. Collective; a product with R for every pair. Where
    /// R turns out not to be positive it is left out.
    /// @param R may be empty; theta 0 only if it is not
    void
    start_from(const double theta, const Product &R);

    /// Bv = B v, of this rank. Collective.
    void
    vmult(const Q &v, Q &Bv) const;

    unsigned int
    size() const
    {
      return pairs.size();
    }

  private:
    struct Pair
    {
      std::shared_ptr<const Q> s, y;
      Q                        Rs; ///< empty without R
    };

    std::shared_ptr<const VectorSpace> space;
    unsigned int                       storage;
    std::vector<Pair>                  pairs;
    Product                            R;
    std::vector<const double *>        s, y, Rs;
    /// s_i . W s_j, and s_i . y_j.
    std::vector<std::vector<double>> ss, sy;
    double                           theta = 1;
    /// M with unit diagonal, factorized; and what scaled it.
    dealii::LAPACKFullMatrix<double> middle;
    std::vector<double>              scaling;
  };

  /**
   * The model of the Hessian in the trust region (doc/theory.md 6). Without a
   * part that costs no solves (SmoothFunction::cheap_part): 20 pairs over
   * theta W, theta = |y|^2/(y . s). With one, whose gradient is c and whose
   * positive Hessian R is known at the present point: 20 pairs (s, y - dc) over
   * theta W learn what the solves hide, theta = |y - dc|/|s|; R is added; and 5
   * pairs (s, y) of the whole over that mend what R, a substitute, has wrong
   * along the last steps.
   */
  class HessianModel : public ROL::Secant<double>
  {
  public:
    using Q = std::vector<double>;

    /// @param part_at the part at an accepted point, or an empty one
    HessianModel(
      const std::shared_ptr<const VectorSpace>       &space,
      const std::function<CheapPart(const Q &point)> &part_at = nullptr);

    /// The first point; the pairs start from there. Collective.
    void
    start(const Q &point);

    void
    updateStorage(const ROL::Vector<double> &x,
                  const ROL::Vector<double> &gradient,
                  const ROL::Vector<double> &gradient_before,
                  const ROL::Vector<double> &step,
                  const double               length,
                  const int                  iteration) override;

    void
    applyB(ROL::Vector<double>       &Bv,
           const ROL::Vector<double> &v) const override;

    /// Not needed by a trust region.
    void
    applyH(ROL::Vector<double> &, const ROL::Vector<double> &) const override;

  private:
    std::shared_ptr<const VectorSpace>       space;
    std::function<CheapPart(const Q &point)> part_at;
    CheapPart                                part;
    /// Without a pair they are W.
    CompactBfgs plain, hidden, whole;
  };
} // namespace Palpate

#endif
