#ifndef palpate_optimizers_compact_bfgs_h
#define palpate_optimizers_compact_bfgs_h

#include <deal.II/lac/lapack_full_matrix.h>

#include <palpate/optimizers/weighted_vector.h>

#include <ROL_Secant.hpp>
#include <ROL_lBFGS.hpp>

namespace Palpate
{
  /**
   * ROL's limited-memory BFGS matrix in its compact form (Byrd, Nocedal,
   * Schnabel 1994): B = B_0 - U M^-1 U^T with U = [B_0 S, Y], B_0 = theta times
   * the weights of the inner product. A product reads every pair twice and sums
   * over the ranks once; ROL's own applyB makes vectors anew at every product,
   * quadratic in the storage.
   */
  class CompactBfgs : public ROL::lBFGS<double>
  {
  public:
    /// @param storage pairs to keep, more than one
    CompactBfgs(const std::shared_ptr<const VectorSpace> &space,
                const int                                 storage)
      : ROL::lBFGS<double>(storage)
      , space(space)
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

  private:
    std::shared_ptr<const VectorSpace> space;
    const ROL::Vector<double>         *newest = nullptr; ///< step
    std::vector<const double *>        s, y;
    /// s_i . W s_j, and s_i . y_j.
    std::vector<std::vector<double>> ss, sy;
    double                           theta = 1;
    /// M with unit diagonal, factorized; and what scaled it.
    dealii::LAPACKFullMatrix<double> middle;
    std::vector<double>              scaling;
  };
} // namespace Palpate

#endif
