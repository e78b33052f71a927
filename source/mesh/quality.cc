#include <palpate/core/errors.h>
#include <palpate/core/text.h>
#include <palpate/mesh/quality.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>

namespace Palpate
{
  namespace
  {
    using dealii::Point;
    using dealii::Tensor;

    /// A face of a cell as two words that sort by vertices, then by cell:
    /// (v0, v1 | v2, cell) in 3D, (v0, v1 | 0, cell) in 2D.
    struct FaceKey
    {
      std::uint64_t high, low;

      bool
      operator<(const FaceKey &other) const
      {
        return high < other.high || (high == other.high && low < other.low);
      }

      bool
      same_face(const FaceKey &other) const
      {
        return high == other.high && (low >> 32) == (other.low >> 32);
      }

      unsigned int
      cell() const
      {
        return static_cast<unsigned int>(low);
      }
    };

    template <int dim>
    std::vector<FaceKey>
    sorted_faces(const SerialMesh<dim> &mesh)
    {
      std::vector<FaceKey> keys;
      keys.reserve(mesh.cells.size() * (dim + 1));
      for (std::size_t k = 0; k < mesh.cells.size(); ++k)
        {
          // Without a vertex of a sorted cell the others stay sorted.
          auto v = mesh.cells[k];
          std::sort(v.begin(), v.end());
          for (unsigned int omit = 0; omit <= dim; ++omit)
            {
              std::array<std::uint64_t, 3> f = {{0, 0, 0}};
              for (unsigned int i = 0, n = 0; i <= dim; ++i)
                if (i != omit)
                  f[n++] = v[i];
              keys.push_back({(f[0] << 32) | f[1], (f[2] << 32) | k});
            }
        }
      std::sort(keys.begin(), keys.end());
      return keys;
    }

    template <int dim>
    std::string
    face_string(const FaceKey &key)
    {
      std::string s = "(" + std::to_string(key.high >> 32) + ", " +
                      std::to_string(key.high & 0xffffffffu);
      if (dim == 3)
        s += ", " + std::to_string(key.low >> 32);
      return s + ")";
    }

    template <int dim>
    void
    adjacency_from_faces(const std::vector<FaceKey> &keys,
                         const std::size_t           n_cells,
                         const std::string          &source,
                         std::vector<unsigned int>  &indices,
                         std::vector<std::size_t>   &offsets)
    {
      offsets.assign(n_cells + 1, 0);
      for (std::size_t i = 1; i < keys.size(); ++i)
        if (keys[i].same_face(keys[i - 1]))
          {
            if (i + 1 < keys.size() && keys[i].same_face(keys[i + 1]))
              throw InputError(source,
                               "the face of vertices " +
                                 face_string<dim>(keys[i]) +
                                 " belongs to three or more cells: " +
                                 std::to_string(keys[i - 1].cell()) + ", " +
                                 std::to_string(keys[i].cell()) + ", " +
                                 std::to_string(keys[i + 1].cell()) +
                                 "; expected at most two");
            ++offsets[keys[i - 1].cell() + 1];
            ++offsets[keys[i].cell() + 1];
          }
      for (std::size_t k = 0; k < n_cells; ++k)
        offsets[k + 1] += offsets[k];

      indices.resize(offsets[n_cells]);
      std::vector<std::size_t> next(offsets.begin(), offsets.end() - 1);
      for (std::size_t i = 1; i < keys.size(); ++i)
        if (keys[i].same_face(keys[i - 1]))
          {
            const unsigned int a = keys[i - 1].cell(), b = keys[i].cell();
            indices[next[a]++] = b;
            indices[next[b]++] = a;
          }
      for (std::size_t k = 0; k < n_cells; ++k)
        std::sort(indices.begin() + offsets[k],
                  indices.begin() + offsets[k + 1]);
    }

    double
    signed_volume(const std::array<Point<2>, 3> &x)
    {
      const auto a = x[1] - x[0], b = x[2] - x[0];
      return (a[0] * b[1] - a[1] * b[0]) / 2;
    }

    double
    signed_volume(const std::array<Point<3>, 4> &x)
    {
      return dealii::cross_product_3d(x[1] - x[0], x[2] - x[0]) *
             (x[3] - x[0]) / 6;
    }

    /// Normals of the faces opposite to each vertex, up to a common sign.
    std::array<Tensor<1, 2>, 3>
    face_normals(const std::array<Point<2>, 3> &x)
    {
      return {{dealii::cross_product_2d(x[2] - x[1]),
               dealii::cross_product_2d(x[0] - x[2]),
               dealii::cross_product_2d(x[1] - x[0])}};
    }

    std::array<Tensor<1, 3>, 4>
    face_normals(const std::array<Point<3>, 4> &x)
    {
      return {{dealii::cross_product_3d(x[2] - x[1], x[3] - x[1]),
               dealii::cross_product_3d(x[3] - x[0], x[2] - x[0]),
               dealii::cross_product_3d(x[1] - x[0], x[3] - x[0]),
               dealii::cross_product_3d(x[2] - x[0], x[1] - x[0])}};
    }

    /// The array r_axis, r_shear or r_vol if the pack has it, its shape
    /// checked.
    template <int dim>
    NpyArray *
    residual_operator(CaseData<dim>     &data,
                      const std::string &key,
                      const std::size_t  rows)
    {
      const auto it = data.arrays.find(key);
      if (it == data.arrays.end())
        return nullptr;
      const std::size_t columns = dim * (dim + 1), M = data.mesh.cells.size();
      // Of one timestamp or of several.
      if (it->second.size() == 0 ||
          it->second.size() % (M * rows * columns) != 0)
        throw InputError(data.source,
                         "array \"" + key + "\" has shape " +
                           it->second.shape_string() + ", expected (" +
                           std::to_string(M) +
                           (key == "r_vol" ? "" : ", " + std::to_string(rows)) +
                           ", " + std::to_string(columns) + ")");
      return &it->second;
    }

    /// Swap the columns of the last two vertices in the rows of some cells, in
    /// every timestamp.
    template <int dim>
    void
    swap_columns(NpyArray                        *array,
                 const std::size_t                n_cells,
                 const std::size_t                rows,
                 const std::vector<unsigned int> &cells)
    {
      if (array == nullptr)
        return;
      const std::size_t step = n_cells * rows * dim * (dim + 1);
      for (std::size_t first = 0; first < array->size(); first += step)
        for (const std::size_t k : cells)
          for (std::size_t r = 0; r < rows; ++r)
            {
              double *row =
                &array->values[first + (k * rows + r) * dim * (dim + 1)];
              std::swap_ranges(row + dim * (dim - 1),
                               row + dim * dim,
                               row + dim * dim);
            }
    }

    double
    median(std::vector<double> values)
    {
      const std::size_t n = values.size();
      std::nth_element(values.begin(), values.begin() + n / 2, values.end());
      const double upper = values[n / 2];
      return n % 2 == 1 ? upper
                        : (upper + *std::max_element(values.begin(),
                                                     values.begin() + n / 2)) /
                            2;
    }
  } // namespace



  template <int dim>
  QualityReport<dim>
  check_and_repair(CaseData<dim> &data, const bool repair_orientation)
  {
    SerialMesh<dim>  &mesh = data.mesh;
    const std::size_t M    = mesh.cells.size();
    if (M == 0)
      throw InputError(data.source, "the mesh has no cells");

    QualityReport<dim> report;
    report.n_vertices = mesh.vertices.size();
    report.n_cells    = M;

    std::vector<double>       volumes(M);
    std::vector<unsigned int> negative;
    double                    min_cos = 1, max_cos = -1;
    for (std::size_t k = 0; k < M; ++k)
      {
        std::array<Point<dim>, dim + 1> x;
        for (unsigned int i = 0; i <= dim; ++i)
          x[i] = mesh.vertices[mesh.cells[k][i]];

        double longest_square = 0;
        for (unsigned int i = 0; i <= dim; ++i)
          for (unsigned int j = 0; j < i; ++j)
            longest_square =
              std::max(longest_square, (x[i] - x[j]).norm_square());

        const double volume = signed_volume(x);
        const double flat   = 1e-12 * std::pow(std::sqrt(longest_square), dim);
        if (!(std::abs(volume) >= flat && volume != 0))
          throw InputError(data.source,
                           "cell " + std::to_string(k) + " is flat: its " +
                             (dim == 3 ? "volume is " : "area is ") +
                             Text::number(volume, 4) +
                             (dim == 3 ? " m^3" : " m^2") +
                             ", expected at least " + Text::number(flat, 4) +
                             " (1e-12 of its longest edge to the power " +
                             std::to_string(dim) + ")");
        volumes[k] = std::abs(volume);
        if (volume < 0)
          negative.push_back(k);

        const auto                  n = face_normals(x);
        std::array<double, dim + 1> norm;
        for (unsigned int i = 0; i <= dim; ++i)
          norm[i] = n[i].norm();
        for (unsigned int i = 0; i <= dim; ++i)
          for (unsigned int j = 0; j < i; ++j)
            {
              const double c = -(n[i] * n[j]) / (norm[i] * norm[j]);
              min_cos        = std::min(min_cos, c);
              max_cos        = std::max(max_cos, c);
            }
      }

    if (!negative.empty())
      {
        if (!repair_orientation)
          throw InputError(data.source,
                           "cell " + std::to_string(negative[0]) +
                             " is negatively oriented (" +
                             std::to_string(negative.size()) + " of " +
                             std::to_string(M) +
                             " cells are), expected positive volumes; set "
                             "\"Case/Repair orientation\" to reorder them");
        const std::size_t n_shear = dim * (dim - 1) / 2;
        NpyArray *const   axis    = residual_operator(data, "r_axis", dim);
        NpyArray *const   shear   = residual_operator(data, "r_shear", n_shear);
        NpyArray *const   vol     = residual_operator(data, "r_vol", 1);
        for (const auto k : negative)
          std::swap(mesh.cells[k][dim - 1], mesh.cells[k][dim]);
        swap_columns<dim>(axis, M, dim, negative);
        swap_columns<dim>(shear, M, n_shear, negative);
        swap_columns<dim>(vol, M, 1, negative);
        data.notes.push_back(std::to_string(negative.size()) +
                             " negatively oriented cells were reordered");
      }
    report.n_reordered = negative.size();

    // Compensated, so that the volume of 1e8 cells has all its digits.
    double carry = 0;
    for (const double v : volumes)
      {
        const double y = v - carry, sum = report.volume + y;
        carry         = (sum - report.volume) - y;
        report.volume = sum;
      }
    const auto range     = std::minmax_element(volumes.begin(), volumes.end());
    report.min_volume    = *range.first;
    report.max_volume    = *range.second;
    report.median_volume = median(std::move(volumes));
    report.min_angle =
      std::acos(std::clamp(max_cos, -1., 1.)) * 180 / std::acos(-1.);
    report.max_angle =
      std::acos(std::clamp(min_cos, -1., 1.)) * 180 / std::acos(-1.);

    std::vector<unsigned int> indices;
    std::vector<std::size_t>  offsets;
    {
      const auto keys = sorted_faces(mesh);
      adjacency_from_faces<dim>(keys, M, data.source, indices, offsets);

      report.surface_vertex.assign(mesh.vertices.size(), 0);
      for (std::size_t i = 0; i < keys.size(); ++i)
        if ((i == 0 || !keys[i].same_face(keys[i - 1])) &&
            (i + 1 == keys.size() || !keys[i].same_face(keys[i + 1])))
          {
            report.surface_vertex[keys[i].high >> 32]         = 1;
            report.surface_vertex[keys[i].high & 0xffffffffu] = 1;
            if (dim == 3)
              report.surface_vertex[keys[i].low >> 32] = 1;
          }
      report.n_surface_vertices = std::count(report.surface_vertex.begin(),
                                             report.surface_vertex.end(),
                                             1);
    }

    const unsigned int none = std::numeric_limits<unsigned int>::max();
    report.component_of_cell.assign(M, none);
    std::vector<unsigned int> stack;
    for (std::size_t first = 0; first < M; ++first)
      if (report.component_of_cell[first] == none)
        {
          const unsigned int component    = report.n_components++;
          report.component_of_cell[first] = component;
          stack.assign(1, first);
          while (!stack.empty())
            {
              const std::size_t k = stack.back();
              stack.pop_back();
              for (std::size_t i = offsets[k]; i < offsets[k + 1]; ++i)
                if (report.component_of_cell[indices[i]] == none)
                  {
                    report.component_of_cell[indices[i]] = component;
                    stack.push_back(indices[i]);
                  }
            }
        }
    return report;
  }



  template <int dim>
  void
  face_adjacency(const SerialMesh<dim>     &mesh,
                 const std::string         &source,
                 std::vector<unsigned int> &indices,
                 std::vector<std::size_t>  &offsets)
  {
    adjacency_from_faces<dim>(
      sorted_faces(mesh), mesh.cells.size(), source, indices, offsets);
  }



  template <int dim>
  std::string
  describe(const QualityReport<dim> &report)
  {
    if (report.is_network)
      return std::to_string(report.n_vertices) + " vertices, " +
             std::to_string(report.n_cells) + " springs, " +
             std::to_string(report.n_components) + " component" +
             (report.n_components == 1 ? "" : "s") + "\nlengths " +
             Text::number(report.min_volume, 4) + " to " +
             Text::number(report.max_volume, 4) + " m, median " +
             Text::number(report.median_volume, 4) + " m";
    const std::string unit = dim == 3 ? " m^3" : " m^2";
    std::string       text = std::to_string(report.n_vertices) + " vertices, " +
                       std::to_string(report.n_cells) +
                       (dim == 3 ? " tetrahedra, " : " triangles, ") +
                       std::to_string(report.n_components) + " component" +
                       (report.n_components == 1 ? "" : "s");
    if (report.n_reordered > 0)
      text += ", " + std::to_string(report.n_reordered) + " cells reordered";
    text += std::string("\n") + (dim == 3 ? "volume " : "area ") +
            Text::number(report.volume, 4) + unit + ", cells " +
            Text::number(report.min_volume, 4) + " to " +
            Text::number(report.max_volume, 4) + unit + ", median " +
            Text::number(report.median_volume, 4) + unit;
    text += std::string("\n") +
            (dim == 3 ? "dihedral angles " : "interior angles ") +
            Text::number(report.min_angle, 4) + " to " +
            Text::number(report.max_angle, 4) + " degrees, " +
            std::to_string(report.n_surface_vertices) + " surface vertices";
    return text;
  }



  template <int dim>
  std::vector<std::array<unsigned int, 2>>
  coincident_vertices(const std::vector<dealii::Point<dim>> &vertices,
                      const double                           tolerance)
  {
    std::vector<std::array<unsigned int, 2>> pairs;
    if (vertices.empty())
      return pairs;
    dealii::Point<dim> low = vertices[0], high = low;
    for (const auto &v : vertices)
      for (unsigned int d = 0; d < dim; ++d)
        {
          low[d]  = std::min(low[d], v[d]);
          high[d] = std::max(high[d], v[d]);
        }
    const double near = tolerance > 0 ? tolerance : 1e-6 * low.distance(high);
    // In the order along a direction in which no mesh has its planes.
    constexpr double along[3] = {0.5257311, 0.7236068, 0.4472136};
    std::vector<std::pair<double, unsigned int>> order;
    for (unsigned int i = 0; i < vertices.size(); ++i)
      {
        double t = 0;
        for (unsigned int d = 0; d < dim; ++d)
          t += along[d] * vertices[i][d];
        order.emplace_back(t, i);
      }
    std::sort(order.begin(), order.end());
    for (std::size_t i = 0; i < order.size(); ++i)
      for (std::size_t j = i + 1;
           j < order.size() && order[j].first - order[i].first < near;
           ++j)
        if (vertices[order[i].second].distance(vertices[order[j].second]) <
            near)
          pairs.push_back({{std::min(order[i].second, order[j].second),
                            std::max(order[i].second, order[j].second)}});
    std::sort(pairs.begin(), pairs.end());
    return pairs;
  }



#define PALPATE_INSTANTIATE(dim)                                             \
  template std::vector<std::array<unsigned int, 2>> coincident_vertices(     \
    const std::vector<dealii::Point<dim>> &, const double);                  \
  template QualityReport<dim> check_and_repair(CaseData<dim> &, const bool); \
  template void               face_adjacency(const SerialMesh<dim> &,        \
                                             const std::string &,            \
                                             std::vector<unsigned int> &,    \
                                             std::vector<std::size_t> &);    \
  template std::string        describe(const QualityReport<dim> &);

  PALPATE_INSTANTIATE(2)
  PALPATE_INSTANTIATE(3)
#undef PALPATE_INSTANTIATE
} // namespace Palpate
