#include <palpate/core/errors.h>
#include <palpate/mesh/readers.h>
#include <palpate/mesh/vtk_grid.h>

#include <boost/property_tree/ptree.hpp>
#include <boost/property_tree/xml_parser.hpp>
#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <map>
#include <sstream>

namespace Palpate
{
  namespace Vtk
  {
    namespace
    {
      using Tree = boost::property_tree::ptree;

      /// Returns the first n bytes of an array's stream, or fewer at its end.
      using Stream = std::function<std::string(std::size_t)>;

      /// Decodes groups of four, padded ones anywhere, until @p n bytes are
      /// there.
      std::string
      decode_base64(const std::string &text,
                    std::size_t        position,
                    std::size_t        n)
      {
        static const std::string alphabet =
          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        static const std::vector<int> codes = []() {
          std::vector<int> table(256, -1);
          for (std::size_t i = 0; i < alphabet.size(); ++i)
            table[static_cast<unsigned char>(alphabet[i])] =
              static_cast<int>(i);
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
        XmlReader(const std::string &file,
                  std::string        text,
                  const std::string &label_array)
          : file(file)
          , text(std::move(text))
        {
          wanted.label_array = label_array;
        }

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
          Grid grid        = read_piece(*piece);
          grid.space       = space(*set);
          grid.label_array = wanted.label_array;
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
        Grid               wanted; ///< knows which arrays are used
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
          const auto        result = std::from_chars(digits.data(),
                                              digits.data() + digits.size(),
                                              value);
          if (result.ec != std::errc() ||
              result.ptr != digits.data() + digits.size())
            fail("attribute " + name + " is '" + digits +
                 "', expected a number");
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
          const std::string order =
            attribute(root, "byte_order", "LittleEndian");
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
                fail("array '" + what + "': header claims " +
                     std::to_string(n) +
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
          const DataType    type = data_type(attribute(tree, "type", ""), what);
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
              if (child.first != "DataArray" || !wanted.wants(name))
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
              fail(std::string("no array '") + name +
                   "', expected it in Cells");
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
                  !wanted.wants(attribute(child.second, "Name", "")))
                grid.others.push_back(attribute(child.second, "Name", ""));
          grid.cell_arrays  = attributes(piece, "CellData", n_cells);
          grid.point_arrays = attributes(piece, "PointData", n_points);
          return grid;
        }
      };
    } // namespace

    Grid
    read_xml(const std::string &filename,
             std::string        text,
             const std::string &label_array)
    {
      return XmlReader(filename, std::move(text), label_array).read();
    }
  } // namespace Vtk
} // namespace Palpate
