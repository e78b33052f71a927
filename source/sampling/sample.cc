#include <deal.II/base/quadrature_lib.h>

#include <palpate/sampling/sample.h>

#include <algorithm>
#include <cmath>

namespace Palpate
{
  using namespace dealii;

  double
  ImageSampler::value(const Point<3> &x, const unsigned int component) const
  {
    const Tensor<1, 3>         v = image.voxel(x);
    std::array<std::size_t, 3> low;
    std::array<double, 3>      part;
    std::array<std::size_t, 3> step = {
      {1,
       image.size[0],
       static_cast<std::size_t>(image.size[0]) * image.size[1]}};
    for (unsigned int d = 0; d < 3; ++d)
      {
        const double last = image.size[d] - 1.;
        const double at   = std::min(std::max(v[d], 0.), last);
        low[d] = static_cast<std::size_t>(std::min(at, std::max(last - 1, 0.)));
        part[d] = at - low[d];
        if (image.size[d] == 1)
          step[d] = 0;
      }
    const float *corner = image.values.data() + component * image.n_voxels() +
                          low[0] +
                          image.size[0] * (low[1] + image.size[1] * low[2]);
    double sum = 0;
    for (unsigned int c = 0; c < 8; ++c)
      {
        double      weight = 1;
        std::size_t offset = 0;
        for (unsigned int d = 0; d < 3; ++d)
          {
            const bool upper = (c >> d) & 1u;
            weight *= upper ? part[d] : 1 - part[d];
            offset += upper ? step[d] : 0;
          }
        sum += weight * corner[offset];
      }
    return sum;
  }

  bool
  ImageSampler::is_outside(const Point<3> &x) const
  {
    const Tensor<1, 3> v = image.voxel(x);
    for (unsigned int d = 0; d < 3; ++d)
      if (!(v[d] >= -0.5 - 1e-9 && v[d] <= image.size[d] - 0.5 + 1e-9))
        return true;
    return false;
  }

  std::vector<double>
  vertex_mean(const ImageSampler          &image,
              const SerialMesh<3>         &mesh,
              const std::vector<Point<3>> &positions)
  {
    std::vector<double> at_vertices, means;
    for (const auto &x : positions)
      at_vertices.push_back(image.value(x));
    for (const auto &cell : mesh.cells)
      {
        double sum = 0;
        for (const unsigned int v : cell)
          sum += at_vertices[v];
        means.push_back(sum / 4);
      }
    return means;
  }

  std::vector<double>
  cell_average(const Image                 &image,
               const SerialMesh<3>         &mesh,
               const std::vector<Point<3>> &positions)
  {
    const ImageSampler sampler(image);
    const auto         spacing = image.spacing();
    const double fine = 0.5 * *std::min_element(spacing.begin(), spacing.end());
    std::vector<double> averages;
    for (const auto &cell : mesh.cells)
      {
        const Point<3>             &p = positions[cell[0]];
        std::array<Tensor<1, 3>, 3> edge;
        double                      longest = 0;
        for (unsigned int i = 0; i < 3; ++i)
          edge[i] = positions[cell[i + 1]] - p;
        for (unsigned int a = 0; a < 4; ++a)
          for (unsigned int b = 0; b < a; ++b)
            longest =
              std::max(longest,
                       (positions[cell[a]] - positions[cell[b]]).norm());
        const unsigned int n =
          std::min(16., std::max(2., std::ceil(longest / fine)));
        const QGauss<1> rule(n);
        // The cube [0, 1]^3 collapsed to the tetrahedron.
        double sum = 0, weights = 0;
        for (unsigned int i = 0; i < n; ++i)
          for (unsigned int j = 0; j < n; ++j)
            for (unsigned int k = 0; k < n; ++k)
              {
                const double a = rule.point(i)[0], b = rule.point(j)[0],
                             c = rule.point(k)[0];
                const double w = rule.weight(i) * rule.weight(j) *
                                 rule.weight(k) * (1 - a) * (1 - a) * (1 - b);
                sum +=
                  w * sampler.value(p + a * edge[0] + b * (1 - a) * edge[1] +
                                    c * (1 - a) * (1 - b) * edge[2]);
                weights += w;
              }
        averages.push_back(sum / weights);
      }
    return averages;
  }
} // namespace Palpate
