#include <deal.II/base/quadrature_lib.h>
#include <deal.II/dofs/dof_tools.h>
#include <deal.II/fe/fe_simplex_p.h>

#include <palpate/geometry/discretization.h>
#include <palpate/mesh/distributed_mesh.h>
#include <palpate/mesh/faces.h>

#include <set>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  Discretization<dim>::Discretization(const SerialMesh<dim> &mesh,
                                      const unsigned int     degree,
                                      const MPI_Comm        &comm)
    : degree(degree)
    , comm(comm)
    , mesh(mesh)
    , nodes_per_cell(mesh.is_network() ? 2
                     : degree == 1     ? dim + 1
                                       : (dim + 1) * (dim + 2) / 2)
    , triangulation(comm)
    , fe(FE_SimplexP<dim>(degree), dim)
  {
    if (mesh.is_network())
      {
        build_network();
        build_labels();
        return;
      }
    SerialMesh<dim> part;
    if (mesh.is_whole())
      part = part_of_this_rank(mesh, comm);
    const SerialMesh<dim> &mine = mesh.is_whole() ? part : mesh;
    create_triangulation(mine, triangulation);
    handler.reinit(triangulation);
    handler.distribute_dofs(fe);
    build_cells(mine.part);
    build_labels();
    build_nodes();
    build_quadrature();
    build_faces(mine);
  }

  // Vertices in blocks of equal size by number; a spring belongs to the rank of
  // its first vertex. Every rank knows the whole network.
  template <int dim>
  void
  Discretization<dim>::build_network()
  {
    AssertThrow(degree == 1, ExcMessage("springs have no edge nodes"));
    const unsigned int n_ranks = Utilities::MPI::n_mpi_processes(comm),
                       rank    = Utilities::MPI::this_mpi_process(comm);
    const std::size_t N = mesh.vertices.size(), M = mesh.springs.size();
    const auto        first = [&](const unsigned int r) {
      return static_cast<unsigned int>(N * r / n_ranks);
    };
    const auto owner = [&](const unsigned int vertex) {
      auto r = static_cast<unsigned int>(std::size_t(vertex) * n_ranks / N);
      while (vertex < first(r))
        --r;
      while (vertex >= first(r + 1))
        ++r;
      return r;
    };
    n_owned_node = first(rank + 1) - first(rank);

    std::vector<unsigned int> ghost_springs;
    std::set<unsigned int>    ghost_vertices;
    for (unsigned int k = 0; k < M; ++k)
      {
        bool mine = false;
        for (const unsigned int v : mesh.springs[k])
          mine = mine || owner(v) == rank;
        if (!mine)
          continue;
        if (owner(mesh.springs[k][0]) == rank)
          cell_id.push_back(k);
        else
          ghost_springs.push_back(k);
        for (const unsigned int v : mesh.springs[k])
          if (owner(v) != rank)
            ghost_vertices.insert(v);
      }
    n_owned = cell_id.size();
    cell_id.insert(cell_id.end(), ghost_springs.begin(), ghost_springs.end());
    cell_place = place_in_part = cell_id;
    volume.assign(cell_id.size(), 1.);

    // Nodes.
    IndexSet owned_nodes(N), ghost_nodes(N), owned_dofs(N * dim),
      ghost_dofs(N * dim);
    owned_nodes.add_range(first(rank), first(rank + 1));
    owned_dofs.add_range(first(rank) * dim, first(rank + 1) * dim);
    std::map<unsigned int, unsigned int> local;
    const auto                           add = [&](const unsigned int v) {
      local.emplace(v, node_vertices.size());
      node_vertices.push_back({{v, v}});
    };
    for (unsigned int v = first(rank); v < first(rank + 1); ++v)
      add(v);
    for (const unsigned int v : ghost_vertices)
      {
        add(v);
        ghost_nodes.add_index(v);
        ghost_dofs.add_range(v * dim, v * dim + dim);
      }
    node_places = node_vertices;
    nodes       = std::make_shared<Utilities::MPI::Partitioner>(owned_nodes,
                                                          ghost_nodes,
                                                          comm);
    dofs        = std::make_shared<Utilities::MPI::Partitioner>(owned_dofs,
                                                         ghost_dofs,
                                                         comm);
    for (const unsigned int k : cell_id)
      for (const unsigned int v : mesh.springs[k])
        cell_nodes.push_back(local.at(v));
    surface_node.assign(n_nodes(), 1);
    n_q         = 0;
    mass_matrix = {1. / 3, 1. / 6, 1. / 6, 1. / 3};
    mean_shape  = {0.5, 0.5};

    // Springs, in a numbering that is contiguous on every rank.
    std::vector<unsigned int> of_rank(n_ranks + 1, 0), number(M);
    for (unsigned int k = 0; k < M; ++k)
      ++of_rank[owner(mesh.springs[k][0]) + 1];
    for (unsigned int r = 0; r < n_ranks; ++r)
      of_rank[r + 1] += of_rank[r];
    IndexSet owned(M), ghosts(M);
    owned.add_range(of_rank[rank], of_rank[rank + 1]);
    for (unsigned int k = 0; k < M; ++k)
      number[k] = of_rank[owner(mesh.springs[k][0])]++;
    for (const unsigned int k : ghost_springs)
      ghosts.add_index(number[k]);
    cells = std::make_shared<Utilities::MPI::Partitioner>(owned, ghosts, comm);
    for (const unsigned int k : cell_id)
      ghost_of_cell.push_back(cells->global_to_local(number[k]));
  }

  template <int dim>
  void
  Discretization<dim>::build_cells(const PartOfMesh &part)
  {
    for (const bool owned : {true, false})
      {
        for (const auto &cell : handler.active_cell_iterators())
          if (owned ? cell->is_locally_owned() : cell->is_ghost())
            {
              const unsigned int number = cell->id().get_coarse_cell_id();
              const unsigned int place =
                std::lower_bound(part.cell_number.begin(),
                                 part.cell_number.end(),
                                 number) -
                part.cell_number.begin();
              iterators.push_back(cell);
              cell_id.push_back(number);
              place_in_part.push_back(place);
              cell_place.push_back(mesh.is_whole() ? number : place);
              volume.push_back(cell->measure());
            }
        if (owned)
          n_owned = iterators.size();
      }
    IndexSet     owned(n_global_cells()), ghosts(n_global_cells());
    unsigned int offset = 0;
    MPI_Exscan(&n_owned, &offset, 1, MPI_UNSIGNED, MPI_SUM, comm);
    if (Utilities::MPI::this_mpi_process(comm) == 0)
      offset = 0; // MPI leaves it undefined there
    owned.add_range(offset, offset + n_owned);
    // Owners tell the numbers of ghost cells in this rank-contiguous numbering.
    std::map<unsigned int, std::vector<unsigned int>> asked, answered;
    for (unsigned int k = n_owned; k < n_cells(); ++k)
      asked[iterators[k]->subdomain_id()].push_back(cell_id[k]);
    std::map<unsigned int, unsigned int> number;
    for (unsigned int k = 0; k < n_owned; ++k)
      number[cell_id[k]] = offset + k;
    for (const auto &[rank, ids] : Utilities::MPI::some_to_some(comm, asked))
      for (const unsigned int id : ids)
        answered[rank].push_back(number.at(id));
    const auto answers = Utilities::MPI::some_to_some(comm, answered);
    for (const auto &[rank, ids] : asked)
      for (unsigned int i = 0; i < ids.size(); ++i)
        number[ids[i]] = answers.at(rank)[i];
    for (unsigned int k = n_owned; k < n_cells(); ++k)
      ghosts.add_index(number[cell_id[k]]);
    cells = std::make_shared<Utilities::MPI::Partitioner>(owned, ghosts, comm);
    for (unsigned int k = 0; k < n_cells(); ++k)
      ghost_of_cell.push_back(cells->global_to_local(number[cell_id[k]]));
  }

  template <int dim>
  void
  Discretization<dim>::build_labels()
  {
    std::set<int> all;
    for (unsigned int k = 0; k < n_owned; ++k)
      all.insert(label(k));
    for (const auto &of_rank :
         Utilities::MPI::all_gather(comm,
                                    std::vector<int>(all.begin(), all.end())))
      all.insert(of_rank.begin(), of_rank.end());
    labels.assign(all.begin(), all.end());
  }

  template <int dim>
  unsigned int
  Discretization<dim>::first_cell_of(const int wanted) const
  {
    unsigned int first = no_cell;
    for (unsigned int k = 0; k < n_owned; ++k)
      if (label(k) == wanted)
        first = std::min(first, cell_id[k]);
    return Utilities::MPI::min(first, comm);
  }

  template <int dim>
  void
  Discretization<dim>::build_nodes()
  {
    IndexSet relevant;
    DoFTools::extract_locally_relevant_dofs(handler, relevant);
    const IndexSet owned = handler.locally_owned_dofs();
    dofs = std::make_shared<Utilities::MPI::Partitioner>(owned, relevant, comm);

    n_owned_node              = owned.n_elements() / dim;
    const unsigned int n_node = n_owned_node + dofs->n_ghost_indices() / dim;
    node_vertices.resize(
      n_node, {{numbers::invalid_unsigned_int, numbers::invalid_unsigned_int}});
    node_places = node_vertices;
    IndexSet owned_nodes(handler.n_dofs() / dim),
      ghost_nodes(handler.n_dofs() / dim);
    if (n_owned_node > 0)
      owned_nodes.add_range(owned.nth_index_in_set(0) / dim,
                            owned.nth_index_in_set(0) / dim + n_owned_node);
    for (const auto i : dofs->ghost_indices())
      if (i % dim == 0)
        ghost_nodes.add_index(i / dim);
    nodes = std::make_shared<Utilities::MPI::Partitioner>(owned_nodes,
                                                          ghost_nodes,
                                                          comm);

    // The two vertices every shape function sits between.
    std::vector<std::array<unsigned int, 2>> ends(nodes_per_cell);
    for (unsigned int a = 0; a < nodes_per_cell; ++a)
      {
        const Point<dim>          p = fe.base_element(0).unit_support_point(a);
        std::vector<unsigned int> found;
        double                    first = 1;
        for (unsigned int d = 0; d < dim; ++d)
          first -= p[d];
        if (first > 0.25)
          found.push_back(0);
        for (unsigned int d = 0; d < dim; ++d)
          if (p[d] > 0.25)
            found.push_back(d + 1);
        ends[a] = {{found.front(), found.back()}};
        AssertThrow(a > dim || (found.size() == 1 && found[0] == a),
                    ExcInternalError());
      }

    cell_nodes.resize(n_cells() * nodes_per_cell);
    std::vector<types::global_dof_index> indices(fe.n_dofs_per_cell());
    for (unsigned int k = 0; k < n_cells(); ++k)
      {
        iterators[k]->get_dof_indices(indices);
        for (unsigned int i = 0; i < indices.size(); ++i)
          {
            const auto [component, a] = fe.system_to_component_index(i);
            const unsigned int local  = dofs->global_to_local(indices[i]);
            AssertThrow(local % dim == component, ExcInternalError());
            cell_nodes[k * nodes_per_cell + a] = local / dim;
          }
        const auto &cell = mesh.cells[cell_place[k]];
        for (unsigned int v = 0; v < dim + 1; ++v)
          AssertThrow(iterators[k]->vertex(v).distance(
                        mesh.vertices[cell[v]]) == 0,
                      ExcInternalError());
        for (unsigned int a = 0; a < nodes_per_cell; ++a)
          {
            const unsigned int node = cell_nodes[k * nodes_per_cell + a];
            auto              &n    = node_places[node];
            n                       = {{cell[ends[a][0]], cell[ends[a][1]]}};
            if (n[1] < n[0]) // places ascend with the numbers
              std::swap(n[0], n[1]);
            node_vertices[node] = {
              {mesh.vertex_number(n[0]), mesh.vertex_number(n[1])}};
          }
      }
  }

  template <int dim>
  std::array<Tensor<1, dim>, dim + 1>
  Discretization<dim>::barycentric_gradients(const unsigned int cell) const
  {
    const auto    &vertices = mesh.cells[cell_place[cell]];
    Tensor<2, dim> J; // columns: edges from vertex 0
    for (unsigned int j = 0; j < dim; ++j)
      for (unsigned int i = 0; i < dim; ++i)
        J[i][j] =
          mesh.vertices[vertices[j + 1]][i] - mesh.vertices[vertices[0]][i];
    const Tensor<2, dim>                inverse = invert(J);
    std::array<Tensor<1, dim>, dim + 1> g;
    for (unsigned int a = 0; a < dim; ++a)
      {
        g[a + 1] = inverse[a];
        g[0] -= inverse[a];
      }
    return g;
  }

  template <int dim>
  void
  Discretization<dim>::build_quadrature()
  {
    const auto barycentric = [](const Point<dim> &p) {
      std::array<double, dim + 1> l;
      l[0] = 1;
      for (unsigned int d = 0; d < dim; ++d)
        {
          l[d + 1] = p[d];
          l[0] -= p[d];
        }
      return l;
    };
    const QGaussSimplex<dim> quadrature(degree);
    n_q                  = quadrature.size();
    double reference_sum = 0;
    for (const double w : quadrature.get_weights())
      reference_sum += w;
    for (const double w : quadrature.get_weights())
      weights.push_back(w / reference_sum);

    // Edge nodes: which two barycentric coordinates they multiply.
    std::vector<std::array<unsigned int, 2>> ends;
    for (unsigned int a = dim + 1; a < nodes_per_cell; ++a)
      {
        const auto l = barycentric(fe.base_element(0).unit_support_point(a));
        std::vector<unsigned int> found;
        for (unsigned int v = 0; v < dim + 1; ++v)
          if (l[v] > 0.25)
            found.push_back(v);
        ends.push_back({{found[0], found[1]}});
      }

    gradient_cache.resize(static_cast<std::size_t>(n_cells()) * n_q *
                          nodes_per_cell);
    for (unsigned int k = 0; k < n_cells(); ++k)
      {
        const auto g = barycentric_gradients(k);
        for (unsigned int q = 0; q < n_q; ++q)
          {
            Tensor<1, dim> *out =
              &gradient_cache[(static_cast<std::size_t>(k) * n_q + q) *
                              nodes_per_cell];
            if (degree == 1)
              std::copy(g.begin(), g.end(), out);
            else
              {
                const auto l = barycentric(quadrature.point(q));
                for (unsigned int a = 0; a < dim + 1; ++a)
                  out[a] = (4 * l[a] - 1) * g[a];
                for (unsigned int e = 0; e < ends.size(); ++e)
                  out[dim + 1 + e] = 4. * (l[ends[e][0]] * g[ends[e][1]] +
                                           l[ends[e][1]] * g[ends[e][0]]);
              }
          }
      }

    const QGaussSimplex<dim> fine(3);
    mass_matrix.assign(nodes_per_cell * nodes_per_cell, 0.);
    mean_shape.assign(nodes_per_cell, 0.);
    for (unsigned int q = 0; q < fine.size(); ++q)
      for (unsigned int a = 0; a < nodes_per_cell; ++a)
        {
          const double N = fe.base_element(0).shape_value(a, fine.point(q));
          mean_shape[a] += fine.weight(q) / reference_sum * N;
          for (unsigned int b = 0; b < nodes_per_cell; ++b)
            mass_matrix[a * nodes_per_cell + b] +=
              fine.weight(q) / reference_sum * N *
              fe.base_element(0).shape_value(b, fine.point(q));
        }
  }

  template <int dim>
  void
  Discretization<dim>::build_faces(const SerialMesh<dim> &part)
  {
    const auto neighbors = cell_neighbors(part, "mesh");
    std::map<std::array<unsigned int, dim>, std::set<unsigned int>> ids;
    for (auto face : part.boundary_faces)
      {
        std::sort(face.vertices.begin(), face.vertices.end());
        ids[face.vertices].insert(face.id);
      }
    std::vector<unsigned int> local(part.cells.size(), no_cell);
    for (unsigned int k = 0; k < n_cells(); ++k)
      local[place_in_part[k]] = k;

    std::vector<std::array<bool, dim + 1>> on_face(nodes_per_cell);
    for (unsigned int a = 0; a < nodes_per_cell; ++a)
      {
        const auto p = fe.base_element(0).unit_support_point(a);
        double     l = 1;
        for (unsigned int d = 0; d < dim; ++d)
          l -= p[d];
        for (unsigned int f = 0; f < dim + 1; ++f)
          on_face[a][f] = (f == 0 ? l : p[f - 1]) <= 1e-12;
      }

    // An owner sees all cells of a node.
    LinearAlgebra::distributed::Vector<double> surface(nodes);
    for (unsigned int k = 0; k < n_cells(); ++k)
      for (unsigned int f = 0; f < dim + 1; ++f)
        if (part.part.surface_faces[place_in_part[k]] >> f & 1)
          for (unsigned int a = 0; a < nodes_per_cell; ++a)
            if (on_face[a][f])
              surface.local_element(cell_nodes[k * nodes_per_cell + a]) = 1;
    surface.update_ghost_values();
    surface_node.resize(n_nodes());
    for (unsigned int n = 0; n < n_nodes(); ++n)
      surface_node[n] = surface.local_element(n) > 0.5;

    for (unsigned int k = 0; k < n_cells(); ++k)
      {
        const unsigned int place = place_in_part[k];
        const auto        &cell  = part.cells[place];
        const auto         g     = barycentric_gradients(k);
        for (unsigned int f = 0; f < dim + 1; ++f)
          {
            // |face| = dim * V * |grad N_f|, outward normal -grad N_f.
            const double       area     = dim * volume[k] * g[f].norm();
            const unsigned int neighbor = neighbors[place][f];
            if (part.part.surface_faces[place] >> f & 1)
              {
                Face       face;
                const auto it = ids.find(sorted_face<dim>(cell, f));
                face.cell     = k;
                face.area     = area;
                face.normal   = -1. / g[f].norm() * g[f];
                for (unsigned int a = 0; a < nodes_per_cell; ++a)
                  {
                    if (!on_face[a][f])
                      continue;
                    // Integral of shape functions over a face: linear 1/dim
                    // each; quadratic triangle 0 and 1/3, edge 1/6 and 2/3.
                    const double weight = degree == 1 ? 1. / dim
                                          : dim == 3
                                            ? (a < dim + 1 ? 0. : 1. / 3)
                                            : (a < dim + 1 ? 1. / 6 : 2. / 3);
                    face.nodes.push_back(a);
                    face.weights.push_back(weight);
                  }
                for (const unsigned int id :
                     it == ids.end() ? std::set<unsigned int>{0} : it->second)
                  {
                    face.id = id;
                    boundary_faces.push_back(face);
                  }
              }
            else if (neighbor != no_cell && place < neighbor)
              {
                const unsigned int other = local[neighbor];
                if (other != no_cell && (k < n_owned || other < n_owned))
                  interior_faces.push_back({{{k, other}}, area});
              }
          }
      }
  }

  template <int dim>
  Vector
  Discretization<dim>::make_vector() const
  {
    return Vector(dofs);
  }

  template <int dim>
  void
  Discretization<dim>::update_ghosts(Field &field) const
  {
    if (field.place == Place::vertices)
      {
        LinearAlgebra::distributed::Vector<double> v(nodes);
        for (unsigned int n = 0; n < n_owned_node; ++n)
          v.local_element(n) = field[n];
        v.update_ghost_values();
        for (unsigned int n = n_owned_node; n < n_nodes(); ++n)
          field[n] = v.local_element(n);
        return;
      }
    LinearAlgebra::distributed::Vector<double> v(cells);
    for (unsigned int c = 0; c < field.n_components; ++c)
      {
        v.zero_out_ghost_values();
        for (unsigned int k = 0; k < n_owned; ++k)
          v.local_element(k) = field[k * field.n_components + c];
        v.update_ghost_values();
        for (unsigned int k = n_owned; k < n_cells(); ++k)
          field[k * field.n_components + c] = v.local_element(ghost_of_cell[k]);
      }
  }

  template <int dim>
  std::vector<double>
  Discretization<dim>::gather(const std::vector<unsigned int> &numbers,
                              const std::vector<double>       &values,
                              const std::size_t                size,
                              const To                         to) const
  {
    std::vector<double> all;
    if (to == To::all)
      {
        all.assign(size, 0.);
        for (std::size_t i = 0; i < numbers.size(); ++i)
          for (std::size_t c = 0, n = values.size() / numbers.size(); c < n;
               ++c)
            all[numbers[i] * n + c] = values[i * n + c];
        Utilities::MPI::sum(all, comm, all);
        return all;
      }
    const auto of_ranks = Utilities::MPI::gather(comm, numbers, 0);
    const auto v        = Utilities::MPI::gather(comm, values, 0);
    if (!of_ranks.empty())
      all.assign(size, 0.);
    for (std::size_t r = 0; r < of_ranks.size(); ++r)
      for (std::size_t i = 0; i < of_ranks[r].size(); ++i)
        {
          const std::size_t n = v[r].size() / of_ranks[r].size();
          std::copy(v[r].begin() + i * n,
                    v[r].begin() + (i + 1) * n,
                    all.begin() + of_ranks[r][i] * n);
        }
    return all;
  }

  template <int dim>
  std::vector<double>
  Discretization<dim>::gather_cells(const Field &field, const To to) const
  {
    return gather({cell_id.begin(), cell_id.begin() + n_owned},
                  {field.values.begin(),
                   field.values.begin() + n_owned * field.n_components},
                  n_global_cells() * field.n_components,
                  to);
  }

  template <int dim>
  std::vector<double>
  Discretization<dim>::gather_vertices(const Vector &u, const To to) const
  {
    std::vector<unsigned int> numbers;
    std::vector<double>       values;
    for (unsigned int n = 0; n < n_owned_node; ++n)
      if (is_vertex(n))
        {
          numbers.push_back(node_vertices[n][0]);
          for (unsigned int d = 0; d < dim; ++d)
            values.push_back(u.local_element(n * dim + d));
        }
    return gather(numbers, values, mesh.n_all_vertices() * dim, to);
  }

  template <int dim>
  std::vector<double>
  Discretization<dim>::gather_vertices(const Field &field, const To to) const
  {
    std::vector<unsigned int> numbers;
    for (unsigned int n = 0; n < n_owned_node; ++n)
      numbers.push_back(node_vertices[n][0]);
    return gather(numbers,
                  {field.values.begin(), field.values.begin() + n_owned_node},
                  mesh.n_all_vertices(),
                  to);
  }

  template <int dim>
  Field
  Discretization<dim>::scatter_vertices(const std::vector<double> &values) const
  {
    AssertDimension(degree, 1);
    AssertDimension(values.size(), mesh.vertices.size());
    Field field(n_nodes());
    field.place = Place::vertices;
    for (unsigned int n = 0; n < n_nodes(); ++n)
      field[n] = values[node_places[n][0]];
    return field;
  }

  template <int dim>
  Field
  Discretization<dim>::scatter_cells(const std::vector<double> &values,
                                     const unsigned int n_components) const
  {
    AssertDimension(values.size(), mesh.n_cells() * n_components);
    Field field(n_cells(), 0., n_components);
    for (unsigned int k = 0; k < n_cells(); ++k)
      for (unsigned int c = 0; c < n_components; ++c)
        field[k * n_components + c] = values[cell_place[k] * n_components + c];
    return field;
  }

  template <int dim>
  Vector
  Discretization<dim>::interpolate_vertices(
    const std::vector<double> &values) const
  {
    AssertDimension(values.size(), mesh.vertices.size() * dim);
    Vector u = make_vector();
    for (unsigned int n = 0; n < n_nodes(); ++n)
      for (unsigned int d = 0; d < dim; ++d)
        u.local_element(n * dim + d) =
          0.5 * (values[node_places[n][0] * dim + d] +
                 values[node_places[n][1] * dim + d]);
    u.set_ghost_state(true);
    return u;
  }

  template class Discretization<2>;
  template class Discretization<3>;
} // namespace Palpate
