#include <palpate/drivers/taylor_tests.h>

#include <cmath>
#include <cstdint>

namespace Palpate
{
  using namespace dealii;

  double
  random_number(const unsigned int seed, const unsigned long index)
  {
    // A 64-bit mixing function of the pair.
    std::uint64_t x = (static_cast<std::uint64_t>(seed) << 40) + index;
    for (const std::uint64_t factor :
         {0x9fb21c651e98df25ull, 0xd6e8feb86659fd93ull})
      {
        x ^= x >> 32;
        x *= factor;
      }
    x ^= x >> 32;
    return 2. * (x >> 11) / 9007199254740992. - 1.;
  }

  template <int dim>
  Vector
  random_vector(const Discretization<dim> &D,
                const unsigned int         seed,
                const double               size)
  {
    Vector              v = D.make_vector();
    const unsigned long N = D.mesh.n_all_vertices();
    for (unsigned int n = 0; n < D.n_nodes(); ++n)
      for (unsigned int d = 0; d < dim; ++d)
        v.local_element(n * dim + d) =
          size *
          random_number(seed,
                        (D.node_vertices[n][0] * N + D.node_vertices[n][1]) *
                            dim +
                          d);
    v.set_ghost_state(true);
    return v;
  }

  template <int dim>
  Field
  random_field(const Discretization<dim> &D,
               const unsigned int         seed,
               const double               mean,
               const double               size)
  {
    Field f(D.n_cells());
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      f[k] = mean * std::exp(size * random_number(seed, D.cell_id[k]));
    return f;
  }

  namespace
  {
    double
    norm(const Vector &v)
    {
      return v.l2_norm();
    }
  } // namespace

  template <int dim>
  double
  dot(const Discretization<dim> &D, const FieldDuals &g, const Fields &d)
  {
    double sum = 0;
    for (const auto &[name, field] : d)
      if (g.has(name))
        for (unsigned int i = 0; i < D.n_owned_values(field); ++i)
          sum += g[name][i] * field[i];
    return D.sum(sum);
  }

  namespace
  {
    /// All owned entries of a dual.
    template <int dim>
    std::vector<double>
    flat(const Discretization<dim> &D, const FieldDuals &g)
    {
      std::vector<double> all;
      for (const auto &[name, field] : g)
        {
          (void)name;
          all.insert(all.end(),
                     field.values.begin(),
                     field.values.begin() + D.n_owned_values(field));
        }
      return all;
    }

    double
    norm(const std::vector<double> &v, const MPI_Comm &comm)
    {
      double sum = 0;
      for (const double x : v)
        sum += x * x;
      return std::sqrt(Utilities::MPI::sum(sum, comm));
    }

    /// a - b - t c
    std::vector<double>
    remainder(const std::vector<double> &a,
              const std::vector<double> &b,
              const double               t,
              const std::vector<double> &c)
    {
      std::vector<double> r(a.size());
      for (std::size_t i = 0; i < a.size(); ++i)
        r[i] = a[i] - b[i] - t * c[i];
      return r;
    }

    /// This rank's entries.
    std::vector<double>
    owned(const Vector &v)
    {
      return std::vector<double>(v.begin(), v.end());
    }

    /// Over all ranks.
    Norm
    norm_on(const MPI_Comm &comm)
    {
      return [comm](const std::vector<double> &v) { return norm(v, comm); };
    }
  } // namespace

  template <int dim>
  std::vector<Verification>
  verify_force(const std::string  &name,
               const Force<dim>   &force,
               const Context<dim> &c,
               const unsigned int  seed,
               const TestPoint    &point)
  {
    const auto               &D = c.discretization;
    TaylorSample<dim>         x(c, force.field_names(), seed, point);
    std::vector<Verification> result;
    const auto add = [&](const std::string &what, const TaylorResult &r) {
      result.push_back({name, what, r});
    };
    const auto residual = [&](const double t, const double s) {
      Vector h = D.make_vector();
      force.residual(x.at(t, s), h);
      return h;
    };

    const bool   by_velocity = force.tangent_depends_on().velocity;
    const Vector h0          = residual(0, 0);
    const double slope       = h0 * x.du;
    const auto   potential   = [&](const double t) {
      return D.sum(by_velocity ? force.dissipation(x.at(0, 0, t))
                               : force.energy(x.at(t, 0)));
    };
    const double e0 = potential(0);
    if (by_velocity || force.has_potential())
      add(by_velocity ? "dissipation by velocity" : "energy by state",
          taylor_test(
            [&](const double t) { return potential(t) - e0 - t * slope; },
            std::abs(e0),
            std::abs(slope)));

    Vector Kdu = D.make_vector();
    force.apply_tangent(x.at(0, 0), x.du, Kdu);
    add("force by state",
        taylor_test(
          [&](const double t) {
            Vector r = residual(t, 0);
            r -= h0;
            r.add(-t, Kdu);
            return owned(r);
          },
          norm_on(D.comm),
          norm(h0),
          norm(Kdu)));

    // The transposes.
    {
      Vector g = D.make_vector();
      force.apply_transposed_tangent(x.at(0, 0), x.lambda, g);
      const double a = g * x.du, b = Kdu * x.lambda;
      add("transposed state derivative",
          taylor_test([&](const double) { return std::abs(a - b); },
                      norm(Kdu) * norm(x.lambda),
                      norm(Kdu) * norm(x.lambda)));
    }
    if (by_velocity)
      {
        // What the tangent by the displacement has of the velocity.
        const auto         c0 = x.at(0, 0);
        const Context<dim> at_rest{
          D, c0.state, c0.fields, c0.snapshot, c0.constrained};
        Vector Cdu = Kdu, by_u = D.make_vector(), g = D.make_vector();
        force.apply_tangent(at_rest, x.du, by_u);
        Cdu -= by_u;
        Cdu *= 1 / c0.velocity_rate;
        add("force by velocity",
            taylor_test(
              [&](const double t) {
                Vector h = D.make_vector();
                force.residual(x.at(0, 0, t), h);
                h -= h0;
                h.add(-t, Cdu);
                return owned(h);
              },
              norm_on(D.comm),
              norm(h0),
              norm(Cdu)));
        force.velocity_vjp(x.at(0, 0), x.lambda, g);
        const double a = g * x.du, b = Cdu * x.lambda;
        add("transposed velocity derivative",
            taylor_test([&](const double) { return std::abs(a - b); },
                        norm(Cdu) * norm(x.lambda),
                        norm(Cdu) * norm(x.lambda)));
      }

    // Assembled against matrix-free, on free DoFs.
    if (force.has_matrix())
      {
        TangentMatrix<dim> K(D, c.constrained);
        K.set_zero();
        force.add_tangent(x.at(0, 0), Tangent::consistent, K);
        Vector free = x.du, a = D.make_vector(), b = D.make_vector();
        free.zero_out_ghost_values();
        for (unsigned int i = 0; i < D.n_owned_nodes() * dim; ++i)
          if (c.constrained[i])
            free.local_element(i) = 0;
        K.matrix().vmult(a, free);
        free.update_ghost_values();
        force.apply_tangent(x.at(0, 0), free, b);
        for (unsigned int i = 0; i < D.n_owned_nodes() * dim; ++i)
          if (c.constrained[i])
            a.local_element(i) = b.local_element(i) = 0;
        const double size = norm(b);
        b -= a;
        const double difference = norm(b);
        add("matrix against matrix-free",
            taylor_test([&](const double) { return difference; }, size, size));
      }

    if (!force.field_names().empty())
      {
        Vector hq = D.make_vector();
        force.field_jvp(x.at(0, 0), x.dfields, hq);
        add("force by fields",
            taylor_test(
              [&](const double t) {
                Vector r = residual(0, t);
                r -= h0;
                r.add(-t, hq);
                return owned(r);
              },
              norm_on(D.comm),
              norm(h0),
              norm(hq)));
        {
          FieldDuals g(x.fields);
          force.field_vjp(x.at(0, 0), x.lambda, g);
          const double a = x.lambda * hq, b = dot(D, g, x.dfields);
          add("transposed field derivative",
              taylor_test([&](const double) { return std::abs(a - b); },
                          norm(hq) * norm(x.lambda),
                          norm(hq) * norm(x.lambda)));
        }
      }
    else if (!force.tangent_depends_on().state)
      return result;
    if (by_velocity || !force.has_matrix())
      return result; // motions have no second derivatives

    // Gradient of lambda . h by state (the tangent is symmetric, so K lambda)
    // and by fields, along (du, dfields).
    const auto gradient = [&](const double t) {
      Vector g = D.make_vector();
      force.apply_tangent(x.at(t, t), x.lambda, g);
      FieldDuals gf(x.fields);
      force.field_vjp(x.at(t, t), x.lambda, gf);
      std::vector<double> all = flat(D, gf);
      all.insert(all.end(), g.begin(), g.end());
      return all;
    };
    Vector     g_state = D.make_vector();
    FieldDuals g_fields(x.fields);
    force.second_vjp(x.at(0, 0), x.lambda, x.du, x.dfields, g_state, g_fields);
    std::vector<double> second = flat(D, g_fields);
    second.insert(second.end(), g_state.begin(), g_state.end());
    const auto g0 = gradient(0);
    add("second derivatives",
        taylor_test(
          [&](const double t) { return remainder(gradient(t), g0, t, second); },
          norm_on(D.comm),
          norm(g0, D.comm),
          norm(second, D.comm)));
    return result;
  }

  template <int dim>
  std::vector<Verification>
  verify_objective(const std::string    &name,
                   const Objective<dim> &objective,
                   const Context<dim>   &c,
                   const unsigned int    seed,
                   const TestPoint      &point)
  {
    const auto               &D = c.discretization;
    TaylorSample<dim>         x(c, objective.field_names(), seed, point);
    std::vector<Verification> result;

    const auto gradient = [&](const double t) {
      Vector     g = D.make_vector();
      FieldDuals gf(x.fields);
      objective.state_gradient(x.at(t, t), 1., g);
      objective.field_gradient(x.at(t, t), 1., gf);
      std::vector<double> all = flat(D, gf);
      all.insert(all.end(), g.begin(), g.end());
      return all;
    };
    const double j0 = objective.value(x.at(0, 0));
    double       slope;
    {
      Vector     g = D.make_vector();
      FieldDuals gf(x.fields);
      objective.state_gradient(x.at(0, 0), 1., g);
      objective.field_gradient(x.at(0, 0), 1., gf);
      slope = g * x.du + dot(D, gf, x.dfields);
    }
    result.push_back({name,
                      "value",
                      taylor_test(
                        [&](const double t) {
                          return objective.value(x.at(t, t)) - j0 - t * slope;
                        },
                        std::abs(j0),
                        std::abs(slope))});
    Vector     g_state = D.make_vector();
    FieldDuals g_fields(x.fields);
    objective.hessian(
      x.at(0, 0), 1., x.du, x.dfields, false, g_state, g_fields);
    std::vector<double> second = flat(D, g_fields);
    second.insert(second.end(), g_state.begin(), g_state.end());
    const auto g0 = gradient(0);
    result.push_back(
      {name,
       "gradient",
       taylor_test(
         [&](const double t) { return remainder(gradient(t), g0, t, second); },
         norm_on(D.comm),
         norm(g0, D.comm),
         norm(second, D.comm))});
    if (objective.depends_on_state())
      return result;
    // What a term may write in place of the general positive Hessian; where it
    // did not, only the sign counts.
    const Context<dim> c0 = x.at(0, 0);
    FieldDuals         ours(x.fields), general(x.fields);
    objective.positive_hessian(c0, 1.)(x.dfields, ours);
    objective.Objective<dim>::positive_hessian(c0, 1.)(x.dfields, general);
    std::vector<double> difference = flat(D, ours);
    const auto          expected   = flat(D, general);
    for (std::size_t i = 0; i < difference.size(); ++i)
      difference[i] -= expected[i];
    const double size      = norm(expected, D.comm);
    const double curvature = dot(D, ours, x.dfields);
    TaylorResult positive;
    positive.best      = size > 0 ? norm(difference, D.comm) / size : 0.;
    positive.round_off = positive.best < 1e-10 && curvature >= 0;
    result.push_back({name, "positive Hessian", positive});
    return result;
  }

  template <int dim>
  std::vector<Verification>
  verify_parameterization(const std::string           &name,
                          const Parameterization<dim> &p,
                          const Discretization<dim>   &D,
                          const unsigned int           seed)
  {
    using Q             = std::vector<double>;
    const unsigned rank = Utilities::MPI::this_mpi_process(D.comm);
    Q              q    = p.initial(), dq(q.size());
    for (unsigned int i = 0; i < q.size(); ++i)
      {
        q[i] += 0.3 * random_number(seed, 1000003ul * rank + i);
        dq[i] = 0.5 * random_number(seed + 1, 1000003ul * rank + i);
      }
    p.make_smooth(q, dq);
    const auto moved = [&](const double t) {
      Q x = q;
      for (unsigned int i = 0; i < q.size(); ++i)
        x[i] += t * dq[i];
      return x;
    };
    // All fields (owned cells) as one vector.
    const auto values = [&](const Q &x) {
      Fields f;
      p.apply(x, f);
      return flat(D, [&]() {
        FieldDuals copy(f);
        for (const auto &[n, field] : f)
          copy[n] = field;
        return copy;
      }());
    };
    Fields fields, dfields;
    p.apply(q, fields);
    p.jvp(q, dq, dfields);
    FieldDuals as_dual(fields), weights(fields);
    for (const auto &[n, field] : dfields)
      {
        as_dual[n] = field;
        for (std::size_t i = 0; i < field.values.size(); ++i)
          weights[n][i] = random_number(seed + 2,
                                        field.place == Place::cells
                                          ? D.cell_id[i / field.n_components] *
                                                field.n_components +
                                              i % field.n_components
                                          : i);
      }
    const auto                f0 = values(q), df = flat(D, as_dual);
    std::vector<Verification> result;
    result.push_back(
      {name,
       "fields",
       taylor_test(
         [&](const double t) { return remainder(values(moved(t)), f0, t, df); },
         norm_on(D.comm),
         norm(f0, D.comm),
         norm(df, D.comm))});
    Q g;
    p.vjp(q, weights, g);
    double a = 0;
    for (unsigned int i = 0; i < q.size(); ++i)
      a += g[i] * dq[i];
    a              = D.sum(a);
    const double b = dot(D, weights, dfields);
    result.push_back({name,
                      "transposed derivative",
                      taylor_test([&](const double) { return std::abs(a - b); },
                                  norm(df, D.comm),
                                  norm(df, D.comm))});
    // The same by linearize(), every time.
    const auto at_q     = p.linearize(q);
    auto       expected = df;
    expected.insert(expected.end(), g.begin(), g.end());
    TaylorResult linear;
    for (unsigned int time = 0; time < 2; ++time)
      {
        Fields along;
        at_q.jvp(dq, along);
        for (const auto &[n, field] : dfields)
          as_dual[n] = along[n];
        Q back;
        at_q.vjp(weights, back);
        auto now = flat(D, as_dual);
        now.insert(now.end(), back.begin(), back.end());
        for (std::size_t i = 0; i < now.size(); ++i)
          now[i] -= expected[i];
        linear.best =
          std::max(linear.best, norm(now, D.comm) / norm(expected, D.comm));
      }
    linear.round_off = linear.best < 1e-12;
    result.push_back({name, "linearization", linear});
    Q second(q.size(), 0.);
    p.second_vjp(q, dq, weights, second);
    result.push_back({name,
                      "second derivatives",
                      taylor_test(
                        [&](const double t) {
                          Q gt;
                          p.vjp(moved(t), weights, gt);
                          return remainder(gt, g, t, second);
                        },
                        norm_on(D.comm),
                        norm(g, D.comm),
                        norm(second, D.comm))});
    return result;
  }

  template <int dim>
  std::vector<Verification>
  verify_reduced(ReducedFunctional<dim>    &J,
                 const std::vector<double> &start,
                 const MPI_Comm            &comm,
                 const unsigned int         seed,
                 const double               size)
  {
    using Q             = std::vector<double>;
    const unsigned rank = Utilities::MPI::this_mpi_process(comm);
    Q              q    = start, v(q.size()), w(q.size());
    for (unsigned int i = 0; i < q.size(); ++i)
      {
        v[i] = size * random_number(seed, 1000003ul * rank + i);
        w[i] = size * random_number(seed + 1, 1000003ul * rank + i);
      }
    J.parameterization.make_smooth(q, v);
    const auto moved = [&](const double t) {
      Q x = q;
      for (unsigned int i = 0; i < q.size(); ++i)
        x[i] += t * v[i];
      return x;
    };
    const auto product = [&](const Q &a, const Q &b) {
      double sum = 0;
      for (unsigned int i = 0; i < a.size(); ++i)
        sum += a[i] * b[i];
      return Utilities::MPI::sum(sum, comm);
    };
    const double j0 = J.value(q);
    Q            g, Hv, Hw;
    J.gradient(q, g);
    const double              slope = product(g, v);
    std::vector<Verification> result;
    result.push_back(
      {"reduced functional",
       "value",
       taylor_test(
         [&](const double t) { return J.value(moved(t)) - j0 - t * slope; },
         std::abs(j0),
         std::abs(slope))});
    if (J.has_direct_terms())
      {
        J.value(q);
        const auto   slopes = J.outer.gradient(J.means());
        const double c0     = J.direct_value(q, slopes);
        double       share  = 0; // of these terms in J
        for (unsigned int i = 0; i < slopes.size(); ++i)
          if (J.is_direct(i))
            share += std::max(slopes[i], 0.) * J.means()[i];
        Q c, Rv, Rw;
        J.direct_gradient(q, slopes, c);
        const auto R = J.direct_hessian(q, slopes);
        R(v, Rv);
        R(w, Rw);
        const double along = product(c, v), bend = product(v, Rv),
                     other = product(w, Rw),
                     skew  = product(w, Rv) - product(v, Rw);
        result.push_back({"reduced functional",
                          "terms without solves",
                          taylor_test(
                            [&](const double t) {
                              return J.direct_value(moved(t), slopes) - c0 -
                                     t * along;
                            },
                            std::abs(c0),
                            std::abs(along))});
        TaylorResult same;
        same.best      = std::abs(c0 - share);
        same.round_off = std::abs(c0 - share) <= 1e-10 * std::abs(c0) &&
                         std::abs(skew) <= 1e-10 * std::sqrt(bend * other) &&
                         bend >= 0 && other >= 0;
        result.push_back(
          {"reduced functional", "their value and positive Hessian", same});
      }
    if (!J.problem.has_second_derivatives())
      return result;
    J.hessian(q, v, false, Hv);
    J.hessian(q, w, false, Hw);
    result.push_back({"reduced functional",
                      "gradient",
                      taylor_test(
                        [&](const double t) {
                          Q gt;
                          J.gradient(moved(t), gt);
                          return remainder(gt, g, t, Hv);
                        },
                        norm_on(comm),
                        norm(g, comm),
                        norm(Hv, comm))});
    const double difference = std::abs(product(w, Hv) - product(v, Hw));
    TaylorResult symmetry;
    symmetry.best =
      difference /
      std::max(std::abs(product(w, Hv)), 1e-6 * norm(w, comm) * norm(Hv, comm));
    symmetry.round_off = symmetry.best < 1e-10;
    result.push_back(
      {"reduced functional", "symmetry of the Hessian", symmetry});
    return result;
  }

#define INSTANTIATE(dim)                                                        \
  template Vector                    random_vector(const Discretization<dim> &, \
                                                   const unsigned int,          \
                                                   const double);               \
  template double                    dot(const Discretization<dim> &,           \
                                         const FieldDuals &,                    \
                                         const Fields &);                       \
  template Field                     random_field(const Discretization<dim> &,  \
                                                  const unsigned int,           \
                                                  const double,                 \
                                                  const double);                \
  template std::vector<Verification> verify_force(const std::string &,          \
                                                  const Force<dim> &,           \
                                                  const Context<dim> &,         \
                                                  const unsigned int,           \
                                                  const TestPoint &);           \
  template std::vector<Verification> verify_objective(const std::string &,      \
                                                      const Objective<dim> &,   \
                                                      const Context<dim> &,     \
                                                      const unsigned int,       \
                                                      const TestPoint &);       \
  template std::vector<Verification> verify_parameterization(                   \
    const std::string &,                                                        \
    const Parameterization<dim> &,                                              \
    const Discretization<dim> &,                                                \
    const unsigned int);                                                        \
  template std::vector<Verification> verify_reduced(                            \
    ReducedFunctional<dim> &,                                                   \
    const std::vector<double> &,                                                \
    const MPI_Comm &,                                                           \
    const unsigned int,                                                         \
    const double);

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
