#include <palpate/core/errors.h>
#include <palpate/core/input_files.h>
#include <palpate/core/text.h>
#include <palpate/mesh/readers.h>

#include <boost/property_tree/ptree.hpp>
#include <boost/property_tree/xml_parser.hpp>
#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <sstream>

namespace Palpate
{
  namespace
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
    };

    /// Ours, deal.II's, ParaView's and VTK's, meshio's of Gmsh and Medit,
    /// Gmsh's. The first that is there counts.
    const char *const label_names[]        = {"labels",
                                              "label",
                                              "material_id",
                                              "material",
                                              "MaterialID",
                                              "MaterialIDs",
                                              "gmsh:physical",
                                              "medit:ref",
                                              "CellEntityIds",
                                              "region"};
    const char *const displacement_names[] = {"displacement_field",
                                              "displacement"};

    /// Is this one of the arrays that are used?
    bool
    wanted(const std::string &name)
    {
      return std::find(std::begin(label_names), std::end(label_names), name) !=
               std::end(label_names) ||
             std::find(std::begin(displacement_names),
                       std::end(displacement_names),
                       name) != std::end(displacement_names);
    }



    /// "LPS" of "... SPACE=LPS", as in titles.
    std::string
    space_of_title(const std::string &title)
    {
      for (const char *space : {"LPS", "RAS"})
        if (title.find(std::string("SPACE=") + space) != std::string::npos)
          return space;
      return "";
    }



    std::string
    cell_type_name(const double type)
    {
      static const std::map<int, std::string> names = {
        {0, "empty cell"},
        {1, "vertex"},
        {2, "poly-vertex"},
        {3, "line"},
        {4, "poly-line"},
        {5, "triangle"},
        {6, "triangle strip"},
        {7, "polygon"},
        {8, "pixel"},
        {9, "quadrilateral"},
        {10, "tetrahedron"},
        {11, "voxel"},
        {12, "hexahedron"},
        {13, "wedge"},
        {14, "pyramid"},
        {21, "quadratic edge"},
        {22, "quadratic triangle"},
        {23, "quadratic quadrilateral"},
        {24, "quadratic tetrahedron"},
        {25, "quadratic hexahedron"},
        {26, "quadratic wedge"},
        {27, "quadratic pyramid"},
        {29, "triquadratic hexahedron"},
        {42, "polyhedron"},
        {69, "Lagrange triangle"},
        {71, "Lagrange tetrahedron"},
        {72, "Lagrange hexahedron"}};
      const auto name = names.find(static_cast<int>(type));
      return (name != names.end() ? name->second : "cell") + " (type " +
             std::to_string(static_cast<int>(type)) + ")";
    }



    bool
    is_three_dimensional(const double type)
    {
      return (type >= 10 && type <= 19) || (type >= 24 && type <= 29) ||
             type == 32 || type == 33 || type == 41 || type == 42 ||
             type == 71 || type == 72 || type == 73 || type == 74;
    }



    // ------------------------------------------------ numbers in text and
    // bytes

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



    /// Next number of the text; false at its end or at something else.
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



    // ------------------------------------------------------------- legacy
    // files

    class LegacyReader
    {
    public:
      LegacyReader(const std::string &file, const std::string &text)
        : file(file)
        , text(text)
      {}

      Grid
      read()
      {
        header();
        std::string word;
        while (token(word))
          section(upper(word));
        if (grid.types.size() + 1 != grid.offsets.size())
          fail(
            std::to_string(grid.types.size()) + " cell types for " +
            std::to_string(grid.offsets.empty() ? 0 : grid.offsets.size() - 1) +
            " cells, expected one for each");
        return std::move(grid);
      }

    private:
      const std::string &file, &text;
      std::size_t        position = 0;
      bool               binary   = false;
      Grid               grid;
      /// Where the arrays go, and how many entries they have.
      NpzArrays  *arrays    = nullptr;
      std::size_t n_entries = 0;

      [[noreturn]] void
      fail(const std::string &what) const
      {
        const auto line =
          binary
            ? std::string()
            : "line " +
                std::to_string(
                  1 + std::count(text.begin(),
                                 text.begin() + std::min(position, text.size()),
                                 '\n')) +
                ": ";
        throw InputError(file, line + what);
      }

      static std::string
      upper(std::string word)
      {
        for (char &c : word)
          c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        return word;
      }

      static std::string
      lower(std::string word)
      {
        for (char &c : word)
          c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        return word;
      }

      std::string
      line()
      {
        const std::size_t end =
          std::min(text.find('\n', position), text.size());
        std::string result = text.substr(position, end - position);
        position           = std::min(end + 1, text.size());
        if (!result.empty() && result.back() == '\r')
          result.pop_back();
        return result;
      }

      bool
      token(std::string &word)
      {
        while (position < text.size() && is_space(text[position]))
          ++position;
        const std::size_t begin = position;
        while (position < text.size() && !is_space(text[position]))
          ++position;
        word = text.substr(begin, position - begin);
        return !word.empty();
      }

      std::string
      word(const std::string &expected)
      {
        std::string result;
        if (!token(result))
          fail("file ends early (truncated?), expected " + expected);
        return result;
      }

      std::size_t
      count(const std::string &what)
      {
        const std::string digits = word("the number of " + what);
        std::size_t       value  = 0;
        const auto        result =
          std::from_chars(digits.data(), digits.data() + digits.size(), value);
        // Nothing can have more entries than the file has bytes.
        if (result.ec != std::errc() ||
            result.ptr != digits.data() + digits.size() || value > text.size())
          fail("bad number of " + what + " '" + Readers::one_line(digits) +
               "', expected a count that fits the file");
        return value;
      }

      DataType
      data_type(const std::string &name) const
      {
        static const std::map<std::string, DataType> types = {
          {"unsigned_char", {Kind::unsigned_integer, 1}},
          {"char", {Kind::signed_integer, 1}},
          {"signed_char", {Kind::signed_integer, 1}},
          {"unsigned_short", {Kind::unsigned_integer, 2}},
          {"short", {Kind::signed_integer, 2}},
          {"unsigned_int", {Kind::unsigned_integer, 4}},
          {"int", {Kind::signed_integer, 4}},
          {"vtkidtype", {Kind::signed_integer, 4}},
          {"unsigned_long", {Kind::unsigned_integer, 8}},
          {"long", {Kind::signed_integer, 8}},
          {"vtktypeint64", {Kind::signed_integer, 8}},
          {"vtktypeuint64", {Kind::unsigned_integer, 8}},
          {"float", {Kind::real, 4}},
          {"double", {Kind::real, 8}}};
        const auto type = types.find(lower(name));
        if (type == types.end())
          fail("unsupported data type '" + Readers::one_line(name) +
               "', expected a numeric type");
        return type->second;
      }

      /// The rest of the current line is over; @p n values follow.
      std::vector<double>
      values(const std::size_t  n,
             const std::string &type_name,
             const std::string &what)
      {
        const DataType    type  = data_type(type_name);
        const std::string ended = "file ends early (truncated?) in " + what +
                                  ", expected " + std::to_string(n) + " values";
        if (binary)
          {
            line();
            if (n > (text.size() - position) / type.size)
              fail(ended);
            const auto result = load_all(text.data() + position, n, type, true);
            position += n * type.size;
            return result;
          }
        if (n > text.size() - position + 1)
          fail(ended);
        std::vector<double> result(n);
        for (double &value : result)
          if (!scan_number(text, position, value))
            {
              std::string bad;
              if (!token(bad))
                fail(ended);
              fail("'" + Readers::one_line(bad) + "' in " + what +
                   ", expected a number");
            }
        return result;
      }

      void
      header()
      {
        const std::string first  = line();
        const std::string prefix = "# vtk DataFile Version ";
        if (first.compare(0, prefix.size(), prefix) != 0)
          fail("does not begin with '" + prefix +
               "', expected a legacy VTK file");
        double      version = 0;
        std::size_t at      = prefix.size();
        if (!scan_number(first, at, version) || version < 1 || version > 5.1)
          fail("VTK file version '" +
               Readers::one_line(first.substr(prefix.size())) +
               "', expected 1.0 to 5.1");
        grid.space                 = space_of_title(line());
        const std::string encoding = upper(word("ASCII or BINARY"));
        if (encoding != "ASCII" && encoding != "BINARY")
          fail("encoding '" + Readers::one_line(encoding) +
               "', expected ASCII or BINARY");
        if (upper(word("DATASET")) != "DATASET")
          fail("no DATASET, expected DATASET UNSTRUCTURED_GRID");
        const std::string set = upper(word("UNSTRUCTURED_GRID"));
        if (set != "UNSTRUCTURED_GRID")
          fail("dataset " + Readers::one_line(set) +
               ", expected UNSTRUCTURED_GRID");
        binary = (encoding == "BINARY");
      }

      void
      section(const std::string &name)
      {
        if (name == "POINTS")
          {
            const std::size_t n = count("points");
            grid.xyz            = values(3 * n, word("a type"), "POINTS");
          }
        else if (name == "CELLS")
          cells();
        else if (name == "CELL_TYPES")
          {
            const std::size_t n = count("cell types");
            grid.types          = values(n, "int", "CELL_TYPES");
          }
        else if (name == "CELL_DATA")
          {
            arrays    = &grid.cell_arrays;
            n_entries = count("cells with data");
            if (grid.offsets.size() != n_entries + 1)
              fail("CELL_DATA for " + std::to_string(n_entries) +
                   " cells, expected one entry per cell");
          }
        else if (name == "POINT_DATA")
          {
            arrays    = &grid.point_arrays;
            n_entries = count("points with data");
            if (grid.xyz.size() != 3 * n_entries)
              fail("POINT_DATA for " + std::to_string(n_entries) +
                   " points, expected one entry per point");
          }
        else if (name == "METADATA")
          {
            line();
            while (position < text.size() && !line().empty())
              {}
          }
        else if (name == "FIELD")
          field();
        else
          attribute(name);
      }

      void
      cells()
      {
        const std::size_t n    = count("cells");
        const std::size_t size = count("entries of CELLS");
        const std::size_t here = position;
        std::string       next;
        if (token(next) && upper(next) == "OFFSETS")
          {
            grid.offsets = values(n, word("a type"), "OFFSETS");
            if (upper(word("CONNECTIVITY")) != "CONNECTIVITY")
              fail("no CONNECTIVITY after OFFSETS, expected it there");
            grid.connectivity = values(size, word("a type"), "CONNECTIVITY");
            if (grid.offsets.empty())
              grid.offsets = {0.};
            return;
          }

        // Up to version 4: the number of vertices before those of each cell.
        position         = here;
        const auto mixed = values(size, "int", "CELLS");
        grid.offsets     = {0.};
        std::size_t i    = 0;
        for (std::size_t c = 0; c < n; ++c)
          {
            if (i >= size || mixed[i] < 0 ||
                mixed[i] > static_cast<double>(size - i - 1))
              fail("bad number of vertices of cell " + std::to_string(c) +
                   ", expected CELLS as long as announced");
            const auto n_vertices = static_cast<std::size_t>(mixed[i]);
            grid.connectivity.insert(grid.connectivity.end(),
                                     mixed.begin() + i + 1,
                                     mixed.begin() + i + 1 + n_vertices);
            grid.offsets.push_back(
              static_cast<double>(grid.connectivity.size()));
            i += n_vertices + 1;
          }
        if (i != size)
          fail("CELLS has " + std::to_string(size) + " entries, expected " +
               std::to_string(i));
      }

      /// Names are written with %20 for spaces and so on.
      static std::string
      decode_name(const std::string &name)
      {
        std::string result;
        for (std::size_t i = 0; i < name.size(); ++i)
          {
            unsigned int code = 0;
            if (name[i] == '%' && i + 2 < name.size() &&
                std::from_chars(&name[i + 1], &name[i + 1] + 2, code, 16).ptr ==
                  &name[i + 1] + 2)
              {
                result += static_cast<char>(code);
                i += 2;
              }
            else
              result += name[i];
          }
        return result;
      }

      void
      keep(const std::string         &name,
           const std::string         &type,
           const std::size_t          n_components,
           const std::vector<double> &data)
      {
        if (arrays == &grid.cell_arrays && !wanted(name))
          grid.others.push_back(name);
        if (arrays == nullptr || !wanted(name))
          return;
        NpyArray array;
        array.shape      = {n_entries, n_components};
        array.values     = data;
        array.is_integer = (data_type(type).kind != Kind::real);
        (*arrays)[name]  = array;
      }

      void
      field()
      {
        word("a field name");
        const std::size_t n_arrays = count("arrays of a FIELD");
        for (std::size_t a = 0; a < n_arrays; ++a)
          {
            const std::string name = decode_name(word("an array name"));
            if (name == "METADATA")
              {
                section(name);
                --a;
                continue;
              }
            const std::size_t n_components = count("components");
            const std::size_t n_tuples     = count("tuples");
            const std::string type         = word("a type");
            if (n_components != 0 && n_tuples > text.size() / n_components)
              fail("array '" + Readers::one_line(name) + "' of " +
                   std::to_string(n_tuples) +
                   " tuples, expected a count that fits the file");
            if (lower(type) == "string")
              {
                if (binary)
                  fail("array '" + Readers::one_line(name) +
                       "' of strings, expected numbers");
                line();
                for (std::size_t i = 0; i < n_components * n_tuples; ++i)
                  {
                    const std::string text_of_array = line();
                    if (name == "SPACE")
                      grid.space = space_of_title("SPACE=" + text_of_array);
                  }
                continue;
              }
            const auto data = values(n_components * n_tuples,
                                     type,
                                     "array '" + Readers::one_line(name) + "'");
            if (arrays != nullptr && n_tuples != n_entries && wanted(name))
              fail("array '" + name + "' has " + std::to_string(n_tuples) +
                   " tuples, expected " + std::to_string(n_entries));
            keep(name, type, n_components, data);
          }
      }

      void
      attribute(const std::string &kind)
      {
        static const std::map<std::string, std::size_t> components = {
          {"SCALARS", 1},
          {"VECTORS", 3},
          {"NORMALS", 3},
          {"TENSORS", 9},
          {"TENSORS6", 6},
          {"GLOBAL_IDS", 1},
          {"PEDIGREE_IDS", 1},
          {"TEXTURE_COORDINATES", 0},
          {"COLOR_SCALARS", 0},
          {"LOOKUP_TABLE", 4}};
        const auto known = components.find(kind);
        if (known == components.end())
          fail("unknown keyword '" + Readers::one_line(kind) +
               "', expected a section of an unstructured grid");
        const std::string name         = decode_name(word("an array name"));
        std::size_t       n_components = known->second, n = n_entries;
        std::string       type;
        if (kind == "COLOR_SCALARS" || kind == "LOOKUP_TABLE")
          {
            (kind == "LOOKUP_TABLE" ? n : n_components) =
              count("values of " + kind);
            type = binary ? "unsigned_char" : "float";
          }
        else
          {
            if (kind == "TEXTURE_COORDINATES")
              n_components = count("components");
            type = word("a type");
          }
        if (kind == "SCALARS")
          {
            const std::string rest = line();
            std::size_t       at   = 0;
            double            given;
            if (scan_number(rest, at, given))
              {
                if (given < 1 || given > 9)
                  fail("bad number of components of '" +
                       Readers::one_line(name) + "', expected 1 to 9");
                n_components = static_cast<std::size_t>(given);
              }
            const std::size_t here = position;
            std::string       next;
            if (token(next) && upper(next) == "LOOKUP_TABLE")
              word("the name of a lookup table");
            else
              {
                // The table is optional; the line break is read again.
                position = here - (here > 0 && text[here - 1] == '\n');
              }
          }
        if (n_components != 0 && n > text.size() / n_components)
          fail("array '" + Readers::one_line(name) +
               "', expected a size that fits the file");
        const auto data = values(n * n_components,
                                 type,
                                 "array '" + Readers::one_line(name) + "'");
        if (kind != "LOOKUP_TABLE")
          keep(name, type, n_components, data);
      }
    };



    // ---------------------------------------------------------------- XML
    // files

    using Tree = boost::property_tree::ptree;

    /// Returns the first n bytes of an array's stream, or fewer at its end.
    using Stream = std::function<std::string(std::size_t)>;

    /// Decodes groups of four, padded ones anywhere, until @p n bytes are
    /// there.
    std::string
    decode_base64(const std::string &text, std::size_t position, std::size_t n)
    {
      static const std::string alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
      static const std::vector<int> codes = []() {
        std::vector<int> table(256, -1);
        for (std::size_t i = 0; i < alphabet.size(); ++i)
          table[static_cast<unsigned char>(alphabet[i])] = static_cast<int>(i);
        return table;
      }();

      std::string   result;
      std::uint32_t group    = 0;
      unsigned int  in_group = 0, padding = 0;
      for (; position < text.size() && result.size() < n; ++position)
        {
          const char c = text[position];
          if (is_space(c))
            continue;
          const int code = codes[static_cast<unsigned char>(c)];
          if (c == '=')
            ++padding;
          else if (code < 0 || padding > 0)
            break;
          group =
            (group << 6) | static_cast<std::uint32_t>(c == '=' ? 0 : code);
          if (++in_group == 4)
            {
              for (unsigned int i = 0; i + padding < 3; ++i)
                result += static_cast<char>((group >> (16 - 8 * i)) & 0xff);
              group    = 0;
              in_group = padding = 0;
            }
        }
      if (result.size() > n)
        result.resize(n);
      return result;
    }



    class XmlReader
    {
    public:
      XmlReader(const std::string &file, std::string text)
        : file(file)
        , text(std::move(text))
      {}

      Grid
      read()
      {
        cut_appended();
        Tree tree;
        try
          {
            std::istringstream in(text);
            boost::property_tree::read_xml(in, tree);
          }
        catch (const boost::property_tree::xml_parser_error &e)
          {
            throw InputError(file,
                             "line " + std::to_string(e.line()) + ": " +
                               Readers::one_line(e.message()) +
                               " (truncated?), expected a VTU file");
          }
        const auto root = tree.get_child_optional("VTKFile");
        if (!root)
          fail("no element VTKFile, expected a VTU file");
        const std::string type = attribute(*root, "type", "");
        if (type != "UnstructuredGrid")
          fail("VTKFile of type '" + type + "', expected UnstructuredGrid");
        root_attributes(*root);

        const auto set = root->get_child_optional("UnstructuredGrid");
        if (!set)
          fail("no element UnstructuredGrid, expected it in VTKFile");
        const Tree *piece = nullptr;
        for (const auto &child : *set)
          if (child.first == "Piece")
            {
              if (piece != nullptr)
                fail("several pieces, expected one Piece");
              piece = &child.second;
            }
        if (piece == nullptr)
          fail("no element Piece, expected one");
        Grid grid  = read_piece(*piece);
        grid.space = space(*set);
        return grid;
      }

    private:
      /// The field array SPACE, whose letters are numbers.
      std::string
      space(const Tree &set) const
      {
        const auto fields = set.get_child_optional("FieldData");
        if (!fields)
          return "";
        for (const auto &child : *fields)
          if (attribute(child.second, "Name", "") == "SPACE")
            {
              Tree letters = child.second;
              letters.put("<xmlattr>.type", "UInt8");
              std::string word;
              for (const double letter : data_array(letters, "SPACE").values)
                if (letter > 32 && letter < 127)
                  word += static_cast<char>(letter);
              return space_of_title("SPACE=" + word);
            }
        return "";
      }

      const std::string &file;
      std::string        text;
      std::string        appended; ///< what follows the underscore
      bool               raw = false, has_appended = false;
      bool               big_endian = false, compressed = false;
      std::size_t        header_size = 4;

      [[noreturn]] void
      fail(const std::string &what) const
      {
        throw InputError(file, Readers::one_line(what));
      }

      static std::string
      attribute(const Tree        &tree,
                const std::string &name,
                const std::string &otherwise)
      {
        return tree.get<std::string>("<xmlattr>." + name, otherwise);
      }

      std::size_t
      count(const Tree &tree, const std::string &name) const
      {
        const std::string digits = attribute(tree, name, "");
        std::size_t       value  = 0;
        const auto        result =
          std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (result.ec != std::errc() ||
            result.ptr != digits.data() + digits.size())
          fail("attribute " + name + " is '" + digits + "', expected a number");
        return value;
      }

      /// Raw bytes are no XML: take them out before it is parsed.
      void
      cut_appended()
      {
        const std::size_t begin = text.find("<AppendedData");
        if (begin == std::string::npos)
          return;
        const std::size_t close = text.find('>', begin);
        const std::size_t end   = text.rfind("</AppendedData>");
        if (close == std::string::npos || end == std::string::npos ||
            end < close)
          fail("no end of AppendedData (truncated?), expected a whole VTU "
               "file");
        const std::string tag        = text.substr(begin, close - begin);
        const std::size_t underscore = text.find('_', close);
        if (underscore == std::string::npos || underscore >= end)
          fail("no underscore in AppendedData, expected one before the data");
        raw          = tag.find("base64") == std::string::npos;
        has_appended = true;
        appended     = text.substr(underscore + 1, end - underscore - 1);
        text.erase(close + 1, end - close - 1);
      }

      void
      root_attributes(const Tree &root)
      {
        const std::string order = attribute(root, "byte_order", "LittleEndian");
        if (order != "LittleEndian" && order != "BigEndian")
          fail("byte_order '" + order +
               "', expected LittleEndian or BigEndian");
        big_endian = (order == "BigEndian");

        const std::string header = attribute(root, "header_type", "UInt32");
        if (header != "UInt32" && header != "UInt64")
          fail("header_type '" + header + "', expected UInt32 or UInt64");
        header_size = (header == "UInt32" ? 4 : 8);

        const std::string compressor = attribute(root, "compressor", "");
        if (!compressor.empty() && compressor != "vtkZLibDataCompressor")
          fail("compressor '" + compressor +
               "', expected none or vtkZLibDataCompressor");
        compressed = !compressor.empty();
      }

      DataType
      data_type(const std::string &name, const std::string &what) const
      {
        static const std::map<std::string, DataType> types = {
          {"Int8", {Kind::signed_integer, 1}},
          {"UInt8", {Kind::unsigned_integer, 1}},
          {"Int16", {Kind::signed_integer, 2}},
          {"UInt16", {Kind::unsigned_integer, 2}},
          {"Int32", {Kind::signed_integer, 4}},
          {"UInt32", {Kind::unsigned_integer, 4}},
          {"Int64", {Kind::signed_integer, 8}},
          {"UInt64", {Kind::unsigned_integer, 8}},
          {"Float32", {Kind::real, 4}},
          {"Float64", {Kind::real, 8}}};
        const auto type = types.find(name);
        if (type == types.end())
          fail("array '" + what + "': data type '" + name +
               "', expected Int8 to UInt64, Float32 or Float64");
        return type->second;
      }

      /// The first @p n bytes of the stream.
      std::string
      need(const Stream      &stream,
           const std::size_t  n,
           const std::string &what) const
      {
        if (n > text.size() + appended.size())
          fail("array '" + what + "': header claims " + std::to_string(n) +
               " bytes, expected no more than the file has");
        std::string bytes = stream(n);
        if (bytes.size() < n)
          fail("array '" + what + "': data end early (truncated?) after " +
               std::to_string(bytes.size()) + " bytes, expected " +
               std::to_string(n));
        return bytes;
      }

      std::size_t
      header_entry(const std::string &bytes, const std::size_t i) const
      {
        const char *at = bytes.data() + i * header_size;
        return header_size == 4 ? load<std::uint32_t>(at, big_endian)
                                : load<std::uint64_t>(at, big_endian);
      }

      /// The data of an array, decompressed, without the header.
      std::string
      content(const Stream &stream, const std::string &what) const
      {
        const std::size_t limit = text.size() + appended.size();
        if (!compressed)
          {
            const std::size_t n =
              header_entry(need(stream, header_size, what), 0);
            if (n > limit)
              fail("array '" + what + "': header claims " + std::to_string(n) +
                   " bytes, expected no more than the file has");
            return need(stream, header_size + n, what).substr(header_size);
          }

        // Number of blocks, size of a block, size of the last if smaller,
        // and the compressed size of each.
        const std::size_t n_blocks =
          header_entry(need(stream, header_size, what), 0);
        if (n_blocks == 0)
          return "";
        if (n_blocks > limit)
          fail("array '" + what + "': header claims " +
               std::to_string(n_blocks) +
               " blocks, expected no more than the file has");
        const std::size_t header_bytes = (3 + n_blocks) * header_size;
        const std::string header       = need(stream, header_bytes, what);
        const std::size_t block_size   = header_entry(header, 1),
                          last_size    = header_entry(header, 2);
        std::size_t total              = header_bytes;
        for (std::size_t b = 0; b < n_blocks; ++b)
          {
            const std::size_t n = header_entry(header, 3 + b);
            if (n > limit || total > limit)
              fail("array '" + what + "': header claims a block of " +
                   std::to_string(n) +
                   " bytes, expected no more than the file has");
            total += n;
          }
        const std::string bytes = need(stream, total, what);

        std::string result, block;
        std::size_t at = header_bytes;
        for (std::size_t b = 0; b < n_blocks; ++b)
          {
            const std::size_t n = header_entry(header, 3 + b);
            const std::size_t expected =
              (b + 1 == n_blocks && last_size > 0) ? last_size : block_size;
            // Deflate cannot do better than 1:1032.
            if (expected / 1100 > n + 1)
              fail("array '" + what + "': block " + std::to_string(b) +
                   " claims " + std::to_string(expected) + " bytes from " +
                   std::to_string(n) + ", expected sound zlib data");
            block.resize(expected);
            uLongf size = expected;
            if (uncompress(reinterpret_cast<Bytef *>(&block[0]),
                           &size,
                           reinterpret_cast<const Bytef *>(bytes.data() + at),
                           n) != Z_OK ||
                size != expected)
              fail("array '" + what + "': block " + std::to_string(b) +
                   " does not decompress, expected sound zlib data");
            result += block;
            at += n;
          }
        return result;
      }

      NpyArray
      data_array(const Tree &tree, const std::string &what) const
      {
        const DataType    type   = data_type(attribute(tree, "type", ""), what);
        const std::string format = attribute(tree, "format", "ascii");
        NpyArray          array;
        array.is_integer = (type.kind != Kind::real);

        if (format == "ascii")
          {
            const std::string &numbers  = tree.data();
            std::size_t        position = 0;
            double             value;
            while (scan_number(numbers, position, value))
              array.values.push_back(value);
            if (position != numbers.size())
              fail("array '" + what + "': '" + numbers.substr(position, 20) +
                   "' after " + std::to_string(array.values.size()) +
                   " values, expected numbers");
            return array;
          }

        Stream stream;
        if (format == "binary")
          stream = [&](const std::size_t n) {
            return decode_base64(tree.data(), 0, n);
          };
        else if (format == "appended")
          {
            const std::size_t offset = count(tree, "offset");
            if (!has_appended || offset >= appended.size())
              fail("array '" + what + "': offset " + std::to_string(offset) +
                   ", expected a place in AppendedData");
            stream = [this, offset](const std::size_t n) {
              return raw ? appended.substr(offset, n)
                         : decode_base64(appended, offset, n);
            };
          }
        else
          fail("array '" + what + "': format '" + format +
               "', expected ascii, binary or appended");

        const std::string bytes = content(stream, what);
        if (bytes.size() % type.size != 0)
          fail("array '" + what + "': " + std::to_string(bytes.size()) +
               " bytes, expected a multiple of " + std::to_string(type.size));
        array.values =
          load_all(bytes.data(), bytes.size() / type.size, type, big_endian);
        return array;
      }

      /// The used arrays below CellData or PointData.
      NpzArrays
      attributes(const Tree        &piece,
                 const std::string &group,
                 const std::size_t  n) const
      {
        NpzArrays  result;
        const auto parent = piece.get_child_optional(group);
        if (!parent || n == 0)
          return result;
        for (const auto &child : *parent)
          {
            const std::string name = attribute(child.second, "Name", "");
            if (child.first != "DataArray" || !wanted(name))
              continue;
            NpyArray array = data_array(child.second, name);
            if (array.size() % n != 0)
              fail("array '" + name + "': " + std::to_string(array.size()) +
                   " values, expected a multiple of " + std::to_string(n));
            array.shape  = {n, array.size() / n};
            result[name] = array;
          }
        return result;
      }

      Grid
      read_piece(const Tree &piece) const
      {
        const std::size_t n_points = count(piece, "NumberOfPoints"),
                          n_cells  = count(piece, "NumberOfCells");
        const auto expect          = [&](const std::string &what,
                                const NpyArray    &array,
                                const std::size_t  n) {
          if (array.size() != n)
            fail("array '" + what + "': " + std::to_string(array.size()) +
                 " values, expected " + std::to_string(n));
        };
        if (n_points > std::numeric_limits<std::size_t>::max() / 3)
          fail("NumberOfPoints " + std::to_string(n_points) +
               ", expected a number that fits the file");

        Grid       grid;
        const auto points = piece.get_child_optional("Points.DataArray");
        if (!points)
          fail("no array of Points, expected one");
        const NpyArray xyz = data_array(*points, "Points");
        expect("Points", xyz, 3 * n_points);
        grid.xyz = xyz.values;

        const auto cells = piece.get_child_optional("Cells");
        if (!cells)
          fail("no element Cells, expected one");
        NpzArrays topology;
        for (const auto &child : *cells)
          {
            const std::string name = attribute(child.second, "Name", "");
            if (child.first == "DataArray" &&
                (name == "connectivity" || name == "offsets" ||
                 name == "types"))
              topology[name] = data_array(child.second, name);
          }
        for (const char *name : {"connectivity", "offsets", "types"})
          if (topology.count(name) == 0)
            fail(std::string("no array '") + name + "', expected it in Cells");
        expect("offsets", topology["offsets"], n_cells);
        expect("types", topology["types"], n_cells);
        grid.connectivity = topology["connectivity"].values;
        grid.types        = topology["types"].values;
        grid.offsets      = {0.};
        grid.offsets.insert(grid.offsets.end(),
                            topology["offsets"].values.begin(),
                            topology["offsets"].values.end());

        if (const auto cells = piece.get_child_optional("CellData"))
          for (const auto &child : *cells)
            if (child.first == "DataArray" &&
                !wanted(attribute(child.second, "Name", "")))
              grid.others.push_back(attribute(child.second, "Name", ""));
        grid.cell_arrays  = attributes(piece, "CellData", n_cells);
        grid.point_arrays = attributes(piece, "PointData", n_points);
        return grid;
      }
    };



    // --------------------------------------------------------- from grid to
    // mesh

    Grid
    read_grid(const std::string &filename)
    {
      std::ifstream in(filename, std::ios::binary);
      if (!in)
        throw InputError(filename, "cannot be read, expected a VTK file");
      note_input(filename);
      std::string text{std::istreambuf_iterator<char>(in),
                       std::istreambuf_iterator<char>()};
      if (text.empty())
        throw InputError(filename, "empty file, expected a VTK file");
      const std::size_t first = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
      if (first != std::string::npos && text[first] == '<')
        return XmlReader(filename, std::move(text)).read();
      return LegacyReader(filename, text).read();
    }



    int
    grid_dimension(const Grid &grid)
    {
      return std::any_of(grid.types.begin(),
                         grid.types.end(),
                         is_three_dimensional)
               ? 3
               : 2;
    }



    /// Offsets that increase within the connectivity, types as VTK has them.
    void
    check_grid(const std::string &filename, const Grid &grid)
    {
      if (grid.xyz.empty())
        throw InputError(filename, "no points, expected a mesh");
      for (std::size_t c = 0; c < grid.types.size(); ++c)
        {
          const double begin = grid.offsets[c], end = grid.offsets[c + 1];
          if (!(0 <= begin && begin <= end &&
                end <= static_cast<double>(grid.connectivity.size())) ||
              begin != std::floor(begin) || end != std::floor(end))
            throw InputError(filename,
                             "offsets of cell " + std::to_string(c) +
                               ", expected them to increase up to the size of "
                               "the connectivity");
          if (!(grid.types[c] >= 0 && grid.types[c] < 256) ||
              grid.types[c] != std::floor(grid.types[c]))
            throw InputError(filename,
                             "type of cell " + std::to_string(c) + " is " +
                               std::to_string(grid.types[c]) +
                               ", expected a VTK cell type");
        }
    }



    /// The vertices of a cell that must have @p n of them.
    template <std::size_t n>
    std::array<unsigned int, n>
    cell_vertices(const std::string &filename,
                  const Grid        &grid,
                  const std::size_t  c)
    {
      const auto begin       = static_cast<std::size_t>(grid.offsets[c]),
                 end         = static_cast<std::size_t>(grid.offsets[c + 1]);
      const std::string cell = "cell " + std::to_string(c);
      if (end - begin != n)
        throw InputError(filename,
                         cell + ", a " + cell_type_name(grid.types[c]) +
                           ", has " + std::to_string(end - begin) +
                           " vertices, expected " + std::to_string(n));
      std::array<unsigned int, n> vertices;
      for (std::size_t i = 0; i < n; ++i)
        {
          const double v = grid.connectivity[begin + i];
          if (!(v >= 0 && v < static_cast<double>(grid.xyz.size() / 3)) ||
              v != std::floor(v))
            {
              std::ostringstream index;
              index << v;
              throw InputError(filename,
                               cell + " has vertex index " + index.str() +
                                 ", expected 0 to " +
                                 std::to_string(grid.xyz.size() / 3 - 1));
            }
          vertices[i] = static_cast<unsigned int>(v);
        }
      return vertices;
    }



    /// What there was to choose from for labels, where it was not one array.
    void
    note_label_arrays(const Grid &grid, std::vector<std::string> &notes)
    {
      std::vector<std::string> known;
      for (const char *name : label_names)
        if (grid.cell_arrays.count(name) > 0)
          known.push_back("'" + std::string(name) + "'");
      std::vector<std::string> others;
      for (const auto &name : grid.others)
        others.push_back("'" + Readers::one_line(name) + "'");
      if (known.size() > 1)
        notes.push_back("labels are " + known[0] + "; not used: " +
                        Text::enumerate({known.begin() + 1, known.end()}));
      else if (known.empty() && !others.empty())
        notes.push_back("no labels (an array of the cells named labels, "
                        "material_id, gmsh:physical, ...); ignored: " +
                        Text::enumerate(others));
    }

    /// Labels of all cells of the grid, empty if there are none.
    std::vector<int>
    grid_labels(const std::string &filename, const Grid &grid)
    {
      for (const char *name : label_names)
        {
          const auto entry = grid.cell_arrays.find(name);
          if (entry == grid.cell_arrays.end())
            continue;
          if (entry->second.shape[1] != 1)
            throw InputError(filename,
                             std::string("key '") + name +
                               "': " + std::to_string(entry->second.shape[1]) +
                               " components, expected 1");
          return Readers::to_labels(filename, name, entry->second);
        }
      return {};
    }



    template <int dim>
    void
    take_displacement(const Grid &grid, CaseData<dim> &data)
    {
      for (const char *name : displacement_names)
        {
          const auto entry = grid.point_arrays.find(name);
          if (entry == grid.point_arrays.end())
            continue;
          const NpyArray &given = entry->second;
          if (given.shape[1] != 3)
            {
              data.notes.push_back(std::string("ignored point array '") + name +
                                   "' as it has not 3 components");
              continue;
            }
          NpyArray array;
          array.shape = {given.shape[0], dim};
          for (std::size_t i = 0; i < given.size(); ++i)
            if (i % 3 < dim)
              array.values.push_back(given.values[i]);
          data.arrays["displacement_field"] = array;
          return;
        }
    }
  } // namespace



  namespace Readers
  {
    int
    vtk_dimension(const std::string &filename)
    {
      return grid_dimension(read_grid(filename));
    }



    template <int dim>
    CaseData<dim>
    read_vtk(const std::string &filename)
    {
      const Grid grid = read_grid(filename);
      check_grid(filename, grid);
      const std::vector<int> labels = grid_labels(filename, grid);

      CaseData<dim> data;
      data.source        = filename;
      data.mesh.vertices = to_points<dim>(filename, grid.xyz);
      data.coordinates   = grid.space;
      note_label_arrays(grid, data.notes);

      constexpr int cell_type = (dim == 3 ? 10 : 5),
                    face_type = (dim == 3 ? 5 : 3),
                    max_skip  = (dim == 3 ? 5 : 4);
      std::vector<BoundaryFace<dim>> faces;
      std::size_t                    skipped = 0;
      for (std::size_t c = 0; c < grid.types.size(); ++c)
        {
          const int type = static_cast<int>(grid.types[c]);
          if (type == cell_type)
            {
              data.mesh.cells.push_back(
                cell_vertices<dim + 1>(filename, grid, c));
              data.mesh.labels.push_back(labels.empty() ? 0 : labels[c]);
            }
          else if (type == face_type && !labels.empty())
            {
              if (labels[c] < 0)
                throw InputError(filename,
                                 "boundary id " + std::to_string(labels[c]) +
                                   " of cell " + std::to_string(c) +
                                   ", expected at least 0");
              faces.push_back({cell_vertices<dim>(filename, grid, c),
                               static_cast<unsigned int>(labels[c])});
            }
          else if (type >= 1 && type <= max_skip)
            ++skipped;
          else
            throw InputError(filename,
                             "cell " + std::to_string(c) + " is a " +
                               cell_type_name(grid.types[c]) +
                               ", expected only " +
                               (dim == 3 ? "tetrahedra" : "triangles"));
        }
      if (skipped > 0)
        data.notes.push_back("ignored " + std::to_string(skipped) +
                             " cells of lower dimension");
      set_boundary_faces(data, faces);
      take_displacement(grid, data);
      return data;
    }



    template CaseData<2>
    read_vtk<2>(const std::string &);
    template CaseData<3>
    read_vtk<3>(const std::string &);
  } // namespace Readers
} // namespace Palpate
