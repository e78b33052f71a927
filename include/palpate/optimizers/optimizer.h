#ifndef palpate_optimizers_optimizer_h
#define palpate_optimizers_optimizer_h

#include <deal.II/base/mpi.h>

#include <palpate/core/parameters.h>

#include <functional>
#include <string>
#include <vector>

namespace Palpate
{
  /// A part of a function that costs no solves. Calls are collective.
  struct CheapPart
  {
    using Q = std::vector<double>;
    /// v -> R v (dual)
    using Product = std::function<void(const Q &v, Q &Rv)>;

    std::function<double(const Q &q)> value;
    /// Dual.
    std::function<void(const Q &q, Q &g)> gradient;
    /// A positive approximation R of its Hessian at q.
    std::function<Product(const Q &q)> hessian;
  };

  /// A function of a vector that is spread over ranks; what optimizers see.
  class SmoothFunction
  {
  public:
    using Q = std::vector<double>;

    virtual ~SmoothFunction() = default;
    virtual double
    value(const Q &q) = 0;
    /// Raw derivative (dual vector).
    virtual void
    gradient(const Q &q, Q &g) = 0;
    virtual void
    hessian(const Q &q, const Q &v, Q &Hv) = 0;
    /// Whether there is a part that costs no solves, which quasi-Newton models
    /// then need not learn.
    virtual bool
    has_cheap_part() const
    {
      return false;
    }
    /// This part, as an outer function weighs it at this evaluated point.
    virtual CheapPart
    cheap_part(const Q &at)
    {
      (void)at;
      return {};
    }
    /// Called when an iterate is accepted (relative size of the gradient), so
    /// that inexact solves can follow.
    virtual void
    accept(const double relative_gradient)
    {
      (void)relative_gradient;
    }
  };

  struct OptimizerParameters
  {
    std::string  method             = "lbfgs";
    unsigned int maximum_iterations = 50;
    double       gradient_tolerance = 1e-4;
    double       step_tolerance     = 1e-10;
    double       stagnation         = 1e-9;
    unsigned int maximum_solves     = 0;
    bool         gauss_newton       = false;
    unsigned int model_iterations   = 50;
    unsigned int stored_pairs       = 20;

    static void
    declare_parameters(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters);
  };

  struct OptimizerIteration
  {
    unsigned int               iteration;
    double                     value, gradient_norm, step_norm;
    const std::vector<double> *q;
  };

  struct OptimizerResult
  {
    std::vector<double> q;
    std::string         stop_reason;
    unsigned int        iterations = 0;
    double              value = 0, gradient_norm = 0, first_gradient_norm = 0;
    bool                converged = false; ///< the gradient is small enough
    bool                at_limit  = false; ///< of iterations or solves

    /// Share of the objective that it lost in as many last iterations.
    static constexpr unsigned int recent_iterations = 10;
    double                        recent_fall       = 0;

    /// Of the last gradient and the first; 0 if that is.
    double
    relative_gradient_norm() const;
    /// Whether it was stopped on its way: by a limit, and the objective still
    /// lost more than 1 % recently, or some while the gradient is more
    /// than a tenth of the first.
    bool
    still_falling() const;
    /// The reason; unless converged, with these numbers.
    std::string
    how_it_stopped() const;
  };

  /**
   * Minimise within bounds. lbfgs: proximal_bfgs (proximal_bfgs.h); newton
   * cg: a trust region (Lin-More, ROL) with the function's own Hessian
   * products.
   * @param weights of the inner product: q . r = sum w_i q_i r_i; gradients are
   * Riesz representatives with it, so that iterations do not grow with the
   * mesh.
   * @param callback after every iteration, also of a rejected step; 0 is the
   * start.
   * @param solves_so_far for the budget of solves.
   */
  OptimizerResult
  minimize(SmoothFunction                                        &function,
           const std::vector<double>                             &start,
           const std::vector<double>                             &lower,
           const std::vector<double>                             &upper,
           const std::vector<double>                             &weights,
           const OptimizerParameters                             &parameters,
           const MPI_Comm                                        &comm,
           const std::function<void(const OptimizerIteration &)> &callback,
           const std::function<unsigned long()> &solves_so_far);
} // namespace Palpate

#endif
