// The one file that sees CGAL, which takes 40 s and 3 GB to compile: a shared
// library of its own (libpalpate_cgal), opened when a mesh is first asked for.
#include <palpate/mesh/tetrahedralize.h>

#include <CGAL/Exact_predicates_inexact_constructions_kernel.h>
#include <CGAL/Labeled_mesh_domain_3.h>
#include <CGAL/Mesh_complex_3_in_triangulation_3.h>
#include <CGAL/Mesh_criteria_3.h>
#include <CGAL/Mesh_triangulation_3.h>
#include <CGAL/Polygon_mesh_processing/compute_normal.h>
#include <CGAL/Polygon_mesh_processing/connected_components.h>
#include <CGAL/Polygon_mesh_processing/measure.h>
#include <CGAL/Polygon_mesh_processing/orient_polygon_soup.h>
#include <CGAL/Polygon_mesh_processing/polygon_soup_to_polygon_mesh.h>
#include <CGAL/Polygon_mesh_processing/self_intersections.h>
#include <CGAL/Side_of_triangle_mesh.h>
#include <CGAL/Surface_mesh.h>
#include <CGAL/exude_mesh_3.h>
#include <CGAL/perturb_mesh_3.h>
#include <CGAL/refine_mesh_3.h>
#include <CGAL/version.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <iterator>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <unordered_map>

namespace
{
  using Palpate::LabelledBody;
  using Kernel        = CGAL::Exact_predicates_inexact_constructions_kernel;
  using Domain        = CGAL::Labeled_mesh_domain_3<Kernel>;
  using Triangulation = CGAL::Mesh_triangulation_3<Domain>::type;
  using Complex       = CGAL::Mesh_complex_3_in_triangulation_3<Triangulation>;
  using Criteria      = CGAL::Mesh_criteria_3<Triangulation>;
  using Point         = Kernel::Point_3;

  /**
   * CGAL bounds the circumradius of cells and triangles: at a point in a cell
   * of a label, or on a face between two. Their edges are then 1.4 times as
   * long in the mean (measured on balls, 10^4 to 10^5 cells).
   */
  struct Size
  {
    using FT      = double;
    using Point_3 = Triangulation::Point;
    using Index   = Domain::Index;

    const LabelledBody *body;
    const Domain       *domain;

    template <typename P>
    FT
    operator()(const P &, const int dimension, const Index &index) const
    {
      if (dimension == 3)
        return of_label(domain->subdomain_index(index));
      const auto patch = domain->surface_patch_index(index);
      return body->surface_factor *
             std::min(of_label(patch.first), of_label(patch.second));
    }
    double
    of_label(const int label) const
    {
      return label > 0 ? body->cell_size[label - 1] / 1.4
                       : std::numeric_limits<double>::infinity();
    }
  };

  /**
   * Points on the surfaces around every island, in 20 directions that cover the
   * sphere evenly (a spiral by the golden angle): refinement starts at them, so
   * that no island is missed.
   */
  void
  insert_first_points(const LabelledBody &body,
                      const Domain       &domain,
                      Complex            &complex)
  {
    const double step =
      0.5 * *std::min_element(body.cell_size.begin(), body.cell_size.end());
    for (const auto &inner : body.inner)
      {
        const int label = body.label(inner);
        for (unsigned int i = 0; i < 20; ++i)
          {
            const double z = (i + 0.5) / 10 - 1, r = std::sqrt(1 - z * z),
                         angle                    = 2.399963229728653 * i;
            const std::array<double, 3> direction = {r * std::cos(angle),
                                                     r * std::sin(angle),
                                                     z};
            auto                        at = inner, last = inner;
            bool                        inside = true;
            while (inside && body.label(at) == label)
              {
                last = at;
                for (unsigned int d = 0; d < 3; ++d)
                  {
                    at[d] += step * direction[d];
                    inside =
                      inside && at[d] > body.lower[d] && at[d] < body.upper[d];
                  }
              }
            if (!inside)
              continue;
            const auto found = domain.construct_intersection_object()(
              Kernel::Segment_3(Point(last[0], last[1], last[2]),
                                Point(at[0], at[1], at[2])));
            if (std::get<2>(found) == 0)
              continue;
            const auto &p = std::get<0>(found);
            const auto  vertex =
              complex.triangulation().insert(Triangulation::Point(p));
            complex.set_dimension(vertex, 2);
            complex.set_index(vertex, std::get<1>(found));
          }
      }
  }

  /// Smallest dihedral angle [degrees].
  double
  least_angle(const Complex &complex)
  {
    double least = 180;
    for (auto cell = complex.cells_in_complex_begin();
         cell != complex.cells_in_complex_end();
         ++cell)
      for (unsigned int i = 0; i < 4; ++i)
        for (unsigned int j = i + 1; j < 4; ++j)
          {
            // The edge between i and j, and the other two.
            const unsigned int k = i > 0 ? 0 : j > 1 ? 1 : 2, l = 6 - i - j - k;
            const auto         point = [&](const unsigned int v) {
              return cell->vertex(v)->point().point();
            };
            least = std::min(least,
                             std::abs(
                               CGAL::to_double(CGAL::approximate_dihedral_angle(
                                 point(i), point(j), point(k), point(l)))));
          }
    return least;
  }

  void
  take(const Complex &complex, Palpate::LabelledTetrahedra &mesh)
  {
    std::unordered_map<const void *, unsigned int> number;
    // Vertices in the order of the cells: that of handles may depend on memory.
    for (auto cell = complex.cells_in_complex_begin();
         cell != complex.cells_in_complex_end();
         ++cell)
      {
        std::array<unsigned int, 4> vertices;
        for (unsigned int i = 0; i < 4; ++i)
          {
            const auto vertex = cell->vertex(i);
            const auto next   = number.emplace(&*vertex, number.size());
            vertices[i]       = next.first->second;
            if (next.second)
              {
                const auto &p = vertex->point().point();
                mesh.vertices.push_back({p.x(), p.y(), p.z()});
              }
          }
        mesh.cells.push_back(vertices);
        mesh.labels.push_back(complex.subdomain_index(cell));
      }
  }

  void
  mesh_body(const LabelledBody &body, Palpate::LabelledTetrahedra &mesh)
  {
    namespace p  = CGAL::parameters;
    mesh.library = "CGAL " CGAL_VERSION_STR;
    CGAL::Random random(1);
    const Domain domain(
      p::function =
        [&body](const Point &x) {
          return body.label({x.x(), x.y(), x.z()});
        },
      p::bounding_object      = CGAL::Bbox_3(body.lower[0],
                                        body.lower[1],
                                        body.lower[2],
                                        body.upper[0],
                                        body.upper[1],
                                        body.upper[2]),
      p::relative_error_bound = 1e-5,
      p::p_rng                = &random);
    Complex complex;
    insert_first_points(body, domain, complex);
    const Size     size{&body, &domain};
    const Criteria criteria(p::facet_angle            = 25,
                            p::facet_size             = size,
                            p::facet_distance         = body.surface_distance,
                            p::cell_radius_edge_ratio = 2,
                            p::cell_size              = size);
    CGAL::refine_mesh_3(
      complex, domain, criteria, p::no_exude(), p::no_perturb());
    if (body.least_angle > 0)
      {
        CGAL::perturb_mesh_3(complex,
                             domain,
                             p::time_limit   = 0,
                             p::sliver_bound = body.least_angle);
        // A few flat cells may be left where three labels meet: weights of
        // their vertices make others of them. (Ten times as slow: only then.)
        if (least_angle(complex) < 0.95 * body.least_angle)
          CGAL::exude_mesh_3(complex,
                             p::time_limit   = 0,
                             p::sliver_bound = body.least_angle);
      }
    take(complex, mesh);
  }

  using Surface = CGAL::Surface_mesh<Point>;

  /// What the input is, not what became of it.
  struct WrongSurface : std::runtime_error
  {
    using std::runtime_error::runtime_error;
  };

  Surface
  closed_surface(const Palpate::TriangleSurface &given)
  {
    namespace PMP = CGAL::Polygon_mesh_processing;
    std::vector<Point>                    points;
    std::vector<std::vector<std::size_t>> triangles;
    for (const auto &x : given.vertices)
      points.emplace_back(x[0], x[1], x[2]);
    for (const auto &t : given.triangles)
      triangles.push_back({t[0], t[1], t[2]});
    PMP::orient_polygon_soup(points, triangles);
    Surface surface;
    PMP::polygon_soup_to_polygon_mesh(points, triangles, surface);
    std::size_t n_open = 0;
    Point       first;
    for (const auto edge : surface.halfedges())
      if (surface.is_border(edge))
        {
          if (n_open == 0)
            first = surface.point(surface.target(edge));
          ++n_open;
        }
    std::ostringstream text;
    if (n_open > 0)
      {
        text << "is open: " << n_open
             << " edges have a triangle on one side only, the first near ("
             << first << "), expected a closed surface";
        throw WrongSurface(text.str());
      }
    std::vector<std::pair<Surface::Face_index, Surface::Face_index>> pairs;
    PMP::self_intersections(surface, std::back_inserter(pairs));
    if (!pairs.empty())
      {
        text << "cuts itself: " << pairs.size()
             << " pairs of triangles cross, the first near ("
             << surface.point(surface.target(surface.halfedge(pairs[0].first)))
             << "), expected a closed surface that does not";
        throw WrongSurface(text.str());
      }
    return surface;
  }

  void
  mesh_surface(const Palpate::TriangleSurface &given,
               LabelledBody                    body,
               Palpate::LabelledTetrahedra    &mesh)
  {
    namespace PMP         = CGAL::Polygon_mesh_processing;
    const Surface surface = closed_surface(given);
    mesh.volume           = std::abs(PMP::volume(surface));
    const CGAL::Side_of_triangle_mesh<Surface, Kernel> side(surface);
    body.label = [&](const LabelledBody::Point &x) {
      return side(Point(x[0], x[1], x[2])) == CGAL::ON_UNBOUNDED_SIDE ? 0 : 1;
    };
    const auto box  = PMP::bbox(surface);
    double     size = 0;
    for (unsigned int d = 0; d < 3; ++d)
      size = std::max(size, box.max(d) - box.min(d));
    for (unsigned int d = 0; d < 3; ++d)
      {
        body.lower[d] = box.min(d) - 0.01 * size;
        body.upper[d] = box.max(d) + 0.01 * size;
      }
    // Below a triangle of every part, on the side that is inside.
    std::vector<std::size_t> part(surface.number_of_faces());
    auto                     parts =
      boost::make_function_property_map<Surface::Face_index, std::size_t &>(
        [&](const Surface::Face_index f) -> std::size_t & { return part[f]; });
    const std::size_t n_parts = PMP::connected_components(surface, parts);
    std::vector<bool> done(n_parts, false);
    for (const auto face : surface.faces())
      {
        if (done[part[face]])
          continue;
        const auto  normal = PMP::compute_face_normal(face, surface);
        const auto  edge   = surface.halfedge(face);
        const Point middle =
          CGAL::centroid(surface.point(surface.source(edge)),
                         surface.point(surface.target(edge)),
                         surface.point(surface.target(surface.next(edge))));
        for (const double sign : {-1e-4, 1e-4})
          {
            const Point               p = middle + sign * size * normal;
            const LabelledBody::Point x = {p.x(), p.y(), p.z()};
            if (!done[part[face]] && body.label(x) == 1)
              {
                body.inner.push_back(x);
                done[part[face]] = true;
              }
          }
      }
    mesh_body(body, mesh);
  }
} // namespace

extern "C" __attribute__((visibility("default"))) void
palpate_tetrahedralize(const Palpate::LabelledBody &body,
                       Palpate::LabelledTetrahedra &mesh)
{
  try
    {
      mesh_body(body, mesh);
    }
  catch (const std::exception &e)
    {
      mesh.error = e.what();
      if (mesh.error.empty())
        mesh.error = "unknown error";
    }
}

extern "C" __attribute__((visibility("default"))) void
palpate_tetrahedralize_surface(const Palpate::TriangleSurface &surface,
                               LabelledBody                    how,
                               Palpate::LabelledTetrahedra    &mesh)
{
  try
    {
      mesh_surface(surface, how, mesh);
    }
  catch (const WrongSurface &e)
    {
      mesh.error          = e.what();
      mesh.input_is_wrong = true;
    }
  catch (const std::exception &e)
    {
      mesh.error = std::string("of the surface: ") + e.what();
    }
}
