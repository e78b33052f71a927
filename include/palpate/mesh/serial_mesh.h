#ifndef palpate_mesh_serial_mesh_h
#define palpate_mesh_serial_mesh_h

#include <deal.II/base/array_view.h>
#include <deal.II/base/point.h>

#include <palpate/core/npz.h>

#include <array>
#include <string>
#include <vector>

namespace Palpate
{
  /// A face of the boundary with an id users refer to in `boundary ids`. One
  /// with several ids is listed with each of them.
  template <int dim>
  struct BoundaryFace
  {
    std::array<unsigned int, dim> vertices;
    unsigned int                  id;
  };

  /**
   * What a rank must know of the rest of the mesh when it holds a part of it:
   * the cells it owns and all that share a vertex with them, in the order of
   * their numbers in the input. Nothing here for a whole mesh.
   */
  struct PartOfMesh
  {
    std::size_t n_all_vertices = 0, n_all_cells = 0;
    /// Input numbers of the vertices and cells that are here, ascending.
    std::vector<unsigned int> vertex_number, cell_number;
    std::vector<unsigned int> owner; ///< rank (or part) of every cell here
    /// Bit f: the face opposite to vertex f is on the surface of the whole
    /// mesh.
    std::vector<unsigned char> surface_faces;
  };

  /**
   * A simplex mesh (triangles in 2D, tetrahedra in 3D) as it was read or
   * generated, in input numbering, in metres; or a part of one, whose vertices
   * and cells have places from 0 on and input numbers. Positively oriented
   * after check_and_repair(). Or a network: springs between two vertices each
   * in place of the cells, whole on every rank.
   */
  template <int dim>
  struct SerialMesh
  {
    std::vector<dealii::Point<dim>>                vertices; ///< (N) m
    std::vector<std::array<unsigned int, dim + 1>> cells;    ///< (M)
    /// Of a network, which has no cells (M).
    std::vector<std::array<unsigned int, 2>> springs;
    std::vector<int>                         labels;        ///< (M)
    std::vector<int>                         vertex_labels; ///< networks (N)
    /// Faces that carry an id; boundary faces not listed have id 0.
    std::vector<BoundaryFace<dim>> boundary_faces;
    PartOfMesh                     part;

    bool
    is_network() const
    {
      return !springs.empty();
    }
    /// Number of cells (or springs) here, and the vertices of one.
    std::size_t
    n_cells() const
    {
      return is_network() ? springs.size() : cells.size();
    }
    dealii::ArrayView<const unsigned int>
    vertices_of(const std::size_t cell) const
    {
      if (is_network())
        return {springs[cell].data(), 2};
      return {cells[cell].data(), dim + 1};
    }
    bool
    is_whole() const
    {
      return part.n_all_cells == 0;
    }
    /// Sizes of the whole mesh.
    std::size_t
    n_all_vertices() const
    {
      return is_whole() ? vertices.size() : part.n_all_vertices;
    }
    std::size_t
    n_all_cells() const
    {
      return is_whole() ? n_cells() : part.n_all_cells;
    }
    /// Input numbers.
    unsigned int
    vertex_number(const unsigned int place) const
    {
      return is_whole() ? place : part.vertex_number[place];
    }
    unsigned int
    cell_number(const unsigned int place) const
    {
      return is_whole() ? place : part.cell_number[place];
    }
  };

  /**
   * One mesh with the arrays that came with it: the content of a case pack, or
   * just a mesh. All lengths in metres. With a part of a mesh the arrays hold
   * the rows of its vertices and cells only.
   */
  template <int dim>
  struct CaseData
  {
    std::string source; ///< file name, or "generated truncated cone"
    /// The numbers of the vertices and cells are ours: the mesh was generated,
    /// or is in an order that other readers of the file need not have. Results
    /// carry it.
    bool has_own_numbers = false;
    /// Axes of the coordinates, where the file says: "RAS", "LPS" or "".
    std::string     coordinates;
    SerialMesh<dim> mesh;
    /// The other arrays of the pack by key (DESIGN: displacement_field,
    /// alpha_k, ...), validated for shape, type and finiteness.
    NpzArrays arrays;
    /// Things a user should be told (unknown keys ignored, cells reordered).
    std::vector<std::string> notes;
  };
} // namespace Palpate

#endif
