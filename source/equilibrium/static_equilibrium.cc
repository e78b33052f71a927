#include <deal.II/base/timer.h>

#include <palpate/core/errors.h>
#include <palpate/core/interruption.h>
#include <palpate/equilibrium/norm.h>
#include <palpate/equilibrium/static_equilibrium.h>
#include <palpate/equilibrium/together.h>

#include <iomanip>
#include <limits>
#include <numeric>
#include <random>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// Of a solve. What it assembles and sets up is counted apart.
    class SolveTimer
    {
    public:
      explicit SolveTimer(const SolveCounts &counts)
        : counts(counts)
        , before(of_matrices())
      {}
      double
      seconds() const
      {
        return timer.wall_time() - (of_matrices() - before);
      }

    private:
      double
      of_matrices() const
      {
        return counts.seconds_assembly + counts.seconds_setup;
      }

      const SolveCounts &counts;
      const double       before;
      Timer              timer; // starts when it is made
    };
  } // namespace

  void
  NewtonParameters::declare_parameters(ParameterHandler &prm)
  {
    prm.declare_entry("Relative tolerance",
                      "1e-10",
                      Patterns::Double(),
                      "Residual |h| relative to that of the prescribed motion "
                      "and loads at zero interior displacement.");
    prm.declare_entry("Maximum iterations",
                      "50",
                      Patterns::Integer(1),
                      "Of Newton, in one load step.");
    prm.declare_entry("Load steps",
                      "1",
                      Patterns::Integer(1),
                      "Prescribed motion and loads are applied in this many "
                      "equal steps; the ground is whole in all of them. A step "
                      "whose motion alone inverts cells or goes through the "
                      "ground is halved.");
    prm.declare_entry("Tangent",
                      "consistent",
                      Patterns::Selection("consistent|small strain"),
                      "Matrix of Newton's steps. small strain, as published "
                      "for springs, leaves out what is proportional to their "
                      "tension: more steps to the same state. The matrix of "
                      "the adjoint is another entry, Model/Tangent.");
  }

  void
  NewtonParameters::parse_parameters(Parameters &p)
  {
    relative_tolerance = p.get_double("Relative tolerance");
    if (!(relative_tolerance > 0 && relative_tolerance < 1))
      p.fail("Relative tolerance", "expected a value between 0 and 1");
    maximum_iterations = p.get_integer("Maximum iterations");
    load_steps         = p.get_integer("Load steps");
    tangent            = (p.get("Tangent") == "consistent" ? Tangent::consistent
                                                           : Tangent::small_strain);
  }

  template <int dim>
  StaticEquilibrium<dim>::StaticEquilibrium(
    const Discretization<dim>                 &discretization,
    const std::vector<char>                   &constrained,
    const std::vector<Snapshot<dim>>          &snapshots,
    std::vector<std::unique_ptr<Force<dim>>> &&forces,
    const SolverParameters                    &solver_parameters,
    const NewtonParameters                    &newton_parameters,
    const ConditionalOStream                  &log)
    : forces(std::move(forces))
    , discretization(discretization)
    , constrained(constrained)
    , snapshots(snapshots)
    , solver_parameters(solver_parameters)
    , direct_parameters(solver_parameters)
    , newton_parameters(newton_parameters)
    , log(log)
    , tolerance(solver_parameters.relative_tolerance)
    , state(snapshots.size())
    , residual_norms(snapshots.size(), 0.)
  {
    direct_parameters.direct = true;
    for (const auto &force : this->forces)
      {
        depends.state  = depends.state || force->tangent_depends_on().state;
        depends.frames = depends.frames || force->tangent_depends_on().frames;
        depends.velocity =
          depends.velocity || force->tangent_depends_on().velocity;
        symmetric = symmetric && force->has_symmetric_tangent();
        if (force->adjoint_tangent() != Tangent::consistent)
          adjoint_tangent = force->adjoint_tangent();
      }
    for (auto &s : state)
      s.u = ghosted_copy(discretization.make_vector());
    const unsigned int n =
      (depends.state || depends.frames) ? snapshots.size() : 1;
    for (unsigned int i = 0; i < n; ++i)
      systems.push_back(std::make_unique<System>(discretization,
                                                 constrained,
                                                 solver_parameters));
  }

  template <int dim>
  bool
  StaticEquilibrium<dim>::assumes_small_strain() const
  {
    for (const auto &force : forces)
      if (force->assumes_small_strain())
        return true;
    return false;
  }

  template <int dim>
  bool
  StaticEquilibrium<dim>::may_have_zero_energy_modes() const
  {
    for (const auto &force : forces)
      if (force->may_have_zero_energy_modes())
        return true;
    return false;
  }

  template <int dim>
  LowestModes<dim>
  StaticEquilibrium<dim>::lowest_modes(const Fields      &fields,
                                       const unsigned int s,
                                       const unsigned int n)
  {
    System &sys = system(s);
    State   rest;
    rest.u = ghosted_copy(discretization.make_vector());
    rest.v = ghosted_copy(rest.u);
    sys.matrix.set_zero();
    for (const auto &force : forces)
      force->add_tangent(
        {discretization, rest, fields, snapshots[s], constrained},
        Tangent::small_strain,
        sys.matrix);
    sys.current = false;
    return Palpate::lowest_modes(sys.matrix, n);
  }

  template <int dim>
  unsigned long
  StaticEquilibrium<dim>::n_negative_modes(const unsigned int s)
  {
    System &sys = system(s);
    sys.matrix.set_zero();
    sum().add_tangent(context(s), Tangent::consistent, sys.matrix);
    sys.current = false;
    return SymmetricFactorization<dim>(sys.matrix).n_negative();
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::clear_constrained(Vector &v) const
  {
    for (unsigned int i = 0; i < v.locally_owned_size(); ++i)
      if (constrained[i])
        v.local_element(i) = 0;
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::residual(const Context<dim> &c, Vector &h) const
  {
    h.zero_out_ghost_values();
    h = 0;
    sum().residual(c, h);
    clear_constrained(h);
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::assemble(const unsigned int  s,
                                   const Context<dim> &c,
                                   const Tangent       kind,
                                   const bool          keep)
  {
    System &sys = system(s);
    Timer   timer;
    sys.matrix.set_zero();
    sys.direct.reset();
    sum().add_tangent(c, kind, sys.matrix);
    this->counts.seconds_assembly += timer.wall_time();
    set_up(sys, keep);
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::assemble_blend(const unsigned int  s,
                                         const Context<dim> &c,
                                         const double        share,
                                         const bool          keep)
  {
    if (share == 1 || share == 0)
      {
        assemble(s,
                 c,
                 share == 1 ? newton_parameters.tangent : Tangent::positive,
                 keep);
        return;
      }
    System &sys = system(s);
    Timer   timer;
    sys.matrix.set_zero();
    sys.direct.reset();
    sum().add_tangent(c, newton_parameters.tangent, sys.matrix);
    sys.matrix.scale(share / (1 - share));
    sum().add_tangent(c, Tangent::positive, sys.matrix);
    sys.matrix.scale(1 - share);
    this->counts.seconds_assembly += timer.wall_time();
    set_up(sys, keep);
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::set_up(System &sys, const bool keep)
  {
    Timer timer;
    sys.kept = keep && sys.solver.service.first > 0;
    if (sys.kept)
      sys.solver.refresh();
    else
      {
        sys.solver.set_up(sys.matrix, symmetric);
        if (reuse_limit > 0)
          levels_of = fields;
        ++this->counts.set_ups;
      }
    this->counts.seconds_setup += timer.wall_time();
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::solve(const Fields &new_fields)
  {
    in_motion = false;
    solve_snapshots(new_fields, false);
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::solve_step(const Fields &new_fields,
                                     const bool    same_tangent)
  {
    in_motion = true;
    solve_snapshots(new_fields, same_tangent);
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::linearize(const Fields &new_fields,
                                    const Vector &u,
                                    const bool    same_tangent)
  {
    fields = new_fields;
    set_states({u});
    if (!same_tangent || !is_linear())
      for (auto &sys : systems)
        sys->current = false;
  }

  template <int dim>
  double
  StaticEquilibrium<dim>::norm_of_forces(const Context<dim> &c,
                                         const bool          held) const
  {
    double sum = 0;
    together(discretization.comm, [&]() {
      for (const auto &force : forces)
        {
          Vector part = discretization.make_vector();
          force->residual(c, part);
          if (!held)
            clear_constrained(part);
          for (unsigned int i = 0; i < part.locally_owned_size(); ++i)
            sum += part.local_element(i) * part.local_element(i);
        }
    });
    return std::sqrt(discretization.sum(sum));
  }

  template <int dim>
  double
  StaticEquilibrium<dim>::size_in_motion(const Context<dim> &c,
                                         const double        rest,
                                         const double        relative) const
  {
    return std::max(norm_of_forces(c, false), 1e-14 / relative * rest);
  }

  template <int dim>
  double
  StaticEquilibrium<dim>::rounding_of_residual(const Context<dim> &c) const
  {
    Vector       error = discretization.make_vector(), h = error;
    std::mt19937 sign(1);
    for (unsigned int n = 0; n < discretization.n_owned_nodes(); ++n)
      for (unsigned int d = 0; d < dim; ++d)
        {
          const unsigned int i = n * dim + d;
          const double       x = std::abs(discretization.node_position(n)[d]) +
                           std::abs(c.state.u.local_element(i));
          if (!constrained[i])
            error.local_element(i) =
              (sign() & 1 ? x : -x) * std::numeric_limits<double>::epsilon();
        }
    error.update_ghost_values();
    sum().apply_tangent(c, error, h);
    clear_constrained(h);
    return norm_of(h);
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::solve_snapshots(const Fields &new_fields,
                                          const bool    same_tangent)
  {
    fields = new_fields;
    if (!same_tangent || !is_linear())
      for (auto &sys : systems)
        sys->current = false;
    if (is_linear() && systems.size() == 1)
      {
        std::vector<unsigned int> all(snapshots.size());
        std::iota(all.begin(), all.end(), 0u);
        solve_linear(all);
        this->counts.forward += all.size();
        return;
      }
    for (unsigned int s = 0; s < snapshots.size(); ++s)
      {
        if (is_linear())
          solve_linear({s});
        else
          {
            const bool warm = norm_of(state[s].u) > 0;
            try
              {
                solve_nonlinear(s);
              }
            catch (const SolverError &e)
              {
                if (in_motion)
                  throw;
                if (!warm)
                  throw SolverError(e.what() + buckling(s));
                // From the last solution in vain: again from the start, with
                // all load steps.
                log << "  Newton from the last solution failed, starting anew"
                    << std::endl;
                state[s].u.zero_out_ghost_values();
                state[s].u = 0;
                try
                  {
                    solve_nonlinear(s);
                  }
                catch (const SolverError &again)
                  {
                    throw SolverError(again.what() + buckling(s));
                  }
              }
          }
        ++this->counts.forward;
      }
  }

  template <int dim>
  std::string
  StaticEquilibrium<dim>::buckling(const unsigned int s)
  {
    try
      {
        const unsigned long n = n_negative_modes(s);
        if (n > 0)
          return "; the tangent where it stopped has " + std::to_string(n) +
                 " negative modes: the body buckles there, which shear springs "
                 "or a volume term (Model) may prevent";
      }
    catch (const SolverError &)
      {} // not even that can be computed there
    return "";
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::solve_linear(
    const std::vector<unsigned int> &together)
  {
    System &sys = system(together[0]);
    if (!sys.current)
      {
        assemble(together[0],
                 context(together[0]),
                 Tangent::consistent,
                 sys.solver.service.last <
                   reuse_limit * sys.solver.service.first);
        sys.current = true;
      }
    Timer                       timer;
    const unsigned int          m = together.size();
    std::vector<Vector>         h(m, discretization.make_vector()), du = h;
    std::vector<Vector *>       increments;
    std::vector<const Vector *> rhs;
    std::vector<double>         size(m), wanted;
    for (unsigned int i = 0; i < m; ++i)
      {
        const unsigned int s     = together[i];
        const Vector       start = ghosted_copy(state[s].u);
        auto              &u     = state[s].u;
        // |b|: the residual with the prescribed values and zero elsewhere.
        for (unsigned int j = 0; j < discretization.n_nodes() * dim; ++j)
          u.local_element(j) =
            (constrained[j] ? snapshots[s].prescribed.local_element(j) : 0.);
        residual(context(s), h[i]);
        size[i] = norm_of(h[i]);
        if (!std::isfinite(size[i]))
          throw SolverError("prescribed motion, loads and stiffness give "
                            "forces that are not finite");
        // Warm start.
        for (unsigned int j = 0; j < discretization.n_nodes() * dim; ++j)
          if (!constrained[j])
            u.local_element(j) = start.local_element(j);
        if (in_motion)
          size[i] = size_in_motion(context(s), size[i], tolerance);
      }
    for (unsigned int pass = 0; pass < 3; ++pass)
      {
        increments.clear();
        rhs.clear();
        wanted.clear();
        std::vector<unsigned int> todo;
        for (unsigned int i = 0; i < m; ++i)
          {
            const unsigned int s = together[i];
            residual(context(s), h[i]);
            residual_norms[s] = norm_of(h[i]);
            if (residual_norms[s] <= tolerance * size[i])
              continue;
            h[i] *= -1;
            du[i] = 0;
            state[s].u.zero_out_ghost_values();
            todo.push_back(i);
            increments.push_back(&du[i]);
            rhs.push_back(&h[i]);
            wanted.push_back(0.9 * tolerance * size[i]);
          }
        if (todo.empty())
          break;
        this->counts.linear_iterations +=
          solve_linear_systems(sys, increments, rhs, wanted, false);
        for (const unsigned int i : todo)
          {
            const unsigned int s = together[i];
            state[s].u += du[i];
            state[s].u.update_ghost_values();
            if (pass == 2)
              {
                residual(context(s), h[i]);
                residual_norms[s] = norm_of(h[i]);
                // Rounding may stop it just above the tolerance, not elsewhere.
                if (residual_norms[s] >
                    std::max(10 * tolerance, 1e-10) * size[i])
                  throw SolverError(
                    "the equilibrium was left with a residual of " +
                    std::to_string(residual_norms[s] / size[i]) +
                    " of the right-hand side");
              }
          }
      }
    this->counts.seconds_forward += timer.wall_time();
  }

  template <int dim>
  unsigned int
  StaticEquilibrium<dim>::solve_linear_systems(
    System                            &sys,
    const std::vector<Vector *>       &x,
    const std::vector<const Vector *> &b,
    const std::vector<double>         &tolerances,
    const bool                         transposed)
  {
    Interruption::check(discretization.comm);
    if (!sys.kept)
      return sys.solver.solve(x, b, tolerances, transposed);
    std::vector<Vector> start;
    for (const Vector *v : x)
      start.push_back(*v);
    try
      {
        return sys.solver.solve(x, b, tolerances, transposed);
      }
    catch (const SolverError &)
      {
        // The levels of other fields may be to blame.
        set_up(sys);
        for (unsigned int i = 0; i < x.size(); ++i)
          *x[i] = start[i];
        return sys.solver.solve(x, b, tolerances, transposed);
      }
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::solve_nonlinear(const unsigned int s)
  {
    const SolveTimer timer(this->counts);
    auto            &u = state[s].u;
    Vector           h = discretization.make_vector(), du = h, trial = h;
    // Whatever happens, the loads are whole afterwards.
    struct WholeLoad
    {
      double &factor;
      ~WholeLoad()
      {
        factor = 1;
      }
    } whole_load{load_factor};

    const auto prescribe = [&](const double part) {
      for (unsigned int i = 0; i < discretization.n_nodes() * dim; ++i)
        if (constrained[i])
          u.local_element(i) = part * snapshots[s].prescribed.local_element(i);
      follow(state[s]);
    };
    // Size of the problem: residual of the full prescribed motion and loads at
    // zero interior displacement.
    const Context<dim> c     = context(s);
    const Vector       start = ghosted_copy(u);
    const bool         warm  = in_motion || norm_of(start) > 0;
    u.zero_out_ghost_values();
    u = 0;
    u.set_ghost_state(true);
    prescribe(1);
    load_factor = 1;
    try
      {
        residual(c, h);
      }
    catch (const SolverError &)
      {
        // The prescribed motion alone inverts cells: linearized instead.
        trial = ghosted_copy(u);
        u.zero_out_ghost_values();
        u = 0;
        u.set_ghost_state(true);
        follow(state[s]);
        try
          {
            residual(c, h);
            sum().apply_tangent(c, trial, h);
            clear_constrained(h);
          }
        catch (const SolverError &)
          {
            // A body may move where its undeformed shape cannot be.
            if (!in_motion)
              throw;
            h.zero_out_ghost_values();
            h = 0;
          }
      }
    double size = norm_of(h);
    if (in_motion)
      {
        u.zero_out_ghost_values();
        u = start;
        u.update_ghost_values();
        prescribe(1);
        size = size_in_motion(c, size, newton_parameters.relative_tolerance);
      }
    const double tolerance = newton_parameters.relative_tolerance * size;

    // Levels of multigrid that were made for an earlier matrix of this solve
    // are kept while they serve; what came before must not matter (a step in
    // time can be repeated, bit by bit).
    constexpr double longer     = 1.3; ///< than with levels of its own
    bool             has_levels = false;
    System          &sys        = system(s);
    std::string      trouble; // of the last linear solve
    const auto       solve = [&](const double wanted) {
      // Direction with the assembled matrix; false where it is no use.
      du = 0;
      try
        {
          Vector rhs = h;
          rhs *= -1;
          this->counts.linear_iterations +=
            solve_linear_systems(sys, {&du}, {&rhs}, {wanted}, false);
        }
      catch (const SolverError &e)
        {
          trouble = e.what();
          return false;
        }
      return du * h < 0;
    };
    const auto move = [&](const double step) {
      u.zero_out_ghost_values();
      u = trial;
      u.add(step, du);
      u.update_ghost_values();
      follow(state[s]);
    };
    // What a step lowers: the energy, and what is dissipated on its way from
    // where it starts, whose derivatives by u are h there.
    const auto merit = [&]() {
      double e = sum().energy(c);
      if (depends.velocity)
        {
          State from;
          from.u = ghosted_copy(trial);
          from.v = ghosted_copy(state[s].v);
          const Context<dim> there{
            discretization, from, fields, snapshots[s], constrained};
          double power = 0;
          together(discretization.comm, [&]() {
            for (const auto &force : forces)
              power += force->dissipation(there);
          });
          e += discretization.sum(power) / velocity_rate;
        }
      return e;
    };

    // Whether the residual where move() went is at most half of that before.
    const auto residual_halves = [&]() {
      Vector there = discretization.make_vector();
      residual(c, there);
      return norm_of(there) < 0.5 * norm_of(h);
    };

    // The longest step along du that lowers the energy enough; close to the
    // solution, where rounding hides its change, the whole step.
    const auto backtrack = [&](const double before) {
      const double slope = du * h;
      for (double length = 1; length > 1e-6; length *= 0.5)
        {
          move(length);
          const double e = merit(); // infinite if cells are inverted
          if (!std::isfinite(e))
            continue;
          if (e <= before + 1e-4 * length * slope ||
              std::abs(length * slope) < 1e-12 * std::abs(before))
            return true;
          // With what is dissipated frozen, the lowest place is not quite the
          // solution: a whole step that halves the residual is good, too.
          if (depends.velocity && length == 1 && residual_halves())
            return true;
        }
      return false;
    };

    // Where the tangent is indefinite (as conjugate gradients find out by
    // themselves) du may lead to a saddle, downhill or not: such a step is good
    // only close to a solution, where the whole of it works.
    const auto advance = [&](const double before, const double share) {
      if (share == 0 || sys.solver.n_negative() == 0)
        return backtrack(before);
      move(1);
      return std::isfinite(merit()) && residual_halves();
    };

    // Shares of the consistent tangent, tried in this order; the rest is its
    // positive substitute.
    const std::array<double, 4> shares = {{1., 0.75, 0.5, 0.}};
    const unsigned int          steps  = newton_parameters.load_steps;
    u.zero_out_ghost_values();
    u = 0;
    u.update_ghost_values();
    if (warm) // the whole load at once, from the last solution
      {
        u.zero_out_ghost_values();
        u = start;
        u.update_ghost_values();
        prescribe(1);
      }
    // A residual that is no more than what rounding of the positions makes of
    // it (which a small load on a stiff body is soon below) is as good as zero.
    const auto only_rounding = [&](const double norm) {
      return norm < 1e-6 * size && norm <= 10 * rounding_of_residual(c);
    };
    const auto stagnates = [&]() {
      const std::vector<double> &r = residual_history;
      return r.size() > 1 && r.back() > 0.5 * r[r.size() - 2];
    };
    // From the last state to a part of prescribed motion and loads: as far
    // along what is linear there as lowers the energy. @return false if already
    // the prescribed motion inverts cells or goes through the ground
    const auto predict = [&](const double part) {
      // The increment of the prescribed motion is spread over the body.
      load_factor = part;
      du.zero_out_ghost_values();
      du = 0;
      for (unsigned int i = 0; i < discretization.n_nodes() * dim; ++i)
        if (constrained[i])
          du.local_element(i) =
            part * snapshots[s].prescribed.local_element(i) -
            u.local_element(i);
      du.set_ghost_state(true);
      residual(c, h);
      sum().apply_tangent(c, du, h);
      clear_constrained(h);
      assemble(s, c, Tangent::positive);
      trial             = u;
      const auto try_to = [&](const double share) {
        move(share);
        prescribe(part);
        return sum().energy(c); // infinite where the body may not be
      };
      const bool   solved = solve(1e-3 * norm_of(h));
      const double least  = try_to(0);
      for (double share = 1; solved && share > 1e-3; share *= 0.5)
        if (const double e = try_to(share);
            std::isfinite(e) && (e <= least || !std::isfinite(least)))
          return true;
      if (std::isfinite(try_to(0)))
        return true;
      u.zero_out_ghost_values();
      u = trial;
      u.update_ghost_values();
      follow(state[s]);
      return false;
    };

    load_step_residuals.clear();
    double reached = warm ? 1 - 1. / steps : 0., length = 1. / steps;
    while (reached < 1)
      {
        const double part = reached + length < 1 - 1e-9 ? reached + length : 1.;
        if (!warm && !predict(part))
          {
            length /= 2;
            if (length * steps < 0.01)
              {
                prescribe(part);
                residual(c, h); // says what is wrong there
                throw SolverError("the prescribed motion leaves the body no "
                                  "state of finite energy");
              }
            continue;
          }
        load_factor = part;
        const unsigned int step =
          std::min(steps,
                   static_cast<unsigned int>(reached * steps + 1e-6) + 1);
        std::ostringstream table;
        unsigned int       blend = 0; // index of the last one
        residual_history.clear();
        for (unsigned int it = 0;; ++it)
          {
            Interruption::check(discretization.comm);
            residual(c, h);
            const double norm = norm_of(h);
            residual_norms[s] = norm;
            residual_history.push_back(norm / size);
            table << (it ? ", " : "") << std::setprecision(2) << norm / size;
            if (norm <= tolerance || (stagnates() && only_rounding(norm)))
              break;
            if (it == newton_parameters.maximum_iterations ||
                !std::isfinite(norm))
              throw SolverError(
                "Newton did not converge in " + std::to_string(it) +
                " iterations (load step " + std::to_string(step) + " of " +
                std::to_string(steps) + ", snapshot " + std::to_string(s) +
                "; residuals " + table.str() +
                "): try more Newton/Load steps, a smaller Prescribed scale or "
                "more Newton/Maximum iterations");
            ++this->counts.newton_iterations;
            const double wanted =
              std::max(std::min(1e-2, norm / size) * 1e-2 * norm,
                       0.1 * tolerance);
            // As much of the consistent tangent as gives a step downhill.
            trial           = u;
            const double e0 = merit();
            if (blend > 0)
              --blend;
            for (; blend < shares.size(); ++blend)
              {
                assemble_blend(s,
                               c,
                               shares[blend],
                               has_levels &&
                                 sys.solver.service.last <
                                   longer * sys.solver.service.first);
                has_levels = true;
                if (solve(wanted) && advance(e0, shares[blend]))
                  break;
                move(0);
              }
            if (blend == shares.size() && only_rounding(norm))
              break;
            if (blend == shares.size())
              throw SolverError(
                "Newton found no step that lowers the energy (load step " +
                std::to_string(step) + " of " + std::to_string(steps) +
                ", snapshot " + std::to_string(s) + ", residuals " +
                table.str() + (trouble.empty() ? "" : "; " + trouble) +
                "): the body may have a zero-energy mode, the load no "
                "equilibrium; constrain more vertices or change the model");
          }
        if (depends.state)
          log << "  Newton, snapshot " << s << ", load step " << step
              << ": residuals " << table.str() << std::endl;
        load_step_residuals.push_back(residual_history);
        reached = part;
      }
    sys.current = false;
    this->counts.seconds_forward += timer.seconds();
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::assemble_for_adjoint(const unsigned int s)
  {
    if (system(s).current)
      return;
    assemble(s, context(s), adjoint_tangent, reuse_limit > 0);
    system(s).current = true;
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::solve_system(const unsigned int s,
                                       const Vector      &rhs,
                                       const bool         transposed,
                                       Vector            &x)
  {
    assemble_for_adjoint(s);
    if (x.size() == 0)
      x = discretization.make_vector();
    Vector b = rhs;
    b.zero_out_ghost_values();
    clear_constrained(b);
    x.zero_out_ghost_values();
    clear_constrained(x);
    const double size = norm_of(b);
    if (size == 0)
      x = 0;
    else if (system(s).direct)
      system(s).direct->solve(x, b, tolerance * size, transposed);
    else
      try
        {
          const Vector start = x;
          try
            {
              this->counts.linear_iterations += solve_linear_systems(
                system(s), {&x}, {&b}, {tolerance * size}, transposed);
            }
          catch (const SolverError &e)
            {
              if (is_linear() || solver_parameters.direct)
                throw;
              // An equilibrium may be unstable, its tangent indefinite.
              log << "  direct factorization, as " << e.what() << std::endl;
              ++n_direct;
              x = start;
              system(s).direct =
                std::make_unique<LinearSolver<dim>>(direct_parameters);
              system(s).direct->set_up(system(s).matrix, symmetric);
              system(s).direct->solve(x, b, tolerance * size, transposed);
            }
        }
      catch (const SolverError &)
        {
          system(s).direct.reset();
          throw;
        }
    x.update_ghost_values();
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::solve_adjoint(const unsigned int s,
                                        const Vector      &rhs,
                                        Vector            &lambda)
  {
    const SolveTimer    timer(this->counts);
    const unsigned long before = this->counts.linear_iterations;
    solve_system(s, rhs, true, lambda);
    ++this->counts.adjoint;
    this->counts.adjoint_iterations += this->counts.linear_iterations - before;
    this->counts.seconds_adjoint += timer.seconds();
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::solve_adjoints(const std::vector<Vector> &rhs,
                                         std::vector<Vector>       &lambda)
  {
    System &sys = *systems[0];
    if (!is_linear() || systems.size() > 1)
      return StateProblem<dim>::solve_adjoints(rhs, lambda);
    const SolveTimer            timer(this->counts);
    std::vector<Vector>         copies;
    std::vector<Vector *>       x;
    std::vector<const Vector *> b;
    std::vector<double>         wanted;
    copies.reserve(rhs.size());
    for (unsigned int s = 0; s < rhs.size(); ++s)
      {
        if (rhs[s].size() == 0)
          continue;
        ++this->counts.adjoint;
        copies.push_back(rhs[s]);
        copies.back().zero_out_ghost_values();
        clear_constrained(copies.back());
        lambda[s].zero_out_ghost_values();
        clear_constrained(lambda[s]);
        const double size = norm_of(copies.back());
        if (size == 0)
          lambda[s] = 0;
        else
          {
            x.push_back(&lambda[s]);
            b.push_back(&copies.back());
            wanted.push_back(tolerance * size);
          }
      }
    assemble_for_adjoint(0);
    const unsigned int n = solve_linear_systems(sys, x, b, wanted, true);
    this->counts.linear_iterations += n;
    this->counts.adjoint_iterations += n;
    for (Vector &l : lambda)
      l.update_ghost_values();
    this->counts.seconds_adjoint += timer.seconds();
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::solve_incremental(const unsigned int s,
                                            const Vector      &rhs,
                                            const bool         transposed,
                                            Vector            &x)
  {
    const SolveTimer timer(this->counts);
    solve_system(s, rhs, transposed, x);
    ++this->counts.incremental;
    this->counts.seconds_incremental += timer.seconds();
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::add_balance(const unsigned int s, Vector &h) const
  {
    together(discretization.comm, [&]() {
      for (const auto &force : forces)
        force->residual(context(s), h);
    });
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::field_jvp(const unsigned int s,
                                    const Fields      &direction,
                                    Vector            &dh) const
  {
    for (const auto &force : forces)
      force->field_jvp(context(s), direction, dh);
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::field_vjp(const unsigned int s,
                                    const Vector      &lambda,
                                    FieldDuals        &g) const
  {
    for (const auto &force : forces)
      force->field_vjp(context(s), lambda, g);
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::second_vjp(const unsigned int s,
                                     const Vector      &lambda,
                                     const Vector      &du,
                                     const Fields      &dfields,
                                     Vector            &g_state,
                                     FieldDuals        &g_fields) const
  {
    for (const auto &force : forces)
      force->second_vjp(context(s), lambda, du, dfields, g_state, g_fields);
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::restore(const Fields              &new_fields,
                                  const std::vector<Vector> &states)
  {
    fields = new_fields;
    set_states(states);
    for (auto &sys : systems)
      sys->current = false;
    for (unsigned int s = 0; s < state.size(); ++s)
      {
        Vector h = discretization.make_vector();
        residual(context(s), h);
        residual_norms[s] = norm_of(h);
      }
  }

  template <int dim>
  std::vector<double>
  StaticEquilibrium<dim>::solver_state() const
  {
    if (reuse_limit == 0)
      return {};
    const auto         &service = systems[0]->solver.service;
    std::vector<double> data = {levels_of.begin() != levels_of.end() ? 1. : 0.,
                                service.first,
                                service.last,
                                service.iterations,
                                service.decimals};
    for (const auto &[name, field] : levels_of)
      data.insert(data.end(), field.values.begin(), field.values.end());
    return data;
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::restore_solver_state(const std::vector<double> &data)
  {
    if (data.empty() || data[0] == 0)
      return;
    // The same fields as now, with the values of then.
    const Fields      now    = fields;
    const SolveCounts before = this->counts;
    auto              at     = data.begin() + 5;
    for (const auto &[name, field] : now)
      {
        auto &values = fields[name].values;
        AssertThrow(std::size_t(data.end() - at) >= values.size(),
                    ExcInternalError());
        std::copy(at, at + values.size(), values.begin());
        at += values.size();
      }
    assemble(0, context(0), Tangent::consistent);
    systems[0]->solver.service = {data[1], data[2], data[3], data[4]};
    systems[0]->current        = false;
    fields                     = now;
    this->counts               = before;
  }

  template <int dim>
  std::vector<Vector>
  StaticEquilibrium<dim>::states() const
  {
    std::vector<Vector> all;
    for (const auto &s : state)
      all.push_back(ghosted_copy(s.u));
    return all;
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::set_states(const std::vector<Vector> &states)
  {
    AssertDimension(states.size(), state.size());
    for (unsigned int s = 0; s < state.size(); ++s)
      {
        state[s].u = states[s];
        state[s].u.update_ghost_values();
        follow(state[s]);
      }
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::set_velocity(const double rate, const Vector &offset)
  {
    velocity_rate = rate;
    Vector copy   = ghosted_copy(offset);
    velocity_offset.swap(copy);
    for (State &s : state)
      s.v = ghosted_copy(offset);
  }

  template <int dim>
  void
  StaticEquilibrium<dim>::follow(State &s) const
  {
    if (velocity_rate > 0)
      for (unsigned int i = 0; i < discretization.n_nodes() * dim; ++i)
        s.v.local_element(i) = velocity_rate * s.u.local_element(i) +
                               velocity_offset.local_element(i);
  }

  template class StaticEquilibrium<2>;
  template class StaticEquilibrium<3>;
} // namespace Palpate
