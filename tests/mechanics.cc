// SMS against independent things: deal.II's own elasticity assembly, rigid
// motions, rotations of everything, patch tests, manufactured solutions.

#include <deal.II/base/quadrature_lib.h>
#include <deal.II/fe/fe_simplex_p.h>
#include <deal.II/fe/fe_values.h>
#include <deal.II/fe/mapping_fe.h>

#include <palpate/forces/external/loads.h>
#include <palpate/mesh/distributed_mesh.h>

#include <gtest/gtest.h>

#include <cmath>

#include "sample.h"

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    template <int dim>
    std::unique_ptr<Force<dim>>
    sms(const std::string &shear   = "2",
        const std::string &poisson = "0.4",
        const std::string &name    = "sms")
    {
      return make_term<Force<dim>>(name,
                                   {{"Shear ratio", shear},
                                    {"Poisson ratio", poisson}});
    }

    /// Relative difference of our matrix and deal.II's isotropic elasticity
    /// with mu = 2 alpha, lambda = 4 alpha nu / (1 - 2 nu), applied to random
    /// vectors.
    template <int dim>
    double
    difference_to_elasticity(const unsigned int degree,
                             const std::string &shear_ratio)
    {
      const Sample<dim> x(3, degree);
      const auto       &D     = x.D;
      const double      nu    = 0.4;
      const auto        force = sms<dim>(shear_ratio);
      Vector            ours = D.make_vector(), theirs = D.make_vector();
      force->apply_tangent(x.context(), x.state.u, ours);

      const MappingFE<dim>                 mapping(FE_SimplexP<dim>(1));
      const QGaussSimplex<dim>             quadrature(degree + 1);
      const auto                          &fe = D.dof_handler().get_fe();
      FEValues<dim>                        values(mapping,
                           fe,
                           quadrature,
                           update_gradients | update_JxW_values);
      const FEValuesExtractors::Vector     u(0);
      std::vector<types::global_dof_index> dofs(fe.n_dofs_per_cell());
      std::vector<SymmetricTensor<2, dim>> strain(quadrature.size());
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          values.reinit(
            typename Triangulation<dim>::cell_iterator(D.iterators[k]));
          D.iterators[k]->get_dof_indices(dofs);
          const double mu = 2 * x.fields["stiffness"][k];
          const double lambda =
            4 * nu / (1 - 2 * nu) * x.fields["stiffness"][k];
          std::vector<double> local(dofs.size());
          for (unsigned int i = 0; i < dofs.size(); ++i)
            local[i] = x.state.u(dofs[i]);
          for (unsigned int q = 0; q < quadrature.size(); ++q)
            {
              SymmetricTensor<2, dim> eps;
              for (unsigned int i = 0; i < dofs.size(); ++i)
                eps += local[i] * values[u].symmetric_gradient(i, q);
              const SymmetricTensor<2, dim> sigma =
                2 * mu * eps +
                lambda * trace(eps) * unit_symmetric_tensor<dim>();
              for (unsigned int i = 0; i < dofs.size(); ++i)
                theirs(dofs[i]) +=
                  sigma * values[u].symmetric_gradient(i, q) * values.JxW(q);
            }
        }
      theirs.compress(VectorOperation::add);
      const double size = theirs.l2_norm();
      theirs -= ours;
      return theirs.l2_norm() / size;
    }

    /// u = A x + b at all nodes.
    template <int dim>
    Vector
    affine(const Discretization<dim> &D, const Tensor<2, dim> &A)
    {
      Vector u = D.make_vector();
      for (unsigned int n = 0; n < D.n_nodes(); ++n)
        {
          const Tensor<1, dim> v = A * D.node_position(n);
          for (unsigned int d = 0; d < dim; ++d)
            u.local_element(n * dim + d) = v[d] + 0.1;
        }
      u.set_ghost_state(true);
      return u;
    }

    template <int dim>
    std::unique_ptr<StaticEquilibrium<dim>>
    make_equilibrium(const Sample<dim>                         &x,
                     std::vector<std::unique_ptr<Force<dim>>> &&forces)
    {
      static SolverParameters solver;
      static NewtonParameters newton;
      solver.relative_tolerance = 1e-13;
      newton.relative_tolerance = 1e-12;
      return std::make_unique<StaticEquilibrium<dim>>(x.D,
                                                      x.constrained,
                                                      x.snapshots,
                                                      std::move(forces),
                                                      solver,
                                                      newton,
                                                      x.log);
    }
  } // namespace

  TEST(Sms, EqualsIsotropicElasticity)
  {
    EXPECT_LT(difference_to_elasticity<2>(1, "2"), 1e-12);
    EXPECT_LT(difference_to_elasticity<3>(1, "2"), 1e-12);
    EXPECT_LT(difference_to_elasticity<2>(2, "2"), 1e-12);
    EXPECT_LT(difference_to_elasticity<3>(2, "2"), 1e-12);
  }

  TEST(Sms, IsAnotherMaterialWithAnotherShearRatio)
  {
    EXPECT_GT(difference_to_elasticity<3>(1, "1.3"), 1e-2);
  }

  TEST(Sms, MatrixIsMadeOfItsRows)
  {
    // K = V (4 alpha axis^T axis + 4 beta shear^T shear + kappa vol^T vol)
    const Sample<3>           x(2);
    const auto                force = sms<3>("1.3");
    Vector                    Ku = x.D.make_vector(), rows = Ku;
    std::vector<Tensor<1, 3>> u, out(4);
    force->apply_tangent(x.context(), x.state.u, Ku);
    for (unsigned int k = 0; k < x.D.n_cells(); ++k)
      {
        const SmsRows<3> r(x.D.barycentric_gradients(k),
                           x.snapshots[0].frames[k]);
        x.D.gather(x.state.u, k, u);
        for (auto &o : out)
          o = Tensor<1, 3>();
        const double alpha = x.fields["stiffness"][k];
        const auto   add   = [&](const std::array<double, 12> &row,
                             const double                  factor) {
          double dot = 0;
          for (unsigned int i = 0; i < 12; ++i)
            dot += row[i] * u[i / 3][i % 3];
          for (unsigned int i = 0; i < 12; ++i)
            out[i / 3][i % 3] += x.D.volume[k] * factor * dot * row[i];
        };
        for (unsigned int l = 0; l < 3; ++l)
          {
            add(r.axis[l], 4 * alpha);
            add(r.shear[l], 4 * 1.3 * alpha);
          }
        add(r.vol, 4 * 0.4 / 0.2 * alpha);
        x.D.scatter(out, k, rows);
      }
    const double size = Ku.l2_norm();
    Ku -= rows;
    EXPECT_LT(Ku.l2_norm() / size, 1e-13);
  }

  TEST(Sms, RigidMotionsCostNoEnergy)
  {
    Sample<3>    x(3);
    Tensor<2, 3> W; // skew: an infinitesimal rotation
    W[0][1] = 0.3, W[1][0] = -0.3, W[1][2] = 0.2, W[2][1] = -0.2;
    const auto linear = sms<3>("1.3"),
               finite = sms<3>("1.3", "0.4", "sms finite strain");
    const double scale =
      x.D.sum(linear->energy(x.context())); // of a motion of like size
    x.state.u = affine(x.D, W);
    EXPECT_LT(x.D.sum(linear->energy(x.context())), 1e-12 * scale);
    // A finite rotation for the finite-strain energy.
    Tensor<2, 3> Q;
    const double c = std::cos(1.), s = std::sin(1.);
    Q[0][0] = c - 1, Q[0][1] = -s, Q[1][0] = s, Q[1][1] = c - 1;
    x.state.u = affine(x.D, Q);
    EXPECT_LT(x.D.sum(finite->energy(x.context())), 1e-12 * scale);
    EXPECT_GT(x.D.sum(linear->energy(x.context())), scale);
  }

  TEST(Sms, FiniteStrainReducesToSmallStrain)
  {
    Sample<3>  x(2);
    const auto linear = sms<3>("1.3"),
               finite = sms<3>("1.3", "0.4", "sms finite strain");
    x.state.u         = random_vector(x.D, 1, 1e-6);
    const double a    = x.D.sum(linear->energy(x.context())),
                 b    = x.D.sum(finite->energy(x.context()));
    EXPECT_NEAR(b / a, 1, 1e-4);
  }

  TEST(Sms, PatchTestIsExact)
  {
    for (const unsigned int degree : {1u, 2u})
      for (const char *model : {"sms", "sms finite strain"})
        {
          Sample<3>    x(3, degree);
          Tensor<2, 3> A;
          A[0][0] = 0.03, A[0][1] = -0.01, A[1][2] = 0.02, A[2][2] = -0.02;
          const Vector exact = affine(x.D, A);
          // All of the surface is prescribed, the stiffness constant; frames
          // that turn from cell to cell would bend an anisotropic material.
          for (unsigned int i = 0; i < x.constrained.size(); ++i)
            x.constrained[i] = x.D.surface_node[i / 3];
          x.snapshots[0].prescribed = exact;
          for (double &a : x.fields["stiffness"].values)
            a = 1000;
          for (auto &f : x.snapshots[0].frames)
            {
              f       = Tensor<2, 3>();
              f[0][1] = f[1][2] = f[2][0] = 1;
            }
          std::vector<std::unique_ptr<Force<3>>> forces;
          forces.push_back(sms<3>("1.3", "0.4", model));
          const auto eq = make_equilibrium(x, std::move(forces));
          eq->solve(x.fields);
          Vector error = eq->context(0).state.u;
          error.zero_out_ghost_values();
          error -= exact;
          EXPECT_LT(error.linfty_norm(), 1e-12)
            << model << " degree " << degree;
        }
  }

  // Rotate mesh, frames, load and prescribed motion together: the same answer,
  // rotated. With beta/alpha = 1.3 rotating the body alone changes it.
  TEST(Sms, IsRotationInvariantOnlyWithItsFrames)
  {
    Tensor<2, 3> Q;
    const double c = std::cos(0.7), s = std::sin(0.7);
    Q[0][0] = c, Q[0][2] = s, Q[2][0] = -s, Q[2][2] = c, Q[1][1] = 1;
    const auto solve = [&](const Tensor<2, 3> &R,
                           const Tensor<2, 3> &R_frames) {
      Sample<3>     x(2);
      SerialMesh<3> mesh = x.mesh;
      for (auto &v : mesh.vertices)
        v = Point<3>(R * v);
      Discretization<3>        D(mesh, 1, MPI_COMM_WORLD);
      std::vector<Snapshot<3>> snapshots = x.snapshots;
      // Local numbers depend on the geometry: go through input numbers.
      const auto take_over = [&](const Field &field) {
        return D.scatter_cells(x.D.gather_cells(field), field.n_components);
      };
      Field frames(x.D.n_cells(), 0, 9);
      for (unsigned int k = 0; k < x.D.n_cells(); ++k)
        for (unsigned int i = 0; i < 9; ++i)
          frames[k * 9 + i] = snapshots[0].frames[k][i / 3][i % 3];
      frames = take_over(frames);
      snapshots[0].frames.resize(D.n_cells());
      for (unsigned int k = 0; k < D.n_cells(); ++k)
        {
          Tensor<2, 3> f;
          for (unsigned int i = 0; i < 9; ++i)
            f[i / 3][i % 3] = frames[k * 9 + i];
          snapshots[0].frames[k] = R_frames * f;
        }
      Fields fields;
      for (const auto &[name, field] : x.fields)
        fields[name] = take_over(field);
      Vector held = x.D.make_vector();
      for (unsigned int i = 0; i < x.D.n_owned_nodes() * 3; ++i)
        held.local_element(i) = x.constrained[i];
      const Vector flags = D.interpolate_vertices(x.D.gather_vertices(held));
      std::vector<char> constrained(D.n_nodes() * 3);
      for (unsigned int i = 0; i < constrained.size(); ++i)
        constrained[i] = flags.local_element(i) > 0.5;
      snapshots[0].prescribed = ghosted_copy(D.make_vector());
      std::vector<std::unique_ptr<Force<3>>> forces;
      forces.push_back(sms<3>("1.3"));
      auto gravity     = std::make_unique<Gravity<3>>();
      gravity->gravity = R * Tensor<1, 3>({1, -9.81, 2});
      forces.push_back(std::move(gravity));
      SolverParameters solver;
      solver.relative_tolerance = 1e-13;
      NewtonParameters     newton;
      StaticEquilibrium<3> eq(
        D, constrained, snapshots, std::move(forces), solver, newton, x.log);
      eq.solve(fields);
      return D.gather_vertices(eq.context(0).state.u);
    };
    Tensor<2, 3> I;
    I[0][0] = I[1][1] = I[2][2] = 1;
    const auto plain = solve(I, I), turned = solve(Q, Q), half = solve(Q, I);
    double     size = 0, difference = 0, wrong = 0;
    for (std::size_t i = 0; i < plain.size(); i += 3)
      {
        const Tensor<1, 3> u({plain[i], plain[i + 1], plain[i + 2]}),
          v({turned[i], turned[i + 1], turned[i + 2]}),
          w({half[i], half[i + 1], half[i + 2]});
        size       = std::max(size, u.norm());
        difference = std::max(difference, (Q * u - v).norm());
        wrong      = std::max(wrong, (Q * u - w).norm());
      }
    EXPECT_LT(difference, 1e-10 * size);
    EXPECT_GT(wrong, 1e-3 * size);
  }

  // Faces with several ids get the sum of the loads of all, however the mesh
  // comes to its ranks.
  TEST(Loads, AllIdsOfAFaceCount)
  {
    SerialMesh<3> mesh = sample_mesh<3>(2);
    const auto    area = [&](const BoundaryFace<3> &face) {
      std::array<Point<3>, 3> x;
      for (unsigned int i = 0; i < 3; ++i)
        x[i] = mesh.vertices[face.vertices[i]];
      return cross_product_3d(x[1] - x[0], x[2] - x[0]).norm() / 2;
    };
    double                       expected = 0;
    std::vector<BoundaryFace<3>> more;
    for (const auto &face : mesh.boundary_faces)
      if (face.id == 1)
        {
          expected += 10 * area(face);
          if (more.size() % 3 == 0) // every second gets two more ids
            for (const unsigned int id : {7, 8})
              {
                more.push_back({face.vertices, id});
                expected += (id == 7 ? 4 : -1) * area(face);
              }
          else
            more.push_back({face.vertices, 9});
        }
    mesh.boundary_faces.insert(mesh.boundary_faces.end(),
                               more.begin(),
                               more.end());
    const auto load = make_term<Force<3>>(
      "traction", {{"Traction", "1: 10, 0, 0; 7: 4, 0, 0; 8: -1, 0, 0"}});
    const auto force = [&](const SerialMesh<3> &some) {
      const Discretization<3> D(some, 1, MPI_COMM_WORLD);
      const State             state{D.make_vector(), {}, 0.};
      const Snapshot<3>       snapshot;
      const std::vector<char> constrained(D.n_nodes() * 3, 0);
      const Fields            fields;
      Vector                  h = D.make_vector();
      load->residual({D, state, fields, snapshot, constrained}, h);
      double sum = 0;
      for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
        sum -= h.local_element(3 * n);
      return D.sum(sum);
    };
    EXPECT_GT(more.size(), 4u);
    EXPECT_NEAR(force(mesh), expected, 1e-12 * expected);
    const auto part = part_of_this_rank(mesh, MPI_COMM_WORLD);
    EXPECT_NEAR(force(part), expected, 1e-12 * expected);
    EXPECT_NEAR(force(whole_mesh(part, MPI_COMM_WORLD)),
                expected,
                1e-12 * expected);
    // Parts in one file each.
    std::vector<unsigned int> owner(mesh.cells.size());
    for (std::size_t k = 0; k < owner.size(); ++k)
      owner[k] = k % 2;
    const MeshParts<3>       parts(mesh, owner, 2);
    std::vector<CaseData<3>> files(2);
    for (unsigned int p = 0; p < 2; ++p)
      files[p].mesh = parts.part(p);
    EXPECT_EQ(join_parts(files).mesh.boundary_faces.size(),
              mesh.boundary_faces.size());
  }

  // One bar under traction: u = t L / E exactly, nu = 0.
  TEST(Loads, TractionAndPressureStretchABar)
  {
    for (const bool pressure : {false, true})
      {
        Sample<3>        x(2);
        SerialMesh<3>    mesh = x.mesh;
        ShapeDescription box;
        box.type         = "box";
        box.upper        = {{2, 1, 1}};
        box.subdivisions = {{4, 2, 2}};
        mesh             = generate_shape<3>(box);
        Discretization<3> D(mesh, 1, MPI_COMM_WORLD);
        std::vector<char> constrained(D.n_nodes() * 3);
        for (unsigned int n = 0; n < D.n_nodes(); ++n)
          for (unsigned int d = 0; d < 3; ++d)
            constrained[3 * n + d] = D.node_position(n)[0] < 1e-12;
        std::vector<Snapshot<3>> snapshots(1);
        snapshots[0].frames     = sample_frames(D);
        snapshots[0].prescribed = ghosted_copy(D.make_vector());
        Fields fields;
        fields["stiffness"] = Field(D.n_cells(), 250.); // E = 4 alpha = 1000 Pa
        std::vector<std::unique_ptr<Force<3>>> forces;
        forces.push_back(sms<3>("2", "0"));
        forces.push_back(
          pressure
            ? make_term<Force<3>>("pressure", {{"Pressure", "1: -30"}})
            : make_term<Force<3>>("traction", {{"Traction", "1: 30, 0, 0"}}));
        SolverParameters solver;
        solver.relative_tolerance = 1e-13;
        NewtonParameters     newton;
        StaticEquilibrium<3> eq(
          D, constrained, snapshots, std::move(forces), solver, newton, x.log);
        eq.solve(fields);
        const auto u = D.gather_vertices(eq.context(0).state.u);
        for (std::size_t v = 0; v < mesh.vertices.size(); ++v)
          {
            EXPECT_NEAR(u[3 * v], 0.03 * mesh.vertices[v][0], 1e-12);
            EXPECT_NEAR(u[3 * v + 1], 0, 1e-12);
          }
      }
  }

  // Manufactured: u = a sin(pi x) sin(pi y) (1, 1/2) on the unit square, body
  // force from isotropic elasticity; linear elements converge with order 2 in
  // L2, quadratic ones with order 3.
  TEST(Sms, ConvergesInL2)
  {
    const double nu = 0.3, alpha = 1000, mu = 2 * alpha,
                 lambda = 4 * nu / (1 - 2 * nu) * alpha, pi = numbers::PI;
    const auto exact = [&](const Point<2> &p) {
      const double s = std::sin(pi * p[0]) * std::sin(pi * p[1]);
      return Tensor<1, 2>({s, 0.5 * s});
    };
    const auto body_force = [&](const Point<2> &p) {
      // -div sigma = -mu lap u - (lambda + mu) grad div u
      const double ss = std::sin(pi * p[0]) * std::sin(pi * p[1]),
                   cc = std::cos(pi * p[0]) * std::cos(pi * p[1]);
      const double k  = pi * pi;
      return Tensor<1, 2>(
        {2 * mu * k * ss + (lambda + mu) * k * (ss - 0.5 * cc),
         mu * k * ss + (lambda + mu) * k * (0.5 * ss - cc)});
    };
    struct BodyForce : DeadLoad<2>
    {
      std::function<Tensor<1, 2>(const Point<2> &)> f;
      void
      parse_parameters(Parameters &) override
      {}
      bool
      is_active() const override
      {
        return true;
      }
      void
      residual(const Context<2> &c, Vector &h) const override
      {
        const auto               &D = c.discretization;
        const QGaussSimplex<2>    quadrature(4);
        std::vector<Tensor<1, 2>> out(D.nodes_per_cell);
        const auto               &fe = D.dof_handler().get_fe().base_element(0);
        for (unsigned int k = 0; k < D.n_cells(); ++k)
          {
            const auto &cell = D.mesh.cells[D.cell_id[k]];
            for (auto &o : out)
              o = Tensor<1, 2>();
            for (unsigned int q = 0; q < quadrature.size(); ++q)
              {
                const auto xi = quadrature.point(q);
                Point<2>   p;
                p += (1 - xi[0] - xi[1]) * D.mesh.vertices[cell[0]];
                p += xi[0] * D.mesh.vertices[cell[1]];
                p += xi[1] * D.mesh.vertices[cell[2]];
                for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
                  out[a] -= 2 * D.volume[k] * quadrature.weight(q) *
                            fe.shape_value(a, xi) * f(p);
              }
            D.scatter(out, k, h);
          }
      }
    };
    for (const unsigned int degree : {1u, 2u})
      {
        std::vector<double> errors;
        for (const unsigned int n : {8u, 16u, 32u})
          {
            ShapeDescription d;
            d.type                   = "rectangle";
            d.subdivisions           = {{n, n, n}};
            const SerialMesh<2> mesh = generate_shape<2>(d);
            Discretization<2>   D(mesh, degree, MPI_COMM_WORLD);
            std::vector<char>   constrained(D.n_nodes() * 2);
            for (unsigned int i = 0; i < constrained.size(); ++i)
              constrained[i] = D.surface_node[i / 2];
            std::vector<Snapshot<2>> snapshots(1);
            snapshots[0].frames     = sample_frames(D);
            snapshots[0].prescribed = ghosted_copy(D.make_vector());
            Fields fields;
            fields["stiffness"] = Field(D.n_cells(), alpha);
            std::vector<std::unique_ptr<Force<2>>> forces;
            forces.push_back(sms<2>("2", "0.3"));
            auto load = std::make_unique<BodyForce>();
            load->f   = body_force;
            forces.push_back(std::move(load));
            SolverParameters solver;
            solver.relative_tolerance = 1e-12;
            NewtonParameters         newton;
            const ConditionalOStream silent(std::cout, false);
            StaticEquilibrium<2>     eq(D,
                                    constrained,
                                    snapshots,
                                    std::move(forces),
                                    solver,
                                    newton,
                                    silent);
            eq.solve(fields);
            const auto            &u = eq.context(0).state.u;
            const QGaussSimplex<2> quadrature(4);
            const auto &fe = D.dof_handler().get_fe().base_element(0);
            std::vector<Tensor<1, 2>> local;
            double                    square = 0;
            for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
              {
                const auto &cell = mesh.cells[D.cell_id[k]];
                D.gather(u, k, local);
                for (unsigned int q = 0; q < quadrature.size(); ++q)
                  {
                    const auto   xi = quadrature.point(q);
                    Point<2>     p;
                    Tensor<1, 2> value;
                    p += (1 - xi[0] - xi[1]) * mesh.vertices[cell[0]];
                    p += xi[0] * mesh.vertices[cell[1]];
                    p += xi[1] * mesh.vertices[cell[2]];
                    for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
                      value += fe.shape_value(a, xi) * local[a];
                    square += 2 * D.volume[k] * quadrature.weight(q) *
                              (value - exact(p)).norm_square();
                  }
              }
            errors.push_back(std::sqrt(D.sum(square)));
          }
        for (unsigned int i = 0; i + 1 < errors.size(); ++i)
          {
            const double order = std::log2(errors[i] / errors[i + 1]);
            EXPECT_NEAR(order, degree + 1, 0.15) << "degree " << degree;
          }
      }
  }
} // namespace Palpate
