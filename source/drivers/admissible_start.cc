#include <palpate/core/errors.h>
#include <palpate/drivers/admissible_start.h>
#include <palpate/equilibrium/together.h>

#include <cmath>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// Halve a size until a trial succeeds. @throw ComputationError the last
    /// failure
    AdmissibleSize
    halve(const std::function<void(double)> &trial)
    {
      const unsigned int most = 24;
      AdmissibleSize     result;
      for (unsigned int i = 0; i <= most; ++i, result.size /= 2)
        try
          {
            trial(result.size);
            return result;
          }
        catch (const SolverError &e)
          {
            if (i == 0)
              result.why = e.what();
            if (i == most)
              throw;
          }
      return result;
    }

    void
    expect_finite(const std::string &what, const double value)
    {
      if (!std::isfinite(value))
        throw SolverError(what + " is not finite");
    }

    /// Whether a force exists at a state: its residual and what makes it.
    template <int dim>
    void
    try_force(const Force<dim> &force, const Context<dim> &context)
    {
      const auto &D = context.discretization;
      Vector      h = D.make_vector();
      together(D.comm, [&]() { force.residual(context, h); });
      expect_finite("a force", h.l2_norm());
      if (!force.has_potential())
        return;
      double energy = 0;
      together(D.comm, [&]() { energy = force.energy(context); });
      expect_finite("an energy", D.sum(energy));
    }
  } // namespace

  template <int dim>
  AdmissibleSize
  admissible_size(const std::vector<std::unique_ptr<Force<dim>>> &forces,
                  const std::vector<WeightedTerm<dim>>           &terms,
                  const Context<dim>                             &context,
                  const unsigned int                              seed)
  {
    return halve([&](const double size) {
      const TestPoint point{true, size};
      // The largest steps of Taylor tests: by the state, the fields, and both.
      const std::vector<std::pair<double, double>> steps = {
        {0., 0.}, {1., 0.}, {0.3, 0.3}, {0., 1.}, {1., 1.}};
      for (const auto &force : forces)
        {
          TaylorSample<dim> x(context, force->field_names(), seed, point);
          for (const auto &[t, s] : steps)
            try_force(*force, x.at(t, s));
        }
      for (const auto &term : terms)
        if (term.weight > 0)
          {
            TaylorSample<dim> x(context,
                                term.objective->field_names(),
                                seed,
                                point);
            for (const auto &[t, s] : steps)
              expect_finite(term.name, term.objective->value(x.at(t, s)));
          }
    });
  }

  template <int dim>
  AdmissibleSize
  admissible_size(ReducedFunctional<dim>    &functional,
                  const std::vector<double> &start,
                  const std::vector<double> &dq,
                  const std::vector<double> &v)
  {
    // Failures of the start itself are the case's, not of a trial.
    expect_finite("the objective at the start", functional.value(start));
    return halve([&](const double size) {
      for (const double t : {0., 1., 0.3})
        {
          std::vector<double> q = start;
          for (std::size_t i = 0; i < q.size(); ++i)
            q[i] += size * (dq[i] + t * v[i]);
          expect_finite("the objective", functional.value(q));
        }
    });
  }

#define INSTANTIATE(dim)                                               \
  template AdmissibleSize admissible_size(                             \
    const std::vector<std::unique_ptr<Force<dim>>> &,                  \
    const std::vector<WeightedTerm<dim>> &,                            \
    const Context<dim> &,                                              \
    const unsigned int);                                               \
  template AdmissibleSize admissible_size(ReducedFunctional<dim> &,    \
                                          const std::vector<double> &, \
                                          const std::vector<double> &, \
                                          const std::vector<double> &);

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
