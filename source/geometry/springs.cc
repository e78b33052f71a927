#include <deal.II/base/symmetric_tensor.h>
#include <deal.II/lac/dynamic_sparsity_pattern.h>

#include <palpate/geometry/springs.h>

#include <limits>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// The direction of largest component made positive, so that the frame
    /// does not depend on the library's choice of sign.
    template <int dim>
    Tensor<1, dim>
    with_sign(Tensor<1, dim> v)
    {
      unsigned int largest = 0;
      for (unsigned int d = 1; d < dim; ++d)
        if (std::abs(v[d]) > std::abs(v[largest]) * (1 + 1e-12))
          largest = d;
      return v[largest] < 0 ? -1. * v : v;
    }

    template <int dim>
    Tensor<2, dim>
    right_handed(const Tensor<1, dim> &e1, const Tensor<1, dim> &e2)
    {
      Tensor<2, dim> R;
      for (unsigned int d = 0; d < dim; ++d)
        R[d][0] = e1[d];
      if constexpr (dim == 2)
        {
          R[0][1] = -e1[1];
          R[1][1] = e1[0];
        }
      else
        {
          const Tensor<1, dim> e3 = cross_product_3d(e1, e2);
          for (unsigned int d = 0; d < dim; ++d)
            {
              R[d][1] = e2[d];
              R[d][2] = e3[d];
            }
        }
      return R;
    }

    template <int dim>
    Tensor<1, dim>
    axis(const Tensor<2, dim> &frame, const unsigned int l)
    {
      Tensor<1, dim> e;
      for (unsigned int d = 0; d < dim; ++d)
        e[d] = frame[d][l];
      return e;
    }
  } // namespace

  template <int dim>
  Tensor<2, dim>
  registered_frame(const Tensor<2, dim>              &H,
                   const Tensor<1, dim>              &mean_displacement,
                   const std::vector<Tensor<1, dim>> &edges,
                   const Tensor<2, dim>              &previous,
                   const double                       rigid_tolerance,
                   FrameCounts                       &counts)
  {
    const Tensor<2, dim> F = Tensor<2, dim>(unit_symmetric_tensor<dim>()) + H;
    // Right singular vectors of F are eigenvectors of F^T F.
    const auto              eigen = eigenvectors(symmetrize(transpose(F) * F));
    std::array<double, dim> sigma;
    bool                    rigid = true;
    for (unsigned int d = 0; d < dim; ++d)
      {
        sigma[d] = std::sqrt(std::max(0., eigen[d].first));
        rigid    = rigid && std::abs(sigma[d] - 1) < rigid_tolerance;
      }
    const bool inverted = determinant(F) <= 0;
    if (rigid && !inverted)
      {
        ++counts.near_rigid;
        return previous;
      }
    const bool collapsed = sigma[1] < 1e-3 * sigma[0];
    if (!inverted && !collapsed)
      {
        ++counts.registered;
        return right_handed(with_sign(eigen[0].second),
                            with_sign(eigen[1].second));
      }
    ++(inverted ? counts.inverted : counts.collapsed);

    double size = 0;
    for (const auto &e : edges)
      size = std::max(size, e.norm());
    if (mean_displacement.norm() <= rigid_tolerance * size)
      {
        ++counts.motionless;
        return previous;
      }
    const Tensor<1, dim> e1 = mean_displacement / mean_displacement.norm();
    Tensor<1, dim>       e2;
    double               least = std::numeric_limits<double>::max();
    for (const auto &e : edges)
      if (std::abs(e * e1) / e.norm() < least)
        {
          least = std::abs(e * e1) / e.norm();
          e2    = e;
        }
    e2 -= (e2 * e1) * e1;
    e2 /= e2.norm();
    return right_handed(e1, e2);
  }

  template <int dim>
  std::vector<Tensor<2, dim>>
  registered_frames(const Discretization<dim>         &discretization,
                    const Vector                      &displacement,
                    const std::vector<Tensor<2, dim>> &previous,
                    const double                       rigid_tolerance,
                    FrameCounts                       &counts)
  {
    std::vector<Tensor<2, dim>> frames(discretization.n_cells());
    std::vector<Tensor<1, dim>> u, edges;
    FrameCounts                 ghosts;
    for (unsigned int k = 0; k < discretization.n_cells(); ++k)
      {
        discretization.gather(displacement, k, u);
        const auto     g = discretization.barycentric_gradients(k);
        Tensor<2, dim> H;
        Tensor<1, dim> mean;
        for (unsigned int a = 0; a < dim + 1; ++a)
          {
            H += outer_product(u[a], g[a]);
            mean += u[a] / (dim + 1.);
          }
        edges.clear();
        const auto &mesh = discretization.mesh;
        const auto &cell = mesh.cells[discretization.cell_place[k]];
        for (unsigned int a = 0; a < dim + 1; ++a)
          for (unsigned int b = a + 1; b < dim + 1; ++b)
            edges.push_back(mesh.vertices[cell[b]] - mesh.vertices[cell[a]]);
        frames[k] =
          registered_frame(H,
                           mean,
                           edges,
                           previous[k],
                           rigid_tolerance,
                           k < discretization.n_owned_cells() ? counts
                                                              : ghosts);
      }
    return frames;
  }

  template <int dim>
  IntersectionSprings<dim>::IntersectionSprings(
    const std::array<Tensor<1, dim>, dim + 1> &g,
    const Tensor<2, dim>                      &frame)
  {
    constexpr double at_barycentre = 1. / (dim + 1);
    for (unsigned int l = 0; l < dim; ++l)
      {
        const Tensor<1, dim> e      = axis(frame, l);
        double               t[2]   = {0, 0}; // exits in direction +e, -e
        unsigned int         out[2] = {0, 0};
        for (unsigned int s = 0; s < 2; ++s)
          {
            t[s] = std::numeric_limits<double>::max();
            for (unsigned int a = 0; a < dim + 1; ++a)
              {
                const double r = (s == 0 ? 1 : -1) * (g[a] * e);
                if (r < 0 && at_barycentre / -r < t[s])
                  {
                    t[s]   = at_barycentre / -r;
                    out[s] = a;
                  }
              }
            for (unsigned int a = 0; a < dim + 1; ++a)
              C[2 * l + s][a] =
                (a == out[s] ? 0.
                             : std::max(0.,
                                        at_barycentre + (s == 0 ? 1 : -1) *
                                                          t[s] * (g[a] * e)));
          }
        distance[l]    = {{t[0], t[1]}};
        rest_length[l] = t[0] + t[1];
        for (unsigned int a = 0; a < dim + 1; ++a)
          difference[l][a] = C[2 * l][a] - C[2 * l + 1][a];
      }
  }

  template <int dim>
  SmsRows<dim>::SmsRows(const std::array<Tensor<1, dim>, dim + 1> &g,
                        const Tensor<2, dim>                      &frame)
  {
    const IntersectionSprings<dim> springs(g, frame);
    for (unsigned int a = 0; a < dim + 1; ++a)
      for (unsigned int d = 0; d < dim; ++d)
        {
          const unsigned int i = a * dim + d;
          vol[i]               = g[a][d];
          unsigned int pair    = 0;
          for (unsigned int l = 0; l < dim; ++l)
            {
              const double sl =
                springs.difference[l][a] / springs.rest_length[l];
              axis[l][i] = sl * frame[d][l];
              for (unsigned int m = l + 1; m < dim; ++m, ++pair)
                shear[pair][i] = 0.5 * (sl * frame[d][m] +
                                        springs.difference[m][a] /
                                          springs.rest_length[m] * frame[d][l]);
            }
        }
  }

  template <int dim>
  SpringOperators::SpringOperators(const Discretization<dim> &discretization,
                                   const std::vector<Tensor<2, dim>> &frames)
  {
    AssertThrow(discretization.degree == 1, ExcNotImplemented());
    const MPI_Comm     comm = discretization.comm;
    const unsigned int n    = discretization.n_owned_cells();
    const auto         rows = [&](const unsigned int per_cell) {
      return Utilities::MPI::create_ascending_partitioning(
        comm, n * per_cell)[Utilities::MPI::this_mpi_process(comm)];
    };
    const IndexSet points  = rows(2 * dim * dim);
    const IndexSet vectors = rows(dim * dim);
    const IndexSet dofs =
      discretization.dof_partitioner()->locally_owned_range();
    const auto first = [](const IndexSet &set) {
      return set.n_elements() > 0 ? set.nth_index_in_set(0) : 0;
    };

    const auto dof = [&](const unsigned int k,
                         const unsigned int a,
                         const unsigned int d) {
      return discretization.dof_partitioner()->local_to_global(
        discretization.cell_nodes[k * discretization.nodes_per_cell + a] * dim +
        d);
    };

    DynamicSparsityPattern b(points.size(), dofs.size(), points);
    DynamicSparsityPattern m(vectors.size(), points.size(), vectors);
    const auto             p0 = first(points), v0 = first(vectors);
    for (unsigned int k = 0; k < n; ++k)
      for (unsigned int l = 0; l < dim; ++l)
        for (unsigned int d = 0; d < dim; ++d)
          for (unsigned int s = 0; s < 2; ++s)
            {
              const auto row = p0 + (k * 2 * dim + 2 * l + s) * dim + d;
              for (unsigned int a = 0; a < dim + 1; ++a)
                b.add(row, dof(k, a, d));
              m.add(v0 + (k * dim + l) * dim + d, row);
            }
    B.reinit(points, dofs, b, comm);
    M.reinit(vectors, points, m, comm);
    for (unsigned int k = 0; k < n; ++k)
      {
        const IntersectionSprings<dim> springs(
          discretization.barycentric_gradients(k), frames[k]);
        for (unsigned int l = 0; l < dim; ++l)
          for (unsigned int d = 0; d < dim; ++d)
            for (unsigned int s = 0; s < 2; ++s)
              {
                const auto row = p0 + (k * 2 * dim + 2 * l + s) * dim + d;
                for (unsigned int a = 0; a < dim + 1; ++a)
                  B.set(row, dof(k, a, d), springs.C[2 * l + s][a]);
                M.set(v0 + (k * dim + l) * dim + d, row, s == 0 ? 1. : -1.);
              }
      }
    B.compress(VectorOperation::insert);
    M.compress(VectorOperation::insert);
    M.mmult(A0, B);
  }

#define INSTANTIATE(dim)                                  \
  template Tensor<2, dim> registered_frame(               \
    const Tensor<2, dim> &,                               \
    const Tensor<1, dim> &,                               \
    const std::vector<Tensor<1, dim>> &,                  \
    const Tensor<2, dim> &,                               \
    const double,                                         \
    FrameCounts &);                                       \
  template std::vector<Tensor<2, dim>> registered_frames( \
    const Discretization<dim> &,                          \
    const Vector &,                                       \
    const std::vector<Tensor<2, dim>> &,                  \
    const double,                                         \
    FrameCounts &);                                       \
  template struct IntersectionSprings<dim>;               \
  template struct SmsRows<dim>;                           \
  template SpringOperators::SpringOperators(              \
    const Discretization<dim> &, const std::vector<Tensor<2, dim>> &);

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
