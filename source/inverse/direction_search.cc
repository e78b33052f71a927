#include <palpate/inverse/direction_search.h>
#include <palpate/inverse/free_directions.h>

#include <algorithm>
#include <cmath>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    using Matrix = DirectionMatrix;

    /// Of a combination of candidates, relative: what the parameterization need
    /// not reach, and what counts as no change of the balance.
    constexpr double reachable = 1e-3, nothing = 1e-6;

    Matrix
    sum_over_ranks(Matrix m, const MPI_Comm &comm)
    {
      const ArrayView<double> all(m.data(), m.size());
      Utilities::MPI::sum(ArrayView<const double>(all), comm, all);
      return m;
    }

    /// Inner products of columns that are spread over the ranks.
    template <typename Columns>
    Matrix
    products(const Columns &a, const Columns &b)
    {
      Matrix result(a.size(), b.size());
      for (std::size_t i = 0; i < a.size(); ++i)
        for (std::size_t j = 0; j < b.size(); ++j)
          {
            // Small differences of large sums are looked for.
            long double sum = 0;
            for (std::size_t k = 0; k < a[i].size(); ++k)
              sum += static_cast<long double>(a[i][k]) * b[j][k];
            result(i, j) = static_cast<double>(sum);
          }
      return result;
    }

    /// What these rows span, as simple as can be: each row has a 1 where all
    /// others have 0.
    Matrix
    simple_basis(Matrix rows)
    {
      unsigned int done = 0;
      for (Eigen::Index j = 0; j < rows.cols() && done < rows.rows(); ++j)
        {
          Eigen::Index best;
          if (rows.col(j).tail(rows.rows() - done).cwiseAbs().maxCoeff(&best) <
              1e-3)
            continue;
          rows.row(done).swap(rows.row(done + best));
          rows.row(done) /= rows(done, j);
          for (Eigen::Index i = 0; i < rows.rows(); ++i)
            if (i != done)
              rows.row(i) -= rows(i, j) * rows.row(done);
          ++done;
        }
      for (Eigen::Index i = 0; i < rows.size(); ++i)
        {
          // Powers are simple fractions.
          double      &x      = rows.data()[i];
          const double simple = std::round(12 * x) / 12;
          if (std::abs(x - simple) < 5e-3)
            x = simple;
        }
      return rows.topRows(done);
    }

    /// Rows that span { x: x^T G x <= limit^2 x^T x }.
    Matrix
    null_space(const Matrix &G, const double limit)
    {
      const Eigen::SelfAdjointEigenSolver<Matrix> eigen(G);
      Eigen::Index                                n = 0;
      while (n < G.rows() && eigen.eigenvalues()[n] <= limit * limit)
        ++n;
      return eigen.eigenvectors().leftCols(n).transpose();
    }
  } // namespace

  template <int dim>
  void
  DirectionSearch<dim>::add_candidates(const std::string &name)
  {
    const Field       &field  = fields[name];
    const bool         body   = field.place == Place::body;
    const unsigned int n_here = body ? field.values.size() : parts.n + 1;
    for (unsigned int p = 0; p < n_here; ++p)
      {
        DirectionCandidate c{name, int(p), field};
        double             largest = 0;
        for (std::size_t i = 0; i < field.values.size(); ++i)
          if (part_of(field, i) != int(p))
            c.direction[i] = 0;
          else
            largest = std::max(largest, std::abs(field[i]));
        if (Utilities::MPI::max(largest, D.comm) > 0)
          candidates.push_back(c);
      }
  }

  template <int dim>
  void
  DirectionSearch<dim>::ask_balances()
  {
    const std::size_t n = candidates.size(), n_parts = parts.n;
    by_q   = Matrix::Zero(n, n);
    by_q_h = Matrix::Zero(n, n_parts);
    by_h   = Matrix::Zero(n_parts, n_parts);
    std::vector<double> squares(n, 0.);
    const unsigned int  n_balances = states.n_balances();
    for (unsigned int s = 0; s < n_balances; ++s)
      {
        negligible = std::hypot(negligible, states.negligible_force(s));
        std::vector<std::vector<double>> columns, residuals(n_parts);
        for (unsigned int i = 0; i < n; ++i)
          {
            Fields direction;
            Field &change = direction[candidates[i].field];
            change        = candidates[i].direction;
            Vector dh = D.make_vector(), mixed = dh;
            states.add_balance_jvp(s, direction, dh);
            // Signs by the numbers of cells and vertices.
            const unsigned int m = change.n_components;
            for (std::size_t k = 0; k < change.values.size(); ++k)
              {
                const unsigned int number =
                  change.place == Place::cells ? D.cell_id[k / m] * m + k % m
                  : change.place == Place::vertices ? D.node_vertices[k][0]
                                                    : 0;
                if ((number * 2654435761u) >> 31)
                  change[k] *= -1;
              }
            states.add_balance_jvp(s, direction, mixed);
            std::vector<double> column;
            for (unsigned int k = 0; k < dh.locally_owned_size(); ++k)
              {
                squares[i] += std::pow(dh.local_element(k), 2) +
                              std::pow(mixed.local_element(k), 2);
                if (!constrained[k])
                  column.push_back(dh.local_element(k));
              }
            columns.push_back(column);
          }
        Vector h = D.make_vector();
        states.add_balance(s, h);
        for (unsigned int p = 0; p < n_parts; ++p)
          for (unsigned int k = 0; k < h.locally_owned_size(); ++k)
            if (!constrained[k])
              residuals[p].push_back(
                parts.of_node[k / dim] == p ? h.local_element(k) : 0.);
        by_q += products(columns, columns);
        by_q_h += products(columns, residuals);
        by_h += products(residuals, residuals);
      }
    by_q   = sum_over_ranks(by_q, D.comm);
    by_q_h = sum_over_ranks(by_q_h, D.comm);
    by_h   = sum_over_ranks(by_h, D.comm);
    Utilities::MPI::sum(squares, D.comm, squares);
    for (unsigned int i = 0; i < n; ++i)
      candidates[i].size = std::sqrt(squares[i]);
  }

  template <int dim>
  void
  DirectionSearch<dim>::leave_out_what_is_held()
  {
    std::vector<DirectionCandidate> kept;
    std::vector<Eigen::Index>       rows;
    for (unsigned int i = 0; i < candidates.size(); ++i)
      if (candidates[i].direction.place == Place::body ||
          candidates[i].part != int(parts.n))
        {
          kept.push_back(candidates[i]);
          rows.push_back(i);
        }
    Matrix q(rows.size(), rows.size()), q_h(rows.size(), by_q_h.cols());
    for (unsigned int i = 0; i < rows.size(); ++i)
      {
        for (unsigned int j = 0; j < rows.size(); ++j)
          q(i, j) = by_q(rows[i], rows[j]);
        q_h.row(i) = by_q_h.row(rows[i]);
      }
    by_q       = q;
    by_q_h     = q_h;
    candidates = kept;
  }

  template <int dim>
  void
  DirectionSearch<dim>::prepare_scales()
  {
    for (const auto &name : unknowns.field_names())
      {
        const Field      &field   = fields[name];
        const std::size_t n_owned = D.n_owned_values(field);
        // Values of the body are the same on all ranks: one counts them.
        const bool counts = field.place != Place::body ||
                            Utilities::MPI::this_mpi_process(D.comm) == 0;
        double              largest = 0;
        std::vector<double> number(
          field.place == Place::body ? field.values.size() : parts.n + 1, 0.);
        const auto part = [&](const std::size_t i) {
          return field.place == Place::nodes ? 0 : part_of(field, i);
        };
        for (std::size_t i = 0; counts && i < n_owned; ++i)
          {
            largest = std::max(largest, std::abs(field[i]));
            ++number[part(i)];
          }
        largest = Utilities::MPI::max(largest, D.comm);
        Utilities::MPI::sum(number, D.comm, number);
        auto &scale = scales[name];
        scale.assign(n_owned, 0.);
        for (std::size_t i = 0; counts && i < n_owned; ++i)
          {
            const bool asked =
              field.place == Place::nodes ||
              std::any_of(candidates.begin(),
                          candidates.end(),
                          [&](const DirectionCandidate &c) {
                            return c.field == name && c.part == part(i);
                          });
            const double unit = std::abs(field[i]) > 1e-12 * largest
                                  ? std::abs(field[i])
                                : largest > 0 ? largest
                                              : 1.;
            if (asked)
              scale[i] = 1 / (std::sqrt(number[part(i)]) * unit);
          }
      }
  }

  template <int dim>
  std::vector<double>
  DirectionSearch<dim>::scaled(const Fields &direction) const
  {
    std::vector<double> rows;
    for (const auto &[name, scale] : scales)
      for (std::size_t i = 0; i < scale.size(); ++i)
        rows.push_back(direction.has(name) ? scale[i] * direction[name][i]
                                           : 0.);
    return rows;
  }

  template <int dim>
  std::vector<double>
  DirectionSearch<dim>::transposed(const std::vector<double> &rows) const
  {
    Fields shapes;
    for (const auto &[name, scale] : scales)
      shapes[name] = fields[name];
    FieldDuals  duals(shapes);
    std::size_t next = 0;
    for (const auto &[name, scale] : scales)
      for (std::size_t i = 0; i < scale.size(); ++i)
        duals[name][i] = scale[i] * rows[next++];
    std::vector<double> g(n_unknowns, 0.);
    at_q.vjp(duals, g);
    return g;
  }

  template <int dim>
  std::vector<double>
  DirectionSearch<dim>::out_of_reach(const DirectionCandidate &c) const
  {
    Fields direction;
    direction[c.field] = c.direction;
    auto         r = scaled(direction), g = transposed(r), d = g;
    const double first = dot(g, g);
    double       now   = first;
    for (unsigned int it = 0; it < 200 && now > 1e-20 * first &&
                              dot(r, r) > 1e-2 * reachable * reachable;
         ++it)
      {
        Fields dfields;
        at_q.jvp(d, dfields);
        const auto   Ad   = scaled(dfields);
        const double step = now / dot(Ad, Ad);
        for (std::size_t i = 0; i < r.size(); ++i)
          r[i] -= step * Ad[i];
        g                  = transposed(r);
        const double next  = dot(g, g);
        const double ratio = next / now;
        for (std::size_t i = 0; i < d.size(); ++i)
          d[i] = g[i] + ratio * d[i];
        now = next;
      }
    return r;
  }

  template <int dim>
  bool
  DirectionSearch<dim>::is_fixed(const DirectionCandidate &c) const
  {
    const auto fixed = unknowns.fixed_cells();
    double     any   = 0;
    for (unsigned int k = 0; is_stiffness(c.field) && k < D.n_owned_cells();
         ++k)
      if (fixed[k] && parts.of_cell[k] == static_cast<unsigned int>(c.part))
        any = 1;
    return Utilities::MPI::max(any, D.comm) > 0;
  }

  template <int dim>
  DirectionMatrix
  DirectionSearch<dim>::within_reach() const
  {
    std::vector<std::vector<double>> columns;
    for (const auto &c : candidates)
      columns.push_back(out_of_reach(c));
    Matrix G = sum_over_ranks(products(columns, columns), D.comm);
    for (unsigned int i = 0; i < candidates.size(); ++i)
      if (is_fixed(candidates[i]))
        G(i, i) += 1;
    return simple_basis(null_space(G, reachable));
  }

  template <int dim>
  DirectionMatrix
  DirectionSearch<dim>::run()
  {
    if (candidates.empty() || parts.n == 0)
      return Matrix(0, candidates.size());
    ask_balances();
    leave_out_what_is_held();
    if (candidates.empty())
      return Matrix(0, 0);
    prepare_scales();
    const Matrix Z = within_reach(); // rows
    if (Z.rows() == 0)
      return Z;
    // What changes nothing by itself; and the columns of the others, in units
    // of what counts as nothing.
    std::vector<Eigen::Index>       others;
    std::vector<double>             unit;
    std::vector<Eigen::RowVectorXd> found;
    for (Eigen::Index j = 0; j < Z.rows(); ++j)
      {
        double square = 0;
        for (unsigned int i = 0; i < candidates.size(); ++i)
          square += std::pow(Z(j, i) * candidates[i].size, 2);
        if (std::sqrt(square) <= negligible)
          found.push_back(Z.row(j));
        else
          {
            others.push_back(j);
            unit.push_back(nothing * std::sqrt(square));
          }
      }
    const Eigen::Index m = others.size();
    Matrix             Y(m, Z.cols());
    for (Eigen::Index j = 0; j < m; ++j)
      Y.row(j) = Z.row(others[j]) / unit[j];
    if (m > 0)
      {
        // min over beta of |Y h_q - beta h|^2 + (0.1 beta unit)^2
        const double u  = *std::max_element(unit.begin(), unit.end());
        const Matrix Gh = Y * by_q_h / u;
        Matrix       H  = by_h / (u * u);
        H += 0.01 * Matrix::Identity(H.rows(), H.cols());
        const Matrix G =
          Y * by_q * Y.transpose() - Gh * H.ldlt().solve(Gh.transpose());
        Matrix null = null_space(G, 1.) * Y;
        for (Eigen::Index i = 0; i < null.rows(); ++i)
          found.push_back(null.row(i) / null.row(i).norm());
      }
    Matrix rows(found.size(), Z.cols());
    for (unsigned int i = 0; i < found.size(); ++i)
      rows.row(i) = found[i];
    return simple_basis(rows);
  }

  template class DirectionSearch<2>;
  template class DirectionSearch<3>;
} // namespace Palpate
