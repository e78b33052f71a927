#include <palpate/sampling/label_field.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace Palpate
{
  using namespace dealii;

  double
  LabelVolume::voxel_volume() const
  {
    return std::abs(determinant(grid.matrix));
  }

  std::vector<double>
  LabelVolume::count() const
  {
    std::vector<double> counts(n_labels, 0.);
    for (const auto label : values)
      if (label > 0)
        counts[label - 1] += 1;
    return counts;
  }

  namespace
  {
    /// Voxels of one value that hang together by their faces.
    struct VoxelPart
    {
      unsigned int             value;
      bool                     at_border = false;
      std::vector<std::size_t> voxels;
      /// Faces to voxels of other values.
      std::map<unsigned int, std::size_t> touches;
    };

    /// Call f for every part whose value is wanted, in the order of their first
    /// voxels.
    template <typename Volume, typename Wanted, typename Function>
    void
    for_each_part(const std::array<unsigned int, 3> &n,
                  const Volume                      &values,
                  const Wanted                      &wanted,
                  const Function                    &f)
    {
      std::vector<char>                seen(values.size(), 0);
      const std::array<std::size_t, 3> stride = {
        1, n[0], static_cast<std::size_t>(n[0]) * n[1]};
      for (std::size_t first = 0; first < values.size(); ++first)
        {
          if (seen[first] || !wanted(values[first]))
            continue;
          VoxelPart part;
          part.value  = values[first];
          part.voxels = {first};
          seen[first] = 1;
          for (std::size_t next = 0; next < part.voxels.size(); ++next)
            {
              const std::size_t v = part.voxels[next];
              for (unsigned int d = 0; d < 3; ++d)
                {
                  const std::size_t at = v / stride[d] % n[d];
                  for (const int side : {-1, 1})
                    {
                      if (at == (side < 0 ? 0 : n[d] - 1))
                        {
                          part.at_border = true;
                          continue;
                        }
                      const std::size_t w =
                        side < 0 ? v - stride[d] : v + stride[d];
                      if (values[w] != part.value)
                        ++part.touches[values[w]];
                      else if (!seen[w])
                        {
                          seen[w] = 1;
                          part.voxels.push_back(w);
                        }
                    }
                }
            }
          f(part);
        }
    }

    /// The value that most faces of a part touch, the least of equal ones.
    unsigned int
    surroundings(const VoxelPart &part)
    {
      unsigned int value = 0;
      std::size_t  most  = 0;
      for (const auto &[touched, n] : part.touches)
        if (n > most)
          {
            most  = n;
            value = touched;
          }
      return value;
    }

    /// Convolve along one direction; beyond the ends there is nothing.
    void
    smooth(std::vector<float>        &values,
           const std::array<int, 3>  &n,
           const unsigned int         d,
           const std::vector<double> &kernel) // from the middle on
    {
      const std::size_t   stride = d == 0 ? 1
                                   : d == 1
                                     ? n[0]
                                     : static_cast<std::size_t>(n[0]) * n[1];
      const int           reach  = kernel.size() - 1;
      std::vector<double> line(n[d]);
      for (std::size_t start = 0; start < values.size(); ++start)
        {
          if (start / stride % n[d] != 0)
            continue;
          for (int i = 0; i < n[d]; ++i)
            line[i] = values[start + i * stride];
          for (int i = 0; i < n[d]; ++i)
            {
              double sum = kernel[0] * line[i];
              for (int r = 1; r <= reach; ++r)
                sum += kernel[r] * ((i >= r ? line[i - r] : 0.) +
                                    (i + r < n[d] ? line[i + r] : 0.));
              values[start + i * stride] = sum;
            }
        }
    }

    /**
     * Share of a tetrahedron where a linear function is positive, by its values
     * at the corners: the third divided difference of max(x, 0)^3.
     */
    double
    positive_share(std::array<double, 4> x)
    {
      std::sort(x.begin(), x.end());
      if (x[0] >= 0)
        return 1;
      if (x[3] <= 0)
        return 0;
      const double apart = 1e-6 * (x[3] - x[0]);
      for (unsigned int i = 1; i < 4; ++i)
        x[i] = std::max(x[i], x[i - 1] + apart);
      double share = 0;
      for (unsigned int i = 0; i < 4; ++i)
        if (x[i] > 0)
          {
            double term = x[i] * x[i] * x[i];
            for (unsigned int j = 0; j < 4; ++j)
              if (j != i)
                term /= x[i] - x[j];
            share += term;
          }
      return std::clamp(share, 0., 1.);
    }

    /// exp(-r^2 / (2 sigma^2)) at r = 0, 1, ... 4 sigma, of sum 1.
    std::vector<double>
    gaussian(const double sigma)
    {
      std::vector<double> kernel = {1};
      double              sum    = 1;
      for (int r = 1; r <= std::ceil(4 * sigma); ++r)
        {
          kernel.push_back(std::exp(-0.5 * r * r / (sigma * sigma)));
          sum += 2 * kernel.back();
        }
      for (double &w : kernel)
        w /= sum;
      return kernel;
    }
  } // namespace

  SmallParts
  drop_islands(LabelVolume &volume, const double n_voxels)
  {
    SmallParts                                         dropped;
    std::vector<std::pair<std::size_t, std::uint16_t>> changes;
    for_each_part(
      volume.grid.size,
      volume.values,
      [](const unsigned int label) { return label > 0; },
      [&](const VoxelPart &part) {
        if (part.voxels.size() >= n_voxels)
          return;
        ++dropped.n_parts;
        dropped.n_voxels += part.voxels.size();
        for (const std::size_t v : part.voxels)
          changes.emplace_back(v, surroundings(part));
      });
    for (const auto &[v, label] : changes)
      volume.values[v] = label;
    return dropped;
  }

  SmallParts
  fill_holes(LabelVolume &volume)
  {
    SmallParts filled;
    for_each_part(
      volume.grid.size,
      volume.values,
      [](const unsigned int label) { return label == 0; },
      [&](const VoxelPart &part) {
        if (part.at_border)
          return;
        ++filled.n_parts;
        filled.n_voxels += part.voxels.size();
        for (const std::size_t v : part.voxels)
          volume.values[v] = surroundings(part);
      });
    return filled;
  }

  double
  LabelField::Indicator::at_voxel(const int i, const int j, const int k) const
  {
    const int x = i - lower[0], y = j - lower[1], z = k - lower[2];
    if (x < 0 || y < 0 || z < 0 || x >= size[0] || y >= size[1] || z >= size[2])
      return 0;
    return values[(static_cast<std::size_t>(z) * size[1] + y) * size[0] + x];
  }

  double
  LabelField::Indicator::at(const Tensor<1, 3> &x) const
  {
    std::array<int, 3>    i;
    std::array<double, 3> t;
    for (unsigned int d = 0; d < 3; ++d)
      {
        const double floor = std::floor(x[d]);
        if (floor < lower[d] - 1 || floor >= lower[d] + size[d])
          return 0;
        i[d] = static_cast<int>(floor);
        t[d] = x[d] - floor;
      }
    double sum = 0;
    for (int c = 0; c < 8; ++c)
      {
        const double w = ((c & 1) ? t[0] : 1 - t[0]) *
                         ((c & 2) ? t[1] : 1 - t[1]) *
                         ((c & 4) ? t[2] : 1 - t[2]);
        if (w > 0)
          sum +=
            w * at_voxel(i[0] + (c & 1), i[1] + (c >> 1 & 1), i[2] + (c >> 2));
      }
    return sum;
  }

  LabelField::LabelField(const LabelVolume &volume, const double sigma)
    : size(volume.grid.size)
    , indicators(volume.n_labels)
    , pure(volume.n_labels, 0.)
  {
    const auto kernel = sigma > 0 ? gaussian(sigma) : std::vector<double>{1};
    const int  reach  = kernel.size() - 1;
    std::vector<std::array<int, 3>> lower(
      volume.n_labels, {int(size[0]), int(size[1]), int(size[2])}),
      upper(volume.n_labels, {-1, -1, -1});
    std::size_t v = 0;
    for (int k = 0; k < int(size[2]); ++k)
      for (int j = 0; j < int(size[1]); ++j)
        for (int i = 0; i < int(size[0]); ++i, ++v)
          if (const unsigned int label = volume.values[v])
            {
              const std::array<int, 3> at = {i, j, k};
              for (unsigned int d = 0; d < 3; ++d)
                {
                  lower[label - 1][d] = std::min(lower[label - 1][d], at[d]);
                  upper[label - 1][d] = std::max(upper[label - 1][d], at[d]);
                }
            }
    for (unsigned int l = 0; l < volume.n_labels; ++l)
      {
        auto &indicator = indicators[l];
        if (upper[l][0] < 0)
          continue;
        // Beyond the image, too: a body cut off by its border is closed there.
        for (unsigned int d = 0; d < 3; ++d)
          {
            indicator.lower[d] = lower[l][d] - reach - 1;
            indicator.size[d]  = upper[l][d] - lower[l][d] + 2 * reach + 3;
          }
        const auto &n = indicator.size;
        indicator.values.assign(static_cast<std::size_t>(n[0]) * n[1] * n[2],
                                0);
        for (int k = lower[l][2]; k <= upper[l][2]; ++k)
          for (int j = lower[l][1]; j <= upper[l][1]; ++j)
            for (int i = lower[l][0]; i <= upper[l][0]; ++i)
              if (volume.values[(static_cast<std::size_t>(k) * size[1] + j) *
                                  size[0] +
                                i] == l + 1)
                indicator
                  .values[(static_cast<std::size_t>(k - indicator.lower[2]) *
                             n[1] +
                           j - indicator.lower[1]) *
                            n[0] +
                          i - indicator.lower[0]] = 1;
        if (reach > 0)
          for (unsigned int d = 0; d < 3; ++d)
            smooth(indicator.values, n, d, kernel);
      }

    // Cubes between the centres of eight voxels that are of one kind, and
    // others. (Smoothed by one voxel, a flat side is 0.98 one and a half voxels
    // behind.)
    const double limit   = sigma > 0 ? 0.97 : 1;
    const auto   corners = box();
    for (int k = corners[0][2]; k < corners[1][2]; ++k)
      for (int j = corners[0][1]; j < corners[1][1]; ++j)
        for (int i = corners[0][0]; i < corners[1][0]; ++i)
          {
            double       least_outside = 1;
            unsigned int of_one        = 0;
            for (unsigned int l = 0; l < indicators.size(); ++l)
              {
                double least = 1;
                for (int c = 0; c < 8; ++c)
                  least = std::min(least,
                                   indicators[l].at_voxel(i + (c & 1),
                                                          j + (c >> 1 & 1),
                                                          k + (c >> 2)));
                if (least >= limit)
                  of_one = l + 1;
              }
            for (int c = 0; c < 8; ++c)
              {
                double outside = 1;
                for (const auto &indicator : indicators)
                  outside -= indicator.at_voxel(i + (c & 1),
                                                j + (c >> 1 & 1),
                                                k + (c >> 2));
                least_outside = std::min(least_outside, outside);
              }
            if (of_one > 0)
              pure[of_one - 1] += 1;
            else if (least_outside < limit)
              mixed.push_back({{i, j, k}});
          }
  }

  template <typename Values>
  unsigned int
  LabelField::decide(const Values &value_of) const
  {
    double       outside = 1, largest = 0;
    unsigned int label = 0;
    for (unsigned int l = 0; l < indicators.size(); ++l)
      {
        const double value = value_of(indicators[l]);
        if (value <= 0)
          continue;
        outside -= value;
        if (value + indicators[l].level > largest)
          {
            largest = value + indicators[l].level;
            label   = l + 1;
          }
      }
    return largest > outside ? label : 0;
  }

  unsigned int
  LabelField::label(const Tensor<1, 3> &x) const
  {
    return decide([&](const Indicator &indicator) { return indicator.at(x); });
  }

  std::vector<double>
  LabelField::volumes() const
  {
    // Each cube is six tetrahedra around its diagonal, in which what a label
    // has above the next best is taken as linear: smooth in the levels, also
    // where all of a flat side changes at one of them.
    static const int                   paths[6][4] = {{0, 1, 3, 7},
                                                      {0, 1, 5, 7},
                                                      {0, 2, 3, 7},
                                                      {0, 2, 6, 7},
                                                      {0, 4, 5, 7},
                                                      {0, 4, 6, 7}};
    const unsigned int                 L           = indicators.size();
    std::vector<double>                sums        = pure;
    std::vector<std::array<double, 8>> values(L);
    for (const auto &v : mixed)
      {
        std::array<double, 8>     outside;
        std::vector<unsigned int> here;
        outside.fill(1);
        for (unsigned int l = 0; l < L; ++l)
          {
            double most = 0;
            for (int c = 0; c < 8; ++c)
              {
                values[l][c] = indicators[l].at_voxel(v[0] + (c & 1),
                                                      v[1] + (c >> 1 & 1),
                                                      v[2] + (c >> 2));
                outside[c] -= values[l][c];
                most = std::max(most, values[l][c]);
              }
            if (most > 0)
              here.push_back(l);
          }
        for (const unsigned int l : here)
          {
            std::array<double, 8> above;
            for (int c = 0; c < 8; ++c)
              {
                double next = outside[c];
                for (const unsigned int other : here)
                  if (other != l)
                    next = std::max(next,
                                    values[other][c] + indicators[other].level);
                above[c] = values[l][c] + indicators[l].level - next;
              }
            for (const auto &path : paths)
              sums[l] += positive_share({{above[path[0]],
                                          above[path[1]],
                                          above[path[2]],
                                          above[path[3]]}}) /
                         6;
          }
      }
    return sums;
  }

  void
  LabelField::keep_volumes(const std::vector<double> &wanted)
  {
    // What a level does to its label's volume hardly depends on it.
    const unsigned int  L       = indicators.size();
    const auto          at_zero = volumes();
    const double        small   = 0.04;
    std::vector<double> slopes(L);
    for (unsigned int l = 0; l < L; ++l)
      {
        const double level = indicators[l].level;
        indicators[l].level += small;
        slopes[l]           = (volumes()[l] - at_zero[l]) / small;
        indicators[l].level = level;
      }
    auto now = at_zero;
    for (unsigned int round = 0; round < 6; ++round)
      {
        double worst = 0;
        for (unsigned int l = 0; l < L; ++l)
          {
            if (!(slopes[l] > 0) || wanted[l] <= 0)
              continue;
            worst = std::max(worst, std::abs(now[l] / wanted[l] - 1));
            indicators[l].level =
              std::clamp(indicators[l].level + (wanted[l] - now[l]) / slopes[l],
                         -0.9,
                         0.9);
          }
        if (worst < 1e-4)
          break;
        now = volumes();
      }
  }

  std::vector<Tensor<1, 3>>
  LabelField::islands() const
  {
    const auto                  corners = box();
    std::array<int, 3>          lower;
    std::array<unsigned int, 3> n;
    for (unsigned int d = 0; d < 3; ++d)
      {
        lower[d] = static_cast<int>(corners[0][d]);
        n[d]     = static_cast<int>(corners[1][d]) - lower[d] + 1;
      }
    std::vector<std::uint16_t> labels(static_cast<std::size_t>(n[0]) * n[1] *
                                      n[2]);
    const auto                 voxel = [&](const std::size_t at) {
      return std::array<int, 3>{lower[0] + static_cast<int>(at % n[0]),
                                lower[1] + static_cast<int>(at / n[0] % n[1]),
                                lower[2] + static_cast<int>(at / n[0] / n[1])};
    };
    for (std::size_t at = 0; at < labels.size(); ++at)
      {
        const auto v = voxel(at);
        labels[at]   = decide([&](const Indicator &indicator) {
          return indicator.at_voxel(v[0], v[1], v[2]);
        });
      }
    std::vector<Tensor<1, 3>> points;
    for_each_part(
      n,
      labels,
      [](const unsigned int label) { return label > 0; },
      [&](const VoxelPart &part) {
        double       largest = -1;
        Tensor<1, 3> point;
        for (const std::size_t at : part.voxels)
          {
            const auto   v = voxel(at);
            const double value =
              indicators[part.value - 1].at_voxel(v[0], v[1], v[2]);
            if (value > largest)
              {
                largest = value;
                point =
                  Tensor<1, 3>({double(v[0]), double(v[1]), double(v[2])});
              }
          }
        points.push_back(point);
      });
    return points;
  }

  std::array<Tensor<1, 3>, 2>
  LabelField::box() const
  {
    Tensor<1, 3> lower({1e9, 1e9, 1e9}), upper({-1e9, -1e9, -1e9});
    for (const auto &indicator : indicators)
      if (!indicator.values.empty())
        for (unsigned int d = 0; d < 3; ++d)
          {
            lower[d] = std::min<double>(lower[d], indicator.lower[d]);
            upper[d] =
              std::max<double>(upper[d],
                               indicator.lower[d] + indicator.size[d] - 1);
          }
    return {lower, upper};
  }
} // namespace Palpate
