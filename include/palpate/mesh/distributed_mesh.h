#ifndef palpate_mesh_distributed_mesh_h
#define palpate_mesh_distributed_mesh_h

#include <deal.II/distributed/fully_distributed_tria.h>

#include <palpate/mesh/quality.h>
#include <palpate/mesh/serial_mesh.h>

namespace Palpate
{
  /**
   * The rank (or part) of every cell: METIS on the graph of cells that share a
   * face. To be called on one rank.
   * @param mesh a whole one
   */
  template <int dim>
  std::vector<unsigned int>
  partition_cells(const SerialMesh<dim> &mesh, const unsigned int n_parts);

  /// Cuts a whole mesh into parts; keeps references to both arguments.
  template <int dim>
  class MeshParts
  {
  public:
    MeshParts(const SerialMesh<dim>           &mesh,
              const std::vector<unsigned int> &part_of_cell,
              const unsigned int               n_parts);

    /// The cells of a part and those that share a vertex with them.
    SerialMesh<dim>
    part(const unsigned int which) const;

  private:
    const SerialMesh<dim>           &mesh;
    const std::vector<unsigned int> &part_of_cell;
    /// In compressed rows: cells of a part, cells at a vertex.
    std::vector<std::size_t>                    first_of_part, first_at_vertex;
    std::vector<unsigned int>                   cells_of_part, cells_at_vertex;
    std::vector<unsigned char>                  surface_faces;
    std::vector<std::vector<BoundaryFace<dim>>> faces_at_vertex;
  };

  /**
   * This rank's part of a whole mesh that every rank has. Collective.
   * @param mesh positively oriented; the same on all ranks
   */
  template <int dim>
  SerialMesh<dim>
  part_of_this_rank(const SerialMesh<dim> &mesh, const MPI_Comm &comm);

  /**
   * A rank keeps its part of a case alone: mesh, rows of the arrays, what was
   * found of each vertex and cell. tet_neighbor_* are dropped. Collective.
   */
  template <int dim>
  void
  keep_part(CaseData<dim>      &data,
            QualityReport<dim> &quality,
            const MPI_Comm     &comm);

  /// Rows of an array along one of its dimensions.
  NpyArray
  take_rows(const NpyArray                  &array,
            const std::size_t                axis,
            const std::vector<unsigned int> &rows);

  /// The rows of some vertices and cells (places) of the arrays of a pack;
  /// keys that are neither are dropped.
  template <int dim>
  NpzArrays
  take_rows(const NpzArrays                 &arrays,
            const std::vector<unsigned int> &vertices,
            const std::vector<unsigned int> &cells);

  /// Put a part and the ones after it in one: cells of several are there once.
  /// Their owners are those of the parts. The sources and notes are the
  /// first's.
  template <int dim>
  CaseData<dim>
  join_parts(const std::vector<CaseData<dim>> &parts);

  /**
   * The distributed triangulation of all ranks' parts, cells sorted along a
   * space-filling curve on each; `cell->id().get_coarse_cell_id()` is a cell's
   * number in the input. The vertices of a cell keep their local order.
   * Collective.
   */
  template <int dim>
  void
  create_triangulation(
    const SerialMesh<dim>                                  &part,
    dealii::parallel::fullydistributed::Triangulation<dim> &triangulation);

  /// The whole mesh of the ranks' parts, for what looks at all of it (images,
  /// landmarks): on every rank, or on rank 0 and nothing elsewhere. Collective.
  template <int dim>
  SerialMesh<dim>
  whole_mesh(const SerialMesh<dim> &part,
             const MPI_Comm        &comm,
             const bool             on_root_only = false);

  /// Send the mesh of rank 0 to all ranks. Collective.
  template <int dim>
  void
  broadcast_mesh(SerialMesh<dim> &mesh, const MPI_Comm &comm);
} // namespace Palpate

#endif
