#include <palpate/core/errors.h>
#include <palpate/core/text.h>
#include <palpate/mesh/distributed_mesh.h>
#include <palpate/mesh/join_vertices.h>
#include <palpate/mesh/quality.h>
#include <palpate/mesh/readers.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

namespace Palpate
{
  namespace
  {
    /// Displacements of vertices that become one.
    void
    check_displacements(const std::string               &source,
                        const std::string               &key,
                        const NpyArray                  &array,
                        const std::size_t                axis,
                        const std::vector<unsigned int> &joined_to,
                        const double                     tolerance)
    {
      const NpyArray joined = take_rows(array, axis, joined_to);
      std::size_t    after  = 1;
      for (std::size_t d = axis + 1; d < array.shape.size(); ++d)
        after *= array.shape[d];
      for (std::size_t i = 0; i < array.size(); ++i)
        if (std::abs(array.values[i] - joined.values[i]) > tolerance)
          {
            const std::size_t v = i / after % joined_to.size();
            fail_key(source,
                     key,
                     "vertices " + std::to_string(joined_to[v]) + " and " +
                       std::to_string(v) +
                       ", which are joined, move apart, expected one "
                       "displacement (Case/Join vertices = 0 keeps them)");
          }
    }

    /// Springs of a network between the vertices that are left, each once.
    template <int dim>
    void
    join_springs(CaseData<dim> &data, const std::vector<unsigned int> &number)
    {
      auto                                    &mesh = data.mesh;
      std::vector<std::array<unsigned int, 2>> springs;
      std::vector<int>                         labels;
      std::set<std::array<unsigned int, 2>>    there;
      for (std::size_t s = 0; s < mesh.springs.size(); ++s)
        {
          const unsigned int a = number[mesh.springs[s][0]],
                             b = number[mesh.springs[s][1]];
          if (a == b || !there
                           .emplace(std::array<unsigned int, 2>{
                             {std::min(a, b), std::max(a, b)}})
                           .second)
            continue;
          springs.push_back({{a, b}});
          if (!mesh.labels.empty())
            labels.push_back(mesh.labels[s]);
        }
      if (springs.size() < mesh.springs.size())
        for (const auto &[key, array] : data.arrays)
          if (Readers::rows_of_key(key, array).what == Readers::RowsOf::cells)
            fail_key(data.source,
                     key,
                     "has rows of springs that become one, expected a smaller "
                     "Case/Join vertices");
      if (mesh.is_network())
        {
          mesh.springs = springs;
          mesh.labels  = labels;
        }
    }
  } // namespace

  template <int dim>
  bool
  is_discontinuous(const SerialMesh<dim> &mesh)
  {
    if (mesh.cells.size() < 2 ||
        mesh.vertices.size() != (dim + 1) * mesh.cells.size())
      return false;
    auto sorted = mesh.vertices;
    std::sort(sorted.begin(), sorted.end(), [](const auto &a, const auto &b) {
      for (unsigned int d = 0; d < dim; ++d)
        if (a[d] != b[d])
          return a[d] < b[d];
      return false;
    });
    return std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
  }

  template <int dim>
  void
  join_vertices(CaseData<dim> &data, const double tolerance)
  {
    auto             &mesh  = data.mesh;
    const std::size_t N     = mesh.vertices.size();
    const auto        pairs = coincident_vertices(mesh.vertices, tolerance);
    if (pairs.empty())
      return;
    // The least vertex of each chain of close ones; pairs are in rising order.
    std::vector<unsigned int> joined_to(N);
    std::iota(joined_to.begin(), joined_to.end(), 0u);
    const auto first_of = [&](unsigned int v) {
      while (joined_to[v] != v)
        v = joined_to[v];
      return v;
    };
    for (const auto &pair : pairs)
      {
        const unsigned int a = first_of(pair[0]), b = first_of(pair[1]);
        joined_to[std::max(a, b)] = std::min(a, b);
      }
    std::vector<unsigned int> number(N), kept;
    for (unsigned int v = 0; v < N; ++v)
      {
        joined_to[v] = first_of(v);
        if (joined_to[v] == v)
          {
            number[v] = kept.size();
            kept.push_back(v);
          }
        else
          number[v] = number[joined_to[v]];
      }

    for (std::size_t c = 0; c < mesh.cells.size(); ++c)
      {
        auto &cell = mesh.cells[c];
        for (unsigned int &v : cell)
          v = number[v];
        if (std::set<unsigned int>(cell.begin(), cell.end()).size() < dim + 1)
          throw InputError(data.source,
                           "cell " + std::to_string(c) +
                             " has vertices closer than " +
                             Text::number(tolerance) +
                             " m, expected a smaller Case/Join vertices");
      }
    join_springs(data, number);
    for (auto &face : mesh.boundary_faces)
      for (unsigned int &v : face.vertices)
        v = number[v];
    for (auto &[key, array] : data.arrays)
      {
        const auto rows = Readers::rows_of_key(key, array);
        if (rows.what != Readers::RowsOf::vertices)
          continue;
        if (key.compare(0, 12, "displacement") == 0)
          check_displacements(
            data.source, key, array, rows.axis, joined_to, tolerance);
        array = take_rows(array, rows.axis, kept);
      }
    std::vector<dealii::Point<dim>> vertices;
    std::vector<int>                labels;
    for (const unsigned int v : kept)
      {
        vertices.push_back(mesh.vertices[v]);
        if (!mesh.vertex_labels.empty())
          labels.push_back(mesh.vertex_labels[v]);
      }
    mesh.vertex_labels   = labels;
    mesh.vertices        = vertices;
    data.has_own_numbers = true;
    data.notes.push_back(std::to_string(N - kept.size()) +
                         " vertices were joined to others closer than " +
                         Text::number(tolerance) +
                         " m; results carry the vertices as they are now");
  }

  template void
  join_vertices(CaseData<2> &, const double);
  template void
  join_vertices(CaseData<3> &, const double);
  template bool
  is_discontinuous(const SerialMesh<2> &);
  template bool
  is_discontinuous(const SerialMesh<3> &);
} // namespace Palpate
