#include <palpate/core/errors.h>
#include <palpate/inverse/reduced_functional.h>

#include <cmath>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  OuterFunction<dim>::OuterFunction(const std::vector<WeightedTerm<dim>> &terms)
    : terms(terms)
  {}

  template <int dim>
  bool
  OuterFunction<dim>::is_linear() const
  {
    for (const auto &term : terms)
      if (term.weight != 0 && (term.power != 1 || term.is_factor))
        return false;
    return true;
  }

  template <int dim>
  std::vector<double>
  OuterFunction<dim>::parts(const std::vector<double> &A) const
  {
    std::vector<double> result(terms.size(), 0.);
    for (unsigned int i = 0; i < terms.size(); ++i)
      if (terms[i].weight != 0)
        {
          const double p = terms[i].power;
          if ((A[i] < 0 && p != std::round(p)) || (A[i] == 0 && p < 1))
            {
              std::ostringstream text;
              text << "Objective/" << terms[i].name << " is " << A[i]
                   << ", where its Power " << p
                   << " has no derivative; expected a value above 0";
              throw SolverError(text.str());
            }
          result[i] = terms[i].weight * (p == 1 ? A[i] : std::pow(A[i], p));
        }
    return result;
  }

  template <int dim>
  double
  OuterFunction<dim>::value(const std::vector<double> &parts) const
  {
    double sum = 0, product = 1;
    bool   has_sum = false, has_factor = false;
    for (unsigned int i = 0; i < terms.size(); ++i)
      if (terms[i].weight != 0 && terms[i].is_factor)
        {
          product *= parts[i];
          has_factor = true;
        }
      else if (terms[i].weight != 0)
        {
          sum += parts[i];
          has_sum = true;
        }
    return (has_sum || !has_factor ? sum : 1.) * product;
  }

  template <int dim>
  double
  OuterFunction<dim>::slope(const unsigned int i, const double A) const
  {
    const double p = terms[i].power;
    return p == 1 ? terms[i].weight : terms[i].weight * p * std::pow(A, p - 1);
  }

  template <int dim>
  double
  OuterFunction<dim>::bend(const unsigned int i, const double A) const
  {
    const double p = terms[i].power;
    // At 0, which is the least of such a term, it does not change.
    return p == 1 || A == 0
             ? 0.
             : terms[i].weight * p * (p - 1) * std::pow(A, p - 2);
  }

  template <int dim>
  std::vector<double>
  OuterFunction<dim>::gradient(const std::vector<double> &A) const
  {
    // The derivative by part i: the value with 1 in its place, a sum of it.
    const auto          all = parts(A);
    std::vector<double> result(terms.size(), 0.);
    for (unsigned int i = 0; i < terms.size(); ++i)
      if (terms[i].weight != 0)
        {
          auto without = all;
          if (!terms[i].is_factor)
            for (unsigned int j = 0; j < terms.size(); ++j)
              if (!terms[j].is_factor)
                without[j] = 0;
          without[i] = 1;
          result[i]  = slope(i, A[i]) * value(without);
        }
    return result;
  }

  template <int dim>
  std::vector<double>
  OuterFunction<dim>::hessian(const std::vector<double> &A,
                              const std::vector<double> &dA) const
  {
    const auto          all = parts(A);
    std::vector<double> result(terms.size(), 0.);
    for (unsigned int i = 0; i < terms.size(); ++i)
      for (unsigned int j = 0; j < terms.size(); ++j)
        {
          const bool sums = !terms[i].is_factor && !terms[j].is_factor;
          if (terms[i].weight == 0 || terms[j].weight == 0 || (sums && i != j))
            continue;
          auto without = all;
          if (!terms[i].is_factor || !terms[j].is_factor)
            for (unsigned int k = 0; k < terms.size(); ++k)
              if (!terms[k].is_factor)
                without[k] = 0;
          without[i] = without[j] = 1;
          result[i] +=
            (i == j ? bend(i, A[i]) : slope(i, A[i]) * slope(j, A[j])) *
            value(without) * dA[j];
        }
    return result;
  }

  template <int dim>
  ReducedFunctional<dim>::ReducedFunctional(
    StateProblem<dim>                    &problem,
    const Parameterization<dim>          &parameterization,
    const std::vector<WeightedTerm<dim>> &terms,
    const Fields                         &fixed_fields,
    const MPI_Comm                       &comm)
    : problem(problem)
    , parameterization(parameterization)
    , outer(terms)
    , terms(terms)
    , fixed_fields(fixed_fields)
    , comm(comm)
  {}

  template <int dim>
  bool
  ReducedFunctional<dim>::same(const Q &a, const Q &b) const
  {
    const int differ = (a == b ? 0 : 1);
    return Utilities::MPI::max(differ, comm) == 0;
  }

  template <int dim>
  Fields
  ReducedFunctional<dim>::all_fields() const
  {
    Fields all = fixed_fields;
    for (const auto &[name, field] : current.fields)
      all[name] = field;
    return all;
  }

  template <int dim>
  void
  ReducedFunctional<dim>::evaluate(const Q &q)
  {
    if (current.valid && same(q, current.q))
      return;
    if (current.valid)
      std::swap(current, previous);
    if (current.valid && same(q, current.q))
      {
        problem.restore(all_fields(), current.states);
        return;
      }
    // The adjoint at hand is the best start for the new one.
    current.adjoints     = previous.adjoints;
    current.valid        = false;
    current.has_gradient = false;
    current.rederive     = false;
    current.q            = q;
    parameterization.apply(q, current.fields);
    try
      {
        problem.solve(all_fields());
        current.states = problem.states();
        measure();
      }
    catch (const SolverError &)
      {
        // The point before stays, with its state to start from.
        if (previous.valid)
          {
            std::swap(current, previous);
            problem.restore(all_fields(), current.states);
          }
        throw;
      }
    current.valid = true;
  }

  template <int dim>
  void
  ReducedFunctional<dim>::measure()
  {
    const unsigned int S = problem.n_snapshots();
    current.means.assign(terms.size(), 0.);
    for (unsigned int i = 0; i < terms.size(); ++i)
      {
        if (terms[i].weight == 0)
          continue;
        const bool each = terms[i].objective->depends_on_state();
        for (unsigned int s = 0; s < (each ? S : 1); ++s)
          {
            const double share = each ? terms[i].share_of(s, S) : 1.;
            if (share != 0)
              current.means[i] +=
                share * terms[i].objective->value(problem.context(s));
          }
        // Rounding of terms that are nowhere below 0.
        if (std::abs(current.means[i]) < 1e-15)
          current.means[i] = std::max(current.means[i], 0.);
      }
    current.parts = outer.parts(current.means);
    current.value = outer.value(current.parts);
  }

  template <int dim>
  double
  ReducedFunctional<dim>::value(const Q &q)
  {
    evaluate(q);
    return current.value;
  }

  template <int dim>
  void
  ReducedFunctional<dim>::differentiate()
  {
    if (current.has_gradient)
      return;
    const SolveCounts  before = problem.counts;
    const unsigned int S      = problem.n_snapshots();
    current.duals             = std::make_shared<FieldDuals>(current.fields);
    current.direct_duals      = std::make_shared<FieldDuals>(current.fields);
    current.adjoints.resize(S);
    const auto          slopes = outer.gradient(current.means);
    std::vector<Vector> rhs(S);
    for (unsigned int s = 0; s < S; ++s)
      {
        const Context<dim> c       = problem.context(s);
        Vector             sum     = c.discretization.make_vector();
        bool               adjoint = false;
        for (unsigned int i = 0; i < terms.size(); ++i)
          if (terms[i].weight != 0)
            {
              const auto  &term = terms[i];
              const bool   each = term.objective->depends_on_state();
              const double factor =
                slopes[i] * (each ? term.share_of(s, S) : 1.);
              if (factor == 0)
                continue;
              adjoint = adjoint || each;
              if (each)
                term.objective->state_gradient(c, factor, sum);
              if (each || s == 0)
                term.objective->field_gradient(c,
                                               factor,
                                               *current.direct_duals);
            }
        if (current.adjoints[s].size() == 0 && problem.has_second_derivatives())
          current.adjoints[s] = c.discretization.make_vector();
        if (adjoint)
          rhs[s] = std::move(sum);
      }
    problem.add_gradient(rhs, current.adjoints, *current.duals);
    current.duals->add(1., *current.direct_duals);
    for (const auto &[name, field] : current.fields)
      {
        double sum = 0;
        for (const double g : (*current.duals)[name].values)
          sum += std::abs(g);
        if (Utilities::MPI::max(std::isfinite(sum) ? 0 : 1, comm) > 0)
          throw SolverError("the gradient by " + name + " is not finite");
      }
    current.has_gradient = true;
    if (current.rederive)
      problem.counts = before;
    current.rederive = false;
  }

  template <int dim>
  void
  ReducedFunctional<dim>::gradient(const Q &q, Q &g)
  {
    evaluate(q);
    differentiate();
    parameterization.vjp(q, *current.duals, g);
  }

  template <int dim>
  std::vector<double>
  ReducedFunctional<dim>::changes_of_means(const std::vector<Vector> &du,
                                           const Fields &dfields) const
  {
    std::vector<double> changes(terms.size(), 0.);
    for (unsigned int i = 0; i < terms.size(); ++i)
      for (unsigned int s = 0; terms[i].weight != 0 && s < du.size(); ++s)
        {
          const auto  &term  = terms[i];
          const bool   each  = term.objective->depends_on_state();
          const double share = each ? term.share_of(s, du.size()) : 1.;
          if ((!each && s > 0) || share == 0)
            continue;
          const Context<dim> c        = problem.context(s);
          const auto        &D        = c.discretization;
          Vector             by_state = D.make_vector();
          FieldDuals         by_fields(dfields);
          if (each)
            {
              term.objective->state_gradient(c, share, by_state);
              changes[i] += by_state * du[s];
            }
          term.objective->field_gradient(c, share, by_fields);
          double sum = 0;
          for (const auto &[name, d] : dfields)
            for (std::size_t k = 0; k < D.n_owned_values(d); ++k)
              sum += by_fields[name][k] * d[k];
          changes[i] += D.sum(sum);
        }
    return changes;
  }

  template <int dim>
  void
  ReducedFunctional<dim>::hessian(const Q   &q,
                                  const Q   &v,
                                  const bool gauss_newton,
                                  Q         &Hv)
  {
    evaluate(q);
    differentiate();
    const unsigned int S = problem.n_snapshots();
    Fields             dfields;
    parameterization.jvp(q, v, dfields);
    FieldDuals          result(current.fields);
    std::vector<Vector> du(S);
    for (unsigned int s = 0; s < S; ++s)
      {
        // K u' = -h_q v
        Vector rhs = problem.context(s).discretization.make_vector();
        problem.field_jvp(s, dfields, rhs);
        rhs *= -1;
        problem.solve_incremental(s, rhs, false, du[s]);
      }
    auto       slopes = outer.gradient(current.means);
    const bool curved = !outer.is_linear() && !gauss_newton;
    const auto bends =
      curved ? outer.hessian(current.means, changes_of_means(du, dfields))
             : std::vector<double>(terms.size(), 0.);
    auto direct = current.direct_duals;
    if (gauss_newton && !outer.is_linear())
      {
        direct = std::make_shared<FieldDuals>(current.fields);
        for (double &slope : slopes)
          slope = std::max(slope, 0.);
        for (unsigned int i = 0; i < terms.size(); ++i)
          for (unsigned int s = 0; terms[i].weight != 0 && s < S; ++s)
            if (const bool each = terms[i].objective->depends_on_state();
                each || s == 0)
              terms[i].objective->field_gradient(
                problem.context(s),
                slopes[i] * (each ? terms[i].share_of(s, S) : 1.),
                *direct);
      }
    for (unsigned int s = 0; s < S; ++s)
      {
        const Context<dim> c   = problem.context(s);
        Vector             rhs = c.discretization.make_vector(), dlambda;
        // K^T lambda' = J_uu u' + J_uq v - (h_uu[u'] + h_uq[v])^T lambda
        for (unsigned int i = 0; i < terms.size(); ++i)
          if (terms[i].weight != 0)
            {
              const auto  &term  = terms[i];
              const bool   each  = term.objective->depends_on_state();
              const double share = each ? term.share_of(s, S) : 1.;
              if ((!each && s > 0) || share == 0)
                continue;
              term.objective->hessian(c,
                                      slopes[i] * share,
                                      du[s],
                                      dfields,
                                      gauss_newton,
                                      rhs,
                                      result);
              if (bends[i] == 0)
                continue;
              if (each)
                term.objective->state_gradient(c, bends[i] * share, rhs);
              term.objective->field_gradient(c, bends[i] * share, result);
            }
        FieldDuals h(current.fields);
        if (!gauss_newton)
          {
            Vector h_state = c.discretization.make_vector();
            problem.second_vjp(
              s, current.adjoints[s], du[s], dfields, h_state, h);
            rhs -= h_state;
          }
        problem.solve_incremental(s, rhs, true, dlambda);
        // H v = J_qq v + J_qu u' - h_q^T lambda' - (h_qu[u'] + h_qq[v])^T
        // lambda
        problem.field_vjp(s, dlambda, h);
        result.add(-1., h);
      }
    parameterization.vjp(q, result, Hv);
    parameterization.second_vjp(q,
                                v,
                                gauss_newton ? *direct : *current.duals,
                                Hv);
  }

  template <int dim>
  bool
  ReducedFunctional<dim>::is_direct(const unsigned int i) const
  {
    return terms[i].weight != 0 && !terms[i].objective->depends_on_state();
  }

  template <int dim>
  bool
  ReducedFunctional<dim>::has_direct_terms() const
  {
    for (unsigned int i = 0; i < terms.size(); ++i)
      if (is_direct(i))
        return true;
    return false;
  }

  template <int dim>
  Context<dim>
  ReducedFunctional<dim>::stateless(const Fields &fields) const
  {
    const Context<dim> c = problem.context(0);
    return {c.discretization, c.state, fields, c.snapshot, c.constrained};
  }

  template <int dim>
  double
  ReducedFunctional<dim>::direct_value(const Q                   &q,
                                       const std::vector<double> &slopes) const
  {
    Fields fields = fixed_fields;
    parameterization.apply(q, fields);
    double sum = 0;
    for (unsigned int i = 0; i < terms.size(); ++i)
      if (is_direct(i) && slopes[i] > 0)
        sum += slopes[i] * terms[i].objective->value(stateless(fields));
    return sum;
  }

  template <int dim>
  void
  ReducedFunctional<dim>::direct_gradient(const Q                   &q,
                                          const std::vector<double> &slopes,
                                          Q                         &g) const
  {
    Fields fields = fixed_fields;
    parameterization.apply(q, fields);
    FieldDuals duals(fields);
    for (unsigned int i = 0; i < terms.size(); ++i)
      if (is_direct(i) && slopes[i] > 0)
        terms[i].objective->field_gradient(stateless(fields), slopes[i], duals);
    g.assign(q.size(), 0.);
    parameterization.vjp(q, duals, g);
  }

  template <int dim>
  std::function<void(const std::vector<double> &v, std::vector<double> &Rv)>
  ReducedFunctional<dim>::direct_hessian(
    const Q                   &q,
    const std::vector<double> &slopes) const
  {
    const auto fields = std::make_shared<Fields>(fixed_fields);
    parameterization.apply(q, *fields);
    std::vector<typename Objective<dim>::FieldProduct> products;
    for (unsigned int i = 0; i < terms.size(); ++i)
      if (is_direct(i) && slopes[i] > 0)
        products.push_back(
          terms[i].objective->positive_hessian(stateless(*fields), slopes[i]));
    const auto by_q = parameterization.linearize(q);
    return [by_q, fields, products](const Q &v, Q &Rv) {
      Fields dfields;
      by_q.jvp(v, dfields);
      FieldDuals result(dfields);
      for (const auto &product : products)
        product(dfields, result);
      Rv.assign(v.size(), 0.);
      by_q.vjp(result, Rv);
    };
  }

  namespace
  {
    void
    put(std::vector<double> &data, const std::vector<double> &v)
    {
      data.push_back(v.size());
      data.insert(data.end(), v.begin(), v.end());
    }
    std::vector<double>
    take(const std::vector<double> &data, std::size_t &at)
    {
      const std::size_t   n = static_cast<std::size_t>(data.at(at++));
      std::vector<double> v(data.begin() + at, data.begin() + at + n);
      at += n;
      return v;
    }
  } // namespace

  template <int dim>
  std::vector<double>
  ReducedFunctional<dim>::checkpoint() const
  {
    std::vector<double> data;
    for (const Point *p : {&current, &previous})
      {
        data.push_back(p->valid);
        if (!p->valid)
          continue;
        data.push_back(p->has_gradient || p->rederive);
        put(data, p->q);
        put(data, p->means);
        for (const auto *vectors : {&p->states, &p->adjoints})
          {
            data.push_back(vectors->size());
            for (const Vector &v : *vectors)
              put(data, std::vector<double>(v.begin(), v.end()));
          }
      }
    put(data, problem.solver_state());
    return data;
  }

  template <int dim>
  void
  ReducedFunctional<dim>::restore(const std::vector<double> &data)
  {
    std::size_t at = 0;
    for (Point *p : {&current, &previous})
      {
        *p       = Point();
        p->valid = (data.at(at++) != 0);
        if (!p->valid)
          continue;
        p->rederive = (data.at(at++) != 0);
        p->q        = take(data, at);
        p->means    = take(data, at);
        p->parts    = outer.parts(p->means);
        p->value    = outer.value(p->parts);
        for (auto *vectors : {&p->states, &p->adjoints})
          {
            vectors->resize(static_cast<std::size_t>(data.at(at++)));
            for (Vector &v : *vectors)
              {
                const auto all = take(data, at);
                if (vectors == &p->adjoints &&
                    !problem.has_second_derivatives())
                  continue;
                v = problem.context(0).discretization.make_vector();
                std::copy(all.begin(), all.end(), v.begin());
                v.update_ghost_values();
              }
          }
        parameterization.apply(p->q, p->fields);
      }
    if (!current.valid)
      return;
    problem.restore(all_fields(), current.states);
    problem.restore_solver_state(take(data, at));
  }

  template class OuterFunction<2>;
  template class OuterFunction<3>;
  template class ReducedFunctional<2>;
  template class ReducedFunctional<3>;
} // namespace Palpate
