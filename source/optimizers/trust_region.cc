#include <palpate/optimizers/trust_region.h>

#include <ROL_Bounds.hpp>
#include <ROL_Objective.hpp>
#include <ROL_Problem.hpp>
#include <ROL_StatusTest.hpp>
#include <ROL_TypeB_LinMoreAlgorithm.hpp>

namespace Palpate
{
  namespace
  {
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

    /// ROL's bounds; but entries exactly at a bound (eps = 0: eight calls in
    /// each step of conjugate gradients) are pruned in one pass instead of
    /// three.
    class Box : public ROL::Bounds<double>
    {
    public:
      Box(const ROL::Ptr<WeightedVector> &lower,
          const ROL::Ptr<WeightedVector> &upper)
        : ROL::Bounds<double>(lower, upper)
        , lower(lower->data)
        , upper(upper->data)
      {}

      using ROL::Bounds<double>::pruneLowerActive;
      using ROL::Bounds<double>::pruneUpperActive;

      void
      pruneLowerActive(ROL::Vector<double>       &v,
                       const ROL::Vector<double> &x,
                       const double               eps) override
      {
        if (eps > 0 || !isLowerActivated())
          return ROL::Bounds<double>::pruneLowerActive(v, x, eps);
        auto       &entries = WeightedVector::of(v);
        const auto &at      = WeightedVector::of(x);
        for (std::size_t i = 0; i < entries.size(); ++i)
          entries[i] = at[i] <= lower[i] ? 0. : entries[i];
      }

      void
      pruneUpperActive(ROL::Vector<double>       &v,
                       const ROL::Vector<double> &x,
                       const double               eps) override
      {
        if (eps > 0 || !isUpperActivated())
          return ROL::Bounds<double>::pruneUpperActive(v, x, eps);
        auto       &entries = WeightedVector::of(v);
        const auto &at      = WeightedVector::of(x);
        for (std::size_t i = 0; i < entries.size(); ++i)
          entries[i] = at[i] >= upper[i] ? 0. : entries[i];
      }

    private:
      const std::vector<double> &lower, &upper; ///< of what the base keeps
    };

    class StopTest : public ROL::StatusTest<double>
    {
    public:
      StopTest(const std::function<bool(const OptimizerIteration &)> &go_on,
               const ROL::Ptr<HessianModel>                          &model)
        : go_on(go_on)
        , model(model)
      {}

      bool
      check(ROL::AlgorithmState<double> &state) override
      {
        const auto &q = WeightedVector::of(*state.iterateVec);
        if (state.iter == 0 && model)
          model->start(q);
        return go_on({static_cast<unsigned int>(state.iter),
                      state.value,
                      state.gnorm,
                      state.iter == 0 ? 0. : state.snorm,
                      &q});
      }

    private:
      const std::function<bool(const OptimizerIteration &)> &go_on;
      const ROL::Ptr<HessianModel>                          &model;
    };
  } // namespace

  void
  trust_region(SmoothFunction                           &function,
               const std::vector<double>                &start,
               const std::vector<double>                &lower,
               const std::vector<double>                &upper,
               const std::shared_ptr<const VectorSpace> &space,
               const ROL::Ptr<HessianModel>             &model,
               const unsigned int                        krylov_limit,
               const double                              radius,
               const std::function<bool(const OptimizerIteration &)> &go_on)
  {
    const auto make = [&](const std::vector<double> &values) {
      auto v  = ROL::makePtr<WeightedVector>(space, false);
      v->data = values;
      return v;
    };
    ROL::Problem<double> problem(ROL::makePtr<RolObjective>(function),
                                 make(start));
    problem.addBoundConstraint(ROL::makePtr<Box>(make(lower), make(upper)));
    problem.finalize(false, false);

    ROL::ParameterList list;
    auto              &trust = list.sublist("Step").sublist("Trust Region");
    trust.set("Initial Radius", radius);
    trust.set("Maximum Radius", 1e3);
    auto &general = list.sublist("General");
    general.set("Output Level", 0);
    general.sublist("Krylov").set("Iteration Limit",
                                  static_cast<int>(krylov_limit));
    if (model)
      {
        auto &secant = general.sublist("Secant");
        secant.set("Type", "Limited-Memory BFGS");
        secant.set("Use as Hessian", true);
        secant.set("Use as Preconditioner", false);
      }
    ROL::TypeB::LinMoreAlgorithm<double> algorithm(list, model);
    std::ostream                         silent(nullptr);
    algorithm.setStatusTest(ROL::makePtr<StopTest>(go_on, model), false);
    algorithm.run(problem, silent);
  }
} // namespace Palpate
