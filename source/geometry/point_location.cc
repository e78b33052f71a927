#include <palpate/core/errors.h>
#include <palpate/geometry/point_location.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace Palpate
{
  namespace
  {
    using dealii::Point;
    using dealii::Tensor;

    std::array<double, 3>
    barycentric_coordinates(const std::array<Point<2>, 3> &x, const Point<2> &p)
    {
      const auto   a = x[1] - x[0], b = x[2] - x[0], c = p - x[0];
      const double det = a[0] * b[1] - a[1] * b[0];
      const double l1  = (c[0] * b[1] - c[1] * b[0]) / det;
      const double l2  = (a[0] * c[1] - a[1] * c[0]) / det;
      return {{1 - l1 - l2, l1, l2}};
    }

    std::array<double, 4>
    barycentric_coordinates(const std::array<Point<3>, 4> &x, const Point<3> &p)
    {
      const auto   a = x[1] - x[0], b = x[2] - x[0], c = x[3] - x[0];
      const auto   q   = p - x[0];
      const auto   bc  = dealii::cross_product_3d(b, c);
      const auto   aq  = dealii::cross_product_3d(a, q);
      const double det = a * bc;
      const double l1  = (q * bc) / det;
      const double l2  = (aq * c) / det;
      const double l3  = -(aq * b) / det;
      return {{1 - l1 - l2 - l3, l1, l2, l3}};
    }

    /// Nearest point on the hull of a few vertices of a simplex.
    template <int dim>
    struct Nearest
    {
      const std::array<Point<dim>, dim + 1> &x;
      const Point<dim>                      &p;
      std::array<double, dim + 1>            barycentric;
      double distance_square = std::numeric_limits<double>::max();

      /// Take the face of vertices `v` (`n` of them) if it is nearer: its
      /// plane's nearest point, or, when this is outside, its faces on that
      /// side.
      void
      face(const std::array<unsigned int, dim + 1> &v, const unsigned int n)
      {
        std::array<double, dim + 1> l{};
        if (n == dim + 1)
          l = barycentric_coordinates(x, p);
        else if (n == 3)
          {
            const auto   a = x[v[1]] - x[v[0]], b = x[v[2]] - x[v[0]];
            const auto   q  = p - x[v[0]];
            const double aa = a * a, ab = a * b, bb = b * b;
            const double qa = q * a, qb = q * b;
            const double det = aa * bb - ab * ab;
            l[1]             = (qa * bb - qb * ab) / det;
            l[2]             = (qb * aa - qa * ab) / det;
            l[0]             = 1 - l[1] - l[2];
          }
        else if (n == 2)
          {
            const auto a = x[v[1]] - x[v[0]];
            l[1]         = ((p - x[v[0]]) * a) / (a * a);
            l[0]         = 1 - l[1];
          }
        else
          l[0] = 1;

        bool outside = false;
        for (unsigned int i = 0; i < n; ++i)
          if (l[i] < 0)
            {
              outside      = true;
              auto smaller = v;
              for (unsigned int j = i; j + 1 < n; ++j)
                smaller[j] = v[j + 1];
              face(smaller, n - 1);
            }
        if (outside)
          return;

        Tensor<1, dim> difference;
        for (unsigned int i = 0; i < n; ++i)
          difference += l[i] * (x[v[i]] - p);
        if (difference.norm_square() < distance_square)
          {
            distance_square = difference.norm_square();
            barycentric.fill(0);
            for (unsigned int i = 0; i < n; ++i)
              barycentric[v[i]] = l[i];
          }
      }
    };

    /// Square of the distance from p to a box.
    template <int dim>
    double
    distance_to_box(const Point<dim> &p,
                    const Point<dim> &lower,
                    const Point<dim> &upper)
    {
      double square = 0;
      for (unsigned int d = 0; d < dim; ++d)
        {
          const double t = std::max({lower[d] - p[d], p[d] - upper[d], 0.});
          square += t * t;
        }
      return square;
    }

    template <int dim>
    std::array<Point<dim>, dim + 1>
    cell_vertices(const SerialMesh<dim> &mesh, const unsigned int cell)
    {
      std::array<Point<dim>, dim + 1> x;
      for (unsigned int i = 0; i <= dim; ++i)
        x[i] = mesh.vertices[mesh.cells[cell][i]];
      return x;
    }

    template <int dim>
    void
    bounding_box(const std::array<Point<dim>, dim + 1> &x,
                 Point<dim>                            &lower,
                 Point<dim>                            &upper)
    {
      lower = upper = x[0];
      for (const auto &v : x)
        for (unsigned int d = 0; d < dim; ++d)
          {
            lower[d] = std::min(lower[d], v[d]);
            upper[d] = std::max(upper[d], v[d]);
          }
    }

    /// Bin of a coordinate, clamped to the grid; monotone in the coordinate.
    unsigned int
    bin_index(const double       coordinate,
              const double       origin,
              const double       bin_size,
              const unsigned int n_bins)
    {
      const double t = (coordinate - origin) / bin_size;
      if (!(t > 0))
        return 0;
      return t < n_bins ? static_cast<unsigned int>(t) : n_bins - 1;
    }

    /// Call f(index of bin, its position) for the bins of a range.
    template <int dim, typename Function>
    void
    for_each_bin(const std::array<unsigned int, dim> &n_bins,
                 const std::array<unsigned int, dim> &first,
                 const std::array<unsigned int, dim> &last,
                 const Function                      &f)
    {
      auto b = first;
      while (true)
        {
          std::size_t index = 0;
          for (int d = dim - 1; d >= 0; --d)
            index = index * n_bins[d] + b[d];
          f(index, b);
          unsigned int d = 0;
          while (d < dim && b[d] == last[d])
            {
              b[d] = first[d];
              ++d;
            }
          if (d == dim)
            return;
          ++b[d];
        }
    }
  } // namespace



  template <int dim>
  PointLocation<dim>::PointLocation(const SerialMesh<dim> &mesh)
    : mesh(mesh)
  {
    if (mesh.cells.empty())
      throw InputError("cannot locate points in a mesh without cells");

    Point<dim> lower = mesh.vertices[mesh.cells[0][0]], upper = lower;
    for (const auto &cell : mesh.cells)
      for (const auto v : cell)
        for (unsigned int d = 0; d < dim; ++d)
          {
            lower[d] = std::min(lower[d], mesh.vertices[v][d]);
            upper[d] = std::max(upper[d], mesh.vertices[v][d]);
          }

    // About two cells per bin, over the bounding box.
    origin        = lower;
    double volume = 1;
    for (unsigned int d = 0; d < dim; ++d)
      volume *= upper[d] - lower[d];
    bin_size = std::pow(2 * volume / mesh.cells.size(), 1. / dim);
    double n_bins_total;
    while (true)
      {
        n_bins_total = 1;
        for (unsigned int d = 0; d < dim; ++d)
          n_bins_total *=
            std::max(1., std::ceil((upper[d] - lower[d]) / bin_size));
        // A thin shape must not get more bins than cells.
        if (n_bins_total <= std::max<double>(8, mesh.cells.size()))
          break;
        bin_size *= 1.25;
      }
    for (unsigned int d = 0; d < dim; ++d)
      n_bins[d] = std::max(1., std::ceil((upper[d] - lower[d]) / bin_size));

    const auto for_bins_of_cell = [&](const unsigned int k, const auto &f) {
      Point<dim> a, b;
      bounding_box(cell_vertices(mesh, k), a, b);
      std::array<unsigned int, dim> first, last;
      for (unsigned int d = 0; d < dim; ++d)
        {
          first[d] = bin_index(a[d], origin[d], bin_size, n_bins[d]);
          last[d]  = bin_index(b[d], origin[d], bin_size, n_bins[d]);
        }
      for_each_bin<dim>(n_bins,
                        first,
                        last,
                        [&](const std::size_t bin, const auto &) { f(bin); });
    };

    offsets.assign(static_cast<std::size_t>(n_bins_total) + 1, 0);
    for (unsigned int k = 0; k < mesh.cells.size(); ++k)
      for_bins_of_cell(k, [&](const std::size_t bin) { ++offsets[bin + 1]; });
    for (std::size_t bin = 0; bin + 1 < offsets.size(); ++bin)
      offsets[bin + 1] += offsets[bin];
    cells.resize(offsets.back());
    std::vector<std::size_t> next(offsets.begin(), offsets.end() - 1);
    for (unsigned int k = 0; k < mesh.cells.size(); ++k)
      for_bins_of_cell(k,
                       [&](const std::size_t bin) { cells[next[bin]++] = k; });
  }



  template <int dim>
  typename PointLocation<dim>::Result
  PointLocation<dim>::locate(const Point<dim> &p) const
  {
    std::array<unsigned int, dim> center;
    Point<dim>                    upper;
    std::size_t                   bin = 0;
    for (int d = dim - 1; d >= 0; --d)
      {
        center[d] = bin_index(p[d], origin[d], bin_size, n_bins[d]);
        upper[d]  = origin[d] + n_bins[d] * bin_size;
        bin       = bin * n_bins[d] + center[d];
      }

    // A cell that holds p is in the bin of p.
    for (std::size_t i = offsets[bin]; i < offsets[bin + 1]; ++i)
      {
        const auto l =
          barycentric_coordinates(cell_vertices(mesh, cells[i]), p);
        if (*std::min_element(l.begin(), l.end()) >= 0)
          {
            Result result{cells[i], l, 0};
            for (auto &value : result.barycentric)
              value = std::min(value, 1.);
            return result;
          }
      }

    // Otherwise the nearest cell, in rings of bins around that of p.
    Result                            result;
    std::array<unsigned int, dim + 1> all;
    for (unsigned int i = 0; i <= dim; ++i)
      all[i] = i;
    result.cell = 0;
    result.barycentric.fill(0);
    result.barycentric[0] = 1;
    double best           = (p - mesh.vertices[mesh.cells[0][0]]).norm_square();

    for (unsigned int radius = 0;; ++radius)
      {
        std::array<unsigned int, dim> first, last;
        for (unsigned int d = 0; d < dim; ++d)
          {
            first[d] = center[d] - std::min(center[d], radius);
            last[d]  = std::min(n_bins[d] - 1, center[d] + radius);
          }
        const auto visit = [&](const std::size_t bin, const auto &position) {
          Point<dim> a;
          for (unsigned int d = 0; d < dim; ++d)
            a[d] = origin[d] + position[d] * bin_size;
          Point<dim> b = a;
          for (unsigned int d = 0; d < dim; ++d)
            b[d] += bin_size;
          if (distance_to_box(p, a, b) > best)
            return;
          for (std::size_t i = offsets[bin]; i < offsets[bin + 1]; ++i)
            {
              const auto x = cell_vertices(mesh, cells[i]);
              bounding_box(x, a, b);
              if (distance_to_box(p, a, b) > best)
                continue;
              Nearest<dim> nearest{x, p, {}};
              nearest.face(all, dim + 1);
              if (nearest.distance_square < best)
                {
                  best               = nearest.distance_square;
                  result.cell        = cells[i];
                  result.barycentric = nearest.barycentric;
                }
            }
        };

        // The ring: the two slabs of each direction, less those seen before.
        auto from = first, to = last;
        for (unsigned int d = 0; d < dim; ++d)
          {
            const bool below = center[d] >= radius;
            const bool above = center[d] + radius < n_bins[d] && radius > 0;
            if (below)
              {
                from[d] = to[d] = center[d] - radius;
                for_each_bin<dim>(n_bins, from, to, visit);
              }
            if (above)
              {
                from[d] = to[d] = center[d] + radius;
                for_each_bin<dim>(n_bins, from, to, visit);
              }
            if (radius == 0)
              break;
            from[d] = first[d] + (below ? 1 : 0);
            to[d]   = last[d] - (above ? 1 : 0);
          }

        // Cells not seen yet lie beyond one of the sides of the block of bins.
        double beyond = std::numeric_limits<double>::infinity();
        for (unsigned int d = 0; d < dim; ++d)
          {
            if (first[d] > 0)
              {
                auto b = upper;
                b[d]   = origin[d] + first[d] * bin_size;
                beyond = std::min(beyond, distance_to_box(p, origin, b));
              }
            if (last[d] + 1 < n_bins[d])
              {
                auto a = origin;
                a[d]   = origin[d] + (last[d] + 1) * bin_size;
                beyond = std::min(beyond, distance_to_box(p, a, upper));
              }
          }
        if (!(best > beyond))
          break;
      }

    double sum = 0;
    for (auto &value : result.barycentric)
      sum += value = std::clamp(value, 0., 1.);
    for (auto &value : result.barycentric)
      value /= sum;

    // A point in the gap that rounding leaves between two cells is inside.
    result.distance  = std::sqrt(best);
    double magnitude = bin_size;
    for (unsigned int d = 0; d < dim; ++d)
      magnitude = std::max({magnitude, std::abs(origin[d]), std::abs(p[d])});
    if (result.distance < 1e-14 * magnitude)
      result.distance = 0;
    return result;
  }



  template class PointLocation<2>;
  template class PointLocation<3>;
} // namespace Palpate
