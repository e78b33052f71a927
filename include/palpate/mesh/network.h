#ifndef palpate_mesh_network_h
#define palpate_mesh_network_h

#include <palpate/mesh/generate.h>
#include <palpate/mesh/quality.h>
#include <palpate/mesh/serial_mesh.h>

namespace Palpate
{
  /**
   * Networks of springs (mass-spring systems), from any mesh.
   */
  namespace Network
  {
    /// Dimension of the points of a file: that of mesh_points of a pack, else
    /// 3. @throw InputError
    int
    dimension(const std::string &filename);

    /**
     * Read a network: of a pack (.npz) its springs (M, 2), or the edges of its
     * triangles (F, 3) or tetrahedra (F, 4), with mesh_points (N, dim); the
     * edges of the volume mesh (.msh, .vtk, .vtu) that read_case() reads; or
     * those of a surface in space, which deal.II (.inp, .msh, .ucd, .vtk, ...)
     * or assimp (.obj, .off, .ply, .stl, ...) reads.
     * @param length_unit factor from the file's unit to metres
     * @throw InputError naming file, key, index and what was expected
     */
    template <int dim>
    CaseData<dim>
    read(const std::string &filename, const double length_unit);

    /// Springs on the edges of all cells, in the order of their vertices; a
    /// spring has the lowest label of its cells, a vertex that of its springs.
    template <int dim>
    void
    take_edges(SerialMesh<dim> &mesh);

    /// Every vertex takes the lowest label of its springs.
    template <int dim>
    void
    label_vertices(SerialMesh<dim> &mesh);

    /// The shapes that are surfaces: "torus" (its axis is z) and "sheet" (in a
    /// plane of constant z), with triangles. @throw InputError
    bool
    is_surface(const std::string &shape);
    SerialMesh<3>
    generate_surface(const ShapeDescription &shape);

    /// Check and measure it: lengths in place of volumes. @throw InputError
    template <int dim>
    QualityReport<dim>
    check(const CaseData<dim> &data);
  } // namespace Network
} // namespace Palpate

#endif
