#ifndef palpate_optimizers_compact_bfgs_h
#define palpate_optimizers_compact_bfgs_h

#include <deal.II/lac/lapack_full_matrix.h>

#include <palpate/optimizers/weighted_vector.h>

#include <ROL_Secant.hpp>
#include <ROL_lBFGS.hpp>

#include <functional>

namespace Palpate
{
  /**
   * ROL's limited-memory BFGS matrix in its compact form (Byrd, Nocedal,
   * Schnabel 1994): B = B_0 - U M^-1 U^T with U = [B_0 S, Y]. A product reads
   * every pair twice and sums over the ranks once; ROL's own applyB makes
   * vectors anew at every product, quadratic in the storage.
   *
   * B_0 = theta W + R: W are the weights of the inner product, and R is a
   * Hessian the function knows without solves (SmoothFunction::cheap_hessian),
   * so that the pairs need to learn the rest only. Without R theta is ROL's
   * |y|^2 / (y . s); with it |y - R s| / |s|, if that is less.
   */
  class CompactBfgs : public ROL::lBFGS<double>
  {
  public:
    using Q       = std::vector<double>;
    using Product = std::function<void(const Q &v, Q &Rv)>;

    /// @param storage pairs to keep, more than one
    /// @param hessian_at the product with R at a point, or an empty one
    CompactBfgs(
      const std::shared_ptr<const VectorSpace>     &space,
      const int                                     storage,
      const std::function<Product(const Q &point)> &hessian_at = nullptr)
      : ROL::lBFGS<double>(storage)
      , space(space)
      , hessian_at(hessian_at)
    {}

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

    double
    initial_scale() const
    {
      return theta;
    }

  private:
    std::shared_ptr<const VectorSpace>     space;
    std::function<Product(const Q &point)> hessian_at;
    Product                                R;
    std::vector<Q>                         Rs; ///< R s_i; none without R
    const ROL::Vector<double>             *newest = nullptr; ///< step
    std::vector<const double *>            s, y, Rs_columns;
    /// s_i . W s_j, and s_i . y_j.
    std::vector<std::vector<double>> ss, sy;
    double                           theta = 1;
    /// M with unit diagonal, factorized; and what scaled it.
    dealii::LAPACKFullMatrix<double> middle;
    std::vector<double>              scaling;
  };
} // namespace Palpate

#endif
