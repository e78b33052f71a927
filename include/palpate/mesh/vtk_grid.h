#ifndef palpate_mesh_vtk_grid_h
#define palpate_mesh_vtk_grid_h

#include <palpate/core/npz.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace Palpate
{
  /// What the two readers of VTK files share: .vtk (legacy) and .vtu (XML).
  namespace Vtk
  {
    /// What an unstructured grid file says, before it becomes a mesh.
    struct Grid
    {
      std::vector<double> xyz; ///< three per point
      std::vector<double> connectivity;
      std::vector<double> offsets; ///< first entry 0, one more than cells
      std::vector<double> types;
      NpzArrays           cell_arrays, point_arrays; ///< (n, components)
      /// Names of other arrays of the cells.
      std::vector<std::string> others;
      /// What the file says of its coordinates, as 3D Slicer does: "LPS",
      /// "RAS" or nothing.
      std::string space;
      /// The array of labels a user named, or nothing.
      std::string label_array;

      /// Is this one of the arrays that are used?
      bool
      wants(const std::string &name) const;
    };

    /// The names of labels that are known, the first that is there counts;
    /// those of displacements.
    const std::vector<std::string> &
    label_names();
    const std::vector<std::string> &
    displacement_names();

    /// @param label_array see Grid. @throw InputError
    Grid
    read_legacy(const std::string &filename,
                const std::string &text,
                const std::string &label_array);
    Grid
    read_xml(const std::string &filename,
             std::string        text,
             const std::string &label_array);

    /// "LPS" of "... SPACE=LPS", as in titles.
    std::string
    space_of_title(const std::string &title);

    enum class Kind
    {
      real,
      signed_integer,
      unsigned_integer
    };

    struct DataType
    {
      Kind        kind = Kind::real;
      std::size_t size = 0; ///< bytes; 0 for an unknown type
    };

    /// The value at these bytes.
    template <typename T>
    T
    load(const char *bytes, const bool big_endian)
    {
      char buffer[sizeof(T)];
      std::memcpy(buffer, bytes, sizeof(T));
      const std::uint16_t one = 1;
      const bool host_is_big  = (*reinterpret_cast<const char *>(&one) == 0);
      if (big_endian != host_is_big)
        std::reverse(buffer, buffer + sizeof(T));
      T value;
      std::memcpy(&value, buffer, sizeof(T));
      return value;
    }

    double
    load(const char *bytes, const DataType &type, const bool big_endian);

    std::vector<double>
    load_all(const char       *bytes,
             const std::size_t n,
             const DataType   &type,
             const bool        big_endian);

    bool
    is_space(const char c);

    /// Next number of the text; false at its end or at something else.
    bool
    scan_number(const std::string &text, std::size_t &position, double &value);
  } // namespace Vtk
} // namespace Palpate

#endif
