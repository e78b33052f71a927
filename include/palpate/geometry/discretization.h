#ifndef palpate_geometry_discretization_h
#define palpate_geometry_discretization_h

#include <deal.II/distributed/fully_distributed_tria.h>
#include <deal.II/dofs/dof_handler.h>
#include <deal.II/fe/fe_system.h>

#include <palpate/core/fields.h>
#include <palpate/core/types.h>
#include <palpate/mesh/serial_mesh.h>

#include <array>
#include <map>
#include <memory>

namespace Palpate
{
  /**
   * Linear or quadratic displacements on a distributed simplex mesh, and the
   * cached geometry every term loops over.
   *
   * Cells of this rank are numbered 0..n_owned_cells()-1 (owned) and on to
   * n_cells()-1 (ghosts). Terms loop over *all* of them and write only to owned
   * nodes (rows), so that assembling needs no communication; scalars are summed
   * over owned cells only. Nodes are vertices and, for degree 2, edge
   * midpoints; the DoFs of local node n are n*dim .. n*dim+dim-1.
   *
   * Of a network the "cells" are its springs: two nodes each, volume 1 (no
   * unit), no quadrature points, no faces; every node counts as surface.
   */
  template <int dim>
  class Discretization
  {
  public:
    /**
     * @param mesh this rank's part of a mesh, or the whole of it on every rank;
     * kept by reference.
     * @param degree 1 or 2.
     * Collective.
     */
    Discretization(const SerialMesh<dim> &mesh,
                   const unsigned int     degree,
                   const MPI_Comm        &comm);

    const unsigned int degree;
    const MPI_Comm     comm;
    /// Vertices and cells have *places* here, and numbers in the input.
    const SerialMesh<dim> &mesh;
    bool
    is_network() const
    {
      return mesh.is_network();
    }
    /// All labels of the whole mesh, ascending.
    std::vector<int> labels;

    /// Changes whenever the reference geometry changes (shape will be a field).
    unsigned int geometry_version = 1;

    /// @name Cells
    /// @{
    unsigned int
    n_owned_cells() const
    {
      return n_owned;
    }
    unsigned int
    n_cells() const
    {
      return cell_id.size();
    }
    /// Number of cells of the whole mesh.
    std::size_t
    n_global_cells() const
    {
      return mesh.n_all_cells();
    }
    /// Input number of local cells.
    std::vector<unsigned int> cell_id;
    /// Their places in `mesh` and in the arrays that came with it.
    std::vector<unsigned int> cell_place;
    int
    label(const unsigned int cell) const
    {
      return mesh.labels[cell_place[cell]];
    }
    /// Lowest input number of the cells with a label. Collective.
    unsigned int
    first_cell_of(const int label) const;
    /// Volume of local cells [m^dim] (area in 2D).
    std::vector<double> volume;
    /// deal.II's cells, for boundary faces and output.
    std::vector<typename dealii::DoFHandler<dim>::active_cell_iterator>
      iterators;
    /// @}

    /// @name Nodes
    /// @{
    unsigned int nodes_per_cell; ///< dim+1 or (dim+1)(dim+2)/2; springs: 2
    /// Local nodes of local cells, nodes_per_cell each, vertices first.
    std::vector<unsigned int> cell_nodes;
    unsigned int
    n_owned_nodes() const
    {
      return n_owned_node;
    }
    unsigned int
    n_nodes() const
    {
      return node_vertices.size();
    }
    /// Input numbers of the two vertices a node lies between (twice the same
    /// number for a vertex).
    std::vector<std::array<unsigned int, 2>> node_vertices;
    /// The same two as places in `mesh`.
    std::vector<std::array<unsigned int, 2>> node_places;
    bool
    is_vertex(const unsigned int node) const
    {
      return node_vertices[node][0] == node_vertices[node][1];
    }
    /// Of a network.
    int
    node_label(const unsigned int node) const
    {
      return mesh.vertex_labels[node_places[node][0]];
    }
    std::size_t
    n_dofs() const
    {
      return dofs->size();
    }
    /// Reference position of a local node [m].
    dealii::Point<dim>
    node_position(const unsigned int node) const
    {
      return 0.5 * (mesh.vertices[node_places[node][0]] +
                    mesh.vertices[node_places[node][1]]);
    }
    /// @}

    /// @name Quadrature
    /// @{
    unsigned int n_q; ///< points per cell: 1 for degree 1
    /// Weight times volume, n_q per local cell.
    double
    JxW(const unsigned int cell, const unsigned int q) const
    {
      return volume[cell] * weights[q];
    }
    /// Gradients of the shape functions of one cell at point q,
    /// nodes_per_cell of them [1/m].
    const dealii::Tensor<1, dim> *
    gradients(const unsigned int cell, const unsigned int q) const
    {
      return gradient_cache.data() +
             (static_cast<std::size_t>(cell) * n_q + q) * nodes_per_cell;
    }
    /// Gradients of the barycentric coordinates of a cell, dim+1 of them.
    std::array<dealii::Tensor<1, dim>, dim + 1>
    barycentric_gradients(const unsigned int cell) const;
    /// Integral of N_a N_b over a cell divided by its volume, row-major.
    std::vector<double> mass_matrix;
    /// Integral of N_a over a cell divided by its volume.
    std::vector<double> mean_shape;
    /// @}

    /// @name Vectors and fields
    /// @{
    /// A zero vector with ghost entries for all local nodes.
    Vector
    make_vector() const;
    const std::shared_ptr<const dealii::Utilities::MPI::Partitioner> &
    dof_partitioner() const
    {
      return dofs;
    }
    const dealii::DoFHandler<dim> &
    dof_handler() const
    {
      return handler;
    }
    /// Partitioner of one number per node (local numbering as nodes).
    const std::shared_ptr<const dealii::Utilities::MPI::Partitioner> &
    node_partitioner() const
    {
      return nodes;
    }
    /// Entries of a field that belong to this rank; those of the body are
    /// everyone's, and of duals a part of a sum over the ranks.
    std::size_t
    n_owned_values(const Field &field) const
    {
      return field.place == Place::cells      ? n_owned * field.n_components
             : field.place == Place::nodes    ? n_owned_node * dim
             : field.place == Place::vertices ? n_owned_node
                                              : field.values.size();
    }
    /// Fill the ghosts of a field of cells or vertices from their owners.
    /// Collective.
    void
    update_ghosts(Field &field) const;

    /// Values at the nodes of a cell.
    void
    gather(const Vector                        &u,
           const unsigned int                   cell,
           std::vector<dealii::Tensor<1, dim>> &values) const
    {
      const unsigned int *n = &cell_nodes[cell * nodes_per_cell];
      values.resize(nodes_per_cell);
      for (unsigned int a = 0; a < nodes_per_cell; ++a)
        for (unsigned int d = 0; d < dim; ++d)
          values[a][d] = u.local_element(n[a] * dim + d);
    }
    /// Add to the owned nodes of a cell.
    void
    scatter(const std::vector<dealii::Tensor<1, dim>> &values,
            const unsigned int                         cell,
            Vector                                    &result) const
    {
      const unsigned int *n = &cell_nodes[cell * nodes_per_cell];
      for (unsigned int a = 0; a < nodes_per_cell; ++a)
        if (n[a] < n_owned_node)
          for (unsigned int d = 0; d < dim; ++d)
            result.local_element(n[a] * dim + d) += values[a][d];
    }
    /// H = sum_a u_a (x) g_a at a quadrature point.
    dealii::Tensor<2, dim>
    displacement_gradient(const std::vector<dealii::Tensor<1, dim>> &u,
                          const unsigned int                         cell,
                          const unsigned int                         q) const
    {
      dealii::Tensor<2, dim>        H;
      const dealii::Tensor<1, dim> *g = gradients(cell, q);
      for (unsigned int a = 0; a < nodes_per_cell; ++a)
        for (unsigned int i = 0; i < dim; ++i)
          for (unsigned int j = 0; j < dim; ++j)
            H[i][j] += u[a][i] * g[a][j];
      return H;
    }
    /// F = I + H.
    dealii::Tensor<2, dim>
    deformation_gradient(const std::vector<dealii::Tensor<1, dim>> &u,
                         const unsigned int                         cell,
                         const unsigned int                         q) const
    {
      dealii::Tensor<2, dim> F = displacement_gradient(u, cell, q);
      for (unsigned int d = 0; d < dim; ++d)
        F[d][d] += 1;
      return F;
    }
    /// @}

    /// @name Whole arrays in input numbering (collective)
    /// @{
    /// Who gets them; the others get nothing.
    enum class To
    {
      all,
      root
    };
    /// One or more values per cell, (M * components).
    std::vector<double>
    gather_cells(const Field &field, const To to = To::all) const;
    /// Values at the vertices, (N * dim).
    std::vector<double>
    gather_vertices(const Vector &u, const To to = To::all) const;
    /// One value per vertex, (N), of a field there.
    std::vector<double>
    gather_vertices(const Field &field, const To to = To::all) const;
    /// @}

    /// @name Arrays of the vertices and cells of `mesh`, by place
    /// @{
    /// The field of (M * components) values.
    Field
    scatter_cells(const std::vector<double> &values,
                  const unsigned int         n_components = 1) const;
    /// The field at the vertices of (N) values; degree 1.
    Field
    scatter_vertices(const std::vector<double> &values) const;
    /// The nodal vector of (N * dim) values: edge nodes get the mean of their
    /// two ends (linear interpolation).
    Vector
    interpolate_vertices(const std::vector<double> &values) const;
    /// @}

    /// Sum over all ranks.
    double
    sum(const double value) const
    {
      return dealii::Utilities::MPI::sum(value, comm);
    }

    /// 1 for local nodes on the surface of the whole mesh.
    std::vector<char> surface_node;

    /// Faces of owned and ghost cells on the boundary, once for each of their
    /// boundary ids (nearly all have one).
    struct Face
    {
      unsigned int              cell;   ///< local cell
      unsigned int              id;     ///< boundary id
      double                    area;   ///< [m^(dim-1)]
      dealii::Tensor<1, dim>    normal; ///< outward, unit
      std::vector<unsigned int> nodes;  ///< index within the cell
      std::vector<double> weights; ///< integral of N_a over the face / area
    };
    std::vector<Face> boundary_faces;

    /// Faces between a local owned cell and another local cell.
    struct InteriorFace
    {
      std::array<unsigned int, 2> cells; ///< local, lower input number first
      double                      area;
    };
    std::vector<InteriorFace> interior_faces;

  private:
    void
    build_network();
    void
    build_cells(const PartOfMesh &part);
    void
    build_labels();
    void
    build_nodes();
    void
    build_quadrature();
    void
    build_faces(const SerialMesh<dim> &part);
    /// Values of given entries (in components) of all ranks.
    std::vector<double>
    gather(const std::vector<unsigned int> &numbers,
           const std::vector<double>       &values,
           const std::size_t                size,
           const To                         to) const;

    dealii::parallel::fullydistributed::Triangulation<dim> triangulation;
    dealii::FESystem<dim>                                  fe;
    dealii::DoFHandler<dim>                                handler;

    unsigned int                                               n_owned      = 0;
    unsigned int                                               n_owned_node = 0;
    std::shared_ptr<const dealii::Utilities::MPI::Partitioner> dofs, nodes,
      cells;
    std::vector<unsigned int>           ghost_of_cell; ///< local cell -> entry
    std::vector<unsigned int>           place_in_part; ///< of local cells
    std::vector<double>                 weights;
    std::vector<dealii::Tensor<1, dim>> gradient_cache;
  };
} // namespace Palpate

#endif
