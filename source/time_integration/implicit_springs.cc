#include <palpate/core/errors.h>
#include <palpate/forces/springs/edge_springs.h>
#include <palpate/time_integration/implicit_springs.h>

#include <Eigen/Sparse>

#include <cmath>

namespace Palpate
{
  template <int dim>
  struct ImplicitSprings<dim>::Implementation
  {
    using T1 = dealii::Tensor<1, dim>;
    /// Free points by component: the factor's right-hand sides.
    using Points = Eigen::Matrix<double, Eigen::Dynamic, dim>;
    using Sparse = Eigen::SparseMatrix<double>;
    using Entry  = Eigen::Triplet<double>;

    Implementation(const Springs             &springs,
                   const std::vector<double> &k,
                   const std::vector<double> &l,
                   const std::vector<double> &m,
                   const std::vector<char>   &fixed,
                   const double               h)
      : springs(springs)
      , k(k)
      , l(l)
      , place(m.size(), none)
    {
      for (unsigned int i = 0; i < m.size(); ++i)
        if (!fixed[i])
          {
            place[i] = n_free++;
            inertia.push_back(m[i] / (h * h));
          }
      std::vector<Entry> entries;
      for (unsigned int i = 0; i < n_free; ++i)
        entries.emplace_back(i, i, inertia[i]);
      for (std::size_t s = 0; s < springs.size(); ++s)
        {
          const unsigned int i = place[springs[s][0]], j = place[springs[s][1]];
          if (i != none)
            entries.emplace_back(i, i, k[s]);
          if (j != none)
            entries.emplace_back(j, j, k[s]);
          if (i != none && j != none)
            {
              entries.emplace_back(i, j, -k[s]);
              entries.emplace_back(j, i, -k[s]);
            }
        }
      Sparse A(n_free, n_free);
      A.setFromTriplets(entries.begin(), entries.end());
      factor.compute(A);
      if (factor.info() != Eigen::Success)
        throw SolverError("the matrix of masses and spring constants has no "
                          "Cholesky factor");
    }

    /// A spring between points at y + w.
    EdgeSpring<dim>
    spring(const std::vector<double> &y,
           const std::vector<double> &w,
           const std::size_t          s) const
    {
      const auto &[i, j] = springs[s];
      T1 d;
      for (unsigned int c = 0; c < dim; ++c)
        d[c] =
          (y[i * dim + c] - y[j * dim + c]) + (w[i * dim + c] - w[j * dim + c]);
      const EdgeSpring<dim> result(k[s], l[s], d);
      if (!result.is_valid())
        throw SolverError("spring " + std::to_string(s) + " between vertices " +
                          std::to_string(i) + " and " + std::to_string(j) +
                          " has shrunk to length 0, where it has no direction");
      return result;
    }

    /// Phi at y + w.
    double
    value(const std::vector<double> &y, const std::vector<double> &w) const
    {
      double sum = 0;
      for (std::size_t i = 0; i < place.size(); ++i)
        if (place[i] != none)
          for (unsigned int c = 0; c < dim; ++c)
            sum += 0.5 * inertia[place[i]] * w[i * dim + c] * w[i * dim + c];
      for (std::size_t s = 0; s < springs.size(); ++s)
        sum += spring(y, w, s).energy();
      return sum;
    }

    /// grad Phi at y + w on free points. @param size |M w|/h^2 + |k |d||
    Points
    gradient(const std::vector<double> &y,
             const std::vector<double> &w,
             double                    &size) const
    {
      Points r(n_free, dim);
      for (std::size_t i = 0; i < place.size(); ++i)
        if (place[i] != none)
          for (unsigned int c = 0; c < dim; ++c)
            r(place[i], c) = inertia[place[i]] * w[i * dim + c];
      size          = r.norm();
      double square = 0;
      for (std::size_t s = 0; s < springs.size(); ++s)
        {
          const auto now = spring(y, w, s);
          add(s, now.force(), r);
          square += std::pow(now.k * std::max(now.length, now.l), 2);
        }
      size += std::sqrt(square);
      return r;
    }

    /// r += f on the first point of a spring, -f on the second.
    void
    add(const std::size_t s, const T1 &f, Points &r) const
    {
      const unsigned int i = place[springs[s][0]], j = place[springs[s][1]];
      for (unsigned int c = 0; c < dim; ++c)
        {
          if (i != none)
            r(i, c) += f[c];
          if (j != none)
            r(j, c) -= f[c];
        }
    }

    /// The springs of a state, for many products with the tangent.
    std::vector<EdgeSpring<dim>>
    all(const std::vector<double> &y, const std::vector<double> &w) const
    {
      std::vector<EdgeSpring<dim>> result;
      result.reserve(springs.size());
      for (std::size_t s = 0; s < springs.size(); ++s)
        result.push_back(spring(y, w, s));
      return result;
    }
    void
    multiply(const std::vector<EdgeSpring<dim>> &now,
             const Points                       &v,
             Points                             &Hv) const
    {
      for (unsigned int i = 0; i < n_free; ++i)
        Hv.row(i) = inertia[i] * v.row(i);
      for (std::size_t s = 0; s < springs.size(); ++s)
        {
          const unsigned int i = place[springs[s][0]], j = place[springs[s][1]];
          T1                 d;
          for (unsigned int c = 0; c < dim; ++c)
            d[c] = (i == none ? 0. : v(i, c)) - (j == none ? 0. : v(j, c));
          add(s, now[s].tangent(d), Hv);
        }
    }

    /**
     * Conjugate gradients for H z = b, preconditioned with A.
     * @return whether it came to the tolerance; z is a direction of descent of
     * b even where H turns out not to be positive
     */
    bool
    conjugate_gradients(const std::vector<EdgeSpring<dim>> &now,
                        const Points                       &b,
                        const double                        tolerance,
                        Points                             &z,
                        unsigned long                      &n_iterations) const
    {
      z                   = Points::Zero(n_free, dim);
      const double target = tolerance * b.norm();
      if (b.norm() == 0)
        return true;
      Points r = b, w = factor.solve(r), p = w, Hp(n_free, dim);
      double rw = r.cwiseProduct(w).sum();
      for (unsigned int it = 0; it < 1000; ++it)
        {
          multiply(now, p, Hp);
          ++n_iterations;
          const double curvature = p.cwiseProduct(Hp).sum();
          if (!(curvature > 0))
            {
              if (it == 0)
                z = p;
              return false;
            }
          const double a = rw / curvature;
          z += a * p;
          r -= a * Hp;
          if (r.norm() <= target)
            return true;
          w                  = factor.solve(r);
          const double again = r.cwiseProduct(w).sum();
          p                  = w + again / rw * p;
          rw                 = again;
        }
      return false;
    }

    /// The whole matrix and its LU factors.
    void
    solve_directly(const std::vector<EdgeSpring<dim>> &now,
                   const Points                       &b,
                   Points                             &z) const
    {
      std::vector<Entry> entries;
      for (unsigned int i = 0; i < n_free; ++i)
        for (unsigned int c = 0; c < dim; ++c)
          entries.emplace_back(i * dim + c, i * dim + c, inertia[i]);
      for (std::size_t s = 0; s < springs.size(); ++s)
        for (unsigned int c = 0; c < dim; ++c)
          {
            T1 e;
            e[c]             = 1;
            const T1  column = now[s].tangent(e);
            const int sign[] = {1, -1};
            for (unsigned int a = 0; a < 2; ++a)
              for (unsigned int b = 0; b < 2; ++b)
                {
                  const unsigned int i = place[springs[s][a]],
                                     j = place[springs[s][b]];
                  if (i != none && j != none)
                    for (unsigned int d = 0; d < dim; ++d)
                      entries.emplace_back(i * dim + d,
                                           j * dim + c,
                                           sign[a] * sign[b] * column[d]);
                }
          }
      Sparse H(n_free * dim, n_free * dim);
      H.setFromTriplets(entries.begin(), entries.end());
      Eigen::SparseLU<Sparse> lu;
      lu.compute(H);
      Eigen::VectorXd right(n_free * dim);
      for (unsigned int i = 0; i < n_free; ++i)
        for (unsigned int c = 0; c < dim; ++c)
          right(i * dim + c) = b(i, c);
      if (lu.info() != Eigen::Success)
        throw SolverError("the tangent of a step is singular");
      const Eigen::VectorXd solution = lu.solve(right);
      if (!solution.allFinite())
        throw SolverError("the tangent of a step is singular");
      for (unsigned int i = 0; i < n_free; ++i)
        for (unsigned int c = 0; c < dim; ++c)
          z(i, c) = solution(i * dim + c);
    }

    /// w - step * z
    std::vector<double>
    moved(const std::vector<double> &w,
          const double               step,
          const Points              &z) const
    {
      std::vector<double> result = w;
      for (std::size_t i = 0; i < place.size(); ++i)
        if (place[i] != none)
          for (unsigned int c = 0; c < dim; ++c)
            result[i * dim + c] -= step * z(place[i], c);
      return result;
    }

    static constexpr unsigned int none = -1;

    const Springs                springs;
    const std::vector<double>    k, l;
    std::vector<unsigned int>    place; ///< of a point among the free ones
    unsigned int                 n_free = 0;
    std::vector<double>          inertia; ///< m/h^2 of free points
    Eigen::SimplicialLLT<Sparse> factor;
  };

  template <int dim>
  ImplicitSprings<dim>::ImplicitSprings(const Springs             &springs,
                                        const std::vector<double> &constants,
                                        const std::vector<double> &lengths,
                                        const std::vector<double> &masses,
                                        const std::vector<char>   &fixed,
                                        const double               h)
    : implementation(std::make_unique<Implementation>(springs,
                                                      constants,
                                                      lengths,
                                                      masses,
                                                      fixed,
                                                      h))
  {}

  template <int dim>
  ImplicitSprings<dim>::~ImplicitSprings() = default;

  template <int dim>
  std::size_t
  ImplicitSprings<dim>::n_nonzeros() const
  {
    return implementation->factor.matrixL().nestedExpression().nonZeros();
  }

  template <int dim>
  void
  ImplicitSprings<dim>::solve(const std::vector<double> &y,
                              std::vector<double>       &w,
                              const Settings            &settings)
  {
    const auto &I = *implementation;
    double      size;
    w.assign(y.size(), 0.);
    auto r = I.gradient(y, w, size);
    if (settings.iterations > 0)
      {
        for (unsigned int it = 0; it < settings.iterations; ++it)
          {
            ++counts.local_global;
            w = I.moved(w, 1, I.factor.solve(r));
            r = I.gradient(y, w, size);
          }
        return;
      }
    typename Implementation::Points z(I.n_free, dim);
    // Newton's method where an iteration takes less than this off.
    const double slow   = 0.3;
    bool         newton = false;
    double       norm   = r.norm();
    for (unsigned int it = 0; !(norm <= settings.tolerance * size); ++it)
      {
        if (!std::isfinite(norm))
          throw SolverError("the motion became infinite");
        if (it == (settings.newton ? 200 : 100000))
          throw SolverError(
            "a step is not solved after " + std::to_string(it) +
            " iterations: shorter steps, or a larger Time/Step tolerance");
        if (newton)
          {
            ++counts.newton;
            I.conjugate_gradients(
              I.all(y, w), r, std::min(0.1, norm / size), z, counts.linear);
            const double now = I.value(y, w), slope = r.cwiseProduct(z).sum();
            double       step = 1;
            std::vector<double> next;
            // Rounding hides the last decreases.
            const double hidden = 1e-12 * (std::abs(now) + 1e-300);
            for (; step > 1e-10; step *= 0.5)
              {
                next = I.moved(w, step, z);
                try
                  {
                    if (I.value(y, next) <= now - 1e-4 * step * slope + hidden)
                      break;
                  }
                catch (const SolverError &)
                  {} // a spring of length 0
              }
            w = next;
          }
        else
          {
            ++counts.local_global;
            w = I.moved(w, 1, I.factor.solve(r));
          }
        r                   = I.gradient(y, w, size);
        const double before = norm;
        norm                = r.norm();
        if (newton && norm > 0.5 * before &&
            norm <= 1e3 * settings.tolerance * size)
          break; // as far as rounding allows
        newton = settings.newton && (newton || norm > slow * before);
      }
  }

  template <int dim>
  void
  ImplicitSprings<dim>::solve_tangent(const std::vector<double> &x,
                                      const std::vector<double> &b,
                                      std::vector<double>       &z)
  {
    const auto                     &I = *implementation;
    typename Implementation::Points right(I.n_free, dim),
      solution(I.n_free, dim);
    for (std::size_t i = 0; i < I.place.size(); ++i)
      if (I.place[i] != I.none)
        for (unsigned int c = 0; c < dim; ++c)
          right(I.place[i], c) = b[i * dim + c];
    const auto now = I.all(x, std::vector<double>(x.size(), 0.));
    if (!I.conjugate_gradients(now, right, 1e-13, solution, counts.linear))
      {
        ++counts.direct;
        I.solve_directly(now, right, solution);
      }
    z.assign(b.size(), 0.);
    for (std::size_t i = 0; i < I.place.size(); ++i)
      if (I.place[i] != I.none)
        for (unsigned int c = 0; c < dim; ++c)
          z[i * dim + c] = solution(I.place[i], c);
  }

  template class ImplicitSprings<2>;
  template class ImplicitSprings<3>;
} // namespace Palpate
