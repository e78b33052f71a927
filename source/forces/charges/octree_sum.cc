#include <deal.II/base/exceptions.h>

#include <palpate/forces/charges/pairs.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace Palpate
{
  namespace
  {
    constexpr unsigned int highest_order = 10;
    constexpr unsigned int most_powers   = 286; ///< of order 0 to 10

    /// Powers (i, j, k) of order 0 to P, order by order, and where those with
    /// fewer are; "none" points behind the last.
    struct Powers
    {
      explicit Powers(const unsigned int order)
        : order(order)
      {
        for (unsigned int n = 0; n <= order; ++n)
          for (int i = n; i >= 0; --i)
            for (int j = n - i; j >= 0; --j)
              {
                const int k = n - i - j;
                Assert(place(i, j, k) == all.size(),
                       dealii::ExcInternalError());
                all.push_back({{i, j, k}});
                minus.push_back({{place(i - 1, j, k),
                                  place(i, j - 1, k),
                                  place(i, j, k - 1)}});
                minus2.push_back({{place(i - 2, j, k),
                                   place(i, j - 2, k),
                                   place(i, j, k - 2)}});
                double f = 1;
                for (const int m : {i, j, k})
                  for (int l = 2; l <= m; ++l)
                    f *= l;
                factorial.push_back(f);
              }
        for (const auto &b : all)
          for (unsigned int a = 0; a < n_all(order - (b[0] + b[1] + b[2])); ++a)
            sum.push_back(
              place(all[a][0] + b[0], all[a][1] + b[1], all[a][2] + b[2]));
      }

      unsigned int
      place(const int i, const int j, const int k) const
      {
        if (i < 0 || j < 0 || k < 0)
          return n_all(order);
        unsigned int at = i + j + k == 0 ? 0 : n_all(i + j + k - 1);
        for (int a = i + j + k; a > i; --a)
          at += i + j + k - a + 1;
        return at + k;
      }

      /// Number of powers of order 0 to n.
      static unsigned int
      n_all(const unsigned int n)
      {
        return (n + 1) * (n + 2) * (n + 3) / 6;
      }

      const unsigned int                       order;
      std::vector<std::array<int, 3>>          all;
      std::vector<std::array<unsigned int, 3>> minus, minus2;
      std::vector<double>                      factorial;
      /// Of b and a, as long as their orders sum to P at most: a + b.
      std::vector<unsigned int> sum;
    };

    struct Node
    {
      std::array<double, 3>     centre;
      double                    radius = 0; ///< farthest charge from the centre
      double                    size   = 0; ///< sum of |q|
      std::size_t               first, last;
      std::vector<unsigned int> children; ///< none: a leaf
      std::size_t               moments = 0;
    };

    /// The charges in the order of the tree, its nodes and their moments.
    struct ChargeTree
    {
      ChargeTree(const PointCharges &original,
                 const Powers       &powers,
                 const unsigned int  leaf_size)
        : powers(powers)
        , order(original.size())
      {
        std::iota(order.begin(), order.end(), std::size_t(0));
        std::array<double, 3> lower, upper;
        for (unsigned int d = 0; d < 3; ++d)
          {
            const auto range =
              std::minmax_element(original.x[d].begin(), original.x[d].end());
            lower[d] = *range.first;
            upper[d] = *range.second;
          }
        split(original, 0, order.size(), lower, upper, leaf_size, 0);
        for (const std::size_t i : order)
          charges.add(original.x[0][i],
                      original.x[1][i],
                      original.x[2][i],
                      original.q[i]);
        moments.assign(nodes.size() * Powers::n_all(powers.order), 0.);
        for (std::size_t n = 0; n < nodes.size(); ++n)
          add_moments(n);
      }

      unsigned int
      split(const PointCharges   &original,
            const std::size_t     first,
            const std::size_t     last,
            std::array<double, 3> lower,
            std::array<double, 3> upper,
            const unsigned int    leaf_size,
            const unsigned int    depth)
      {
        const unsigned int me = nodes.size();
        nodes.emplace_back();
        Node node;
        node.first = first;
        node.last  = last;
        for (unsigned int d = 0; d < 3; ++d)
          node.centre[d] = 0.5 * (lower[d] + upper[d]);
        // Charges at nearly one place are not split for ever.
        if (last - first > leaf_size && depth < 40)
          {
            // Octants one after the other; each with the box of its charges.
            std::array<std::vector<std::size_t>, 8> octants;
            for (std::size_t i = first; i < last; ++i)
              {
                unsigned int o = 0;
                for (unsigned int d = 0; d < 3; ++d)
                  o |= (original.x[d][order[i]] > node.centre[d]) << d;
                octants[o].push_back(order[i]);
              }
            std::size_t at = first;
            for (const auto &octant : octants)
              {
                std::copy(octant.begin(), octant.end(), order.begin() + at);
                at += octant.size();
              }
            at = first;
            for (const auto &octant : octants)
              {
                if (octant.empty())
                  continue;
                std::array<double, 3> low, up;
                low.fill(1e300);
                up.fill(-1e300);
                for (const std::size_t i : octant)
                  for (unsigned int d = 0; d < 3; ++d)
                    {
                      low[d] = std::min(low[d], original.x[d][i]);
                      up[d]  = std::max(up[d], original.x[d][i]);
                    }
                node.children.push_back(split(original,
                                              at,
                                              at + octant.size(),
                                              low,
                                              up,
                                              leaf_size,
                                              depth + 1));
                at += octant.size();
              }
          }
        else
          leaves.push_back(me);
        nodes[me] = node;
        return me;
      }

      void
      add_moments(const std::size_t n)
      {
        Node              &node = nodes[n];
        const unsigned int size = Powers::n_all(powers.order);
        node.moments            = n * size;
        double             *m   = &moments[node.moments];
        std::vector<double> monomial(size);
        for (std::size_t i = node.first; i < node.last; ++i)
          {
            std::array<double, 3> r;
            double                square = 0;
            for (unsigned int d = 0; d < 3; ++d)
              {
                r[d] = charges.x[d][i] - node.centre[d];
                square += r[d] * r[d];
              }
            node.radius = std::max(node.radius, std::sqrt(square));
            node.size += std::abs(charges.q[i]);
            monomial[0] = charges.q[i];
            m[0] += monomial[0];
            for (unsigned int a = 1; a < size; ++a)
              {
                const unsigned int d = powers.all[a][0] > 0   ? 0
                                       : powers.all[a][1] > 0 ? 1
                                                              : 2;
                monomial[a]          = -r[d] * monomial[powers.minus[a][d]];
                m[a] += monomial[a] / powers.factorial[a];
              }
          }
      }

      const Powers             &powers;
      std::vector<std::size_t>  order; ///< original number of each charge
      PointCharges              charges;
      std::vector<Node>         nodes;
      std::vector<unsigned int> leaves;
      std::vector<double>       moments;
    };

    double
    distance(const Node &a, const Node &b)
    {
      double square = 0;
      for (unsigned int d = 0; d < 3; ++d)
        square += (a.centre[d] - b.centre[d]) * (a.centre[d] - b.centre[d]);
      return std::sqrt(square);
    }

    /// The field of some nodes at the charges of a leaf: with R the way between
    /// the centres, D_c = d^c(1/|R|), sum over a, b of M_a D_(a+b) x^b / b!.
    void
    add_series(const ChargeTree                &tree,
               const Node                      &leaf,
               const std::vector<unsigned int> &nodes,
               FieldAtCharges                  &field)
    {
      if (nodes.empty())
        return;
      const Powers      &powers = tree.powers;
      const unsigned int P = powers.order, n = Powers::n_all(P);
      // t: D over the factorials, 0 behind them; L: the sums over a.
      std::array<Lanes, most_powers + 1> t, D, M, L;
      for (std::size_t first = 0; first < nodes.size(); first += Lanes::width)
        {
          // Lanes that are left over repeat the first node, without charge.
          const auto node = [&](const unsigned int l) -> const Node & {
            return tree
              .nodes[nodes[first + l < nodes.size() ? first + l : first]];
          };
          Lanes r[3], r2;
          for (unsigned int d = 0; d < 3; ++d)
            {
              r[d] = Lanes::from([&](const unsigned int l) {
                return leaf.centre[d] - node(l).centre[d];
              });
              r2 += r[d] * r[d];
            }
          std::array<const double *, Lanes::width> m;
          for (unsigned int l = 0; l < Lanes::width; ++l)
            m[l] = &tree.moments[node(l).moments];
          const unsigned int used =
            std::min<std::size_t>(Lanes::width, nodes.size() - first);
          for (unsigned int k = 0; k < n; ++k)
            M[k] = Lanes::from(
              [&](const unsigned int l) { return l < used ? m[l][k] : 0.; });
          const Lanes inverse = inverse_root(r2), i2 = inverse * inverse;
          t[0] = D[0]    = inverse;
          t[n]           = Lanes();
          unsigned int k = 1;
          for (unsigned int order = 1; order <= P; ++order)
            {
              const Lanes two = Lanes((1. - 2. * order) / order) * i2,
                          one = Lanes((order - 1.) / order) * i2;
              for (const unsigned int end = Powers::n_all(order); k < end; ++k)
                {
                  const auto &down = powers.minus[k], &less = powers.minus2[k];
                  t[k] = two * (r[0] * t[down[0]] + r[1] * t[down[1]] +
                                r[2] * t[down[2]]) -
                         one * (t[less[0]] + t[less[1]] + t[less[2]]);
                  D[k] = Lanes(powers.factorial[k]) * t[k];
                }
            }
          const unsigned int *sum = powers.sum.data();
          for (unsigned int b = 0; b < n; ++b)
            {
              const auto        &of = powers.all[b];
              const unsigned int na =
                Powers::n_all(P - (of[0] + of[1] + of[2]));
              Lanes        even, odd; // two chains of additions
              unsigned int a = 0;
              for (; a + 1 < na; a += 2)
                {
                  even += M[a] * D[sum[a]];
                  odd += M[a + 1] * D[sum[a + 1]];
                }
              if (a < na)
                even += M[a] * D[sum[a]];
              sum += na;
              L[b] += even + odd;
            }
        }
      std::array<double, most_powers> of;
      for (unsigned int b = 0; b < n; ++b)
        {
          double all = 0;
          for (unsigned int l = 0; l < Lanes::width; ++l)
            all += L[b][l];
          of[b] = coulomb_constant * all / powers.factorial[b];
        }
      const auto &x = tree.charges.x;
      for (std::size_t i = leaf.first; i < leaf.last; i += Lanes::width)
        {
          Lanes r[3], e[3], potential;
          for (unsigned int d = 0; d < 3; ++d)
            r[d] = load(x[d], i, leaf.last) - Lanes(leaf.centre[d]);
          // t: the powers of the way from the centre.
          t[0]      = Lanes(1.);
          potential = Lanes(of[0]);
          for (unsigned int b = 1; b < n; ++b)
            {
              const auto        &power = powers.all[b];
              const unsigned int d = power[0] > 0 ? 0 : power[1] > 0 ? 1 : 2;
              t[b]                 = r[d] * t[powers.minus[b][d]];
              potential += Lanes(of[b]) * t[b];
              for (unsigned int c = 0; c < 3; ++c)
                if (power[c] > 0)
                  e[c] -= Lanes(power[c] * of[b]) * t[powers.minus[b][c]];
            }
          for (unsigned int l = 0; l < Lanes::width && i + l < leaf.last; ++l)
            {
              for (unsigned int d = 0; d < 3; ++d)
                field.e[d][i + l] += e[d][l];
              field.potential[i + l] += potential[l];
            }
        }
    }
  } // namespace

  OctreeSum::OctreeSum(const double       tolerance,
                       const unsigned int order,
                       const unsigned int leaf_size)
    : tolerance(tolerance)
    , order(order)
    , leaf_size(leaf_size)
  {
    AssertThrow(tolerance > 0 && order >= 1 && order <= highest_order &&
                  leaf_size > 0,
                dealii::ExcInternalError());
  }

  OctreeSum
  OctreeSum::with_angle(const double angle, const unsigned int order)
  {
    OctreeSum result(1, order);
    result.angle = angle;
    return result;
  }

  void
  OctreeSum::compute(const PointCharges &charges,
                     FieldAtCharges     &field,
                     const std::size_t   begin_of_targets,
                     const std::size_t   end_of_targets)
  {
    require_places(charges);
    const std::size_t n = charges.size();
    field.resize(n);
    share_of_pairs = 0;
    if (n == 0)
      return;
    const Powers     powers(order);
    const ChargeTree tree(charges, powers, leaf_size);
    FieldAtCharges   sorted;
    sorted.resize(n);
    const auto is_target = [&](const std::size_t i) {
      return i >= begin_of_targets && i < end_of_targets;
    };
    PairSums    all;
    std::size_t n_all = 0;
    std::mutex  mutex;
    const auto  work = [&](const std::size_t begin, const std::size_t end) {
      PairSums                  sums;
      std::size_t               n_targets = 0;
      std::vector<unsigned int> stack, far;
      std::vector<Range>        near;
      for (std::size_t l = begin; l < end; ++l)
        {
          const Node &leaf = tree.nodes[tree.leaves[l]];
          if (std::none_of(tree.order.begin() + leaf.first,
                           tree.order.begin() + leaf.last,
                           is_target))
            continue;
          n_targets += leaf.last - leaf.first;
          // The sum of |q|/R^2, roughly and from below: of what does not touch
          // the leaf.
          double size = 0;
          stack       = {0};
          while (angle == 0 && !stack.empty())
            {
              const Node &node = tree.nodes[stack.back()];
              stack.pop_back();
              const double R = distance(leaf, node);
              if (node.radius < 0.5 * R && leaf.radius < 0.5 * R)
                size += node.size / (R * R);
              else
                stack.insert(stack.end(),
                             node.children.begin(),
                             node.children.end());
            }
          far.clear();
          near.clear();
          stack = {0};
          while (!stack.empty())
            {
              const unsigned int index = stack.back();
              const Node        &node  = tree.nodes[index];
              stack.pop_back();
              const double R = distance(leaf, node);
              const double t = R > 0 ? (node.radius + leaf.radius) / R : 1.;
              // What the series leaves out, at most.
              const auto bound = [&]() {
                return node.size / (R * R) * std::pow(t, order) *
                       (order + 1. - order * t) / ((1 - t) * (1 - t));
              };
              const bool good =
                angle > 0 ? t <= angle : t < 0.9 && bound() <= tolerance * size;
              // Some pairs cost less than a series.
              if (good && (node.last - node.first) * (leaf.last - leaf.first) >
                            Powers::n_all(order))
                far.push_back(index);
              else if (node.children.empty() || good)
                near.push_back({{node.first, node.last}});
              else
                stack.insert(stack.end(),
                             node.children.begin(),
                             node.children.end());
            }
          run_fast([&]() {
            add_pairs(tree.charges, leaf.first, leaf.last, near, sorted, sums);
            add_series(tree, leaf, far, sorted);
          });
        }
      const std::lock_guard<std::mutex> lock(mutex);
      all.n_here += sums.n_here;
      all.n_pairs += sums.n_pairs;
      n_all += n_targets;
    };
    dealii::parallel::apply_to_subranges(std::size_t(0),
                                         tree.leaves.size(),
                                         work,
                                         4);
    require_distances(charges, all, n_all);
    share_of_pairs = all.n_pairs / (double(n) * n);
    for (std::size_t i = 0; i < n; ++i)
      if (is_target(tree.order[i]))
        {
          for (unsigned int d = 0; d < 3; ++d)
            field.e[d][tree.order[i]] = sorted.e[d][i];
          field.potential[tree.order[i]] = sorted.potential[i];
        }
  }
} // namespace Palpate
