#include <deal.II/base/exceptions.h>
#include <deal.II/base/utilities.h>

#include <palpate/output/vtu_grid.h>

#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <map>

namespace Palpate
{
  using namespace dealii;

  std::string
  name_with_unit(const std::string &name)
  {
    static const std::map<std::string, std::string> units = {
      {"displacement", "m"},
      {"registered", "m"},
      {"error", "m"},
      {"velocity", "m_per_s"},
      {"adjoint", "m_per_N"},
      {"youngs_modulus", "Pa"},
      {"density", "kg_per_m3"},
      {"charge_density", "C_per_m3"},
      {"shear_viscosity", "Pa_s"},
      {"dilatational_viscosity", "Pa_s"},
      {"mass", "kg"},
      {"charge", "C"},
      {"rest_length", "m"},
      {"electric_field", "V_per_m"},
      {"spring_stiffness", "N_per_m"},
      {"spring_constant", "N_per_m"}};
    if (name == "alpha_k")
      return "alpha_Pa";
    const auto it = units.find(name);
    return it == units.end() ? name : name + "_" + it->second;
  }

  namespace
  {
    /// Compressed and in base 64, as VTK's vtkZLibDataCompressor has it: the
    /// number of blocks (one), its size, that of the last, compressed sizes.
    template <typename Number>
    std::string
    encoded(const std::vector<Number> &values)
    {
      const uLong                n = values.size() * sizeof(Number);
      uLongf                     compressed_size = compressBound(n);
      std::vector<unsigned char> compressed(compressed_size);
      const int                  code = compress2(compressed.data(),
                                 &compressed_size,
                                 reinterpret_cast<const Bytef *>(values.data()),
                                 n,
                                 Z_BEST_SPEED);
      AssertThrow(code == Z_OK, ExcInternalError());
      compressed.resize(compressed_size);
      const std::uint32_t sizes[4] = {n > 0 ? 1u : 0u,
                                      static_cast<std::uint32_t>(n),
                                      static_cast<std::uint32_t>(n),
                                      static_cast<std::uint32_t>(
                                        compressed_size)};
      std::vector<unsigned char> header((n > 0 ? 4 : 3) * sizeof(sizes[0]));
      std::memcpy(header.data(), sizes, header.size());
      return Utilities::encode_base64(header) +
             (n > 0 ? Utilities::encode_base64(compressed) : "");
    }

    template <typename Number>
    void
    write_array(std::ostream              &out,
                const std::string         &type,
                const std::string         &name,
                const unsigned int         n_components,
                const std::vector<Number> &values)
    {
      out << "<DataArray type=\"" << type << "\" Name=\"" << name << "\"";
      if (n_components > 1)
        out << " NumberOfComponents=\"" << n_components << "\"";
      out << " format=\"binary\">\n" << encoded(values) << "\n</DataArray>\n";
    }

    void
    declare_array(std::ostream      &out,
                  const std::string &name,
                  const unsigned int n_components)
    {
      out << "<PDataArray type=\"Float32\" Name=\"" << name
          << "\" NumberOfComponents=\"" << n_components << "\"/>\n";
    }

    const char *const header = "<?xml version=\"1.0\"?>\n<VTKFile type=\"";
    const char *const byte_order =
      "\" version=\"0.1\" byte_order=\"LittleEndian\" "
      "compressor=\"vtkZLibDataCompressor\">\n";
  } // namespace

  VtuGrid::Array
  VtuGrid::padded(const std::string         &name,
                  const std::vector<double> &values,
                  const unsigned int         n_components)
  {
    Array array{name_with_unit(name), n_components == 1 ? 1u : 3u, {}};
    for (std::size_t i = 0; i < values.size() / n_components; ++i)
      for (unsigned int d = 0; d < array.n_components; ++d)
        array.values.push_back(d < n_components ? values[i * n_components + d]
                                                : 0.);
    return array;
  }

  void
  VtuGrid::add_point_array(const std::string         &name,
                           const std::vector<double> &values,
                           const unsigned int         n_components)
  {
    at_points.push_back(padded(name, values, n_components));
    AssertDimension(at_points.back().values.size(),
                    at_points.back().n_components * n_points());
  }

  void
  VtuGrid::add_cell_array(const std::string         &name,
                          const std::vector<double> &values,
                          const unsigned int         n_components)
  {
    in_cells.push_back(padded(name, values, n_components));
    AssertDimension(in_cells.back().values.size(),
                    in_cells.back().n_components * n_cells());
  }

  void
  VtuGrid::write_vtu(std::ostream &out) const
  {
    const std::map<Shape, std::uint8_t> types = {{Shape::vertex, 1},
                                                 {Shape::line, 3},
                                                 {Shape::triangle, 5},
                                                 {Shape::tetrahedron, 10}};
    std::vector<int>                    ends;
    for (unsigned int k = 0; k < n_cells(); ++k)
      ends.push_back((k + 1) * static_cast<int>(shape));
    out << header << "UnstructuredGrid" << byte_order
        << "<UnstructuredGrid>\n<Piece NumberOfPoints=\"" << n_points()
        << "\" NumberOfCells=\"" << n_cells() << "\">\n<Points>\n";
    write_array(out, "Float32", "Points", 3, points);
    out << "</Points>\n<Cells>\n";
    write_array(out, "Int32", "connectivity", 1, corners);
    write_array(out, "Int32", "offsets", 1, ends);
    write_array(out,
                "UInt8",
                "types",
                1,
                std::vector<std::uint8_t>(n_cells(), types.at(shape)));
    out << "</Cells>\n<PointData>\n";
    for (const auto &array : at_points)
      write_array(out, "Float32", array.name, array.n_components, array.values);
    out << "</PointData>\n<CellData>\n";
    for (const auto &array : in_cells)
      write_array(out, "Float32", array.name, array.n_components, array.values);
    out << "</CellData>\n</Piece>\n</UnstructuredGrid>\n</VTKFile>\n";
  }

  void
  VtuGrid::write_pvtu(std::ostream                   &out,
                      const std::vector<std::string> &pieces) const
  {
    out << header << "PUnstructuredGrid" << byte_order
        << "<PUnstructuredGrid GhostLevel=\"0\">\n<PPoints>\n";
    declare_array(out, "Points", 3);
    out << "</PPoints>\n<PPointData>\n";
    for (const auto &array : at_points)
      declare_array(out, array.name, array.n_components);
    out << "</PPointData>\n<PCellData>\n";
    for (const auto &array : in_cells)
      declare_array(out, array.name, array.n_components);
    out << "</PCellData>\n";
    for (const auto &piece : pieces)
      out << "<Piece Source=\"" << piece << "\"/>\n";
    out << "</PUnstructuredGrid>\n</VTKFile>\n";
  }
} // namespace Palpate
