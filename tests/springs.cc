// Geometry of the intersection-point springs and the material frames
// (doc/theory.md 1).

#include <deal.II/base/symmetric_tensor.h>

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
  } // namespace

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
