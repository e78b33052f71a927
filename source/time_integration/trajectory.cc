#include <deal.II/base/timer.h>

#include <palpate/core/errors.h>
#include <palpate/core/interruption.h>
#include <palpate/time_integration/trajectory.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  Trajectory<dim>::Trajectory(MovingBody<dim>                  &body,
                              const TimeParameters             &parameters,
                              const std::vector<Snapshot<dim>> &snapshots,
                              const std::vector<unsigned int>  &steps,
                              const bool                        with_gradients)
    : plan(make_plan(body, parameters, with_gradients))
    , body(body)
    , parameters(parameters)
    , snapshots(snapshots)
    , steps(steps)
    , integrator(Registry<Integrator<dim>>::create(parameters.integrator))
    , states_at(snapshots.size())
    , keeps_states(with_gradients)
  {
    AssertDimension(steps.size(), snapshots.size());
    State zero;
    zero.u = zero.v = body.discretization.make_vector();
    for (auto &s : states_at)
      copy_state(zero, s);
  }

  template <int dim>
  CheckpointPlan
  Trajectory<dim>::make_plan(const MovingBody<dim> &body,
                             const TimeParameters  &parameters,
                             const bool             with_gradients)
  {
    if (!with_gradients)
      return CheckpointPlan(CheckpointPlan::Kind::binomial,
                            parameters.n_steps(),
                            0);
    const auto integrator =
      Registry<Integrator<dim>>::create(parameters.integrator);
    const unsigned int n       = parameters.n_steps();
    const double       vector  = 8. * body.discretization.n_nodes() * dim;
    const double       working = integrator->n_reverse_vectors(parameters);
    // Vectors a slot takes; where all states are kept, neighbours share those
    // they look back at.
    const double memory =
      1e9 * parameters.memory_limit /
      Utilities::MPI::n_mpi_processes(body.discretization.comm);
    using Kind      = CheckpointPlan::Kind;
    const auto slot = [&](const Kind kind) {
      return kind == Kind::all ? 2. : 2. * integrator->n_past();
    };
    const std::vector<std::pair<std::string, Kind>> kinds = {
      {"all", Kind::all},
      {"evenly", Kind::evenly},
      {"binomial", Kind::binomial}};
    double needed = 0;                     // vectors
    for (const auto &[name, kind] : kinds) // in the order of preference
      if (parameters.checkpoints == "automatic" ||
          parameters.checkpoints == name)
        {
          const double slots =
            Utilities::MPI::min(std::floor((memory / vector - working) /
                                           slot(kind)),
                                body.discretization.comm);
          const unsigned int least = CheckpointPlan::n_needed(kind, n);
          if (slots >= least)
            return CheckpointPlan(
              kind, n, static_cast<unsigned int>(std::min(slots, double(n))));
          needed = working + slot(kind) * least;
        }
    std::ostringstream text;
    text.precision(3);
    text << "Checkpoints = " << parameters.checkpoints << " need at least "
         << Utilities::MPI::max(needed * vector, body.discretization.comm) / 1e9
         << " GB on every rank";
    throw EntryError("Time/Memory limit", text.str());
  }

  template <int dim>
  std::string
  Trajectory<dim>::description() const
  {
    std::ostringstream text;
    text.precision(3);
    const double vector = 8. * body.discretization.n_nodes() * dim;
    const double states =
      plan.kind == CheckpointPlan::Kind::all
        ? plan.n_steps
        : std::min<double>(plan.n_slots, plan.n_steps) * integrator->n_past();
    text << plan.text() << " (up to "
         << vector * (2 * states + integrator->n_reverse_vectors(parameters)) /
              1e6
         << " MB a rank)";
    return text.str();
  }

  template <int dim>
  void
  Trajectory<dim>::solve(const Fields &fields)
  {
    Timer timer;
    kept.clear();
    last.reset();
    samples.clear();
    body.fields        = fields;
    const auto initial = body.initial_state(parameters.step);
    try
      {
        integrator->start(body, parameters, *initial);
      }
    catch (const EntryError &e)
      {
        // A trial of an optimizer may be one too many.
        if (!started)
          throw;
        throw SolverError(e.what());
      }
    started           = true;
    History      past = {initial};
    unsigned int s    = 0;
    kept[0]           = past;
    for (unsigned int step = 0;; ++step)
      {
        if (s < steps.size() && steps[s] == step)
          copy_state(*past[0], states_at[s++]);
        // About as often as a motion is written.
        if (watches && (step == plan.n_steps ||
                        step % std::max(1u, plan.n_steps / 50) == 0))
          energies.add(body.energy(*past[0]).list());
        if (step % std::max(1u, plan.n_steps / 8) == 0)
          samples.push_back(past[0]);
        if (step == plan.n_steps)
          break;
        if (step > 0 && keeps_states && plan.keeps(step))
          kept[step] = past;
        Interruption::check(body.discretization.comm);
        try
          {
            integrator->advance(past);
          }
        catch (const SolverError &e)
          {
            kept.clear();
            samples.clear();
            throw SolverError("step " + std::to_string(step + 1) + ": " +
                              e.what());
          }
      }
    last = past[0];
    ++this->counts.forward;
    this->counts.seconds_forward += timer.wall_time() - seconds_of_matrices();
    count_solves();
  }

  template <int dim>
  void
  Trajectory<dim>::watch()
  {
    const SolveCounts before = this->counts;
    energies                 = EnergyWatch();
    watches                  = true;
    try
      {
        solve(Fields(body.fields));
      }
    catch (...)
      {
        watches = false;
        throw;
      }
    watches      = false;
    this->counts = before;
  }

  template <int dim>
  void
  Trajectory<dim>::add_gradient(const std::vector<Vector> &rhs,
                                std::vector<Vector> &,
                                FieldDuals &g)
  {
    if (!last) // after restore()
      solve(Fields(body.fields));
    Timer                 timer;
    std::deque<StateDual> duals(integrator->n_past() + 1);
    for (auto &d : duals)
      d.u = d.v = body.discretization.make_vector();
    const auto observe = [&](const unsigned int step, StateDual &dual) {
      for (unsigned int s = 0; s < steps.size(); ++s)
        if (steps[s] == step && rhs[s].size() > 0)
          for (unsigned int i = 0; i < rhs[s].locally_owned_size(); ++i)
            dual.u.local_element(i) += rhs[s].local_element(i);
    };
    observe(plan.n_steps, duals[0]);
    auto next = last;
    plan.reverse(
      {[&](const unsigned int from, const unsigned int to, const bool all) {
         History past = kept.at(from);
         for (unsigned int step = from; step < to; ++step)
           {
             Interruption::check(body.discretization.comm);
             integrator->advance(past);
             if (all || step + 1 == to)
               kept[step + 1] = past;
           }
       },
       [&](const unsigned int step) {
         const History &past = kept.at(step);
         Interruption::check(body.discretization.comm);
         integrator->reverse(past, *next, duals, g);
         next = past[0];
         // What was the newest is done with.
         duals.push_back(std::move(duals.front()));
         duals.pop_front();
         duals.back().u = 0;
         duals.back().v = 0;
         observe(step, duals[0]);
       },
       [&](const unsigned int step) { kept.erase(step); }});
    const std::array<std::pair<const char *, Vector StateDual::*>, 2> initial =
      {{{"initial_displacement", &StateDual::u},
        {"initial_velocity", &StateDual::v}}};
    for (const auto &[name, part] : initial)
      if (g.has(name))
        for (unsigned int i = 0; i < body.discretization.n_owned_nodes() * dim;
             ++i)
          if (!body.constrained[i])
            g[name][i] += (duals[0].*part).local_element(i);
    // The run is used up but for its beginning.
    last.reset();
    ++this->counts.adjoint;
    this->counts.seconds_adjoint += timer.wall_time() - seconds_of_matrices();
    count_solves();
  }

  template <int dim>
  unsigned int
  Trajectory<dim>::n_balances()
  {
    if (samples.empty())
      {
        const SolveCounts before = this->counts;
        solve(Fields(body.fields));
        this->counts = before;
      }
    return samples.size();
  }

  template <int dim>
  void
  Trajectory<dim>::add_balance_jvp(const unsigned int i,
                                   const Fields      &direction,
                                   Vector            &dh) const
  {
    const State       &state   = *samples[i];
    const auto        &D       = body.discretization;
    const Context<dim> context = body.context(state);
    body.for_each_force([&](const Force<dim> &force) {
      if (&force != &body.inertia)
        force.field_jvp(context, direction, dh);
    });
    const std::string &mass_name = body.inertia.mass.field_name;
    const char *const  rate_name = "damping_rate";
    if (!direction.has(mass_name) && !direction.has(rate_name))
      return;
    // M (a + c v) = f, c the damping rate.
    const Mass<dim> mass(D, true);
    const Vector    m = mass.diagonal(body.mass_field());
    if (direction.has(mass_name))
      {
        Vector a = D.make_vector();
        body.force(state, a);
        for (unsigned int j = 0; j < a.locally_owned_size(); ++j)
          a.local_element(j) /= m.local_element(j);
        a.update_ghost_values();
        mass.vmult_add(direction[mass_name], a, dh);
      }
    if (direction.has(rate_name))
      for (unsigned int j = 0; j < dh.locally_owned_size(); ++j)
        dh.local_element(j) += direction[rate_name][0] * m.local_element(j) *
                               state.v.local_element(j);
  }

  template <int dim>
  double
  Trajectory<dim>::seconds_of_matrices() const
  {
    const SolveCounts &steps = body.equilibrium.counts;
    return steps.seconds_assembly + steps.seconds_setup -
           counted.seconds_assembly - counted.seconds_setup;
  }

  template <int dim>
  void
  Trajectory<dim>::count_solves()
  {
    const SolveCounts &steps = body.equilibrium.counts;
    const auto         add   = [&](const auto part) {
      this->counts.*part += steps.*part - counted.*part;
    };
    add(&SolveCounts::linear_iterations);
    add(&SolveCounts::adjoint_iterations);
    add(&SolveCounts::newton_iterations);
    add(&SolveCounts::set_ups);
    add(&SolveCounts::seconds_assembly);
    add(&SolveCounts::seconds_setup);
    counted = steps;
  }

  template <int dim>
  void
  Trajectory<dim>::restore(const Fields              &fields,
                           const std::vector<Vector> &states)
  {
    body.fields = fields;
    kept.clear();
    last.reset();
    samples.clear();
    started = true;
    set_states(states);
  }

  template <int dim>
  std::vector<Vector>
  Trajectory<dim>::states() const
  {
    std::vector<Vector> all;
    for (const auto &s : states_at)
      all.push_back(ghosted_copy(s.u));
    return all;
  }

  template <int dim>
  void
  Trajectory<dim>::set_states(const std::vector<Vector> &states)
  {
    for (unsigned int s = 0; s < states.size(); ++s)
      {
        states_at[s].u = states[s];
        states_at[s].u.update_ghost_values();
      }
  }

  template class Trajectory<2>;
  template class Trajectory<3>;
} // namespace Palpate
