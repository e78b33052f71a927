#include <deal.II/base/exceptions.h>

#include <palpate/forces/charges/pairs.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace Palpate
{
  namespace
  {
    constexpr unsigned int highest_order = 8;

    /// Powers (i, j, k) of order 0 to P, order by order, and where those with
    /// one more or fewer are; "none" points behind the last.
    struct Powers
    {
      explicit Powers(const unsigned int order)
        : order(order)
      {
        const auto place = [&](const int i, const int j, const int k) {
          if (i < 0 || j < 0 || k < 0)
            return n_all(order + 1);
          unsigned int at = i + j + k == 0 ? 0 : n_all(i + j + k - 1);
          for (int a = i + j + k; a > i; --a)
            at += i + j + k - a + 1;
          return at + k;
        };
        for (unsigned int n = 0; n <= order + 1; ++n)
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
                plus.push_back({{place(i + 1, j, k),
                                 place(i, j + 1, k),
                                 place(i, j, k + 1)}});
              }
      }

      /// Number of powers of order 0 to n.
      static unsigned int
      n_all(const unsigned int n)
      {
        return (n + 1) * (n + 2) * (n + 3) / 6;
      }

      const unsigned int                       order;
      std::vector<std::array<int, 3>>          all;
      std::vector<std::array<unsigned int, 3>> minus, minus2, plus;
    };

    struct Node
    {
      std::array<double, 3>     centre;
      double                    radius = 0; ///< farthest charge from the centre
      double                    size   = 0; ///< sum of |q|
      double                    beyond = 0; ///< sum of |q| |x - c|^(order + 1)
      std::size_t               first, last;
      std::vector<unsigned int> children; ///< none: a leaf
      std::size_t               moments = 0;
    };

    /// The charges in the order of the tree, its nodes and their moments.
    struct Tree
    {
      Tree(const PointCharges &original,
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
            const double distance = std::sqrt(square);
            node.radius           = std::max(node.radius, distance);
            node.size += std::abs(charges.q[i]);
            node.beyond +=
              std::abs(charges.q[i]) * std::pow(distance, powers.order + 1.);
            monomial[0] = charges.q[i];
            m[0] += monomial[0];
            for (unsigned int a = 1; a < size; ++a)
              {
                const unsigned int d = powers.all[a][0] > 0   ? 0
                                       : powers.all[a][1] > 0 ? 1
                                                              : 2;
                monomial[a]          = r[d] * monomial[powers.minus[a][d]];
                m[a] += monomial[a];
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

    /// Smallest distance of a node's charges to a point, at least.
    double
    distance(const Node &leaf, const std::array<double, 3> &point)
    {
      double square = 0;
      for (unsigned int d = 0; d < 3; ++d)
        square += (leaf.centre[d] - point[d]) * (leaf.centre[d] - point[d]);
      return std::sqrt(square) - leaf.radius;
    }

    /// Field of the series of some nodes at the charges of a leaf.
    void
    add_series(const Tree                      &tree,
               const Node                      &leaf,
               const std::vector<unsigned int> &nodes,
               FieldAtCharges                  &field)
    {
      const Powers      &powers = tree.powers;
      const unsigned int P = powers.order, n_m = Powers::n_all(P);

      const auto &x = tree.charges.x;
      // a: derivatives of 1/|x - c| by c over the factorials; 0 behind them.
      std::array<Lanes, 221> a; // up to order 9, and the 0
      std::vector<double>    inverse_of(P + 2);
      for (unsigned int n = 1; n < P + 2; ++n)
        inverse_of[n] = 1. / n;
      for (std::size_t i = leaf.first; i < leaf.last; i += Lanes::width)
        {
          const Lanes xi[3] = {load(x[0], i, leaf.last),
                               load(x[1], i, leaf.last),
                               load(x[2], i, leaf.last)};
          Lanes       e[3], potential;
          for (const unsigned int index : nodes)
            {
              const Node   &node    = tree.nodes[index];
              const double *m       = &tree.moments[node.moments];
              const Lanes   r[3]    = {xi[0] - Lanes(node.centre[0]),
                                       xi[1] - Lanes(node.centre[1]),
                                       xi[2] - Lanes(node.centre[2])};
              const Lanes   inverse = inverse_root(r[0] * r[0] + r[1] * r[1] +
                                                 r[2] * r[2]),
                          i2        = inverse * inverse;
              a[0]                  = inverse;
              unsigned int k        = 1;
              for (unsigned int n = 1; n <= P + 1; ++n)
                {
                  const Lanes two = Lanes((2. * n - 1) * inverse_of[n]) * i2,
                              one = Lanes((n - 1.) * inverse_of[n]) * i2;
                  for (const unsigned int end = Powers::n_all(n); k < end; ++k)
                    {
                      const auto &down = powers.minus[k],
                                 &less = powers.minus2[k];
                      a[k] = two * (r[0] * a[down[0]] + r[1] * a[down[1]] +
                                    r[2] * a[down[2]]) -
                             one * (a[less[0]] + a[less[1]] + a[less[2]]);
                    }
                }
              for (k = 0; k < n_m; ++k)
                {
                  const Lanes mk(m[k]);
                  potential += mk * a[k];
                  for (unsigned int d = 0; d < 3; ++d)
                    e[d] += Lanes((powers.all[k][d] + 1.) * m[k]) *
                            a[powers.plus[k][d]];
                }
            }
          for (unsigned int l = 0; l < Lanes::width && i + l < leaf.last; ++l)
            {
              for (unsigned int d = 0; d < 3; ++d)
                field.e[d][i + l] += coulomb_constant * e[d][l];
              field.potential[i + l] += coulomb_constant * potential[l];
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
    AssertThrow(tolerance > 0 && order <= highest_order && leaf_size > 0,
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
  OctreeSum::compute(const PointCharges &charges, FieldAtCharges &field)
  {
    require_places(charges);
    const std::size_t n = charges.size();
    field.resize(n);
    share_of_pairs = 0;
    if (n == 0)
      return;
    const Powers   powers(order);
    const Tree     tree(charges, powers, leaf_size);
    FieldAtCharges sorted;
    sorted.resize(n);
    PairSums   all;
    std::mutex mutex;
    const auto work = [&](const std::size_t begin, const std::size_t end) {
      PairSums                  sums;
      std::vector<unsigned int> stack, far;
      std::vector<Range>        near;
      for (std::size_t l = begin; l < end; ++l)
        {
          const Node &leaf = tree.nodes[tree.leaves[l]];
          // The sum of |q|/R^2, roughly and from below: of what does not touch
          // the leaf.
          double size = 0;
          stack       = {0};
          while (angle == 0 && !stack.empty())
            {
              const Node &node = tree.nodes[stack.back()];
              stack.pop_back();
              const double R = distance(leaf, node.centre) + leaf.radius;
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
              const double R    = distance(leaf, node.centre);
              const double t    = R > 0 ? node.radius / R : 1.;
              const bool   good = angle > 0
                                    ? t <= angle
                                    : t < 0.9 && (order + 2) * node.beyond <=
                                                 tolerance * size *
                                                   std::pow(R, order + 3.) *
                                                   (1 - t) * (1 - t);
              // A series costs as much as this many pairs.
              const std::size_t as_pairs = Powers::n_all(order + 1);
              if (good && node.last - node.first > as_pairs / 2)
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
    };
    dealii::parallel::apply_to_subranges(std::size_t(0),
                                         tree.leaves.size(),
                                         work,
                                         4);
    require_distances(charges, all);
    share_of_pairs = all.n_pairs / (double(n) * n);
    for (std::size_t i = 0; i < n; ++i)
      {
        for (unsigned int d = 0; d < 3; ++d)
          field.e[d][tree.order[i]] = sorted.e[d][i];
        field.potential[tree.order[i]] = sorted.potential[i];
      }
  }
} // namespace Palpate
