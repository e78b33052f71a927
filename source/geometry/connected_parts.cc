#include <deal.II/base/mpi.h>
#include <deal.II/lac/la_parallel_vector.h>

#include <palpate/geometry/connected_parts.h>

#include <algorithm>
#include <limits>
#include <numeric>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    constexpr double no_label = std::numeric_limits<double>::max();
  }

  template <int dim>
  ConnectedParts::ConnectedParts(const Discretization<dim> &D,
                                 const std::vector<char>   &constrained)
  {
    std::vector<char> free(D.n_nodes(), 0);
    for (unsigned int i = 0; i < D.n_nodes() * dim; ++i)
      if (!constrained[i])
        free[i / dim] = 1;
    number(D, roots(D, free));
    of_cell.assign(D.n_cells(), n);
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
        of_cell[k] =
          std::min(of_cell[k], of_node[D.cell_nodes[k * D.nodes_per_cell + a]]);
    count(D);
  }

  template <int dim>
  std::vector<double>
  ConnectedParts::roots(const Discretization<dim> &D,
                        const std::vector<char>   &free) const
  {
    // Within the rank once and for all; then lower numbers spread from owners
    // to the ranks that have their nodes as ghosts.
    std::vector<unsigned int> parent(D.n_nodes());
    std::iota(parent.begin(), parent.end(), 0);
    const auto find = [&](unsigned int i) {
      while (parent[i] != i)
        i = parent[i] = parent[parent[i]];
      return i;
    };
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      {
        const unsigned int *nodes = &D.cell_nodes[k * D.nodes_per_cell];
        unsigned int        first = D.n_nodes();
        for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
          if (free[nodes[a]] && first == D.n_nodes())
            first = nodes[a];
          else if (free[nodes[a]])
            parent[find(nodes[a])] = find(first);
      }
    LinearAlgebra::distributed::Vector<double> label(D.node_partitioner());
    for (unsigned int i = 0; i < D.n_owned_nodes(); ++i)
      label.local_element(i) = D.node_partitioner()->local_to_global(i);
    for (bool changed = true; changed;)
      {
        label.update_ghost_values();
        std::vector<double> lowest(D.n_nodes(), no_label);
        for (unsigned int i = 0; i < D.n_nodes(); ++i)
          lowest[find(i)] = std::min(lowest[find(i)], label.local_element(i));
        int changes = 0;
        for (unsigned int i = 0; i < D.n_owned_nodes(); ++i)
          changes += lowest[find(i)] < label.local_element(i);
        changed = Utilities::MPI::max(changes, D.comm) > 0;
        label.zero_out_ghost_values();
        for (unsigned int i = 0; i < D.n_owned_nodes(); ++i)
          label.local_element(i) = lowest[find(i)];
      }
    label.update_ghost_values();
    std::vector<double> result(D.n_nodes(), no_label);
    for (unsigned int i = 0; i < D.n_nodes(); ++i)
      if (free[i])
        result[i] = label.local_element(i);
    return result;
  }

  template <int dim>
  void
  ConnectedParts::number(const Discretization<dim> &D,
                         const std::vector<double> &root)
  {
    // Lowest input number (of the two vertices a node lies between) by root.
    std::map<double, double> lowest;
    for (unsigned int i = 0; i < D.n_owned_nodes(); ++i)
      if (root[i] != no_label)
        {
          const auto  &v   = D.node_vertices[i];
          const double key = v[0] * double(D.mesh.n_all_vertices()) + v[1];
          const auto   it  = lowest.emplace(root[i], key).first;
          it->second       = std::min(it->second, key);
        }
    for (const auto &part :
         Utilities::MPI::all_gather(D.comm,
                                    std::vector<std::pair<double, double>>(
                                      lowest.begin(), lowest.end())))
      for (const auto &[r, key] : part)
        {
          const auto it = lowest.emplace(r, key).first;
          it->second    = std::min(it->second, key);
        }
    std::vector<std::pair<double, double>> order;
    for (const auto &[r, key] : lowest)
      order.emplace_back(key, r);
    std::sort(order.begin(), order.end());
    n = std::min<std::size_t>(order.size(), n_max);
    std::map<double, unsigned int> number_of;
    for (unsigned int p = 0; p < order.size(); ++p)
      number_of[order[p].second] = std::min(p, n_max - 1);
    of_node.assign(D.n_nodes(), n);
    for (unsigned int i = 0; i < D.n_nodes(); ++i)
      if (root[i] != no_label)
        of_node[i] = number_of.at(root[i]);
  }

  template <int dim>
  void
  ConnectedParts::count(const Discretization<dim> &D)
  {
    n_cells.assign(n + 1, 0);
    std::set<std::pair<unsigned int, int>> mine;
    for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
      {
        ++n_cells[of_cell[k]];
        mine.emplace(of_cell[k], D.label(k));
      }
    Utilities::MPI::sum(n_cells, D.comm, n_cells);
    labels.resize(n + 1);
    for (const auto &part : Utilities::MPI::all_gather(
           D.comm,
           std::vector<std::pair<unsigned int, int>>(mine.begin(), mine.end())))
      for (const auto &[p, label] : part)
        labels[p].insert(label);
  }

  template ConnectedParts::ConnectedParts(const Discretization<2> &,
                                          const std::vector<char> &);
  template ConnectedParts::ConnectedParts(const Discretization<3> &,
                                          const std::vector<char> &);
} // namespace Palpate
