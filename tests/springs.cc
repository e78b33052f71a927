// Geometry of the intersection-point springs and the material frames
// (doc/theory.md 1).

#include <deal.II/base/symmetric_tensor.h>

#include <palpate/output/operators.h>

#include <gtest/gtest.h>

#include <cmath>

#include "sample.h"

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    template <int dim>
    Tensor<2, dim>
    unit_tensor()
    {
      Tensor<2, dim> I;
      for (unsigned int d = 0; d < dim; ++d)
        I[d][d] = 1;
      return I;
    }

    template <int dim>
    void
    expect_orthonormal(const Tensor<2, dim> &R)
    {
      EXPECT_LT((transpose(R) * R - unit_tensor<dim>()).norm(), 1e-13);
      EXPECT_NEAR(determinant(R), 1, 1e-13);
    }

    template <int dim>
    void
    test_intersections()
    {
      const Sample<dim> x(3);
      for (unsigned int k = 0; k < x.D.n_owned_cells(); ++k)
        {
          const auto                     g = x.D.barycentric_gradients(k);
          const auto                    &R = x.snapshots[0].frames[k];
          const IntersectionSprings<dim> s(g, R);
          expect_orthonormal(R);
          const auto &cell = x.mesh.cells[x.D.cell_id[k]];
          Point<dim>  b;
          for (const unsigned int v : cell)
            b += x.mesh.vertices[v] / (dim + 1.);
          for (unsigned int l = 0; l < dim; ++l)
            {
              Tensor<1, dim> e, ends[2];
              for (unsigned int d = 0; d < dim; ++d)
                e[d] = R[d][l];
              for (unsigned int i = 0; i < 2; ++i)
                {
                  double       sum = 0, least = 1;
                  unsigned int zeros = 0;
                  Point<dim>   p;
                  for (unsigned int a = 0; a < dim + 1; ++a)
                    {
                      const double w = s.C[2 * l + i][a];
                      sum += w;
                      least = std::min(least, w);
                      zeros += (w == 0);
                      p += w * x.mesh.vertices[cell[a]];
                    }
                  EXPECT_NEAR(sum, 1, 1e-13);
                  EXPECT_GE(least, 0);
                  EXPECT_GE(zeros, 1u);
                  ends[i] = p - b;
                }
              // On the axis, on both sides of the barycentre.
              EXPECT_GT(ends[0] * e, 0);
              EXPECT_LT(ends[1] * e, 0);
              for (const auto &end : ends)
                EXPECT_LT((end - (end * e) * e).norm(), 1e-13);
              EXPECT_NEAR((ends[0] - ends[1]).norm(), s.rest_length[l], 1e-13);
              for (unsigned int a = 0; a < dim + 1; ++a)
                EXPECT_NEAR(s.difference[l][a],
                            s.rest_length[l] * (g[a] * e),
                            1e-12);
            }
        }
    }

    template <int dim>
    void
    test_rows()
    {
      const Sample<dim>           x(3);
      std::vector<Tensor<1, dim>> u;
      for (unsigned int k = 0; k < x.D.n_owned_cells(); ++k)
        {
          const auto        &R = x.snapshots[0].frames[k];
          const SmsRows<dim> rows(x.D.barycentric_gradients(k), R);
          x.D.gather(x.state.u, k, u);
          const Tensor<2, dim> H = x.D.displacement_gradient(u, k, 0);
          const Tensor<2, dim> eps =
            transpose(R) * (0.5 * (H + transpose(H))) * R;
          const auto dot = [&](const auto &row) {
            double sum = 0;
            for (unsigned int a = 0; a < dim + 1; ++a)
              for (unsigned int d = 0; d < dim; ++d)
                sum += row[a * dim + d] * u[a][d];
            return sum;
          };
          unsigned int pair = 0;
          for (unsigned int l = 0; l < dim; ++l)
            {
              EXPECT_NEAR(dot(rows.axis[l]), eps[l][l], 1e-13);
              for (unsigned int m = l + 1; m < dim; ++m)
                EXPECT_NEAR(dot(rows.shear[pair++]), eps[l][m], 1e-13);
            }
          EXPECT_NEAR(dot(rows.vol), trace(eps), 1e-13);
        }
    }

    template <int dim>
    void
    test_operators()
    {
      const Sample<dim>     x(2);
      const SpringOperators ops(x.D, x.snapshots[0].frames);
      // Sizes of the whole: 2 dim^2 M x dim N, dim^2 M x 2 dim^2 M.
      const auto M = x.D.n_global_cells(), N = x.mesh.vertices.size();
      EXPECT_EQ(ops.B.m(), 2 * dim * dim * M);
      EXPECT_EQ(ops.B.n(), dim * N);
      EXPECT_EQ(ops.M.m(), dim * dim * M);
      EXPECT_EQ(ops.A0.m(), dim * dim * M);
      EXPECT_EQ(ops.A0.n(), dim * N);
      // B maps an affine motion exactly; A0 = M B equals the cell-by-cell
      // differences.
      Vector positions = x.D.make_vector();
      for (unsigned int n = 0; n < x.D.n_nodes(); ++n)
        for (unsigned int d = 0; d < dim; ++d)
          positions.local_element(n * dim + d) = x.D.node_position(n)[d];
      const auto make = [&](const TrilinosWrappers::SparseMatrix &A) {
        return Vector(A.locally_owned_range_indices(), MPI_COMM_WORLD);
      };
      Vector q = make(ops.B), delta = make(ops.A0), delta2 = make(ops.A0);
      ops.B.vmult(q, positions);
      ops.A0.vmult(delta, positions);
      ops.M.vmult(delta2, q);
      for (unsigned int k = 0; k < x.D.n_owned_cells(); ++k)
        {
          const IntersectionSprings<dim> s(x.D.barycentric_gradients(k),
                                           x.snapshots[0].frames[k]);
          for (unsigned int l = 0; l < dim; ++l)
            for (unsigned int d = 0; d < dim; ++d)
              {
                // Rest positions: the spring vector is L0 e_l.
                const double exact =
                  s.rest_length[l] * x.snapshots[0].frames[k][d][l];
                const unsigned int row = (k * dim + l) * dim + d;
                EXPECT_NEAR(delta.local_element(row), exact, 1e-14);
                EXPECT_NEAR(delta2.local_element(row), exact, 1e-14);
              }
        }
    }

    /// A matrix as it is written, times a vector, or its transpose.
    class Matrix
    {
    public:
      Matrix(const NpzArrays &arrays, const std::string &name)
        : data(arrays.at(name + "_data").values)
        , indices(arrays.at(name + "_indices").values)
        , indptr(arrays.at(name + "_indptr").values)
        , shape(arrays.at(name + "_shape").values)
      {
        EXPECT_EQ(indptr.size(), shape[0] + 1);
        EXPECT_EQ(indptr.back(), data.size());
      }
      std::vector<double>
      times(const std::vector<double> &x, const bool transposed = false) const
      {
        EXPECT_EQ(x.size(), shape[transposed ? 0 : 1]);
        std::vector<double> y(shape[transposed ? 1 : 0], 0.);
        for (std::size_t row = 0; row < shape[0]; ++row)
          for (std::size_t i = indptr[row]; i < indptr[row + 1]; ++i)
            {
              const auto column = static_cast<std::size_t>(indices[i]);
              if (transposed)
                y.at(column) += data[i] * x[row];
              else
                y[row] += data[i] * x.at(column);
            }
        return y;
      }
      const std::vector<double> data, indices, indptr, shape;
    };

    void
    expect_near(const std::vector<double> &a,
                const std::vector<double> &b,
                const double               tolerance)
    {
      ASSERT_EQ(a.size(), b.size());
      double error = 0;
      for (std::size_t i = 0; i < a.size(); ++i)
        error = std::max(error, std::abs(a[i] - b[i]));
      EXPECT_LT(error, tolerance);
    }

    // What is written: C, L0, B, M and A0 = M B, which together make the force
    // that is assembled cell by cell.
    template <int dim>
    void
    test_written_operators()
    {
      const Sample<dim> x(2);
      const auto       &D = x.D;
      const auto ops = spring_operators<dim>(D, x.snapshots[0].frames, nullptr);
      Vector     positions = D.make_vector(), force = D.make_vector();
      for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
        for (unsigned int d = 0; d < dim; ++d)
          positions.local_element(n * dim + d) =
            D.node_position(n)[d] + x.state.u.local_element(n * dim + d);
      make_term<Force<dim>>("intersection springs")
        ->residual(x.context(), force);
      const auto now      = D.gather_vertices(positions),
                 expected = D.gather_vertices(force),
                 k        = D.gather_cells(spring_stiffness(D,
                                                     x.snapshots[0].frames,
                                                     x.fields["stiffness"]));
      if (Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) > 0)
        {
          EXPECT_TRUE(ops.empty());
          return;
        }
      const std::size_t M = D.n_global_cells(), N = x.mesh.vertices.size();
      const Matrix      C(ops, "C"), B(ops, "B"), of_springs(ops, "M"),
        A0(ops, "A0");
      EXPECT_EQ(C.shape, (std::vector<double>{2. * dim * M, 1. * N}));
      EXPECT_EQ(B.shape,
                (std::vector<double>{2. * dim * dim * M, 1. * dim * N}));
      EXPECT_EQ(of_springs.shape,
                (std::vector<double>{1. * dim * dim * M, 2. * dim * dim * M}));
      EXPECT_EQ(A0.shape,
                (std::vector<double>{1. * dim * dim * M, 1. * dim * N}));
      expect_near(C.times(std::vector<double>(N, 1.)),
                  std::vector<double>(2 * dim * M, 1.),
                  1e-14);
      const auto spring = A0.times(now);
      expect_near(of_springs.times(B.times(now)), spring, 1e-14);
      // A component of B is C.
      std::vector<double> first(N);
      for (std::size_t v = 0; v < N; ++v)
        first[v] = now[v * dim];
      const auto points = B.times(now), of_first = C.times(first);
      for (std::size_t p = 0; p < of_first.size(); ++p)
        EXPECT_NEAR(points[p * dim], of_first[p], 1e-14);
      // f = A0^T (k ext n); forces are internal ones here.
      const auto         &L0 = ops.at("L0").values;
      std::vector<double> pull(spring.size());
      for (std::size_t j = 0; j < dim * M; ++j)
        {
          double length = 0;
          for (unsigned int d = 0; d < dim; ++d)
            length += spring[j * dim + d] * spring[j * dim + d];
          length = std::sqrt(length);
          for (unsigned int d = 0; d < dim; ++d)
            pull[j * dim + d] =
              k[j] * (length - L0[j]) / length * spring[j * dim + d];
        }
      double size = 0;
      for (const double f : expected)
        size = std::max(size, std::abs(f));
      EXPECT_GT(size, 0);
      expect_near(A0.times(pull, true), expected, 1e-11 * size);
    }
  } // namespace

  TEST(Springs, WrittenOperators)
  {
    test_written_operators<2>();
    test_written_operators<3>();
  }

  TEST(Springs, IntersectionPointsLieOnFacesAndAxes)
  {
    test_intersections<2>();
    test_intersections<3>();
  }
  TEST(Springs, RowsAreStrains)
  {
    test_rows<2>();
    test_rows<3>();
  }
  TEST(Springs, GlobalOperators)
  {
    test_operators<2>();
    test_operators<3>();
  }

  // A tetrahedron one can do by hand: unit corner, coordinate axes. From the
  // barycentre (1/4,1/4,1/4) the axis x leaves through x = 0 and through
  // x + y + z = 1 at x = 1/2.
  TEST(Springs, UnitTetrahedron)
  {
    std::array<Tensor<1, 3>, 4> g;
    for (unsigned int d = 0; d < 3; ++d)
      {
        g[d + 1][d] = 1;
        g[0][d]     = -1;
      }
    const IntersectionSprings<3> s(g, unit_tensor<3>());
    EXPECT_NEAR(s.rest_length[0], 0.5, 1e-15);
    EXPECT_NEAR(s.C[0][1], 0.5, 1e-15); // (1/2, 1/4, 1/4)
    EXPECT_NEAR(s.C[0][0], 0.0, 1e-15);
    EXPECT_NEAR(s.C[1][1], 0.0, 1e-15); // (0, 1/4, 1/4)
    EXPECT_NEAR(s.C[1][0], 0.5, 1e-15);
  }

  TEST(Frames, PrincipalStretchesAndEveryFallBack)
  {
    Tensor<2, 3> I                        = unit_tensor<3>(), previous;
    previous[0][1]                        = 1; // a frame that is not the axes
    previous[1][2]                        = 1;
    previous[2][0]                        = 1;
    const std::vector<Tensor<1, 3>> edges = {Tensor<1, 3>({1, 0, 0}),
                                             Tensor<1, 3>({0, 1, 0}),
                                             Tensor<1, 3>({0, 0, 1})};
    const Tensor<1, 3>              mean({0, 0, 2});
    FrameCounts                     n;

    // Stretches 1.1 < 1.2 < 1.5 along rotated axes: descending order.
    Tensor<2, 3> Q;
    const double c = std::cos(0.3), s = std::sin(0.3);
    Q[0][0] = c, Q[0][1] = -s, Q[1][0] = s, Q[1][1] = c, Q[2][2] = 1;
    Tensor<2, 3> S;
    S[0][0] = 1.1, S[1][1] = 1.5, S[2][2] = 1.2;
    auto R = registered_frame(
      Q * S * transpose(Q) - I, mean, edges, previous, 1e-6, n);
    expect_orthonormal(R);
    EXPECT_EQ(n.registered, 1u);
    EXPECT_NEAR(std::abs(-s * R[0][0] + c * R[1][0]), 1, 1e-12); // 1.5 first
    EXPECT_NEAR(std::abs(R[2][1]), 1, 1e-12);                    // then 1.2

    // Near-rigid (a rotation is rigid too): the previous frame.
    R = registered_frame(Q - I, mean, edges, previous, 1e-6, n);
    EXPECT_EQ(n.near_rigid, 1u);
    EXPECT_EQ(R, previous);

    // Inverted: along the mean displacement, second axis from an edge.
    S[0][0] = -1;
    R       = registered_frame(S - I, mean, edges, previous, 1e-6, n);
    expect_orthonormal(R);
    EXPECT_EQ(n.inverted, 1u);
    EXPECT_NEAR(R[2][0], 1, 1e-15);

    // Collapsed: sigma_2 < 1e-3 sigma_1.
    S[0][0] = 2, S[1][1] = 1e-4, S[2][2] = 1e-4;
    R = registered_frame(S - I, mean, edges, previous, 1e-6, n);
    EXPECT_EQ(n.collapsed, 1u);
    EXPECT_NEAR(R[2][0], 1, 1e-15);

    // Neither: the previous frame.
    R = registered_frame(S - I, Tensor<1, 3>(), edges, previous, 1e-6, n);
    EXPECT_EQ(n.motionless, 1u);
    EXPECT_EQ(R, previous);
  }
} // namespace Palpate
