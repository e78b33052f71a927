#include <palpate/optimizers/proximal_bfgs.h>
#include <palpate/optimizers/trust_region.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    using Q = std::vector<double>;

    /// The model of a step, as a function of q + s, in the unit of B so that
    /// a typical curvature is 1.
    class Model : public SmoothFunction
    {
    public:
      Model(const Q           &q,
            const Q           &slope,
            const CompactBfgs &B,
            const double       sigma,
            const double       unit,
            const CheapPart   &part,
            const VectorSpace &space)
        : unit(unit)
        , part(part)
        , q(q)
        , slope(slope)
        , B(B)
        , sigma(sigma)
        , space(space)
      {}

      double
      value(const Q &at) override
      {
        to(at);
        double sum = 0;
        for (std::size_t i = 0; i < s.size(); ++i)
          sum += s[i] * (slope[i] + 0.5 * Bs[i]);
        sum = Utilities::MPI::sum(sum, space.comm);
        return (sum + part.value(at)) / unit;
      }

      void
      gradient(const Q &at, Q &g) override
      {
        to(at);
        part.gradient(at, g);
        for (std::size_t i = 0; i < s.size(); ++i)
          g[i] = (g[i] + slope[i] + Bs[i]) / unit;
      }

      void
      hessian(const Q &, const Q &, Q &) override
      {
        AssertThrow(false, ExcNotImplemented());
      }

      /// (B + sigma W) v
      void
      quadratic(const Q &v, Q &Bv) const
      {
        B.vmult(v, Bv);
        for (std::size_t i = 0; i < v.size(); ++i)
          Bv[i] += sigma * space.weights[i] * v[i];
      }

      const double     unit;
      const CheapPart &part;

    private:
      void
      to(const Q &at)
      {
        if (Utilities::MPI::min(at == last ? 1 : 0, space.comm) == 1)
          return;
        last = s = at;
        for (std::size_t i = 0; i < s.size(); ++i)
          s[i] -= q[i];
        quadratic(s, Bs);
      }

      const Q           &q, &slope;
      const CompactBfgs &B;
      const double       sigma;
      const VectorSpace &space;
      Q                  last, s, Bs;
    };

    /// Its Hessian: (B + sigma W + C) / unit, C the positive Hessian of the
    /// part at the present point with BFGS of the last 5 pairs of its gradient.
    /// They outlive a step.
    class ModelHessian : public HessianModel
    {
    public:
      ModelHessian(const std::shared_ptr<const VectorSpace> &space)
        : C(space, 5)
      {}

      void
      look_at(const Model &m)
      {
        model = &m;
      }

      void
      start(const Q &point) override
      {
        model->part.gradient(point, gradient);
        C.start_from({}, model->part.hessian(point));
      }

      void
      updateStorage(const ROL::Vector<double> &x,
                    const ROL::Vector<double> &,
                    const ROL::Vector<double> &,
                    const ROL::Vector<double> &step,
                    const double,
                    const int) override
      {
        Q y(gradient.size()), now;
        model->part.gradient(WeightedVector::of(x), now);
        for (std::size_t i = 0; i < y.size(); ++i)
          y[i] = now[i] - gradient[i];
        gradient.swap(now);
        C.add(WeightedVector::of(step), y);
        C.start_from({}, model->part.hessian(WeightedVector::of(x)));
      }

      void
      applyB(ROL::Vector<double>       &Bv,
             const ROL::Vector<double> &v) const override
      {
        Q     Cv;
        auto &Hv = WeightedVector::of(Bv);
        C.vmult(WeightedVector::of(v), Cv);
        model->quadratic(WeightedVector::of(v), Hv);
        for (std::size_t i = 0; i < Hv.size(); ++i)
          Hv[i] = (Hv[i] + Cv[i]) / model->unit;
      }

    private:
      CompactBfgs  C;
      const Model *model = nullptr;
      Q            gradient; ///< of the part at the present point
    };

    /// c = 0
    CheapPart
    no_part()
    {
      CheapPart part;
      part.value    = [](const Q &) { return 0.; };
      part.gradient = [](const Q &q, Q &g) { g.assign(q.size(), 0.); };
      part.hessian  = [](const Q &) { return CheapPart::Product(); };
      return part;
    }

    /// The largest change of an unknown in the first step, and what a limit
    /// may shrink to at once. For log alpha: a factor of e^2.
    constexpr double first_reach = 2, least_share = 0.1;

    /// The minimisation: the present iterate, and what steps are found with.
    class ProximalBfgs
    {
    public:
      ProximalBfgs(SmoothFunction                           &function,
                   const Q                                  &start,
                   const Q                                  &lower,
                   const Q                                  &upper,
                   const std::shared_ptr<const VectorSpace> &space,
                   const unsigned int                        stored_pairs,
                   const unsigned int                        model_iterations)
        : function(function)
        , lower(lower)
        , upper(upper)
        , space(space)
        , model_iterations(model_iterations)
        , n(start.size())
        , q(start)
        , g(n)
        , B(space, stored_pairs)
        , hessian(ROL::makePtr<ModelHessian>(space))
      {
        for (std::size_t i = 0; i < n; ++i)
          q[i] = std::clamp(q[i], lower[i], upper[i]);
        now.q     = &q;
        now.value = function.value(q);
        function.gradient(q, g);
        now.gradient_norm = projected_size(q, g);
        part              = part_at(q);
        slope             = slope_with(q, g);
        // The first step, were there no c, would have size 0.1.
        first_theta = 10 * std::sqrt(std::max(B.measure(q, slope)[1],
                                              1e-6 * B.measure(q, g)[1]));
        theta       = first_theta;
        B.start_from(B.uniform(theta), {});
      }

      /// Look for a step, and take it if it is good.
      void
      step()
      {
        const Trial trial = minimise_model();
        Q           s     = trial.q;
        for (std::size_t i = 0; i < n; ++i)
          s[i] -= q[i];
        ++now.iteration;
        now.step_norm = std::sqrt(B.measure(s, s)[0]);
        const double value =
          now.step_norm > 0 ? function.value(trial.q) : now.value;
        const double ratio = (now.value - value) / trial.fall;
        const bool   taken =
          value < now.value && (ratio > 1e-3 || !(trial.fall > 0));
        const bool beyond = limit_next(s, value, ratio, taken);
        if (taken)
          move_to(trial.q, s, value);
        if (beyond)
          ; // a shorter reach is enough
        else if (!taken || ratio < 0.25)
          sigma = std::max(4 * sigma, theta);
        else if (ratio > 0.75 && good)
          sigma = sigma > 1e-2 * theta ? sigma / 4 : 0;
        good = taken;
      }

      OptimizerIteration now{0, 0, 0, 0, nullptr};

    private:
      struct Trial
      {
        Q      q;
        double fall; ///< of the model
      };

      /// The size of the projected gradient.
      double
      projected_size(const Q &q, const Q &g) const
      {
        double sum = 0;
        for (std::size_t i = 0; i < n; ++i)
          {
            const double w    = space->weights[i];
            const double step = std::clamp(q[i] - g[i] / w, lower[i], upper[i]);
            sum += w * (step - q[i]) * (step - q[i]);
          }
        return std::sqrt(Utilities::MPI::sum(sum, space->comm));
      }

      CheapPart
      part_at(const Q &at) const
      {
        return function.has_cheap_part() ? function.cheap_part(at) : no_part();
      }

      /// df, of the gradient of f + c.
      Q
      slope_with(const Q &q, const Q &g) const
      {
        Q slope;
        part.gradient(q, slope);
        for (std::size_t i = 0; i < n; ++i)
          slope[i] = g[i] - slope[i];
        return slope;
      }

      Trial
      minimise_model()
      {
        Q low = lower, high = upper;
        for (std::size_t i = 0; i < n; ++i)
          {
            low[i]  = std::max(low[i], q[i] - reach);
            high[i] = std::min(high[i], q[i] + reach);
          }
        const double unit = theta + sigma;
        Model        model(q, slope, B, sigma, unit, part, *space);
        Trial        trial;
        double       lowest = 0, first = 0, first_gradient = 0;
        hessian->look_at(model);
        trust_region(model,
                     q,
                     low,
                     high,
                     space,
                     hessian,
                     20,
                     1e3, // B + R bounds the curvature: no radius needed
                     [&](const OptimizerIteration &it) {
                       trial.q = *it.q;
                       lowest  = unit * it.value;
                       if (it.iteration == 0)
                         {
                           first          = lowest;
                           first_gradient = it.gradient_norm;
                         }
                       const bool moved = lowest < first;
                       return it.gradient_norm > 0.3 * first_gradient &&
                              it.iteration < (moved ? model_iterations : 50);
                     });
        trial.fall = first - lowest;
        return trial;
      }

      /// A trial value that is worse than the opposite of what the model said
      /// (or none at all), or that disappoints at the end of the reach, was
      /// too far: shorten the reach to where a parabola through value, slope
      /// and trial value has its minimum. With good steps it grows back.
      /// @return whether it was too far
      bool
      limit_next(const Q     &s,
                 const double value,
                 const double ratio,
                 const bool   taken)
      {
        double longest = 0, slope_along = 0;
        for (std::size_t i = 0; i < n; ++i)
          {
            longest = std::max(longest, std::abs(s[i]));
            slope_along += g[i] * s[i];
          }
        longest         = Utilities::MPI::max(longest, space->comm);
        slope_along     = Utilities::MPI::sum(slope_along, space->comm);
        const bool held = longest > 0.9 * reach;
        // Rounding says nothing about the model.
        const bool rises = !(value - now.value <= 1e-8 * std::abs(now.value));
        if (!taken && rises && longest > 0 && (held || !(ratio >= -1)))
          {
            const double minimum =
              -slope_along / (2 * (value - now.value - slope_along));
            reach = longest * (minimum > least_share ? std::min(minimum, 0.5)
                                                     : least_share);
            return true;
          }
        if (taken && ratio > 0.75)
          reach = std::max(std::min(4 * reach, first_reach),
                           held ? 2 * reach : reach);
        return false;
      }

      /// Take the step s, and learn from how the slope changed.
      void
      move_to(const Q &point, const Q &s, const double value)
      {
        const Q q_before = q, g_before = g;
        now.value = value;
        q         = point;
        function.gradient(q, g);
        now.gradient_norm = projected_size(q, g);
        // An outer function may weigh the part anew: both with one weight.
        part  = part_at(q);
        slope = slope_with(q, g);
        Q y   = slope_with(q_before, g_before);
        for (std::size_t i = 0; i < n; ++i)
          y[i] = slope[i] - y[i];
        const auto [ss, yy, sy] = B.measure(s, y);
        theta                   = std::max({std::sqrt(yy / ss),
                                            1e-5 * std::sqrt(B.measure(s, slope)[1]),
                                            1e-12 * first_theta});
        if (!B.add(s, y))
          add_damped(s, y, sy);
        B.start_from(B.by_unknown(theta), {});
      }

      /// f bends down along s: keep a fifth of the curvature that B has there
      /// (Powell 1978), y <- phi y + (1 - phi) B s, so that steps grow.
      void
      add_damped(const Q &s, Q y, const double sy)
      {
        Q Bs;
        B.vmult(s, Bs);
        const double sBs = B.measure(s, Bs)[2];
        const double phi = 0.8 * sBs / (sBs - sy);
        for (std::size_t i = 0; i < n; ++i)
          y[i] = phi * y[i] + (1 - phi) * Bs[i];
        B.add(s, y);
      }

      SmoothFunction                          &function;
      const Q                                 &lower, &upper;
      const std::shared_ptr<const VectorSpace> space;
      const unsigned int                       model_iterations;
      const std::size_t                        n;
      Q                                        q, g;
      CheapPart                                part;  ///< c
      Q                                        slope; ///< df
      CompactBfgs                              B;
      const ROL::Ptr<ModelHessian>             hessian;
      double first_theta = 0, theta = 0, sigma = 0, reach = first_reach;
      bool   good = true; ///< the last step was taken
    };
  } // namespace

  void
  proximal_bfgs(SmoothFunction                           &function,
                const std::vector<double>                &start,
                const std::vector<double>                &lower,
                const std::vector<double>                &upper,
                const std::shared_ptr<const VectorSpace> &space,
                const unsigned int                        stored_pairs,
                const unsigned int                        model_iterations,
                const std::function<bool(const OptimizerIteration &)> &go_on)
  {
    ProximalBfgs method(
      function, start, lower, upper, space, stored_pairs, model_iterations);
    while (go_on(method.now))
      method.step();
  }
} // namespace Palpate
