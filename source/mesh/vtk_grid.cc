#include <palpate/mesh/vtk_grid.h>

#include <cctype>
#include <charconv>
#include <cstdlib>

namespace Palpate
{
  namespace Vtk
  {
    const std::vector<std::string> &
    label_names()
    {
      // Ours, deal.II's, ParaView's and VTK's, meshio's of Gmsh and Medit,
      // Gmsh's.
      static const std::vector<std::string> names = {"labels",
                                                     "label",
                                                     "material_id",
                                                     "material",
                                                     "MaterialID",
                                                     "MaterialIDs",
                                                     "gmsh:physical",
                                                     "medit:ref",
                                                     "CellEntityIds",
                                                     "region"};
      return names;
    }

    const std::vector<std::string> &
    displacement_names()
    {
      static const std::vector<std::string> names = {"displacement_field",
                                                     "displacement"};
      return names;
    }

    bool
    Grid::wants(const std::string &name) const
    {
      const auto is_in = [&](const std::vector<std::string> &names) {
        return std::find(names.begin(), names.end(), name) != names.end();
      };
      return name == label_array || is_in(label_names()) ||
             is_in(displacement_names());
    }

    std::string
    space_of_title(const std::string &title)
    {
      for (const char *space : {"LPS", "RAS"})
        if (title.find(std::string("SPACE=") + space) != std::string::npos)
          return space;
      return "";
    }

    double
    load(const char *bytes, const DataType &type, const bool big_endian)
    {
      if (type.kind == Kind::real)
        return type.size == 4 ? load<float>(bytes, big_endian)
                              : load<double>(bytes, big_endian);
      const bool is_signed = (type.kind == Kind::signed_integer);
      switch (type.size)
        {
          case 1:
            return is_signed ? load<std::int8_t>(bytes, big_endian)
                             : load<std::uint8_t>(bytes, big_endian);
          case 2:
            return is_signed ? load<std::int16_t>(bytes, big_endian)
                             : load<std::uint16_t>(bytes, big_endian);
          case 4:
            return is_signed ? load<std::int32_t>(bytes, big_endian)
                             : load<std::uint32_t>(bytes, big_endian);
          default:
            return is_signed ? load<std::int64_t>(bytes, big_endian)
                             : load<std::uint64_t>(bytes, big_endian);
        }
    }



    std::vector<double>
    load_all(const char       *bytes,
             const std::size_t n,
             const DataType   &type,
             const bool        big_endian)
    {
      std::vector<double> values(n);
      for (std::size_t i = 0; i < n; ++i)
        values[i] = load(bytes + i * type.size, type, big_endian);
      return values;
    }



    bool
    is_space(const char c)
    {
      return std::isspace(static_cast<unsigned char>(c)) != 0;
    }



    bool
    scan_number(const std::string &text, std::size_t &position, double &value)
    {
      while (position < text.size() && is_space(text[position]))
        ++position;
      std::size_t begin = position;
      if (begin < text.size() && text[begin] == '+')
        ++begin;
      const auto result =
        std::from_chars(text.data() + begin, text.data() + text.size(), value);
      if (result.ec == std::errc::result_out_of_range)
        value = std::strtod(text.c_str() + begin, nullptr); // 0 or infinite
      else if (result.ec != std::errc())
        return false;
      position = static_cast<std::size_t>(result.ptr - text.data());
      return position == text.size() || is_space(text[position]);
    }
  } // namespace Vtk
} // namespace Palpate
