#ifndef palpate_mesh_readers_h
#define palpate_mesh_readers_h

#include <palpate/mesh/serial_mesh.h>

namespace Palpate
{
  /**
   * The readers behind read_case(), one per format. They return the content as
   * it is in the file, in the file's unit of length and not yet validated.
   */
  namespace Readers
  {
    /// Case pack; key names in the messages.
    template <int dim>
    CaseData<dim>
    read_pack(const std::string &filename);

    /**
     * The arrays of a pack, without those of text or objects that no pack has:
     * they get a note each. @throw InputError
     */
    NpzArrays
    read_pack_arrays(const std::string        &filename,
                     std::vector<std::string> &notes);

    /// The same of arrays that were read. @param filename for messages
    template <int dim>
    CaseData<dim>
    pack_from_arrays(const std::string &filename, NpzArrays arrays);

    /// 3 or 2, from the shape of mesh_points.
    int
    pack_dimension(const std::string &filename);

    /// Check every known array of a pack against the sizes of the mesh.
    template <int dim>
    void
    validate_arrays(const CaseData<dim> &data);

    /// Keep the known arrays of a network, check them against its sizes, note
    /// the others. @throw InputError
    template <int dim>
    void
    take_network_arrays(CaseData<dim> &data, NpzArrays &arrays);

    /// What the rows of an array of a pack belong to, and which of its
    /// dimensions counts them.
    enum class RowsOf
    {
      vertices,
      cells,
      neither ///< lists of neighbours, unknown keys
    };
    struct Rows
    {
      RowsOf      what = RowsOf::neither;
      std::size_t axis = 0;
    };
    Rows
    rows_of_key(const std::string &key, const NpyArray &array);

    /**
     * Arrays that repeat what the mesh says must agree with it: volume, r_vol,
     * r_axis (orthonormal axes), r_shear (those of r_axis), tet_neighbor_*.
     * In file units, before cells are reordered. @throw InputError
     */
    template <int dim>
    void
    check_against_mesh(const CaseData<dim> &data);

    /**
     * Gmsh .msh. Vertices are in the order of their tags (the order of the
     * file in what Gmsh writes), and so are cells.
     */
    template <int dim>
    CaseData<dim>
    read_gmsh(const std::string &filename);

    int
    gmsh_dimension(const std::string &filename);

    /// .vtk (legacy) and .vtu, told apart by their content. @param label_array
    /// of the cells; empty: the first of Vtk::label_names() that is there
    template <int dim>
    CaseData<dim>
    read_vtk(const std::string &filename, const std::string &label_array = "");

    int
    vtk_dimension(const std::string &filename);

    /// Whole numbers within int, one per entry of @p array.
    std::vector<int>
    to_labels(const std::string &source,
              const std::string &key,
              const NpyArray    &array);

    /**
     * Keep those @p faces that belong to exactly one cell as the mesh's
     * boundary faces, and note how many do not.
     */
    template <int dim>
    void
    set_boundary_faces(CaseData<dim>                        &data,
                       const std::vector<BoundaryFace<dim>> &faces);

    /**
     * Points from triples of coordinates. In 2D the third is dropped, and must
     * be the same for all (to 1e-9 of the extent).
     */
    template <int dim>
    std::vector<dealii::Point<dim>>
    to_points(const std::string &source, const std::vector<double> &xyz);

    /// "[3, 1]": the position of entry @p i of an array of this shape.
    std::string
    index_string(const std::vector<std::size_t> &shape, std::size_t i);

    /// The text without line breaks and control characters, cut at 200.
    std::string
    one_line(const std::string &text);
  } // namespace Readers
} // namespace Palpate

#endif
