#include <palpate/core/errors.h>
#include <palpate/mesh/readers.h>
#include <palpate/mesh/vtk_grid.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <map>
#include <sstream>

namespace Palpate
{
  namespace Vtk
  {
    namespace
    {
      class LegacyReader
      {
      public:
        LegacyReader(const std::string &file,
                     const std::string &text,
                     const std::string &label_array)
          : file(file)
          , text(text)
        {
          grid.label_array = label_array;
        }

        Grid
        read()
        {
          header();
          std::string word;
          while (token(word))
            section(upper(word));
          if (grid.types.size() + 1 != grid.offsets.size())
            fail(std::to_string(grid.types.size()) + " cell types for " +
                 std::to_string(
                   grid.offsets.empty() ? 0 : grid.offsets.size() - 1) +
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
            binary ? std::string()
                   : "line " +
                       std::to_string(
                         1 + std::count(text.begin(),
                                        text.begin() +
                                          std::min(position, text.size()),
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
          const auto        result = std::from_chars(digits.data(),
                                              digits.data() + digits.size(),
                                              value);
          // Nothing can have more entries than the file has bytes.
          if (result.ec != std::errc() ||
              result.ptr != digits.data() + digits.size() ||
              value > text.size())
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
                                    ", expected " + std::to_string(n) +
                                    " values";
          if (binary)
            {
              line();
              if (n > (text.size() - position) / type.size)
                fail(ended);
              const auto result =
                load_all(text.data() + position, n, type, true);
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
                  std::from_chars(&name[i + 1], &name[i + 1] + 2, code, 16)
                      .ptr == &name[i + 1] + 2)
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
          if (arrays == &grid.cell_arrays && !grid.wants(name))
            grid.others.push_back(name);
          if (arrays == nullptr || !grid.wants(name))
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
              const auto data =
                values(n_components * n_tuples,
                       type,
                       "array '" + Readers::one_line(name) + "'");
              if (arrays != nullptr && n_tuples != n_entries &&
                  grid.wants(name))
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
    } // namespace

    Grid
    read_legacy(const std::string &filename,
                const std::string &text,
                const std::string &label_array)
    {
      return LegacyReader(filename, text, label_array).read();
    }
  } // namespace Vtk
} // namespace Palpate
