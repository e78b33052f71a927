// Continuum materials against what is known without them: other forces here,
// analytic solutions, rotations.

#include <deal.II/base/quadrature_lib.h>
#include <deal.II/dofs/dof_handler.h>
#include <deal.II/dofs/dof_tools.h>
#include <deal.II/fe/fe_simplex_p.h>
#include <deal.II/fe/fe_system.h>
#include <deal.II/fe/fe_values.h>
#include <deal.II/fe/mapping_fe.h>
#include <deal.II/grid/tria.h>
#include <deal.II/lac/affine_constraints.h>
#include <deal.II/lac/dynamic_sparsity_pattern.h>
#include <deal.II/lac/full_matrix.h>
#include <deal.II/lac/sparse_direct.h>
#include <deal.II/lac/sparse_matrix.h>

#include <palpate/forces/continuum/continuum_force.h>
#include <palpate/forces/continuum/materials.h>
#include <palpate/forces/external/loads.h>
#include <palpate/forces/springs/sms.h>

#include <gtest/gtest.h>

#include <cmath>

#include "sample.h"

using namespace Palpate;
using dealii::Tensor;

namespace
{
  const std::vector<std::string> materials = {"linear elastic",
                                              "neo-hookean",
                                              "stable neo-hookean"};

  /// Difference of two nodal vectors, relative to the second.
  double
  difference(Vector a, const Vector &b)
  {
    a.zero_out_ghost_values();
    a -= b;
    return a.l2_norm() / b.l2_norm();
  }

  template <int dim>
  Vector
  force_at(const Force<dim> &force, const Context<dim> &c)
  {
    Vector h = c.discretization.make_vector();
    force.residual(c, h);
    return h;
  }

  /// E = 4 alpha (1 + nu) makes isotropic SMS and linear elasticity the same.
  template <int dim>
  void
  equals_sms(const unsigned int degree)
  {
    Sample<dim>                     x(3, degree);
    SmsForce<dim, SmsMaterial<dim>> sms;
    sms.material.ratios.volume = 4 * 0.3 / (1 - 0.6);
    const Vector expected      = force_at<dim>(sms, x.context());
    const double energy        = x.D.sum(sms.energy(x.context()));
    x.fields["poisson_ratio"]  = Field(x.D.n_cells(), 0.3);
    for (double &E : x.fields["stiffness"].values)
      E *= 4 * 1.3;
    const auto linear = make_term<Force<dim>>("linear elastic");
    EXPECT_LT(difference(force_at<dim>(*linear, x.context()), expected), 1e-13);
    EXPECT_NEAR(x.D.sum(linear->energy(x.context())) / energy, 1, 1e-13);
    // All materials have the same tangent at rest, each its own elsewhere.
    State rest;
    rest.u = ghosted_copy(x.D.make_vector());
    const Context<dim> at_rest{
      x.D, rest, x.fields, x.snapshots[0], x.constrained};
    for (const auto &name : materials)
      {
        const auto force = make_term<Force<dim>>(name);
        Vector     h     = x.D.make_vector();
        force->apply_tangent(at_rest, x.state.u, h);
        EXPECT_LT(difference(h, expected), 1e-13) << name;
        EXPECT_EQ(force_at<dim>(*force, at_rest).l2_norm(), 0) << name;
        if (name == "linear elastic")
          continue;
        EXPECT_GT(difference(force_at<dim>(*force, x.context()), expected),
                  1e-2)
          << name;
      }
  }

  /// A rotated body has no stress; the energy does not see a rotation.
  template <int dim>
  void
  turns(const std::string &name)
  {
    Sample<dim> x(2);
    x.fields["poisson_ratio"] = Field(x.D.n_cells(), 0.3);
    const auto   force        = make_term<Force<dim>>(name);
    const Vector h            = force_at<dim>(*force, x.context());
    const double energy       = x.D.sum(force->energy(x.context()));
    const double c = std::cos(2.), s = std::sin(2.);
    const auto   rotate = [&](Vector &u, const bool body) {
      for (unsigned int n = 0; n < x.D.n_nodes(); ++n)
        {
          Tensor<1, dim> p;
          for (unsigned int d = 0; d < dim; ++d)
            p[d] = u.local_element(n * dim + d) +
                   (body ? x.D.node_position(n)[d] : 0.);
          const Tensor<1, dim> before = p;
          p[0]                        = c * before[0] - s * before[1];
          p[1]                        = s * before[0] + c * before[1];
          for (unsigned int d = 0; d < dim; ++d)
            u.local_element(n * dim + d) =
              p[d] - (body ? x.D.node_position(n)[d] : 0.);
        }
    };
    State still;
    still.u = ghosted_copy(x.D.make_vector());
    rotate(still.u, true);
    EXPECT_LT(force_at<dim>(
                *force, {x.D, still, x.fields, x.snapshots[0], x.constrained})
                .l2_norm(),
              1e-12 * h.l2_norm())
      << name;
    rotate(x.state.u, true);
    EXPECT_NEAR(x.D.sum(force->energy(x.context())) / energy, 1, 1e-12) << name;
    Vector turned = ghosted_copy(h);
    turned.update_ghost_values();
    rotate(turned, false);
    EXPECT_LT(difference(force_at<dim>(*force, x.context()), turned), 1e-12)
      << name;
  }

  /**
   * A bar drawn to 1 + stretch of its length, its sides free: F =
   * diag(1 + stretch, b, b) with b from P_22 = 0, by bisection.
   */
  template <int dim>
  void
  uniaxial(const std::string &name, const unsigned int degree)
  {
    Sample<dim>  x(2, degree, 1, 0, 0);
    const double E = 1000, nu = 0.3, stretch = 3;
    x.fields["stiffness"]     = Field(x.D.n_cells(), E);
    x.fields["poisson_ratio"] = Field(x.D.n_cells(), nu);
    x.fields["density"]       = Field(x.D.n_cells(), 1.);
    // Every component is held on the side where its coordinate is 0.
    const std::array<double, 3> size = {{1., 0.8, 0.6}};
    std::fill(x.constrained.begin(), x.constrained.end(), 0);
    auto &prescribed = x.snapshots[0].prescribed;
    prescribed       = ghosted_copy(x.D.make_vector());
    dealii::LinearAlgebra::distributed::Vector<double> flags(
      x.D.dof_partitioner()),
      values(x.D.dof_partitioner());
    for (const auto &face : x.D.boundary_faces)
      for (unsigned int d = 0; d < dim; ++d)
        if (face.id == 2 * d || face.id == 1)
          for (const unsigned int a : face.nodes)
            {
              const unsigned int n =
                x.D.cell_nodes[face.cell * x.D.nodes_per_cell + a];
              if (n < x.D.n_owned_nodes() && (face.id != 1 || d == 0))
                {
                  flags.local_element(n * dim + d) = 1;
                  if (face.id == 1)
                    values.local_element(n * dim + d) = stretch * size[0];
                }
            }
    flags.update_ghost_values();
    values.update_ghost_values();
    for (unsigned int i = 0; i < x.constrained.size(); ++i)
      {
        x.constrained[i]            = flags.local_element(i) > 0.5;
        prescribed.local_element(i) = values.local_element(i);
      }
    SolverParameters solver;
    NewtonParameters newton;
    solver.direct             = true;
    newton.relative_tolerance = 1e-12;
    newton.load_steps         = 4;
    std::vector<std::unique_ptr<Force<dim>>> forces;
    forces.push_back(make_term<Force<dim>>(name));
    StaticEquilibrium<dim> equilibrium(x.D,
                                       x.constrained,
                                       x.snapshots,
                                       std::move(forces),
                                       solver,
                                       newton,
                                       x.log);
    equilibrium.solve(x.fields);

    const double mu     = E / (2 * (1 + nu)),
                 lambda = E * nu / ((1 + nu) * (1 - 2 * nu)), a = 1 + stretch;
    const auto lateral_stress = [&](const double b) {
      const double J = a * std::pow(b, dim - 1);
      if (name == "linear elastic")
        return lambda * (a - 1 + (dim - 1) * (b - 1)) + 2 * mu * (b - 1);
      return mu * (b - 1 / b) +
             lambda * (name == "neo-hookean" ? std::log(J) : (J - 1) * J) / b;
    };
    double low = name == "linear elastic" ? -5 : 1e-3, high = 1;
    for (unsigned int i = 0; i < 100; ++i)
      {
        const double middle                       = 0.5 * (low + high);
        (lateral_stress(middle) > 0 ? high : low) = middle;
      }
    const auto &u     = equilibrium.context(0).state.u;
    double      worst = 0;
    for (unsigned int n = 0; n < x.D.n_owned_nodes(); ++n)
      for (unsigned int d = 0; d < dim; ++d)
        worst = std::max(worst,
                         std::abs(u.local_element(n * dim + d) -
                                  (d == 0 ? stretch : low - 1) *
                                    x.D.node_position(n)[d]));
    EXPECT_LT(dealii::Utilities::MPI::max(worst, MPI_COMM_WORLD), 1e-9)
      << name << ", lateral stretch " << low;
  }

  /**
   * A clamped body under its weight, linear, against a program written the way
   * deal.II's tutorials do it (step-8): FEValues, constraints, UMFPACK.
   */
  template <int dim>
  void
  equals_dealii(const unsigned int degree)
  {
    Sample<dim>  x(3, degree);
    const auto  &D            = x.D;
    const double nu           = 0.3;
    x.fields["poisson_ratio"] = Field(D.n_cells(), nu);
    x.snapshots[0].prescribed = ghosted_copy(D.make_vector());
    Tensor<1, dim> weight;
    for (unsigned int d = 0; d < dim; ++d)
      weight[d] = std::array<double, 3>{{1, -2, -9.81}}[d];
    SolverParameters solver;
    NewtonParameters newton;
    solver.relative_tolerance = 1e-12;
    std::vector<std::unique_ptr<Force<dim>>> forces;
    forces.push_back(make_term<Force<dim>>("linear elastic"));
    forces.push_back(make_term<Force<dim>>(
      "gravity", {{"Gravity", dim == 3 ? "1, -2, -9.81" : "1, -2"}}));
    StaticEquilibrium<dim> equilibrium(
      D, x.constrained, x.snapshots, std::move(forces), solver, newton, x.log);
    equilibrium.solve(x.fields);
    const Vector &u = equilibrium.context(0).state.u;

    dealii::Triangulation<dim>         mesh;
    std::vector<dealii::CellData<dim>> cells;
    for (const auto &cell : x.mesh.cells)
      {
        dealii::CellData<dim> data(dim + 1);
        data.vertices.assign(cell.begin(), cell.end());
        cells.push_back(data);
      }
    mesh.create_triangulation(x.mesh.vertices, cells, dealii::SubCellData());
    const dealii::FESystem<dim>  fe(dealii::FE_SimplexP<dim>(degree), dim);
    const dealii::MappingFE<dim> mapping(dealii::FE_SimplexP<dim>(1));
    dealii::DoFHandler<dim>      dofs(mesh);
    dofs.distribute_dofs(fe);
    std::vector<dealii::Point<dim>> places(dofs.n_dofs());
    dealii::DoFTools::map_dofs_to_support_points(mapping, dofs, places);
    // The node of every degree of freedom, by where it is.
    const auto node_at = [&](const dealii::Point<dim> &p) {
      unsigned int n = 0;
      while (n < D.n_nodes() && D.node_position(n).distance(p) > 1e-10)
        ++n;
      return n;
    };
    std::vector<unsigned int> entry(dofs.n_dofs());
    for (unsigned int d = 0; d < dim; ++d)
      {
        std::vector<bool> mask(dim);
        mask[d] = true;
        for (const auto i :
             dealii::DoFTools::extract_dofs(dofs, dealii::ComponentMask(mask)))
          entry[i] = node_at(places[i]) * dim + d;
      }
    dealii::AffineConstraints<double> constraints;
    for (unsigned int i = 0; i < dofs.n_dofs(); ++i)
      {
        ASSERT_LT(entry[i], x.constrained.size());
        if (x.constrained[entry[i]])
          constraints.add_line(i);
      }
    constraints.close();
    dealii::DynamicSparsityPattern pattern(dofs.n_dofs());
    dealii::DoFTools::make_sparsity_pattern(dofs, pattern, constraints);
    dealii::SparsityPattern sparsity;
    sparsity.copy_from(pattern);
    dealii::SparseMatrix<double>     K(sparsity);
    dealii::Vector<double>           f(dofs.n_dofs()), solution(dofs.n_dofs());
    const dealii::QGaussSimplex<dim> rule(degree + 1);
    dealii::FEValues<dim>            values(mapping,
                                 fe,
                                 rule,
                                 dealii::update_values |
                                   dealii::update_gradients |
                                   dealii::update_JxW_values);
    const dealii::FEValuesExtractors::Vector     displacement(0);
    const unsigned int                           n = fe.n_dofs_per_cell();
    dealii::FullMatrix<double>                   Ke(n, n);
    dealii::Vector<double>                       fe_load(n);
    std::vector<dealii::types::global_dof_index> indices(n);
    std::vector<unsigned int>                    local(D.n_cells());
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      local[D.cell_id[k]] = k;
    for (const auto &cell : dofs.active_cell_iterators())
      {
        const unsigned int k = local[cell->active_cell_index()];
        const double E = x.fields["stiffness"][k], mu = E / (2 * (1 + nu)),
                     lambda = E * nu / ((1 + nu) * (1 - 2 * nu));
        values.reinit(cell);
        Ke      = 0;
        fe_load = 0;
        for (const unsigned int q : values.quadrature_point_indices())
          for (const unsigned int i : values.dof_indices())
            {
              const auto eps_i = values[displacement].symmetric_gradient(i, q);
              for (const unsigned int j : values.dof_indices())
                Ke(i, j) +=
                  (lambda * values[displacement].divergence(i, q) *
                     values[displacement].divergence(j, q) +
                   2 * mu *
                     (eps_i * values[displacement].symmetric_gradient(j, q))) *
                  values.JxW(q);
              fe_load(i) += x.fields["density"][k] *
                            (values[displacement].value(i, q) * weight) *
                            values.JxW(q);
            }
        cell->get_dof_indices(indices);
        constraints.distribute_local_to_global(Ke, fe_load, indices, K, f);
      }
    dealii::SparseDirectUMFPACK direct;
    direct.initialize(K);
    direct.vmult(solution, f);
    constraints.distribute(solution);
    double worst = 0;
    for (unsigned int i = 0; i < dofs.n_dofs(); ++i)
      worst =
        std::max(worst, std::abs(solution(i) - u.local_element(entry[i])));
    EXPECT_LT(worst, 1e-10 * solution.linfty_norm());
    EXPECT_GT(solution.linfty_norm(), 1e-3);
  }

  /// A load given at the nodes [N].
  template <int dim>
  struct NodalLoad : DeadLoad<dim>
  {
    explicit NodalLoad(const Vector &load)
      : load(load)
    {}
    void
    parse_parameters(Parameters &) override
    {}
    void
    residual(const Context<dim> &, Vector &h) const override
    {
      h -= load;
    }
    const Vector load;
  };

  /// A smooth displacement and its gradient.
  template <int dim>
  struct Smooth
  {
    static Tensor<1, dim>
    value(const dealii::Point<dim> &x)
    {
      Tensor<1, dim> u;
      for (unsigned int i = 0; i < dim; ++i)
        u[i] = 0.1 * std::sin(2 * x[(i + 1) % dim] + i) * std::cos(1.5 * x[i]);
      return u;
    }
    static Tensor<2, dim>
    gradient(const dealii::Point<dim> &x)
    {
      Tensor<2, dim> H;
      for (unsigned int i = 0; i < dim; ++i)
        {
          const unsigned int j = (i + 1) % dim;
          H[i][j] = 0.2 * std::cos(2 * x[j] + i) * std::cos(1.5 * x[i]);
          H[i][i] = -0.15 * std::sin(2 * x[j] + i) * std::sin(1.5 * x[i]);
        }
      return H;
    }
  };

  /// f(cell, place, weight, values and gradients of the shape functions) at
  /// quadrature points that are better than the program's.
  template <int dim, typename Function>
  void
  integrate(const Discretization<dim> &D, const Function &f)
  {
    const dealii::QGaussSimplex<dim> rule(4);
    double                           weights = 0;
    for (unsigned int q = 0; q < rule.size(); ++q)
      weights += rule.weight(q);
    const unsigned int          nn = D.nodes_per_cell;
    std::vector<double>         N(nn);
    std::vector<Tensor<1, dim>> dN(nn);
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      {
        const auto &vertices = D.mesh.cells[D.cell_id[k]];
        const auto  dl       = D.barycentric_gradients(k);
        for (unsigned int q = 0; q < rule.size(); ++q)
          {
            std::array<double, dim + 1> l;
            l[0] = 1;
            for (unsigned int d = 0; d < dim; ++d)
              {
                l[d + 1] = rule.point(q)[d];
                l[0] -= l[d + 1];
              }
            dealii::Point<dim> x;
            for (unsigned int a = 0; a < dim + 1; ++a)
              x += l[a] * D.mesh.vertices[vertices[a]];
            for (unsigned int a = 0; a < nn; ++a)
              {
                const auto  &ends = D.node_vertices[D.cell_nodes[k * nn + a]];
                unsigned int i = 0, j = 0;
                while (vertices[i] != ends[0])
                  ++i;
                while (vertices[j] != ends[1])
                  ++j;
                if (D.degree == 1)
                  {
                    N[a]  = l[i];
                    dN[a] = dl[i];
                  }
                else if (i == j)
                  {
                    N[a]  = l[i] * (2 * l[i] - 1);
                    dN[a] = (4 * l[i] - 1) * dl[i];
                  }
                else
                  {
                    N[a]  = 4 * l[i] * l[j];
                    dN[a] = 4 * (l[i] * dl[j] + l[j] * dl[i]);
                  }
              }
            f(k, x, rule.weight(q) / weights * D.volume[k], N, dN);
          }
      }
  }

  /// Errors in L2 and of the gradient, where the load is the one that makes
  /// Smooth the solution.
  template <int dim, typename Material>
  std::array<double, 2>
  errors(const std::string &name,
         const unsigned int n,
         const unsigned int degree)
  {
    Sample<dim>  x(n, degree, 1, 0, 0);
    const auto  &D = x.D;
    const double E = 1000, nu = 0.3;
    x.fields["stiffness"]     = Field(D.n_cells(), E);
    x.fields["poisson_ratio"] = Field(D.n_cells(), nu);
    const auto moduli = ElasticModuli::values(ElasticModuli::InCell<>{{E, nu}});
    Vector     load   = D.make_vector();
    std::vector<Tensor<1, dim>> out(D.nodes_per_cell), u;
    Tensor<2, dim>              no_frame;
    integrate(
      D,
      [&](
        const unsigned int k, const auto &x, const double w, auto &, auto &dN) {
        const Tensor<2, dim> P =
          Material::point(Smooth<dim>::gradient(x), no_frame).stress(moduli);
        for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
          out[a] = w * P * dN[a];
        D.scatter(out, k, load);
      });
    auto &prescribed = x.snapshots[0].prescribed;
    for (unsigned int i = 0; i < x.constrained.size(); ++i)
      {
        x.constrained[i] = D.surface_node[i / dim];
        prescribed.local_element(i) =
          Smooth<dim>::value(D.node_position(i / dim))[i % dim];
      }
    SolverParameters solver;
    NewtonParameters newton;
    solver.direct             = true;
    newton.relative_tolerance = 1e-10;
    std::vector<std::unique_ptr<Force<dim>>> forces;
    forces.push_back(make_term<Force<dim>>(name));
    forces.push_back(std::make_unique<NodalLoad<dim>>(load));
    StaticEquilibrium<dim> equilibrium(
      D, x.constrained, x.snapshots, std::move(forces), solver, newton, x.log);
    equilibrium.solve(x.fields);
    std::array<double, 2> sums = {{0., 0.}};
    integrate(D,
              [&](const unsigned int k,
                  const auto        &x,
                  const double       w,
                  auto              &N,
                  auto              &dN) {
                if (k >= D.n_owned_cells())
                  return;
                D.gather(equilibrium.context(0).state.u, k, u);
                Tensor<1, dim> e  = -1. * Smooth<dim>::value(x);
                Tensor<2, dim> dE = -1. * Smooth<dim>::gradient(x);
                for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
                  {
                    e += N[a] * u[a];
                    dE += outer_product(u[a], dN[a]);
                  }
                sums[0] += w * e.norm_square();
                sums[1] += w * dE.norm_square();
              });
    return {{std::sqrt(D.sum(sums[0])), std::sqrt(D.sum(sums[1]))}};
  }

  template <int dim, typename Material>
  void
  converges(const std::string &name)
  {
    for (const unsigned int degree : {1, 2})
      {
        const unsigned int n      = dim == 2 ? 8 : degree == 1 ? 6 : 3;
        const auto         coarse = errors<dim, Material>(name, n, degree),
                   fine           = errors<dim, Material>(name, 2 * n, degree);
        for (const unsigned int i : {0, 1})
          EXPECT_NEAR(std::log2(coarse[i] / fine[i]), degree + 1 - i, 0.25)
            << name << ", dim " << dim << ", degree " << degree
            << (i ? ", gradient" : ", L2");
      }
  }
} // namespace

TEST(Continuum, EqualsSms)
{
  for (const unsigned int degree : {1, 2})
    {
      equals_sms<2>(degree);
      equals_sms<3>(degree);
    }
}

TEST(Continuum, EqualsDealiiTutorial)
{
  if (dealii::Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD) > 1)
    GTEST_SKIP() << "a serial program is what it is compared with";
  for (const unsigned int degree : {1, 2})
    {
      equals_dealii<2>(degree);
      equals_dealii<3>(degree);
    }
}

TEST(Continuum, DoesNotSeeRotations)
{
  for (const auto &name : materials)
    if (name != "linear elastic")
      {
        turns<2>(name);
        turns<3>(name);
      }
}

TEST(Continuum, UniaxialTension)
{
  for (const auto &name : materials)
    {
      uniaxial<2>(name, 1);
      uniaxial<3>(name, 1);
      uniaxial<2>(name, 2);
    }
}

// The substitute is the tangent where that is positive, and positive elsewhere.
TEST(Continuum, PositiveSubstitute)
{
  using T2 = Tensor<2, 3>;
  const Lame<> p{4000, 1000};
  unsigned int indefinite = 0;
  for (unsigned int seed = 0; seed < 200; ++seed)
    {
      const double size   = seed < 100 ? 0.05 : 0.6;
      const auto   random = [&](const unsigned int which) {
        T2 H;
        for (unsigned int i = 0; i < 9; ++i)
          H[i / 3][i % 3] = size * random_number(1000 + 3 * seed + which, i);
        return H;
      };
      const NeoHookean<3, LogarithmicVolume>::Point point(random(0));
      if (!point.is_valid())
        continue;
      const T2 a = random(1), b = random(2);
      const T2 Pa        = point.positive_derivative(a, p),
               Pb        = point.positive_derivative(b, p),
               Ka        = point.derivative(a, p);
      const double scale = p.lambda * a.norm() * b.norm();
      EXPECT_NEAR(scalar_product(Pa, b) / scale,
                  scalar_product(Pb, a) / scale,
                  1e-11);
      EXPECT_GE(scalar_product(Pa, a), -1e-9 * scale);
      EXPECT_GE(scalar_product(Pa, a), scalar_product(Ka, a) - 1e-9 * scale);
      if ((Pa - Ka).norm() > 1e-9 * Ka.norm())
        ++indefinite;
    }
  EXPECT_GT(indefinite, 10u);
  EXPECT_LT(indefinite, 190u);
}

// Of the order that linear and quadratic displacements promise.
TEST(Continuum, ManufacturedSolution)
{
  converges<2, LinearElastic<2>>("linear elastic");
  converges<2, NeoHookean<2, LogarithmicVolume>>("neo-hookean");
  converges<2, NeoHookean<2, QuadraticVolume>>("stable neo-hookean");
  converges<3, LinearElastic<3>>("linear elastic");
}
TEST(Continuum, ManufacturedSolutionOfLargeStrainIn3D)
{
  converges<3, NeoHookean<3, LogarithmicVolume>>("neo-hookean");
  converges<3, NeoHookean<3, QuadraticVolume>>("stable neo-hookean");
}
