#ifndef palpate_geometry_connected_parts_h
#define palpate_geometry_connected_parts_h

#include <palpate/geometry/discretization.h>

#include <set>

namespace Palpate
{
  /**
   * The parts of a body that act on each other through its cells: two cells
   * belong together if they share a node that is free to move. So separate
   * bodies are parts of their own, and so are the two sides of a plane whose
   * vertices are all prescribed. Numbered by their lowest vertex, whatever the
   * number of ranks; of more than 32 the last ones count as one. Constrained
   * nodes, and cells that have no others, belong to the last number, `n`.
   */
  struct ConnectedParts
  {
    /// @param constrained 1 for constrained local DoFs (ghosts included).
    /// Collective.
    template <int dim>
    ConnectedParts(const Discretization<dim> &D,
                   const std::vector<char>   &constrained);

    static constexpr unsigned int n_max = 32;
    unsigned int                  n     = 0;
    std::vector<unsigned int>     of_node, of_cell; ///< local ones, with ghosts
    /// Of each part and, last, of what is held: cells, and their labels.
    std::vector<unsigned long> n_cells;
    std::vector<std::set<int>> labels;

  private:
    /// The lowest global number of the nodes of the part of every local node.
    template <int dim>
    std::vector<double>
    roots(const Discretization<dim> &D, const std::vector<char> &free) const;
    template <int dim>
    void
    number(const Discretization<dim> &D, const std::vector<double> &root);
    template <int dim>
    void
    count(const Discretization<dim> &D);
  };
} // namespace Palpate

#endif
