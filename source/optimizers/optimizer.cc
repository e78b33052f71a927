#include <palpate/optimizers/optimizer.h>

#include <ROL_Bounds.hpp>
#include <ROL_Objective.hpp>
#include <ROL_Problem.hpp>
#include <ROL_Secant.hpp>
#include <ROL_StatusTest.hpp>
#include <ROL_TypeB_LinMoreAlgorithm.hpp>
#include <ROL_lBFGS.hpp>

#include <cmath>
#include <limits>
#include <memory>

namespace Palpate
{
  using namespace dealii;

  void
  OptimizerParameters::declare_parameters(ParameterHandler &prm)
  {
    prm.declare_entry("Method",
                      "lbfgs",
                      Patterns::Selection("lbfgs|newton cg"),
                      "Bounded trust region with limited-memory BFGS, or with "
                      "exact Hessian products (two incremental solves each).");
    prm.declare_entry("Maximum iterations",
                      "50",
                      Patterns::Integer(0),
                      "Rejected steps count.");
    prm.declare_entry("Gradient tolerance",
                      "1e-4",
                      Patterns::Double(0),
                      "Stop when the projected gradient is this much smaller "
                      "than the first.");
    prm.declare_entry("Step tolerance",
                      "1e-10",
                      Patterns::Double(0),
                      "Stop when the step (root mean square of the change of "
                      "log alpha) is below.");
    prm.declare_entry("Stagnation tolerance",
                      "1e-9",
                      Patterns::Double(0),
                      "Stop when three iterations in a row lower the objective "
                      "by less than this fraction.");
    prm.declare_entry("Maximum solves",
                      "0",
                      Patterns::Integer(0),
                      "Budget of forward, adjoint and incremental solves; 0: "
                      "none.");
    prm.declare_entry(
      "Gauss Newton",
      "false",
      Patterns::Bool(),
      "newton cg: drop the terms with the adjoint state and use "
      "positive forms of the total variations.");
  }

  void
  OptimizerParameters::parse_parameters(Parameters &p)
  {
    method             = p.get("Method");
    maximum_iterations = p.get_integer("Maximum iterations");
    gradient_tolerance = p.get_double("Gradient tolerance");
    step_tolerance     = p.get_double("Step tolerance");
    stagnation         = p.get_double("Stagnation tolerance");
    maximum_solves     = p.get_integer("Maximum solves");
    if (method == "newton cg")
      gauss_newton = p.get_bool("Gauss Newton");
  }

  namespace
  {
    /// What all vectors of one problem share.
    struct Space
    {
      std::vector<double> weights;
      MPI_Comm            comm;
      int                 dimension;
    };

    /// A primal vector, or a dual one whose inner product has weights 1/w.
    class WeightedVector : public ROL::Vector<double>
    {
    public:
      WeightedVector(const std::shared_ptr<const Space> &space, const bool dual)
        : data(space->weights.size(), 0.)
        , space(space)
        , is_dual(dual)
      {}

      static const std::vector<double> &
      of(const ROL::Vector<double> &x)
      {
        return dynamic_cast<const WeightedVector &>(x).data;
      }
      static std::vector<double> &
      of(ROL::Vector<double> &x)
      {
        return dynamic_cast<WeightedVector &>(x).data;
      }

      void
      plus(const ROL::Vector<double> &x) override
      {
        axpy(1., x);
      }
      void
      scale(const double a) override
      {
        for (double &v : data)
          v *= a;
      }
      void
      axpy(const double a, const ROL::Vector<double> &x) override
      {
        const auto &y = of(x);
        for (std::size_t i = 0; i < data.size(); ++i)
          data[i] += a * y[i];
      }
      double
      dot(const ROL::Vector<double> &x) const override
      {
        const auto &y   = of(x);
        double      sum = 0;
        for (std::size_t i = 0; i < data.size(); ++i)
          sum += data[i] * y[i] *
                 (is_dual ? 1. / space->weights[i] : space->weights[i]);
        return Utilities::MPI::sum(sum, space->comm);
      }
      double
      apply(const ROL::Vector<double> &x) const override
      {
        const auto &y   = of(x);
        double      sum = 0;
        for (std::size_t i = 0; i < data.size(); ++i)
          sum += data[i] * y[i];
        return Utilities::MPI::sum(sum, space->comm);
      }
      double
      norm() const override
      {
        return std::sqrt(dot(*this));
      }
      ROL::Ptr<ROL::Vector<double>>
      clone() const override
      {
        return ROL::makePtr<WeightedVector>(space, is_dual);
      }
      void
      set(const ROL::Vector<double> &x) override
      {
        data = of(x);
      }
      void
      zero() override
      {
        setScalar(0.);
      }
      void
      setScalar(const double c) override
      {
        std::fill(data.begin(), data.end(), c);
      }
      int
      dimension() const override
      {
        return space->dimension;
      }
      const ROL::Vector<double> &
      dual() const override
      {
        if (!dual_vector)
          dual_vector = ROL::makePtr<WeightedVector>(space, !is_dual);
        for (std::size_t i = 0; i < data.size(); ++i)
          dual_vector->data[i] =
            data[i] * (is_dual ? 1. / space->weights[i] : space->weights[i]);
        return *dual_vector;
      }
      void
      applyUnary(const ROL::Elementwise::UnaryFunction<double> &f) override
      {
        for (double &v : data)
          v = f.apply(v);
      }
      void
      applyBinary(const ROL::Elementwise::BinaryFunction<double> &f,
                  const ROL::Vector<double>                      &x) override
      {
        const auto &y = of(x);
        for (std::size_t i = 0; i < data.size(); ++i)
          data[i] = f.apply(data[i], y[i]);
      }
      double
      reduce(const ROL::Elementwise::ReductionOp<double> &r) const override
      {
        double result = r.initialValue();
        for (const double v : data)
          r.reduce(v, result);
        const std::vector<double> all =
          Utilities::MPI::all_gather(space->comm, result);
        result = r.initialValue();
        for (const double v : all)
          r.reduce(v, result);
        return result;
      }

      std::vector<double> data;

    private:
      std::shared_ptr<const Space>     space;
      bool                             is_dual;
      mutable ROL::Ptr<WeightedVector> dual_vector;
    };

    class RolObjective : public ROL::Objective<double>
    {
    public:
      explicit RolObjective(SmoothFunction &function)
        : function(function)
      {}
      double
      value(const ROL::Vector<double> &x, double &) override
      {
        return function.value(WeightedVector::of(x));
      }
      void
      gradient(ROL::Vector<double>       &g,
               const ROL::Vector<double> &x,
               double &) override
      {
        function.gradient(WeightedVector::of(x), WeightedVector::of(g));
      }
      void
      hessVec(ROL::Vector<double>       &Hv,
              const ROL::Vector<double> &v,
              const ROL::Vector<double> &x,
              double &) override
      {
        function.hessian(WeightedVector::of(x),
                         WeightedVector::of(v),
                         WeightedVector::of(Hv));
      }

    private:
      SmoothFunction &function;
    };

    /**
     * ROL's limited-memory BFGS matrix B = B0 + sum_i b_i b_i^T - a_i a_i^T
     * with the vectors kept between products: ROL makes all a_i anew for every
     * product, which is quadratic in the storage (and was two thirds of an
     * inversion), while they only change with the storage.
     */
    class KeptBfgs : public ROL::lBFGS<double>
    {
    public:
      explicit KeptBfgs(const int storage)
        : ROL::lBFGS<double>(storage)
      {}

      void
      updateStorage(const ROL::Vector<double> &x,
                    const ROL::Vector<double> &gradient,
                    const ROL::Vector<double> &gradient_before,
                    const ROL::Vector<double> &step,
                    const double               length,
                    const int                  iteration) override
      {
        ROL::lBFGS<double>::updateStorage(
          x, gradient, gradient_before, step, length, iteration);
        kept = false;
      }

      void
      applyB(ROL::Vector<double>       &Bv,
             const ROL::Vector<double> &v) const override
      {
        if (!kept)
          keep(Bv);
        applyB0(Bv, v);
        for (std::size_t i = 0; i < a.size(); ++i)
          {
            Bv.axpy(v.apply(*b[i]), *b[i]);
            Bv.axpy(-v.apply(*a[i]), *a[i]);
          }
      }

    private:
      void
      keep(const ROL::Vector<double> &like) const
      {
        const auto       &state = *get_state();
        const std::size_t n     = state.current + 1;
        a.resize(n);
        b.resize(n);
        for (std::size_t i = 0; i < n; ++i)
          {
            const auto &s = *state.iterDiff[i];
            b[i]          = like.clone();
            b[i]->set(*state.gradDiff[i]);
            b[i]->scale(1 / std::sqrt(state.product[i]));
            a[i] = like.clone();
            applyB0(*a[i], s);
            for (std::size_t j = 0; j < i; ++j)
              {
                a[i]->axpy(s.apply(*b[j]), *b[j]);
                a[i]->axpy(-s.apply(*a[j]), *a[j]);
              }
            a[i]->scale(1 / std::sqrt(s.apply(*a[i])));
          }
        kept = true;
      }

      mutable std::vector<ROL::Ptr<ROL::Vector<double>>> a, b;
      mutable bool                                       kept = false;
    };

    /// Our stopping rules, and the place where iterates are seen.
    class Status : public ROL::StatusTest<double>
    {
    public:
      Status(const OptimizerParameters                             &parameters,
             SmoothFunction                                        &function,
             const std::function<void(const OptimizerIteration &)> &callback,
             const std::function<unsigned long()> &solves_so_far,
             OptimizerResult                      &result)
        : parameters(parameters)
        , function(function)
        , callback(callback)
        , solves_so_far(solves_so_far)
        , result(result)
      {}

      bool
      check(ROL::AlgorithmState<double> &state) override
      {
        if (state.iter == 0)
          result.first_gradient_norm = state.gnorm;
        // ROL also reports rejected steps as iterations: the value stays.
        const bool moved     = (state.iter == 0 || state.value < last_value);
        result.iterations    = state.iter;
        result.value         = state.value;
        result.gradient_norm = state.gnorm;
        result.q             = WeightedVector::of(*state.iterateVec);
        callback({static_cast<unsigned int>(state.iter),
                  state.value,
                  state.gnorm,
                  state.iter == 0 ? 0. : state.snorm,
                  &result.q});
        function.accept(result.first_gradient_norm > 0
                          ? state.gnorm / result.first_gradient_norm
                          : 0.);
        if (moved && state.iter > 0)
          small_steps = (last_value - state.value <
                             parameters.stagnation * std::abs(state.value)
                           ? small_steps + 1
                           : 0);
        last_value        = state.value;
        std::string &stop = result.stop_reason;
        if (!std::isfinite(state.value) || !std::isfinite(state.gnorm))
          stop = "the objective is not a number";
        else if (state.gnorm <=
                 parameters.gradient_tolerance * result.first_gradient_norm)
          stop = "gradient tolerance reached";
        else if (moved && state.iter > 0 &&
                 state.snorm <= parameters.step_tolerance)
          stop = "step tolerance reached";
        else if (small_steps >= 3)
          stop = "stagnation: the objective no longer falls";
        else if (!moved && state.snorm <= parameters.step_tolerance)
          stop = "step tolerance reached: no shorter step lowers the objective";
        else if (static_cast<unsigned int>(state.iter) >=
                 parameters.maximum_iterations)
          stop = "iteration limit";
        else if (parameters.maximum_solves > 0 &&
                 solves_so_far() >= parameters.maximum_solves)
          stop = "budget of solves used up";
        return stop.empty();
      }

    private:
      const OptimizerParameters                             &parameters;
      SmoothFunction                                        &function;
      const std::function<void(const OptimizerIteration &)> &callback;
      const std::function<unsigned long()>                  &solves_so_far;
      OptimizerResult                                       &result;
      double       last_value  = std::numeric_limits<double>::max();
      unsigned int small_steps = 0;
    };
  } // namespace

  OptimizerResult
  minimize(SmoothFunction                                        &function,
           const std::vector<double>                             &start,
           const std::vector<double>                             &lower,
           const std::vector<double>                             &upper,
           const std::vector<double>                             &weights,
           const OptimizerParameters                             &parameters,
           const MPI_Comm                                        &comm,
           const std::function<void(const OptimizerIteration &)> &callback,
           const std::function<unsigned long()>                  &solves_so_far)
  {
    auto space       = std::make_shared<Space>();
    space->weights   = weights;
    space->comm      = comm;
    space->dimension = static_cast<int>(
      Utilities::MPI::sum(static_cast<unsigned int>(start.size()), comm));

    const auto make = [&](const std::vector<double> &values) {
      auto v  = ROL::makePtr<WeightedVector>(space, false);
      v->data = values;
      return v;
    };
    const auto x = make(start);
    auto       problem =
      ROL::makePtr<ROL::Problem<double>>(ROL::makePtr<RolObjective>(function),
                                         x);
    problem->addBoundConstraint(
      ROL::makePtr<ROL::Bounds<double>>(make(lower), make(upper)));
    problem->finalize(false, false);

    ROL::ParameterList list;
    auto              &trust = list.sublist("Step").sublist("Trust Region");
    trust.set("Initial Radius", -1.);
    trust.set("Maximum Radius", 1e3);
    auto &general = list.sublist("General");
    general.set("Output Level", 0);
    general.sublist("Krylov").set("Iteration Limit", 50);
    ROL::Ptr<ROL::Secant<double>> bfgs;
    if (parameters.method == "lbfgs")
      {
        const int storage = 20;
        bfgs              = ROL::makePtr<KeptBfgs>(storage);
        auto &secant      = general.sublist("Secant");
        secant.set("Type", "Limited-Memory BFGS");
        secant.set("Maximum Storage", storage);
        secant.set("Use as Hessian", true);
        secant.set("Use as Preconditioner", false);
      }
    OptimizerResult result;
    result.q    = start;
    auto status = ROL::makePtr<Status>(
      parameters, function, callback, solves_so_far, result);
    ROL::TypeB::LinMoreAlgorithm<double> algorithm(list, bfgs);
    std::ostream                         silent(nullptr);
    algorithm.setStatusTest(status, false);
    algorithm.run(*problem, silent);
    if (result.stop_reason.empty())
      result.stop_reason = "the optimizer stopped by itself";
    return result;
  }
} // namespace Palpate
