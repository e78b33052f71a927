#include <palpate/core/errors.h>
#include <palpate/drivers/observation.h>
#include <palpate/geometry/point_location.h>
#include <palpate/mesh/generate.h>
#include <palpate/mesh/quality.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace Palpate;
using dealii::Point;
using dealii::Tensor;

namespace
{
  const double pi = std::acos(-1.);

  double
  cell_volume(const SerialMesh<2> &mesh, const std::size_t k)
  {
    const auto &c = mesh.cells[k];
    const auto  a = mesh.vertices[c[1]] - mesh.vertices[c[0]],
               b  = mesh.vertices[c[2]] - mesh.vertices[c[0]];
    return (a[0] * b[1] - a[1] * b[0]) / 2;
  }

  double
  cell_volume(const SerialMesh<3> &mesh, const std::size_t k)
  {
    const auto &c = mesh.cells[k];
    const auto  a = mesh.vertices[c[1]] - mesh.vertices[c[0]],
               b  = mesh.vertices[c[2]] - mesh.vertices[c[0]],
               e  = mesh.vertices[c[3]] - mesh.vertices[c[0]];
    return dealii::cross_product_3d(a, b) * e / 6;
  }

  template <int dim>
  double
  volume(const SerialMesh<dim> &mesh, const int label = 0)
  {
    double sum = 0;
    for (std::size_t k = 0; k < mesh.cells.size(); ++k)
      if (label == 0 || mesh.labels[k] == label)
        sum += cell_volume(mesh, k);
    return sum;
  }

  Tensor<1, 2>
  area_vector(const SerialMesh<2> &mesh, const BoundaryFace<2> &f)
  {
    const auto t = mesh.vertices[f.vertices[1]] - mesh.vertices[f.vertices[0]];
    return Tensor<1, 2>({t[1], -t[0]});
  }

  Tensor<1, 3>
  area_vector(const SerialMesh<3> &mesh, const BoundaryFace<3> &f)
  {
    const auto &x = mesh.vertices;
    return dealii::cross_product_3d(x[f.vertices[1]] - x[f.vertices[0]],
                                    x[f.vertices[2]] - x[f.vertices[0]]) /
           2;
  }

  template <int dim>
  std::map<unsigned int, double>
  areas(const SerialMesh<dim> &mesh)
  {
    std::map<unsigned int, double> result;
    for (const auto &f : mesh.boundary_faces)
      result[f.id] += area_vector(mesh, f).norm();
    return result;
  }

  template <int dim>
  void
  check_mesh(const SerialMesh<dim> &mesh)
  {
    ASSERT_FALSE(mesh.cells.empty());
    ASSERT_EQ(mesh.labels.size(), mesh.cells.size());

    // All positive, all vertices used, at most two owners of a face.
    std::set<unsigned int>                                used;
    std::map<std::array<unsigned int, dim>, unsigned int> owners;
    for (std::size_t k = 0; k < mesh.cells.size(); ++k)
      {
        ASSERT_GT(cell_volume(mesh, k), 0.);
        auto v = mesh.cells[k];
        std::sort(v.begin(), v.end());
        used.insert(v.begin(), v.end());
        for (unsigned int i = 0; i <= dim; ++i)
          {
            std::array<unsigned int, dim> f;
            std::copy(v.begin(), v.begin() + i, f.begin());
            std::copy(v.begin() + i + 1, v.end(), f.begin() + i);
            ++owners[f];
          }
      }
    EXPECT_EQ(used.size(), mesh.vertices.size());
    EXPECT_EQ(*used.rbegin() + 1, mesh.vertices.size());

    std::set<std::array<unsigned int, dim>> surface;
    for (const auto &o : owners)
      {
        ASSERT_LE(o.second, 2u);
        if (o.second == 1)
          surface.insert(o.first);
      }

    // The boundary is the surface, closed, outward.
    ASSERT_EQ(surface.size(), mesh.boundary_faces.size());
    Tensor<1, dim>                                            sum;
    double                                                    flux = 0;
    std::map<std::array<unsigned int, dim - 1>, unsigned int> ridges;
    for (const auto &f : mesh.boundary_faces)
      {
        auto v = f.vertices;
        std::sort(v.begin(), v.end());
        ASSERT_EQ(surface.count(v), 1u);
        for (unsigned int i = 0; i < dim; ++i)
          {
            std::array<unsigned int, dim - 1> r;
            std::copy(v.begin(), v.begin() + i, r.begin());
            std::copy(v.begin() + i + 1, v.end(), r.begin() + i);
            ++ridges[r];
          }
        sum += area_vector(mesh, f);
        flux += area_vector(mesh, f) * mesh.vertices[f.vertices[0]] / dim;
      }
    for (const auto &r : ridges)
      ASSERT_EQ(r.second, 2u);
    EXPECT_LT(sum.norm(), 1e-10);
    EXPECT_NEAR(flux, volume(mesh), 1e-10 * volume(mesh));
  }

  template <int dim>
  std::string
  shape_error(const ShapeDescription &shape)
  {
    try
      {
        generate_shape<dim>(shape);
      }
    catch (const InputError &e)
      {
        const std::string what = e.what();
        EXPECT_EQ(what.rfind("Case/Shape: ", 0), 0u) << what;
        EXPECT_EQ(what.find('\n'), std::string::npos) << what;
        return what;
      }
    return "no error";
  }

  template <int dim>
  CaseData<dim>
  as_case(const SerialMesh<dim> &mesh)
  {
    CaseData<dim> data;
    data.source = "test";
    data.mesh   = mesh;
    return data;
  }

  template <int dim>
  std::string
  check_error(CaseData<dim> data, const bool repair)
  {
    try
      {
        check_and_repair(data, repair);
      }
    catch (const InputError &e)
      {
        return e.what();
      }
    return "no error";
  }

  bool
  contains(const std::string &text, const std::string &part)
  {
    return text.find(part) != std::string::npos;
  }

  ShapeDescription
  cone(const double mesh_size, const double wedge = 0)
  {
    ShapeDescription shape;
    shape.type        = "truncated cone";
    shape.mesh_size   = mesh_size;
    shape.wedge_angle = wedge;
    return shape;
  }

  ShapeDescription
  structured(const std::string &type, const unsigned int tets = 6)
  {
    ShapeDescription shape;
    shape.type          = type;
    shape.lower         = {{-1, 2, 0.5}};
    shape.upper         = {{1, 3, 4.5}};
    shape.subdivisions  = {{3, 2, 5}};
    shape.tets_per_cube = tets;
    return shape;
  }

  template <int dim>
  CaseData<dim>
  single_cell()
  {
    CaseData<dim> data;
    data.source = "test";
    data.mesh.vertices.resize(dim + 1);
    data.mesh.cells.resize(1);
    for (unsigned int d = 0; d < dim; ++d)
      data.mesh.vertices[d + 1][d] = 1;
    for (unsigned int d = 0; d <= dim; ++d)
      data.mesh.cells[0][d] = d;
    data.mesh.labels = {1};
    return data;
  }
} // namespace



TEST(Generate, StructuredBox)
{
  for (const unsigned int tets : {5u, 6u})
    {
      const auto mesh = generate_shape<3>(structured("box", tets));
      check_mesh(mesh);
      EXPECT_EQ(mesh.vertices.size(), 4u * 3 * 6);
      EXPECT_EQ(mesh.cells.size(), 30u * tets);
      EXPECT_NEAR(volume(mesh), 8, 1e-12);
      const auto a = areas(mesh);
      ASSERT_EQ(a.size(), 6u);
      for (const unsigned int s : {0u, 1u})
        {
          EXPECT_NEAR(a.at(0 + s), 4, 1e-12);
          EXPECT_NEAR(a.at(2 + s), 8, 1e-12);
          EXPECT_NEAR(a.at(4 + s), 2, 1e-12);
        }
      for (const auto &f : mesh.boundary_faces)
        for (const auto v : f.vertices)
          {
            const double x[2] = {structured("box").lower[f.id / 2],
                                 structured("box").upper[f.id / 2]};
            EXPECT_NEAR(mesh.vertices[v][f.id / 2], x[f.id % 2], 1e-14);
          }
    }
}



TEST(Generate, StructuredRectangle)
{
  const auto mesh = generate_shape<2>(structured("rectangle"));
  check_mesh(mesh);
  EXPECT_EQ(mesh.vertices.size(), 12u);
  EXPECT_EQ(mesh.cells.size(), 12u);
  EXPECT_NEAR(volume(mesh), 2, 1e-13);
  const auto a = areas(mesh);
  ASSERT_EQ(a.size(), 4u);
  EXPECT_NEAR(a.at(0) + a.at(1), 2, 1e-13);
  EXPECT_NEAR(a.at(2) + a.at(3), 4, 1e-13);
}



TEST(Generate, UnstructuredBoxAndRectangle)
{
  auto shape         = structured("box");
  shape.subdivisions = {{0, 0, 0}};
  shape.mesh_size    = 0.5;
  const auto mesh    = generate_shape<3>(shape);
  check_mesh(mesh);
  EXPECT_NEAR(volume(mesh), 8, 1e-9);
  const auto a = areas(mesh);
  ASSERT_EQ(a.size(), 6u);
  EXPECT_NEAR(a.at(1), 4, 1e-9);
  EXPECT_NEAR(a.at(2), 8, 1e-9);
  EXPECT_NEAR(a.at(5), 2, 1e-9);

  shape.type           = "rectangle";
  shape.mesh_size      = 0.1;
  const auto rectangle = generate_shape<2>(shape);
  check_mesh(rectangle);
  EXPECT_NEAR(volume(rectangle), 2, 1e-9);
  const auto b = areas(rectangle);
  ASSERT_EQ(b.size(), 4u);
  EXPECT_NEAR(b.at(1), 1, 1e-9);
  EXPECT_NEAR(b.at(2), 2, 1e-9);
}



TEST(Generate, TruncatedCone)
{
  const auto   mesh  = generate_shape<3>(cone(0.05));
  const double exact = pi * 0.6 / 3 * (0.04 + 0.02 + 0.01);
  check_mesh(mesh);
  EXPECT_LT(volume(mesh), exact);
  EXPECT_NEAR(volume(mesh), exact, 0.02 * exact);
  const auto a = areas(mesh);
  ASSERT_EQ(a.size(), 3u);
  EXPECT_NEAR(a.at(1), pi * 0.04, 0.02 * pi * 0.04);
  EXPECT_NEAR(a.at(2), pi * 0.01, 0.08 * pi * 0.01);
  EXPECT_NEAR(a.at(3), pi * 0.3 * std::hypot(0.6, 0.1), 0.01);
  EXPECT_EQ(*std::max_element(mesh.labels.begin(), mesh.labels.end()), 1);

  // The same again, and in other units.
  const auto again = generate_shape<3>(cone(0.05));
  EXPECT_EQ(again.cells, mesh.cells);
  EXPECT_EQ(again.vertices, mesh.vertices);
  auto small          = cone(0.05 / 1024);
  small.bottom_radius = 0.2 / 1024;
  small.top_radius    = 0.1 / 1024;
  small.height        = 0.6 / 1024;
  EXPECT_EQ(generate_shape<3>(small).cells, mesh.cells);

  // Equal radii: a cylinder.
  auto cylinder       = cone(0.05);
  cylinder.top_radius = 0.2;
  const auto c        = generate_shape<3>(cylinder);
  check_mesh(c);
  EXPECT_NEAR(volume(c), pi * 0.024, 0.03 * pi * 0.024);
}



TEST(Generate, Wedge)
{
  const double exact = pi * 0.6 / 3 * (0.04 + 0.02 + 0.01);
  for (const double angle : {60., 180., 270.})
    {
      const auto mesh = generate_shape<3>(cone(0.06, angle));
      check_mesh(mesh);
      EXPECT_NEAR(volume(mesh, 2), exact * angle / 360, 0.04 * exact);
      EXPECT_NEAR(volume(mesh), exact, 0.04 * exact);
      EXPECT_EQ(areas(mesh).size(), 3u);
      auto       data   = as_case(mesh);
      const auto report = check_and_repair(data, false);
      EXPECT_EQ(report.n_components, 1u);
      // No cell reaches across the interface.
      for (std::size_t k = 0; k < mesh.cells.size(); ++k)
        for (const auto v : mesh.cells[k])
          {
            const auto  &p = mesh.vertices[v];
            const double r = std::hypot(p[0], p[1]);
            double       a = std::atan2(p[1], p[0]) * 180 / pi;
            if (a < -1e-6)
              a += 360;
            const double e = 1e-6;
            if (r < e)
              continue;
            EXPECT_TRUE(mesh.labels[k] == 2 ? a < angle + e
                                            : a > angle - e || std::abs(a) < e)
              << a;
          }
    }
}



TEST(Generate, BallDiskEllipsoids)
{
  ShapeDescription shape;
  shape.type      = "ball";
  shape.mesh_size = 0.15;
  const auto ball = generate_shape<3>(shape);
  check_mesh(ball);
  EXPECT_NEAR(volume(ball), pi / 6, 0.05 * pi / 6);

  shape.type      = "disk";
  const auto disk = generate_shape<2>(shape);
  check_mesh(disk);
  EXPECT_NEAR(volume(disk), pi / 4, 0.03 * pi / 4);
  EXPECT_EQ(areas(disk).count(0), 1u);

  shape.type      = "ellipsoid pair";
  shape.mesh_size = 0.03;
  const auto pair = generate_shape<3>(shape);
  check_mesh(pair);
  const double exact = 4 * pi / 3 * 0.06 * 0.08 * 0.12;
  EXPECT_NEAR(volume(pair, 1), exact, 0.06 * exact);
  EXPECT_NEAR(volume(pair, 2), exact, 0.06 * exact);
  double gap[2] = {-1, 1};
  for (std::size_t k = 0; k < pair.cells.size(); ++k)
    for (const auto v : pair.cells[k])
      {
        const double x = pair.vertices[v][0];
        if (pair.labels[k] == 1)
          gap[0] = std::max(gap[0], x);
        else
          gap[1] = std::min(gap[1], x);
      }
  EXPECT_NEAR(gap[0], -0.015, 0.005);
  EXPECT_NEAR(gap[1], 0.015, 0.005);

  auto       data   = as_case(pair);
  const auto report = check_and_repair(data, false);
  EXPECT_EQ(report.n_components, 2u);
  for (std::size_t k = 0; k < pair.cells.size(); ++k)
    EXPECT_EQ(report.component_of_cell[k] == report.component_of_cell[0],
              pair.labels[k] == pair.labels[0]);
}



TEST(Generate, EllipsoidsOfAllProportions)
{
  ShapeDescription shape;
  shape.type      = "ellipsoid pair";
  shape.mesh_size = 0.015;
  for (const std::array<double, 3> axes :
       std::vector<std::array<double, 3>>{{{0.1, 0.03, 0.03}},
                                          {{0.03, 0.1, 0.03}},
                                          {{0.03, 0.03, 0.1}},
                                          {{0.03, 0.1, 0.1}},
                                          {{0.1, 0.03, 0.1}},
                                          {{0.1, 0.1, 0.03}}})
    {
      shape.semi_axes = axes;
      const auto mesh = generate_shape<3>(shape);
      check_mesh(mesh);
      const double exact = 8 * pi / 3 * axes[0] * axes[1] * axes[2];
      EXPECT_NEAR(volume(mesh), exact, 0.1 * exact);
      double extent[3] = {0, 0, 0};
      for (const auto &p : mesh.vertices)
        for (unsigned int d = 0; d < 3; ++d)
          extent[d] = std::max(extent[d], p[d]);
      EXPECT_NEAR(extent[0], 0.015 + 2 * axes[0], 0.01);
      EXPECT_NEAR(extent[1], axes[1], 0.01);
      EXPECT_NEAR(extent[2], axes[2], 0.01);
    }
}



TEST(Generate, Errors)
{
  EXPECT_TRUE(contains(shape_error<3>(cone(0)), "Mesh size is 0"));
  EXPECT_TRUE(contains(shape_error<3>(cone(-1)), "Mesh size is -1"));
  EXPECT_TRUE(contains(shape_error<3>(cone(std::nan(""))), "Mesh size"));
  EXPECT_TRUE(contains(shape_error<3>(cone(0.7)), "larger than the shape"));
  EXPECT_TRUE(contains(shape_error<3>(cone(1e-4)), "cells"));
  EXPECT_TRUE(contains(shape_error<3>(cone(0.1, 360)), "Wedge angle"));
  EXPECT_TRUE(contains(shape_error<3>(cone(0.1, -1)), "Wedge angle"));
  auto shape          = cone(0.1);
  shape.bottom_radius = 0;
  EXPECT_TRUE(contains(shape_error<3>(shape), "Bottom radius"));
  shape            = cone(0.1);
  shape.top_radius = -0.1;
  EXPECT_TRUE(contains(shape_error<3>(shape), "Top radius"));
  shape        = cone(0.1);
  shape.height = 0;
  EXPECT_TRUE(contains(shape_error<3>(shape), "Height"));

  shape = ShapeDescription();
  for (const std::string type : {"ball", "disk"})
    {
      shape.type   = type;
      shape.radius = 0;
      EXPECT_TRUE(
        contains(type == "ball" ? shape_error<3>(shape) : shape_error<2>(shape),
                 "Radius is 0"));
    }
  shape.type = "ellipsoid pair";
  shape.gap  = 0;
  EXPECT_TRUE(contains(shape_error<3>(shape), "Gap is 0"));
  shape.gap       = 0.03;
  shape.mesh_size = 0.13;
  EXPECT_TRUE(contains(shape_error<3>(shape), "larger than the shape"));
  shape.semi_axes[1] = 0;
  EXPECT_TRUE(contains(shape_error<3>(shape), "Semi-axes entry 1"));

  shape          = structured("box");
  shape.upper[1] = shape.lower[1];
  EXPECT_TRUE(contains(shape_error<3>(shape), "Upper corner is 2"));
  shape = structured("box", 7);
  EXPECT_TRUE(contains(shape_error<3>(shape), "expected 5 or 6"));
  shape                 = structured("box");
  shape.subdivisions[2] = 0;
  EXPECT_TRUE(contains(shape_error<3>(shape), "Subdivisions"));
  shape.subdivisions = {{1000, 1000, 1000}};
  EXPECT_TRUE(contains(shape_error<3>(shape), "6e+09 cells"));

  shape.type = "cube";
  EXPECT_TRUE(contains(shape_error<3>(shape),
                       "\"cube\" in 3D, expected one of: box, truncated cone, "
                       "ball, ellipsoid pair"));
  EXPECT_TRUE(contains(shape_error<2>(shape), "one of: rectangle, disk"));
}



TEST(Quality, Adjacency)
{
  const auto                mesh = generate_shape<3>(structured("box"));
  std::vector<unsigned int> indices;
  std::vector<std::size_t>  offsets;
  face_adjacency(mesh, "test", indices, offsets);
  ASSERT_EQ(offsets.size(), mesh.cells.size() + 1);
  ASSERT_EQ(offsets.back(), indices.size());
  EXPECT_EQ(indices.size(), 4 * mesh.cells.size() - mesh.boundary_faces.size());
  for (unsigned int k = 0; k < mesh.cells.size(); ++k)
    for (std::size_t i = offsets[k]; i < offsets[k + 1]; ++i)
      {
        const unsigned int n = indices[i];
        EXPECT_NE(n, k);
        EXPECT_TRUE(i == offsets[k] || indices[i - 1] < n);
        EXPECT_TRUE(std::binary_search(indices.begin() + offsets[n],
                                       indices.begin() + offsets[n + 1],
                                       k));
        unsigned int shared = 0;
        for (const auto v : mesh.cells[k])
          shared += std::count(mesh.cells[n].begin(), mesh.cells[n].end(), v);
        EXPECT_EQ(shared, 3u);
      }
}



TEST(Quality, Report)
{
  auto       data   = as_case(generate_shape<3>(structured("box")));
  const auto report = check_and_repair(data, false);
  EXPECT_EQ(report.n_vertices, 72u);
  EXPECT_EQ(report.n_cells, 180u);
  EXPECT_EQ(report.n_components, 1u);
  EXPECT_EQ(report.n_reordered, 0u);
  EXPECT_NEAR(report.volume, 8, 1e-12);
  EXPECT_NEAR(report.min_volume, 8. / 180, 1e-12);
  EXPECT_NEAR(report.median_volume, 8. / 180, 1e-12);
  EXPECT_NEAR(report.max_volume, 8. / 180, 1e-12);
  // All but the 2 x 1 x 4 vertices inside.
  EXPECT_EQ(std::count(report.surface_vertex.begin(),
                       report.surface_vertex.end(),
                       1),
            72 - 8);
  EXPECT_TRUE(data.notes.empty());
  EXPECT_TRUE(
    contains(describe(report), "72 vertices, 180 tetrahedra, 1 component"));

  auto       tet        = single_cell<3>();
  const auto tet_report = check_and_repair(tet, true);
  EXPECT_NEAR(tet_report.min_angle,
              std::acos(1 / std::sqrt(3.)) * 180 / pi,
              1e-9);
  EXPECT_NEAR(tet_report.max_angle, 90, 1e-9);
  auto       triangle        = single_cell<2>();
  const auto triangle_report = check_and_repair(triangle, true);
  EXPECT_NEAR(triangle_report.min_angle, 45, 1e-9);
  EXPECT_NEAR(triangle_report.max_angle, 90, 1e-9);
  EXPECT_TRUE(contains(describe(triangle_report), "3 vertices, 1 triangles"));
}



TEST(Quality, RepairTetrahedra)
{
  auto              data     = as_case(generate_shape<3>(structured("box")));
  const auto        original = data.mesh.cells;
  const std::size_t M        = original.size();
  for (const auto k : {7, 100})
    std::swap(data.mesh.cells[k][2], data.mesh.cells[k][3]);

  EXPECT_TRUE(contains(check_error(data, false), "test: cell 7 is negatively"));
  EXPECT_TRUE(contains(check_error(data, false), "2 of 180 cells"));
  EXPECT_TRUE(contains(check_error(data, false), "Case/Repair orientation"));

  const auto filled = [](const std::vector<std::size_t> &shape) {
    std::size_t n = 1;
    for (const auto s : shape)
      n *= s;
    std::vector<double> values(n);
    for (std::size_t i = 0; i < n; ++i)
      values[i] = i;
    NpyArray array;
    array.shape  = shape;
    array.values = values;
    return array;
  };
  data.arrays["r_axis"]  = filled({M, 3, 12});
  data.arrays["r_shear"] = filled({M, 3, 12});
  data.arrays["r_vol"]   = filled({M, 12});
  const auto report      = check_and_repair(data, true);
  EXPECT_EQ(report.n_reordered, 2u);
  EXPECT_EQ(data.mesh.cells, original);
  EXPECT_EQ(data.notes.size(), 1u);
  EXPECT_TRUE(contains(describe(report), "2 cells reordered"));
  for (const std::string key : {"r_axis", "r_shear", "r_vol"})
    {
      const std::size_t rows   = key == "r_vol" ? 1 : 3;
      const auto       &values = data.arrays[key].values;
      for (std::size_t i = 0; i < values.size(); ++i)
        {
          const std::size_t column = i % 12, k = i / 12 / rows;
          double            expected = i;
          if (k == 7 || k == 100)
            expected += column < 6 ? 0 : (column < 9 ? 3 : -3);
          ASSERT_EQ(values[i], expected) << key << ' ' << i;
        }
    }

  std::swap(data.mesh.cells[3][2], data.mesh.cells[3][3]);
  data.arrays["r_vol"].values.resize(5);
  EXPECT_TRUE(contains(check_error(data, true), "r_vol"));
}



TEST(Quality, RepairTriangle)
{
  auto data = single_cell<2>();
  std::swap(data.mesh.cells[0][1], data.mesh.cells[0][2]);
  data.arrays["r_vol"].shape    = {1, 6};
  data.arrays["r_vol"].values   = {0, 1, 2, 3, 4, 5};
  data.arrays["r_shear"].shape  = {1, 1, 6};
  data.arrays["r_shear"].values = {0, 1, 2, 3, 4, 5};
  data.arrays["r_axis"].shape   = {1, 2, 6};
  data.arrays["r_axis"].values  = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const auto report             = check_and_repair(data, true);
  EXPECT_EQ(report.n_reordered, 1u);
  EXPECT_NEAR(report.volume, 0.5, 1e-14);
  const std::vector<double> expected = {0, 1, 4, 5, 2, 3, 6, 7, 10, 11, 8, 9};
  EXPECT_EQ(data.arrays["r_axis"].values, expected);
  const std::vector<double> row(expected.begin(), expected.begin() + 6);
  EXPECT_EQ(data.arrays["r_shear"].values, row);
  EXPECT_EQ(data.arrays["r_vol"].values, row);
}



TEST(Quality, Errors)
{
  // Flat.
  auto data             = single_cell<3>();
  data.mesh.vertices[3] = Point<3>(0.3, 0.3, 1e-14);
  EXPECT_TRUE(contains(check_error(data, true), "test: cell 0 is flat"));
  EXPECT_TRUE(contains(check_error(data, true), "1.667e-15 m^3, expected"));
  data.mesh.vertices[3][2] = 1e-10;
  EXPECT_EQ(check_error(data, true), "no error");
  auto triangle             = single_cell<2>();
  triangle.mesh.vertices[2] = Point<2>(0.5, 0);
  EXPECT_TRUE(contains(check_error(triangle, true), "cell 0 is flat"));
  triangle.mesh.vertices[2] = triangle.mesh.vertices[1] = Point<2>();
  EXPECT_TRUE(contains(check_error(triangle, true), "cell 0 is flat"));

  // Three owners.
  data = single_cell<3>();
  data.mesh.vertices.emplace_back(1., 1., 1.);
  data.mesh.vertices.emplace_back(2., 1., 1.);
  data.mesh.cells.push_back({{4, 1, 2, 3}});
  data.mesh.cells.push_back({{3, 1, 5, 2}});
  data.mesh.labels = {1, 1, 1};
  EXPECT_TRUE(contains(check_error(data, true),
                       "the face of vertices (1, 2, 3) belongs to three or "
                       "more cells: 0, 1, 2"));

  data.mesh.cells.clear();
  EXPECT_TRUE(contains(check_error(data, true), "no cells"));
}



namespace
{
  /// Nearest point on a segment, a triangle or a tetrahedron by trying all
  /// faces with inner nearest points (brute force, independent of the program).
  template <int dim>
  double
  distance_to_cell(const SerialMesh<dim> &mesh,
                   const std::size_t      k,
                   const Point<dim>      &p)
  {
    double best = std::numeric_limits<double>::max();
    for (unsigned int set = 1; set < (1u << (dim + 1)); ++set)
      {
        std::vector<Point<dim>> x;
        for (unsigned int i = 0; i <= dim; ++i)
          if (set & (1u << i))
            x.push_back(mesh.vertices[mesh.cells[k][i]]);
        // Orthonormalise the edges; solve for the coordinates backwards.
        const std::size_t           n = x.size() - 1;
        std::vector<Tensor<1, dim>> q(n);
        double                      r[3][3] = {};
        for (std::size_t j = 0; j < n; ++j)
          {
            q[j] = x[j + 1] - x[0];
            for (std::size_t i = 0; i < j; ++i)
              {
                r[i][j] = q[i] * q[j];
                q[j] -= r[i][j] * q[i];
              }
            r[j][j] = q[j].norm();
            q[j] /= r[j][j];
          }
        double l[3], l0 = 1;
        bool   inside = true;
        for (int i = int(n) - 1; i >= 0; --i)
          {
            l[i] = q[i] * (p - x[0]);
            for (std::size_t j = i + 1; j < n; ++j)
              l[i] -= r[i][j] * l[j];
            l[i] /= r[i][i];
            l0 -= l[i];
            inside = inside && l[i] >= 0;
          }
        if (!inside || l0 < 0)
          continue;
        Tensor<1, dim> difference = x[0] - p;
        for (std::size_t i = 0; i < n; ++i)
          difference += l[i] * (x[i + 1] - x[0]);
        best = std::min(best, difference.norm());
      }
    return best;
  }

  template <int dim>
  void
  expect_result(const SerialMesh<dim>                     &mesh,
                const typename PointLocation<dim>::Result &result,
                const Point<dim>                          &p,
                const double                               distance)
  {
    ASSERT_LT(result.cell, mesh.cells.size());
    EXPECT_NEAR(result.distance, distance, 1e-12);
    double         sum = 0;
    Tensor<1, dim> difference;
    for (unsigned int i = 0; i <= dim; ++i)
      {
        EXPECT_GE(result.barycentric[i], 0);
        EXPECT_LE(result.barycentric[i], 1);
        sum += result.barycentric[i];
        difference += result.barycentric[i] *
                      (mesh.vertices[mesh.cells[result.cell][i]] - p);
      }
    EXPECT_NEAR(sum, 1, 1e-14);
    EXPECT_NEAR(difference.norm(), distance, 1e-12);
  }

  /// 1000 points in a box around the mesh, some far away, against brute force.
  template <int dim>
  void
  check_location(const SerialMesh<dim> &mesh,
                 const Point<dim>      &lower,
                 const Point<dim>      &upper)
  {
    const PointLocation<dim>               location(mesh);
    std::mt19937                           random(1);
    std::uniform_real_distribution<double> uniform(0, 1);
    unsigned int                           n_inside = 0;
    for (unsigned int i = 0; i < 1000; ++i)
      {
        Point<dim> p;
        for (unsigned int d = 0; d < dim; ++d)
          {
            const double stretch = i % 50 == 0 ? 10 : 1;
            p[d] = lower[d] + (upper[d] - lower[d]) * stretch * uniform(random);
          }
        double distance = std::numeric_limits<double>::max();
        for (std::size_t k = 0; k < mesh.cells.size() && distance > 0; ++k)
          distance = std::min(distance, distance_to_cell(mesh, k, p));
        if (distance < 1e-13)
          ++n_inside;
        expect_result(mesh, location.locate(p), p, distance);
      }
    EXPECT_GT(n_inside, 200u);
    EXPECT_LT(n_inside, 800u);

    // Vertices, and points on edges and faces.
    for (std::size_t k = 0; k < mesh.cells.size(); ++k)
      {
        Point<dim> p = mesh.vertices[mesh.cells[k][0]];
        expect_result(mesh, location.locate(p), p, 0);
        EXPECT_EQ(location.locate(p).distance, 0);
        for (unsigned int n = 1; n < dim; ++n)
          {
            p = (n * p + mesh.vertices[mesh.cells[k][n]]) / (n + 1.);
            expect_result(mesh, location.locate(p), p, 0);
          }
      }
  }
} // namespace



TEST(PointLocation, Cone)
{
  check_location<3>(generate_shape<3>(cone(0.07)),
                    Point<3>(-0.22, -0.22, -0.1),
                    Point<3>(0.22, 0.22, 0.7));
}



TEST(PointLocation, Disk)
{
  ShapeDescription shape;
  shape.type      = "disk";
  shape.mesh_size = 0.08;
  check_location<2>(generate_shape<2>(shape),
                    Point<2>(-0.6, -0.6),
                    Point<2>(0.6, 0.6));
}



TEST(PointLocation, HollowFarAndThin)
{
  // Between two ellipsoids, most bins are empty.
  ShapeDescription shape;
  shape.type                       = "ellipsoid pair";
  shape.mesh_size                  = 0.04;
  shape.gap                        = 0.5;
  const auto                  mesh = generate_shape<3>(shape);
  const PointLocation<3>      location(mesh);
  const std::vector<Point<3>> points = {Point<3>(),
                                        Point<3>(1e-3, 0.2, -0.3),
                                        Point<3>(-50, 3, 7),
                                        Point<3>(0, 0, 1e6)};
  for (const auto &p : points)
    {
      double distance = std::numeric_limits<double>::max();
      for (std::size_t k = 0; k < mesh.cells.size(); ++k)
        distance = std::min(distance, distance_to_cell(mesh, k, p));
      EXPECT_NEAR(location.locate(p).distance,
                  distance,
                  1e-14 * (100 + distance));
    }

  // A plate and a single cell.
  shape              = structured("box");
  shape.lower        = {{100, 100, 0}};
  shape.upper        = {{101, 101, 1e-5}};
  shape.subdivisions = {{20, 20, 1}};
  const auto plate   = generate_shape<3>(shape);
  const auto result =
    PointLocation<3>(plate).locate(Point<3>(100.313, 100.717, 4e-6));
  EXPECT_EQ(result.distance, 0);
  const auto single  = single_cell<3>();
  const auto nearest = PointLocation<3>(single.mesh).locate(Point<3>(1, 1, 1));
  EXPECT_NEAR(nearest.distance, 2 / std::sqrt(3.), 1e-14);
  for (unsigned int i = 1; i < 4; ++i)
    EXPECT_NEAR(nearest.barycentric[i], 1. / 3, 1e-14);
}


// Vertices outside another mesh are counted, but for what two meshes of one
// curved surface differ by.
TEST(PointLocation, PlacesInAnotherMesh)
{
  ShapeDescription shape;
  shape.type        = "disk";
  shape.mesh_size   = 0.15;
  const auto coarse = generate_shape<2>(shape);
  shape.mesh_size   = 0.06;
  auto fine         = generate_shape<2>(shape);
  {
    const PlacesInMesh<2> places(fine, coarse, MPI_COMM_WORLD);
    double                farthest = 0;
    for (const auto &place : places.places)
      farthest = std::max(farthest, place.distance);
    EXPECT_GT(farthest, 1e-4);
    EXPECT_EQ(places.n_outside, 0u);
    EXPECT_EQ(places.n, fine.vertices.size());
  }
  // A vertex that lies elsewhere, then all.
  fine.vertices[7] = Point<2>(3, 0);
  const PlacesInMesh<2> one(fine, coarse, MPI_COMM_WORLD);
  EXPECT_EQ(one.n_outside, 1u);
  EXPECT_NEAR(one.farthest, one.places[7].distance, 1e-15);
  EXPECT_GT(one.farthest, 2);
  for (auto &v : fine.vertices)
    v += Tensor<1, 2>({5., 0.});
  const PlacesInMesh<2> all(fine, coarse, MPI_COMM_WORLD);
  EXPECT_EQ(all.share_outside(), 1);
  EXPECT_NE(all.text().find("(100 %) lie up to "), std::string::npos)
    << all.text();
}
