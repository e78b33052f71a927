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
    , serial_mesh(mesh)
    , nodes_per_cell(degree == 1 ? dim + 1 : (dim + 1) * (dim + 2) / 2)
    , triangulation(comm)
    , fe(FE_SimplexP<dim>(degree), dim)
  {
    const auto input_number = distribute_mesh(mesh, triangulation);
    handler.reinit(triangulation);
    handler.distribute_dofs(fe);
    build_cells(input_number);
    build_nodes();
    build_quadrature();
    build_faces();
  }

  template <int dim>
  void
  Discretization<dim>::build_cells(
    const std::vector<unsigned int> &input_number)
  {
    for (const bool owned : {true, false})
      {
        for (const auto &cell : handler.active_cell_iterators())
          if (owned ? cell->is_locally_owned() : cell->is_ghost())
            {
              iterators.push_back(cell);
              cell_id.push_back(input_number[cell->id().get_coarse_cell_id()]);
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
    // Ghost cells learn their number in this rank-contiguous numbering through
    // the input number, which everybody knows.
    std::vector<unsigned int> number(n_global_cells(), 0);
    for (unsigned int k = 0; k < n_owned; ++k)
      number[cell_id[k]] = offset + k;
    Utilities::MPI::sum(number, comm, number);
    for (unsigned int k = n_owned; k < n_cells(); ++k)
      ghosts.add_index(number[cell_id[k]]);
    cells = std::make_shared<Utilities::MPI::Partitioner>(owned, ghosts, comm);
    for (unsigned int k = 0; k < n_cells(); ++k)
      ghost_of_cell.push_back(cells->global_to_local(number[cell_id[k]]));
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
        const auto &cell = serial_mesh.cells[cell_id[k]];
        for (unsigned int v = 0; v < dim + 1; ++v)
          AssertThrow(iterators[k]->vertex(v).distance(
                        serial_mesh.vertices[cell[v]]) == 0,
                      ExcInternalError());
        for (unsigned int a = 0; a < nodes_per_cell; ++a)
          {
            auto &n = node_vertices[cell_nodes[k * nodes_per_cell + a]];
            n       = {{cell[ends[a][0]], cell[ends[a][1]]}};
            if (n[1] < n[0])
              std::swap(n[0], n[1]);
          }
      }
  }

  template <int dim>
  std::array<Tensor<1, dim>, dim + 1>
  Discretization<dim>::barycentric_gradients(const unsigned int cell) const
  {
    const auto    &vertices = serial_mesh.cells[cell_id[cell]];
    Tensor<2, dim> J; // columns: edges from vertex 0
    for (unsigned int j = 0; j < dim; ++j)
      for (unsigned int i = 0; i < dim; ++i)
        J[i][j] = serial_mesh.vertices[vertices[j + 1]][i] -
                  serial_mesh.vertices[vertices[0]][i];
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
  Discretization<dim>::build_faces()
  {
    const auto neighbors = cell_neighbors(serial_mesh, "mesh");
    std::map<std::array<unsigned int, dim>, unsigned int> ids;
    for (auto face : serial_mesh.boundary_faces)
      {
        std::sort(face.vertices.begin(), face.vertices.end());
        ids[face.vertices] = face.id;
      }
    std::map<unsigned int, unsigned int> local;
    for (unsigned int k = 0; k < n_cells(); ++k)
      local[cell_id[k]] = k;

    std::set<std::array<unsigned int, 2>> surface;
    for (unsigned int k = 0; k < serial_mesh.cells.size(); ++k)
      for (unsigned int f = 0; f < dim + 1; ++f)
        if (neighbors[k][f] == no_cell)
          {
            const auto v = sorted_face<dim>(serial_mesh.cells[k], f);
            for (unsigned int i = 0; i < dim; ++i)
              for (unsigned int j = i; j < dim; ++j)
                surface.insert({{v[i], v[j]}});
          }
    surface_node.resize(n_nodes());
    for (unsigned int n = 0; n < n_nodes(); ++n)
      surface_node[n] = surface.count(node_vertices[n]) > 0;

    for (unsigned int k = 0; k < n_cells(); ++k)
      {
        const auto &cell = serial_mesh.cells[cell_id[k]];
        const auto  g    = barycentric_gradients(k);
        for (unsigned int f = 0; f < dim + 1; ++f)
          {
            // |face| = dim * V * |grad N_f|, outward normal -grad N_f.
            const double       area     = dim * volume[k] * g[f].norm();
            const unsigned int neighbor = neighbors[cell_id[k]][f];
            if (neighbor == no_cell)
              {
                Face       face;
                const auto it = ids.find(sorted_face<dim>(cell, f));
                face.cell     = k;
                face.id       = (it == ids.end() ? 0 : it->second);
                face.area     = area;
                face.normal   = -1. / g[f].norm() * g[f];
                for (unsigned int a = 0; a < nodes_per_cell; ++a)
                  {
                    const auto p = fe.base_element(0).unit_support_point(a);
                    double     l = 1;
                    for (unsigned int d = 0; d < dim; ++d)
                      l -= p[d];
                    if (f > 0)
                      l = p[f - 1];
                    if (l > 1e-12)
                      continue; // not on the face
                    // Integral of shape functions over a face: linear 1/dim
                    // each; quadratic triangle 0 and 1/3, edge 1/6 and 2/3.
                    const double weight = degree == 1 ? 1. / dim
                                          : dim == 3
                                            ? (a < dim + 1 ? 0. : 1. / 3)
                                            : (a < dim + 1 ? 1. / 6 : 2. / 3);
                    face.nodes.push_back(a);
                    face.weights.push_back(weight);
                  }
                boundary_faces.push_back(face);
              }
            else
              {
                const auto other = local.find(neighbor);
                if (other != local.end() && cell_id[k] < neighbor &&
                    (k < n_owned || other->second < n_owned))
                  interior_faces.push_back({{{k, other->second}}, area});
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
  Discretization<dim>::gather_cells(const Field &field) const
  {
    std::vector<double> all(n_global_cells() * field.n_components, 0.);
    for (unsigned int k = 0; k < n_owned; ++k)
      for (unsigned int c = 0; c < field.n_components; ++c)
        all[cell_id[k] * field.n_components + c] =
          field[k * field.n_components + c];
    Utilities::MPI::sum(all, comm, all);
    return all;
  }

  template <int dim>
  std::vector<double>
  Discretization<dim>::gather_vertices(const Vector &u) const
  {
    std::vector<double> all(serial_mesh.vertices.size() * dim, 0.);
    for (unsigned int n = 0; n < n_owned_node; ++n)
      if (is_vertex(n))
        for (unsigned int d = 0; d < dim; ++d)
          all[node_vertices[n][0] * dim + d] = u.local_element(n * dim + d);
    Utilities::MPI::sum(all, comm, all);
    return all;
  }

  template <int dim>
  Field
  Discretization<dim>::scatter_cells(const std::vector<double> &values,
                                     const unsigned int n_components) const
  {
    AssertDimension(values.size(), n_global_cells() * n_components);
    Field field(n_cells(), 0., n_components);
    for (unsigned int k = 0; k < n_cells(); ++k)
      for (unsigned int c = 0; c < n_components; ++c)
        field[k * n_components + c] = values[cell_id[k] * n_components + c];
    return field;
  }

  template <int dim>
  Vector
  Discretization<dim>::interpolate_vertices(
    const std::vector<double> &values) const
  {
    AssertDimension(values.size(), serial_mesh.vertices.size() * dim);
    Vector u = make_vector();
    for (unsigned int n = 0; n < n_nodes(); ++n)
      for (unsigned int d = 0; d < dim; ++d)
        u.local_element(n * dim + d) =
          0.5 * (values[node_vertices[n][0] * dim + d] +
                 values[node_vertices[n][1] * dim + d]);
    u.set_ghost_state(true);
    return u;
  }

  template class Discretization<2>;
  template class Discretization<3>;
} // namespace Palpate
