#ifndef palpate_optimizers_optimizer_h
#define palpate_optimizers_optimizer_h

#include <deal.II/base/mpi.h>

#include <palpate/core/parameters.h>

#include <functional>
#include <string>
#include <vector>

namespace Palpate
{
  /// What costs no solves of a function, at one point.
  struct CheapPart
  {
    std::vector<double> gradient; ///< dual
    /// v -> Rv (dual), a positive approximation of its Hessian; empty if there
    /// is no such part. Products are collective.
    std::function<void(const std::vector<double> &v, std::vector<double> &Rv)>
      hessian;
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
    /// The part that costs no solves, which quasi-Newton models then need not
    /// learn; at an evaluated point. Collective.
    virtual CheapPart
    cheap_part(const Q &q)
    {
      (void)q;
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
  };

  /**
   * Minimise within bounds. lbfgs: trust region (Lin-More) with a
   * limited-memory BFGS model; newton cg: the same trust region with the
   * function's own Hessian products. Both from ROL.
   * @param weights of the inner product: q . r = sum w_i q_i r_i; gradients are
   * Riesz representatives with it, so that iterations do not grow with the
   * mesh.
   * @param callback after every accepted iterate, iteration 0 the start.
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
