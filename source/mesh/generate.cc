#include <palpate/core/errors.h>
#include <palpate/core/text.h>
#include <palpate/mesh/generate.h>
#include <palpate/mesh/gmsh_session.h>
#include <palpate/mesh/quality.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <limits>
#include <string>
#include <vector>

namespace Palpate
{
  namespace
  {
    using dealii::Point;

    const char *const where     = "Case/Shape";
    const double      pi        = std::acos(-1.);
    const double      max_cells = 2e8;

    void
    require_positive(const std::string &name, const double value)
    {
      if (!(value > 0 && std::isfinite(value)))
        throw EntryError(where,
                         name + " is " + Text::number(value) +
                           " m, expected a length above 0");
    }

    void
    check_n_cells(const double n_cells)
    {
      if (!(n_cells <= max_cells))
        throw EntryError(where,
                         "the mesh would have about " + Text::number(n_cells) +
                           " cells, expected at most " +
                           Text::number(max_cells) +
                           " (larger Mesh size or fewer Subdivisions)");
    }

    /// What is left to check when the extent and measure of a shape are known.
    void
    check_mesh_size(const int    dim,
                    const double mesh_size,
                    const double extent,
                    const double measure)
    {
      require_positive("Mesh size", mesh_size);
      if (mesh_size > extent)
        throw EntryError(where,
                         "Mesh size is " + Text::number(mesh_size) +
                           " m, larger than the shape, expected at most " +
                           Text::number(extent) + " m");
      // Gmsh makes about 1.5 times as many cells as regular ones would fill.
      const double regular =
        dim == 3 ? 1 / (6 * std::sqrt(2.)) : std::sqrt(3.) / 4;
      check_n_cells((dim == 3 ? 1.5 : 1.1) * measure /
                    (regular * std::pow(mesh_size, dim)));
    }

    double
    determinant(const std::array<Point<2>, 3> &x)
    {
      const auto a = x[1] - x[0], b = x[2] - x[0];
      return a[0] * b[1] - a[1] * b[0];
    }

    double
    determinant(const std::array<Point<3>, 4> &x)
    {
      return dealii::cross_product_3d(x[1] - x[0], x[2] - x[0]) * (x[3] - x[0]);
    }

    template <int dim>
    void
    orient(SerialMesh<dim> &mesh)
    {
      for (auto &cell : mesh.cells)
        {
          std::array<Point<dim>, dim + 1> x;
          for (unsigned int i = 0; i <= dim; ++i)
            x[i] = mesh.vertices[cell[i]];
          if (determinant(x) < 0)
            std::swap(cell[dim - 1], cell[dim]);
        }
    }

    /// All faces with one owner, seen counterclockwise from outside.
    template <int dim>
    void
    collect_boundary(SerialMesh<dim> &mesh)
    {
      std::vector<unsigned int> indices;
      std::vector<std::size_t>  offsets;
      face_adjacency(mesh, where, indices, offsets);
      for (std::size_t k = 0; k < mesh.cells.size(); ++k)
        {
          const auto &cell = mesh.cells[k];
          if (offsets[k + 1] - offsets[k] == dim + 1)
            continue;
          // A neighbour holds all vertices of the cell but one.
          std::array<bool, dim + 1> interior{};
          for (std::size_t n = offsets[k]; n < offsets[k + 1]; ++n)
            {
              const auto &other = mesh.cells[indices[n]];
              for (unsigned int i = 0; i <= dim; ++i)
                if (std::find(other.begin(), other.end(), cell[i]) ==
                    other.end())
                  interior[i] = true;
            }
          for (unsigned int i = 0; i <= dim; ++i)
            if (!interior[i])
              {
                BoundaryFace<dim> face;
                for (unsigned int j = 0, n = 0; j <= dim; ++j)
                  if (j != i)
                    face.vertices[n++] = cell[j];
                if (i % 2 == 1)
                  std::swap(face.vertices[0], face.vertices[1]);
                face.id = 0;
                mesh.boundary_faces.push_back(face);
              }
        }
    }

    /// Give an id to the boundary faces whose vertices all fulfil a condition.
    template <int dim, typename Condition>
    void
    colorize(SerialMesh<dim>   &mesh,
             const unsigned int id,
             const Condition   &condition)
    {
      for (auto &face : mesh.boundary_faces)
        if (std::all_of(face.vertices.begin(),
                        face.vertices.end(),
                        [&](const unsigned int v) {
                          return condition(mesh.vertices[v]);
                        }))
          face.id = id;
    }

    template <int dim>
    void
    colorize_box(SerialMesh<dim>        &mesh,
                 const ShapeDescription &shape,
                 const double            tolerance)
    {
      for (unsigned int d = 0; d < dim; ++d)
        for (unsigned int s = 0; s < 2; ++s)
          {
            const double position = s == 0 ? shape.lower[d] : shape.upper[d];
            colorize(mesh, 2 * d + s, [&](const Point<dim> &p) {
              return std::abs(p[d] - position) < tolerance;
            });
          }
    }

    /// The corners of a cube (bit d of a corner: its side in direction d) that
    /// make the simplices along the paths from corner 0 to the opposite one.
    template <int dim>
    std::vector<std::array<unsigned int, dim + 1>>
    kuhn_split()
    {
      std::vector<std::array<unsigned int, dim + 1>> cells;
      std::array<unsigned int, dim>                  order;
      for (unsigned int d = 0; d < dim; ++d)
        order[d] = d;
      do
        {
          std::array<unsigned int, dim + 1> cell;
          cell[0] = 0;
          for (unsigned int d = 0; d < dim; ++d)
            cell[d + 1] = cell[d] | (1u << order[d]);
          cells.push_back(cell);
      } while (std::next_permutation(order.begin(), order.end()));
      return cells;
    }

    /// One tetrahedron of every other corner, and one at each of the rest.
    std::vector<std::array<unsigned int, 4>>
    split_in_five(const unsigned int parity)
    {
      std::vector<std::array<unsigned int, 4>> cells;
      for (unsigned int c = 0; c < 8; ++c)
        if ((((c >> 2) ^ (c >> 1) ^ c) & 1u) != parity)
          cells.push_back({{c, c ^ 1u, c ^ 2u, c ^ 4u}});
      const unsigned int p = parity;
      cells.push_back({{p, 3u ^ p, 5u ^ p, 6u ^ p}});
      return cells;
    }

    template <int dim>
    SerialMesh<dim>
    structured_box(const ShapeDescription &shape)
    {
      if (dim == 3 && shape.tets_per_cube != 5 && shape.tets_per_cube != 6)
        throw EntryError(where,
                         "Tetrahedra per cube is " +
                           std::to_string(shape.tets_per_cube) +
                           ", expected 5 or 6");
      std::array<std::size_t, 3> n = {{0, 0, 0}};
      double n_cells = dim == 3 ? static_cast<double>(shape.tets_per_cube) : 2.;
      double smallest = std::numeric_limits<double>::max();
      for (unsigned int d = 0; d < dim; ++d)
        {
          n[d] = shape.subdivisions[d];
          if (n[d] == 0)
            throw EntryError(where,
                             "Subdivisions are 0 in direction " +
                               std::to_string(d) +
                               ", expected at least 1 in all directions, or "
                               "0 in all for an unstructured mesh");
          n_cells *= n[d];
          smallest =
            std::min(smallest, (shape.upper[d] - shape.lower[d]) / n[d]);
        }
      check_n_cells(n_cells);

      SerialMesh<dim> mesh;
      mesh.vertices.reserve((n[0] + 1) * (n[1] + 1) * (n[2] + 1));
      mesh.cells.reserve(static_cast<std::size_t>(n_cells));
      std::array<std::size_t, 3> i;
      for (i[2] = 0; i[2] <= n[2]; ++i[2])
        for (i[1] = 0; i[1] <= n[1]; ++i[1])
          for (i[0] = 0; i[0] <= n[0]; ++i[0])
            {
              Point<dim> p;
              for (unsigned int d = 0; d < dim; ++d)
                p[d] =
                  (shape.lower[d] * (n[d] - i[d]) + shape.upper[d] * i[d]) /
                  n[d];
              mesh.vertices.push_back(p);
            }

      std::array<std::vector<std::array<unsigned int, dim + 1>>, 2> splits;
      splits[0] = splits[1] = kuhn_split<dim>();
      if constexpr (dim == 3)
        if (shape.tets_per_cube == 5)
          splits = {{split_in_five(0), split_in_five(1)}};

      for (i[2] = 0; i[2] < std::max<std::size_t>(n[2], 1); ++i[2])
        for (i[1] = 0; i[1] < n[1]; ++i[1])
          for (i[0] = 0; i[0] < n[0]; ++i[0])
            for (const auto &split : splits[(i[0] + i[1] + i[2]) % 2])
              {
                std::array<unsigned int, dim + 1> cell;
                for (unsigned int v = 0; v <= dim; ++v)
                  cell[v] =
                    i[0] + (split[v] & 1u) +
                    (n[0] + 1) * (i[1] + ((split[v] >> 1) & 1u) +
                                  (n[1] + 1) * (i[2] + ((split[v] >> 2) & 1u)));
                mesh.cells.push_back(cell);
              }
      mesh.labels.assign(mesh.cells.size(), 1);
      orient(mesh);
      collect_boundary(mesh);
      colorize_box(mesh, shape, 1e-6 * smallest);
      return mesh;
    }

    /// What Gmsh may throw, as text.
    std::string
    current_exception_text()
    {
      try
        {
          throw;
        }
      catch (const std::exception &e)
        {
          return e.what();
        }
      catch (const std::string &s)
        {
          return s;
        }
      catch (const char *s)
        {
          return s;
        }
      catch (...)
        {
          return "unknown error";
        }
    }

    /**
     * Mesh what `build` adds to Gmsh's OCC kernel. Gmsh works in lengths
     * divided by a power of two near `extent` (its tolerances are absolute);
     * `build` gets the factor to multiply its lengths with.
     */
    template <int dim, typename Builder>
    SerialMesh<dim>
    mesh_with_gmsh(const ShapeDescription &shape,
                   const double            extent,
                   const Builder          &build)
    {
      const double factor = std::ldexp(1., -std::ilogb(extent));

      std::vector<std::size_t> tags, nodes;
      std::vector<double>      coordinates;
      try
        {
          const GmshSession session;
          gmsh::model::add("palpate_shape");
          using gmsh::option::setNumber;
          setNumber("General.NumThreads", 1);
          setNumber("Mesh.RandomSeed", 1);
          setNumber("Mesh.MeshSizeMin", shape.mesh_size * factor);
          setNumber("Mesh.MeshSizeMax", shape.mesh_size * factor);
          setNumber("Mesh.MeshSizeFactor", 1);
          setNumber("Mesh.MeshSizeFromPoints", 0);
          setNumber("Mesh.MeshSizeFromCurvature", 0);
          setNumber("Mesh.MeshSizeFromParametricPoints", 0);
          setNumber("Mesh.MeshSizeExtendFromBoundary", 0);
          setNumber("Mesh.Algorithm", 6);
          setNumber("Mesh.Algorithm3D", 1);
          setNumber("Mesh.Optimize", 1);
          setNumber("Mesh.ElementOrder", 1);
          build(factor);
          gmsh::model::occ::synchronize();
          gmsh::model::mesh::generate(dim);

          std::vector<std::size_t> cell_tags;
          std::vector<double>      parametric;
          gmsh::model::mesh::getNodes(tags, coordinates, parametric);
          gmsh::model::mesh::getElementsByType(dim == 3 ? 4 : 2,
                                               cell_tags,
                                               nodes);
          gmsh::model::remove();
        }
      catch (...)
        {
          throw EntryError(where,
                           "Gmsh could not mesh the " + shape.type +
                             " with Mesh size " +
                             Text::number(shape.mesh_size) +
                             " m: " + current_exception_text());
        }
      if (nodes.empty())
        throw EntryError(where,
                         "Gmsh made no cells for the " + shape.type +
                           " with Mesh size " + Text::number(shape.mesh_size) +
                           " m, expected a smaller Mesh size");

      // Number the nodes of cells in Gmsh's order.
      std::size_t max_tag = 0;
      for (const auto t : tags)
        max_tag = std::max(max_tag, t);
      const unsigned int unused = std::numeric_limits<unsigned int>::max();
      std::vector<unsigned int> index(max_tag + 1, unused);
      for (const auto t : nodes)
        index[t] = 0;
      SerialMesh<dim> mesh;
      for (std::size_t i = 0; i < tags.size(); ++i)
        if (index[tags[i]] != unused)
          {
            index[tags[i]] = mesh.vertices.size();
            Point<dim> p;
            for (unsigned int d = 0; d < dim; ++d)
              p[d] = coordinates[3 * i + d] / factor;
            mesh.vertices.push_back(p);
          }
      mesh.cells.resize(nodes.size() / (dim + 1));
      for (std::size_t i = 0; i < nodes.size(); ++i)
        mesh.cells[i / (dim + 1)][i % (dim + 1)] = index[nodes[i]];
      mesh.labels.assign(mesh.cells.size(), 1);
      orient(mesh);
      collect_boundary(mesh);
      return mesh;
    }

    template <int dim>
    Point<dim>
    cell_center(const SerialMesh<dim> &mesh, const std::size_t k)
    {
      Point<dim> center;
      for (const auto v : mesh.cells[k])
        center += mesh.vertices[v] / (dim + 1.);
      return center;
    }

    template <int dim>
    SerialMesh<dim>
    box(const ShapeDescription &shape)
    {
      double extent = 0, measure = 1;
      for (unsigned int d = 0; d < dim; ++d)
        {
          const double length = shape.upper[d] - shape.lower[d];
          if (!(length > 0 && std::isfinite(length)))
            throw EntryError(where,
                             "Upper corner is " + Text::number(shape.upper[d]) +
                               " m in direction " + std::to_string(d) +
                               ", expected above Lower corner, " +
                               Text::number(shape.lower[d]) + " m");
          extent = std::max(extent, length);
          measure *= length;
        }
      for (unsigned int d = 0; d < dim; ++d)
        if (shape.subdivisions[d] > 0)
          return structured_box<dim>(shape);

      check_mesh_size(dim, shape.mesh_size, extent, measure);
      // Built from the origin, where Gmsh's tolerances are fine.
      const auto     &a = shape.lower, &b = shape.upper;
      SerialMesh<dim> mesh =
        mesh_with_gmsh<dim>(shape, extent, [&](const double f) {
          if (dim == 3)
            gmsh::model::occ::addBox(
              0, 0, 0, f * (b[0] - a[0]), f * (b[1] - a[1]), f * (b[2] - a[2]));
          else
            gmsh::model::occ::addRectangle(
              0, 0, 0, f * (b[0] - a[0]), f * (b[1] - a[1]));
        });
      for (auto &p : mesh.vertices)
        for (unsigned int d = 0; d < dim; ++d)
          p[d] += a[d];
      colorize_box(mesh, shape, 1e-6 * shape.mesh_size);
      return mesh;
    }

    SerialMesh<3>
    truncated_cone(const ShapeDescription &shape)
    {
      const double r0 = shape.bottom_radius, r1 = shape.top_radius,
                   h = shape.height, wedge = shape.wedge_angle * pi / 180;
      require_positive("Bottom radius", r0);
      require_positive("Top radius", r1);
      require_positive("Height", h);
      if (!(shape.wedge_angle >= 0 && shape.wedge_angle < 360))
        throw EntryError(where,
                         "Wedge angle is " + Text::number(shape.wedge_angle) +
                           " degrees, expected at least 0 and below 360");
      const double extent = std::max({h, 2 * r0, 2 * r1});
      check_mesh_size(3,
                      shape.mesh_size,
                      extent,
                      pi * h / 3 * (r0 * r0 + r0 * r1 + r1 * r1));

      SerialMesh<3> mesh =
        mesh_with_gmsh<3>(shape, extent, [&](const double f) {
          // OCC has no cone of equal radii.
          const auto sector = [&](const double angle) {
            return r0 == r1
                     ? gmsh::model::occ::addCylinder(
                         0, 0, 0, 0, 0, f * h, f * r0, -1, angle)
                     : gmsh::model::occ::addCone(
                         0, 0, 0, 0, 0, f * h, f * r0, f * r1, -1, angle);
          };
          if (wedge == 0)
            {
              sector(2 * pi);
              return;
            }
          const int inner = sector(wedge), outer = sector(2 * pi - wedge);
          gmsh::model::occ::rotate({{3, outer}}, 0, 0, 0, 0, 0, 1, wedge);
          gmsh::vectorpair              pieces;
          std::vector<gmsh::vectorpair> map;
          gmsh::model::occ::fragment({{3, inner}}, {{3, outer}}, pieces, map);
        });

      if (wedge > 0)
        for (std::size_t k = 0; k < mesh.cells.size(); ++k)
          {
            const Point<3> center  = cell_center(mesh, k);
            double         azimuth = std::atan2(center[1], center[0]);
            if (azimuth < 0)
              azimuth += 2 * pi;
            mesh.labels[k] = azimuth <= wedge ? 2 : 1;
          }

      const double tolerance = 1e-6 * std::min(shape.mesh_size, h);
      colorize(mesh, 3, [](const Point<3> &) { return true; });
      colorize(mesh, 1, [&](const Point<3> &p) {
        return std::abs(p[2]) < tolerance;
      });
      colorize(mesh, 2, [&](const Point<3> &p) {
        return std::abs(p[2] - h) < tolerance;
      });
      return mesh;
    }

    SerialMesh<3>
    ball(const ShapeDescription &shape)
    {
      const double r = shape.radius;
      require_positive("Radius", r);
      check_mesh_size(3, shape.mesh_size, 2 * r, 4 * pi / 3 * r * r * r);
      return mesh_with_gmsh<3>(shape, 2 * r, [&](const double f) {
        gmsh::model::occ::addSphere(0, 0, 0, f * r);
      });
    }

    SerialMesh<2>
    disk(const ShapeDescription &shape)
    {
      const double r = shape.radius;
      require_positive("Radius", r);
      check_mesh_size(2, shape.mesh_size, 2 * r, pi * r * r);
      return mesh_with_gmsh<2>(shape, 2 * r, [&](const double f) {
        gmsh::model::occ::addDisk(0, 0, 0, f * r, f * r);
      });
    }

    SerialMesh<3>
    ellipsoid_pair(const ShapeDescription &shape)
    {
      const auto &a = shape.semi_axes;
      for (unsigned int d = 0; d < 3; ++d)
        require_positive("Semi-axes entry " + std::to_string(d), a[d]);
      require_positive("Gap", shape.gap);
      // Gmsh tries for minutes to mesh thin ellipsoids with coarser cells.
      check_mesh_size(3,
                      shape.mesh_size,
                      2 * std::min({a[0], a[1], a[2]}),
                      8 * pi / 3 * a[0] * a[1] * a[2]);

      // Gmsh meshes spheroids well (and others at all) with the poles of the
      // sphere on the axis whose cross-section is nearest to a circle.
      unsigned int pole      = 2;
      double       roundness = 0;
      for (const unsigned int d : {2u, 1u, 0u})
        {
          const double ratio = a[(d + 1) % 3] / a[(d + 2) % 3];
          if (std::min(ratio, 1 / ratio) > roundness)
            {
              pole      = d;
              roundness = std::min(ratio, 1 / ratio);
            }
        }
      const double turns = (pole + 1) % 3;

      const double  offset = shape.gap / 2 + a[0];
      const double  extent = 2 * std::max({offset + a[0], a[1], a[2]});
      SerialMesh<3> mesh =
        mesh_with_gmsh<3>(shape, extent, [&](const double f) {
          for (const double side : {-1., 1.})
            {
              const int tag = gmsh::model::occ::addSphere(0, 0, 0, 1);
              // A third of a turn around (1,1,1) takes z to x to y.
              gmsh::model::occ::rotate(
                {{3, tag}}, 0, 0, 0, 1, 1, 1, turns * 2 * pi / 3);
              gmsh::model::occ::dilate(
                {{3, tag}}, 0, 0, 0, f * a[0], f * a[1], f * a[2]);
              gmsh::model::occ::translate({{3, tag}}, side * f * offset, 0, 0);
            }
        });
      for (std::size_t k = 0; k < mesh.cells.size(); ++k)
        mesh.labels[k] = cell_center(mesh, k)[0] < 0 ? 1 : 2;
      return mesh;
    }
  } // namespace



  template <>
  SerialMesh<2>
  generate_shape<2>(const ShapeDescription &shape)
  {
    if (shape.type == "rectangle")
      return box<2>(shape);
    if (shape.type == "disk")
      return disk(shape);
    throw EntryError(where,
                     "unknown Type \"" + shape.type +
                       "\" in 2D, expected one of: rectangle, disk");
  }



  template <>
  SerialMesh<3>
  generate_shape<3>(const ShapeDescription &shape)
  {
    if (shape.type == "box")
      return box<3>(shape);
    if (shape.type == "truncated cone")
      return truncated_cone(shape);
    if (shape.type == "ball")
      return ball(shape);
    if (shape.type == "ellipsoid pair")
      return ellipsoid_pair(shape);
    throw EntryError(where,
                     "unknown Type \"" + shape.type +
                       "\" in 3D, expected one of: box, truncated cone, ball, "
                       "ellipsoid pair");
  }
} // namespace Palpate
