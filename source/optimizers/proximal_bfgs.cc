#include <palpate/optimizers/proximal_bfgs.h>
#include <palpate/optimizers/trust_region.h>

#include <algorithm>
#include <cmath>

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
    const std::size_t n = start.size();
    // The size of the projected gradient.
    const auto size_of = [&](const Q &q, const Q &g) {
      double sum = 0;
      for (std::size_t i = 0; i < n; ++i)
        {
          const double w    = space->weights[i];
          const double step = std::clamp(q[i] - g[i] / w, lower[i], upper[i]);
          sum += w * (step - q[i]) * (step - q[i]);
        }
      return std::sqrt(Utilities::MPI::sum(sum, space->comm));
    };

    OptimizerIteration now{0, 0, 0, 0, nullptr};
    Q                  q = start, g(n);
    for (std::size_t i = 0; i < n; ++i)
      q[i] = std::clamp(q[i], lower[i], upper[i]);
    now.q     = &q;
    now.value = function.value(q);
    function.gradient(q, g);
    now.gradient_norm     = size_of(q, g);
    CheapPart  part       = function.cheap_part(q);
    const auto slope_with = [&](const Q &q, const Q &g) {
      Q slope;
      part.gradient(q, slope);
      for (std::size_t i = 0; i < n; ++i)
        slope[i] = g[i] - slope[i];
      return slope;
    };
    Q           slope = slope_with(q, g); // df
    CompactBfgs B(space, stored_pairs);
    // The first step, were there no c, would have size 0.1.
    const double first_theta =
      10 *
      std::sqrt(std::max(B.measure(q, slope)[1], 1e-6 * B.measure(q, g)[1]));
    double theta = first_theta, sigma = 0;
    B.start_from(B.uniform(theta), {});
    const auto hessian = ROL::makePtr<ModelHessian>(space);
    bool       good    = true; // the last step was taken
    while (go_on(now))
      {
        const double unit = theta + sigma;
        Model        model(q, slope, B, sigma, unit, part, *space);
        Q            trial(n);
        double       lowest = 0, first = 0, first_gradient = 0;
        hessian->look_at(model);
        trust_region(model,
                     q,
                     lower,
                     upper,
                     space,
                     hessian,
                     20,
                     1e3, // B + R bounds the curvature: no radius needed
                     [&](const OptimizerIteration &it) {
                       trial  = *it.q;
                       lowest = unit * it.value;
                       if (it.iteration == 0)
                         {
                           first          = lowest;
                           first_gradient = it.gradient_norm;
                         }
                       const bool moved = lowest < first;
                       return it.gradient_norm > 0.3 * first_gradient &&
                              it.iteration < (moved ? model_iterations : 50);
                     });
        Q s = trial;
        for (std::size_t i = 0; i < n; ++i)
          s[i] -= q[i];
        ++now.iteration;
        now.step_norm = std::sqrt(B.measure(s, s)[0]);
        const double value =
          now.step_norm > 0 ? function.value(trial) : now.value;
        const double ratio = (now.value - value) / (first - lowest);
        const bool   taken =
          value < now.value && (ratio > 1e-3 || !(first > lowest));
        if (taken)
          {
            const Q q_before = q, g_before = g;
            now.value = value;
            q         = std::move(trial);
            function.gradient(q, g);
            now.gradient_norm = size_of(q, g);
            // An outer function may weigh the part anew: both with one weight.
            part  = function.cheap_part(q);
            slope = slope_with(q, g);
            Q y   = slope_with(q_before, g_before);
            for (std::size_t i = 0; i < n; ++i)
              y[i] = slope[i] - y[i];
            const auto [ss, yy, sy] = B.measure(s, y);
            theta = std::max(std::sqrt(yy / ss), 1e-6 * first_theta);
            B.add(s, y);
            B.start_from(B.by_unknown(theta), {});
          }
        if (!taken || ratio < 0.25)
          sigma = std::max(4 * sigma, theta);
        else if (ratio > 0.75 && good)
          sigma = sigma > 1e-2 * theta ? sigma / 4 : 0;
        good = taken;
      }
  }
} // namespace Palpate
