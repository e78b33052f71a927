#include <palpate/forces/charges/pairs.h>

#include <CGAL/Delaunay_triangulation_3.h>
#include <CGAL/Exact_predicates_inexact_constructions_kernel.h>
#include <CGAL/Triangulation_vertex_base_with_info_3.h>

#include <algorithm>
#include <cmath>

namespace Palpate
{
  namespace
  {
    using Kernel = CGAL::Exact_predicates_inexact_constructions_kernel;
    using VertexBase =
      CGAL::Triangulation_vertex_base_with_info_3<unsigned int, Kernel>;
    using Structure = CGAL::Triangulation_data_structure_3<
      VertexBase,
      CGAL::Delaunay_triangulation_cell_base_3<Kernel>>;
    using Delaunay = CGAL::Delaunay_triangulation_3<Kernel, Structure>;

    /// Entry i of Halton's sequence in a base.
    double
    halton(unsigned int i, const unsigned int base)
    {
      double share = 1, result = 0;
      for (; i > 0; i /= base)
        {
          share /= base;
          result += share * (i % base);
        }
      return result;
    }

    /// Where a charge lies in the grid.
    struct Location
    {
      std::array<unsigned int, 4> vertices; ///< of its tetrahedron
      std::array<double, 4>       weights;  ///< barycentric
      std::vector<unsigned int>   nearby;   ///< N_i, ascending
    };

    bool
    has(const std::vector<unsigned int> &sorted, const unsigned int v)
    {
      return std::binary_search(sorted.begin(), sorted.end(), v);
    }

    /// Volume of a tetrahedron, times 6, with its sign.
    double
    volume(const std::array<std::array<double, 3>, 4> &x)
    {
      double e[3][3];
      for (unsigned int a = 0; a < 3; ++a)
        for (unsigned int d = 0; d < 3; ++d)
          e[a][d] = x[a + 1][d] - x[0][d];
      return e[0][0] * (e[1][1] * e[2][2] - e[1][2] * e[2][1]) -
             e[0][1] * (e[1][0] * e[2][2] - e[1][2] * e[2][0]) +
             e[0][2] * (e[1][0] * e[2][1] - e[1][1] * e[2][0]);
    }

    struct ChargeGrid
    {
      ChargeGrid(const PointCharges &charges, const unsigned int n_points)
      {
        std::array<double, 3> lower, upper;
        double                extent = 0;
        for (unsigned int d = 0; d < 3; ++d)
          {
            const auto range =
              std::minmax_element(charges.x[d].begin(), charges.x[d].end());
            lower[d] = *range.first;
            upper[d] = *range.second;
            extent   = std::max(extent, upper[d] - lower[d]);
          }
        // A little room, for charges on the faces of the box and flat bodies.
        const double room = extent > 0 ? 1e-3 * extent : 1e-3;
        for (unsigned int d = 0; d < 3; ++d)
          {
            lower[d] -= room;
            upper[d] += room;
          }
        std::vector<std::pair<Delaunay::Point, unsigned int>> named;
        const auto add = [&](const std::array<double, 3> &at) {
          named.emplace_back(Delaunay::Point(at[0], at[1], at[2]),
                             points.size());
          points.push_back(at);
        };
        for (unsigned int corner = 0; corner < 8; ++corner)
          add({{corner & 1 ? upper[0] : lower[0],
                corner & 2 ? upper[1] : lower[1],
                corner & 4 ? upper[2] : lower[2]}});
        for (unsigned int i = 1; i <= n_points; ++i)
          add({{lower[0] + (upper[0] - lower[0]) * halton(i, 2),
                lower[1] + (upper[1] - lower[1]) * halton(i, 3),
                lower[2] + (upper[2] - lower[2]) * halton(i, 5)}});
        const Delaunay        tets(named.begin(), named.end());
        Delaunay::Cell_handle cell;
        for (std::size_t i = 0; i < charges.size(); ++i)
          {
            const std::array<double, 3> x = {
              {charges.x[0][i], charges.x[1][i], charges.x[2][i]}};
            cell = tets.locate(Delaunay::Point(x[0], x[1], x[2]), cell);
            Location                             place;
            std::array<std::array<double, 3>, 4> corners;
            for (unsigned int a = 0; a < 4; ++a)
              {
                place.vertices[a] = cell->vertex(a)->info();
                corners[a]        = points[place.vertices[a]];
                place.nearby.push_back(place.vertices[a]);
                const auto neighbor = cell->neighbor(a);
                if (!tets.is_infinite(neighbor))
                  for (unsigned int b = 0; b < 4; ++b)
                    place.nearby.push_back(neighbor->vertex(b)->info());
              }
            std::sort(place.nearby.begin(), place.nearby.end());
            place.nearby.erase(std::unique(place.nearby.begin(),
                                           place.nearby.end()),
                               place.nearby.end());
            const double whole = volume(corners);
            for (unsigned int a = 0; a < 4; ++a)
              {
                auto other       = corners;
                other[a]         = x;
                place.weights[a] = volume(other) / whole;
              }
            places.push_back(place);
          }
        charges_near.resize(points.size());
        for (std::size_t i = 0; i < places.size(); ++i)
          for (const unsigned int v : places[i].nearby)
            charges_near[v].push_back(i);
      }

      /// The charges that are near charge i, itself among them, ascending.
      void
      find_near(const std::size_t               i,
                const DiscretizedField::Variant variant,
                std::vector<std::size_t>       &near) const
      {
        using Variant         = DiscretizedField::Variant;
        const Location &place = places[i];
        near.clear();
        const auto collect = [&](const unsigned int v) {
          near.insert(near.end(),
                      charges_near[v].begin(),
                      charges_near[v].end());
        };
        if (variant == Variant::listing || variant == Variant::near_only)
          std::for_each(place.nearby.begin(), place.nearby.end(), collect);
        else
          std::for_each(place.vertices.begin(), place.vertices.end(), collect);
        std::sort(near.begin(), near.end());
        near.erase(std::unique(near.begin(), near.end()), near.end());
        if (variant == Variant::text)
          near.erase(std::remove_if(near.begin(),
                                    near.end(),
                                    [&](const std::size_t k) {
                                      for (const unsigned int v :
                                           place.vertices)
                                        if (!has(places[k].nearby, v))
                                          return true;
                                      return false;
                                    }),
                     near.end());
      }

      std::vector<std::array<double, 3>> points;
      std::vector<Location>              places;
      /// M_j: charges with grid point j in their N.
      std::vector<std::vector<std::size_t>> charges_near;
    };

    /// Field at a point of charges whose q may be 0.
    std::array<double, 3>
    field_at(const PointCharges          &charges,
             const std::vector<double>   &q,
             const std::array<double, 3> &point)
    {
      Lanes             e[3];
      const std::size_t n = charges.size();
      run_fast([&]() {
        for (std::size_t i = 0; i < n; i += Lanes::width)
          {
            Lanes qi = load(q, i, n);
            for (unsigned int l = n - i; l < Lanes::width; ++l)
              qi.v[l] = 0; // load() repeats the last one
            const Lanes r[3] = {Lanes(point[0]) - load(charges.x[0], i, n),
                                Lanes(point[1]) - load(charges.x[1], i, n),
                                Lanes(point[2]) - load(charges.x[2], i, n)};
            const Lanes inverse =
              inverse_root(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
            const Lanes q3 = qi * inverse * inverse * inverse;
            for (unsigned int d = 0; d < 3; ++d)
              e[d] += q3 * r[d];
          }
      });
      std::array<double, 3> sum = {{0, 0, 0}};
      for (unsigned int d = 0; d < 3; ++d)
        for (unsigned int l = 0; l < Lanes::width; ++l)
          sum[d] += coulomb_constant * e[d][l];
      return sum;
    }
  } // namespace

  DiscretizedField::DiscretizedField(const unsigned int n_points,
                                     const Variant      variant)
    : n_points(n_points)
    , variant(variant)
  {}

  void
  DiscretizedField::compute(const PointCharges &charges,
                            FieldAtCharges     &field,
                            const std::size_t   first,
                            const std::size_t   last)
  {
    require_places(charges);
    const std::size_t n = charges.size();
    field.resize(n);
    mean_near = 0;
    if (n == 0)
      return;
    const ChargeGrid grid(charges, n_points);

    // The far field at the points of the grid that charges look at.
    std::vector<std::array<double, 3>> far(grid.points.size());
    std::vector<char>                  wanted(grid.points.size(), 0);
    for (const Location &place : grid.places)
      for (const unsigned int v : place.vertices)
        wanted[v] = 1;
    if (variant != Variant::near_only)
      dealii::parallel::apply_to_subranges(
        std::size_t(0),
        grid.points.size(),
        [&](const std::size_t begin, const std::size_t end) {
          std::vector<double> q = charges.q;
          for (std::size_t v = begin; v < end; ++v)
            {
              if (!wanted[v])
                continue;
              for (const std::size_t i : grid.charges_near[v])
                q[i] = 0;
              far[v] = field_at(charges, q, grid.points[v]);
              for (const std::size_t i : grid.charges_near[v])
                q[i] = charges.q[i];
            }
        },
        16);

    std::mutex  mutex;
    std::size_t n_near = 0;
    PairSums    sums;
    const auto  add = [&](const std::size_t begin, const std::size_t end) {
      std::vector<std::size_t> near;
      PointCharges             around;
      PairSums                 part;
      std::size_t              count = 0;
      for (std::size_t i = begin; i < end; ++i)
        {
          const Location       &place = grid.places[i];
          std::array<double, 3> e     = {{0, 0, 0}};
          for (unsigned int a = 0; a < 4; ++a)
            for (unsigned int d = 0; d < 3; ++d)
              e[d] += place.weights[a] * far[place.vertices[a]][d];
          grid.find_near(i, variant, near);
          count += near.size();
          for (auto &x : around.x)
            x.clear();
          around.q.clear();
          for (const std::size_t k : near)
            around.add(charges.x[0][k],
                       charges.x[1][k],
                       charges.x[2][k],
                       charges.q[k]);
          const std::array<double, 3> x = {
            {charges.x[0][i], charges.x[1][i], charges.x[2][i]}};
          const auto direct = field_at(around, around.q, x);
          for (unsigned int d = 0; d < 3; ++d)
            e[d] += direct[d];
          for (const std::size_t k : near)
            part.n_here += charges.x[0][k] == x[0] && charges.x[1][k] == x[1] &&
                           charges.x[2][k] == x[2];
          if (variant == Variant::consistent)
            for (unsigned int a = 0; a < 4; ++a)
              {
                // What this corner holds of the near charges.
                PointCharges held;
                for (const std::size_t k : near)
                  if (!has(grid.places[k].nearby, place.vertices[a]))
                    held.add(charges.x[0][k],
                             charges.x[1][k],
                             charges.x[2][k],
                             charges.q[k]);
                const auto twice =
                  field_at(held, held.q, grid.points[place.vertices[a]]);
                for (unsigned int d = 0; d < 3; ++d)
                  e[d] -= place.weights[a] * twice[d];
              }
          for (unsigned int d = 0; d < 3; ++d)
            field.e[d][i] = e[d];
          if (has_potential())
            for (const std::size_t k : near)
              if (k != i)
                {
                  double r2 = 0;
                  for (unsigned int d = 0; d < 3; ++d)
                    r2 += (x[d] - charges.x[d][k]) * (x[d] - charges.x[d][k]);
                  field.potential[i] +=
                    coulomb_constant * charges.q[k] / std::sqrt(r2);
                }
        }
      const std::lock_guard<std::mutex> lock(mutex);
      n_near += count;
      sums.n_here += part.n_here;
    };
    dealii::parallel::apply_to_subranges(first, last, add, 16);
    require_distances(charges, sums, last - first);
    mean_near = double(n_near) / std::max<std::size_t>(last - first, 1);
  }

  void
  DiscretizedField::add_vjp(const PointCharges                       &charges,
                            const std::array<std::vector<double>, 3> &w,
                            std::array<std::vector<double>, 3>       &g_x,
                            std::vector<double>                      *g_q,
                            const std::size_t                         first,
                            const std::size_t last) const
  {
    if (variant != Variant::near_only)
      {
        ElectricField::add_vjp(charges, w, g_x, g_q, first, last);
        return;
      }
    if (charges.size() == 0)
      return;
    const ChargeGrid grid(charges, n_points);
    const auto       add = [&](const std::size_t begin, const std::size_t end) {
      std::vector<std::size_t> near;
      for (std::size_t i = begin; i < end; ++i)
        {
          // F_i . w_i + F_j . w_j = k q_i q_j r . (w_i - w_j) / |r|^3.
          grid.find_near(i, variant, near);
          for (const std::size_t j : near)
            {
              if (j == i)
                continue;
              std::array<double, 3> r, v;
              double                r2 = 0, rv = 0;
              for (unsigned int d = 0; d < 3; ++d)
                {
                  r[d] = charges.x[d][i] - charges.x[d][j];
                  v[d] = w[d][i] - w[d][j];
                  r2 += r[d] * r[d];
                  rv += r[d] * v[d];
                }
              const double q3 =
                coulomb_constant * charges.q[j] / (r2 * std::sqrt(r2));
              for (unsigned int d = 0; d < 3; ++d)
                g_x[d][i] += charges.q[i] * q3 * (v[d] - 3 * rv / r2 * r[d]);
              if (g_q != nullptr)
                (*g_q)[i] += q3 * rv;
            }
        }
    };
    dealii::parallel::apply_to_subranges(first, last, add, 16);
  }
} // namespace Palpate
