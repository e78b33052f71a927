#include <deal.II/base/numbers.h>

#include <palpate/mesh/generate.h>
#include <palpate/phantom/lung_phantom.h>

#include <boost/random/mersenne_twister.hpp>
#include <boost/random/uniform_01.hpp>

#include <algorithm>
#include <cmath>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    constexpr double top    = 0.165; // above the apex of every lung [m]
    constexpr double height = 0.3;   // H [m]
    constexpr double back   = -0.1;  // the spine's y [m]
    constexpr double dome   = 0.03;  // the diaphragm's rise [m]
    constexpr double air = -1000, tissue = 40;

    constexpr double                      bin_size = 0.01; // [m]
    constexpr std::array<unsigned int, 3> n_bins   = {{42, 29, 39}};

    /// A vessel ends three radii from its axis.
    constexpr double vessel_reach = 3;

    using Random = boost::random::mt19937;

    double
    between(Random &random, const double low, const double high)
    {
      return low + (high - low) * boost::random::uniform_01<double>()(random);
    }

    /// A direction, all equally likely.
    Tensor<1, 3>
    direction(Random &random)
    {
      const double z = between(random, -1, 1), r = std::sqrt(1 - z * z),
                   angle = between(random, 0, 2 * numbers::PI);
      return Tensor<1, 3>({r * std::cos(angle), r * std::sin(angle), z});
    }

    /// From a point to a segment.
    double
    square_distance(const Point<3>     &X,
                    const Point<3>     &start,
                    const Tensor<1, 3> &along)
    {
      const Tensor<1, 3> r = X - start;
      const double       s =
        std::min(std::max((r * along) / along.norm_square(), 0.), 1.);
      return (r - s * along).norm_square();
    }

    /// The vertices of an icosahedron, as unit vectors.
    std::array<Tensor<1, 3>, 12>
    icosahedron()
    {
      const double golden = (1 + std::sqrt(5.)) / 2,
                   norm   = std::sqrt(1 + golden * golden);
      std::array<Tensor<1, 3>, 12> points;
      unsigned int                 n = 0;
      for (unsigned int i = 0; i < 3; ++i)
        for (const double a : {-1., 1.})
          for (const double b : {-golden, golden})
            {
              points[n][i]           = a / norm;
              points[n][(i + 1) % 3] = b / norm;
              ++n;
            }
      return points;
    }
  } // namespace

  LungPhantom::LungPhantom(const Description &description)
    : description(description)
  {
    Random random(description.seed);
    for (unsigned int d = 0; d < 3; ++d)
      semi_axes[d] = (std::array<double, 3>{{0.055, 0.08, 0.11}})[d] *
                     between(random, 0.92, 1.08);
    for (unsigned int i = 0; i < 2; ++i)
      {
        lungs[i].side   = (i == 0 ? -1 : 1);
        lungs[i].heart  = (i == 0 ? 0.018 : 0.01);
        lungs[i].scale  = (i == 0 ? 0.95 : 1) * between(random, 0.97, 1.03);
        lungs[i].offset = 0.018 + semi_axes[0];
      }
    // Texture: waves of 30 to 80 mm in all directions.
    const unsigned int n_waves = 24;
    for (unsigned int i = 0; i < n_waves; ++i)
      waves.push_back(
        {direction(random) * (2 * numbers::PI / between(random, 0.03, 0.08)),
         description.texture * std::sqrt(2. / n_waves),
         between(random, 0, 2 * numbers::PI)});
    for (const Lung &lung : lungs)
      {
        // Low-density patches.
        for (unsigned int i = 0; i < 3; ++i)
          {
            const double       radius = between(random, 0.012, 0.025);
            const double       depth  = between(random, 60, 110);
            const Tensor<1, 3> q =
              direction(random) * between(random, 0.1, 0.7);
            patches.push_back({from_ball(lung, q), radius, depth});
          }
        // A tree of vessels from the hilum, thinner at every fork.
        struct Branch
        {
          Tensor<1, 3> start, along;
          double       length, radius;
          unsigned int level;
        };
        std::vector<Branch> todo;
        for (unsigned int i = 0; i < 5; ++i)
          {
            Tensor<1, 3> along;
            along[0] = lung.side * between(random, 0.3, 1);
            along[1] = std::cos(2 * numbers::PI * i / 5);
            along[2] = std::sin(2 * numbers::PI * i / 5);
            todo.push_back({Tensor<1, 3>({-0.7 * lung.side, 0, 0}),
                            along / along.norm(),
                            0.45,
                            0.006,
                            0});
          }
        for (std::size_t i = 0; i < todo.size(); ++i)
          {
            const Branch       b   = todo[i];
            const Tensor<1, 3> end = b.start + b.length * b.along;
            if (end.norm() > 0.9)
              continue;
            const Point<3> from = from_ball(lung, b.start);
            vessels.push_back({from, from_ball(lung, end) - from, b.radius});
            if (b.level < 3)
              for (unsigned int fork = 0; fork < 2; ++fork)
                {
                  const Tensor<1, 3> along = b.along + 0.8 * direction(random);
                  todo.push_back({end,
                                  along / along.norm(),
                                  0.75 * b.length,
                                  0.78 * b.radius,
                                  b.level + 1});
                }
          }
      }
    vessels_of_bin.resize(n_bins[0] * n_bins[1] * n_bins[2]);
    for (unsigned int k = 0; k < n_bins[2]; ++k)
      for (unsigned int j = 0; j < n_bins[1]; ++j)
        for (unsigned int i = 0; i < n_bins[0]; ++i)
          {
            const Point<3> center(lower[0] + (i + 0.5) * bin_size,
                                  lower[1] + (j + 0.5) * bin_size,
                                  lower[2] + (k + 0.5) * bin_size);
            for (unsigned int v = 0; v < vessels.size(); ++v)
              if (std::sqrt(square_distance(center,
                                            vessels[v].start,
                                            vessels[v].along)) <
                  vessel_reach * vessels[v].radius + std::sqrt(0.75) * bin_size)
                vessels_of_bin[bin(center)].push_back(v);
          }
  }

  Tensor<1, 3>
  LungPhantom::to_ball(const Lung &lung, const Point<3> &X) const
  {
    // Undo, last first: diaphragm's dome, heart, taper towards the apex.
    const auto  &a  = semi_axes;
    const double x1 = X[0] - lung.side * lung.offset, x2 = X[1],
                 x3 =
                   X[2] - dome * std::exp(-(x1 * x1 + x2 * x2) / (a[1] * a[1])),
                 bend = x2 / a[1],
                 x0   = x1 - lung.side * lung.heart * (1 - bend * bend);
    Tensor<1, 3> q;
    q[2]               = x3 / (lung.scale * a[2]);
    const double taper = lung.scale * (1 - 0.25 * std::tanh(q[2]));
    q[0]               = x0 / (taper * a[0]);
    q[1]               = x2 / (taper * a[1]);
    return q;
  }

  Point<3>
  LungPhantom::from_ball(const Lung &lung, const Tensor<1, 3> &q) const
  {
    const auto  &a     = semi_axes;
    const double taper = lung.scale * (1 - 0.25 * std::tanh(q[2])),
                 x0 = taper * a[0] * q[0], x2 = taper * a[1] * q[1],
                 bend = x2 / a[1],
                 x1   = x0 + lung.side * lung.heart * (1 - bend * bend),
                 x3   = lung.scale * a[2] * q[2] +
                      dome * std::exp(-(x1 * x1 + x2 * x2) / (a[1] * a[1]));
    return Point<3>(x1 + lung.side * lung.offset, x2, x3);
  }

  unsigned int
  LungPhantom::lung(const Point<3> &X) const
  {
    const unsigned int i = X[0] < 0 ? 0 : 1;
    return to_ball(lungs[i], X).norm_square() <= 1 ? i + 1 : 0;
  }

  std::size_t
  LungPhantom::bin(const Point<3> &X) const
  {
    std::size_t index = 0;
    for (unsigned int d = 3; d-- > 0;)
      index =
        index * n_bins[d] +
        static_cast<std::size_t>(
          std::min(std::max((X[d] - lower[d]) / bin_size, 0.), n_bins[d] - 1.));
    return index;
  }

  double
  LungPhantom::parenchyma(const Point<3> &X) const
  {
    // Denser towards the back, where the patient lies.
    double hu = -850 - 400 * X[1];
    for (const Wave &wave : waves)
      hu += wave.amplitude * std::sin(wave.k * X + wave.phase);
    for (const Patch &patch : patches)
      hu -= patch.depth * std::exp(-(X - patch.center).norm_square() /
                                   (patch.radius * patch.radius));
    double vessel = 0;
    for (const unsigned int i : vessels_of_bin[bin(X)])
      {
        const Vessel &v = vessels[i];
        const double  ratio =
          square_distance(X, v.start, v.along) / (v.radius * v.radius);
        if (ratio < vessel_reach * vessel_reach)
          vessel = std::max(vessel, std::exp(-ratio));
      }
    hu = std::max(hu, -990.);
    return hu + vessel * (tissue - hu);
  }

  double
  LungPhantom::hounsfield(const Point<3> &X) const
  {
    return hounsfield(X, Breath());
  }

  double
  LungPhantom::stiffness(const Point<3> &X) const
  {
    static const auto around = icosahedron();
    const double      own    = parenchyma(X);
    double            mean   = own;
    for (const auto &d : around)
      mean += parenchyma(X + description.neighborhood_radius * d);
    mean /= 1 + around.size();
    const double range = std::log(description.stiffness_range),
                 s     = (description.stiffness_slope * (own + 850) +
                      description.neighborhood_slope * (mean + 850)) /
                     100;
    return description.stiffness * std::exp(range * std::tanh(s / range));
  }

  Point<3>
  LungPhantom::Breath::map(const Point<3> &X) const
  {
    const double d       = std::max(0., top - X[2]) / height;
    const double deeper  = vertical * d * d;
    const double d_moved = d + deeper / height;
    const double e       = lateral * d_moved * d_moved;
    return Point<3>((1 + e) * X[0],
                    back + (1 + 1.5 * e) * (X[1] - back),
                    X[2] - deeper);
  }

  Point<3>
  LungPhantom::Breath::inverse(const Point<3> &x) const
  {
    const double d_moved = std::max(0., top - x[2]) / height;
    const double d =
      2 * d_moved / (1 + std::sqrt(1 + 4 * vertical / height * d_moved));
    const double e = lateral * d_moved * d_moved;
    return Point<3>(x[0] / (1 + e),
                    back + (x[1] - back) / (1 + 1.5 * e),
                    x[2] + vertical * d * d);
  }

  double
  LungPhantom::Breath::jacobian(const Point<3> &X) const
  {
    const double d       = std::max(0., top - X[2]) / height;
    const double d_moved = d + vertical / height * d * d;
    const double e       = lateral * d_moved * d_moved;
    return (1 + 2 * vertical / height * d) * (1 + e) * (1 + 1.5 * e);
  }

  LungPhantom::Breath
  LungPhantom::phase(const unsigned int k, const unsigned int n) const
  {
    const auto square_sine = [](const double t) {
      return std::pow(std::sin(numbers::PI * t), 2);
    };
    const double t = static_cast<double>(k) / n;
    Breath       breath;
    breath.vertical = description.diaphragm_motion * square_sine(t);
    breath.lateral =
      description.chest_expansion * (square_sine(t - 0.05) - square_sine(0.05));
    return breath;
  }

  double
  LungPhantom::hounsfield(const Point<3> &x, const Breath &breath) const
  {
    const Point<3> X = breath.inverse(x);
    if (lung(X) > 0)
      return (parenchyma(X) - air) / breath.jacobian(X) + air;
    const double chest =
      std::pow(X[0] / 0.195, 2) + std::pow((X[1] + 0.005) / 0.125, 2);
    return chest < 1 ? tissue : air;
  }

  SerialMesh<3>
  LungPhantom::mesh(const double cell_size) const
  {
    ShapeDescription shape;
    shape.type         = "ellipsoid pair";
    shape.mesh_size    = cell_size;
    shape.semi_axes    = semi_axes;
    shape.gap          = 2 * (lungs[0].offset - semi_axes[0]);
    SerialMesh<3> mesh = generate_shape<3>(shape);
    for (auto &x : mesh.vertices)
      {
        const Lung  &lung = lungs[x[0] < 0 ? 0 : 1];
        Tensor<1, 3> q;
        for (unsigned int d = 0; d < 3; ++d)
          q[d] = (x[d] - (d == 0 ? lung.side * lung.offset : 0)) / semi_axes[d];
        x = from_ball(lung, q);
      }
    return mesh;
  }

  std::vector<Point<3>>
  LungPhantom::landmarks(const unsigned int n) const
  {
    Random                random(description.seed + 1000003);
    std::vector<Point<3>> points;
    for (unsigned int i = 0; i < n; ++i)
      points.push_back(
        from_ball(lungs[i % 2],
                  direction(random) * 0.95 * std::cbrt(between(random, 0, 1))));
    return points;
  }
} // namespace Palpate
