#include <palpate/core/errors.h>
#include <palpate/core/text.h>
#include <palpate/image/raw_data.h>

#include <boost/algorithm/string.hpp>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

namespace Palpate
{
  namespace
  {
    /// Lines of the header, at most so many bytes of it.
    class HeaderLines
    {
    public:
      explicit HeaderLines(const std::string &filename)
        : filename(filename)
        , file(filename, std::ios::binary)
      {
        if (!file)
          throw InputError(filename, "cannot be read");
      }

      /// @return whether there is one
      bool
      next(std::string &line)
      {
        line.clear();
        for (int c = file.get(); c != EOF; c = file.get())
          {
            ++at;
            if (c == '\n')
              {
                if (!line.empty() && line.back() == '\r')
                  line.pop_back();
                return true;
              }
            line += static_cast<char>(c);
            if (line.size() > 1 << 20)
              throw InputError(filename,
                               "has a line of more than 1 MB, expected a text "
                               "header");
          }
        return !line.empty();
      }

      std::uint64_t at = 0; ///< bytes read

    private:
      const std::string filename;
      std::ifstream     file;
    };

    std::uint64_t
    size_of_file(const std::string &filename)
    {
      std::error_code error;
      const auto      size = std::filesystem::file_size(filename, error);
      if (error || !std::filesystem::is_regular_file(filename, error))
        throw InputError(filename, "cannot be read");
      return size;
    }

    /// A file named in a header lies beside it, unless its path is absolute.
    std::string
    beside(const std::string &filename, const std::string &other)
    {
      const std::filesystem::path path = other;
      return path.is_absolute()
               ? other
               : (std::filesystem::path(filename).parent_path() / path)
                   .string();
    }

    /// Inflate (zlib or gzip) to the end. @return bytes of the contents
    std::uint64_t
    inflated_size(const std::string  &source,
                  const std::string  &filename,
                  const std::uint64_t offset)
    {
      std::ifstream file(filename, std::ios::binary);
      file.seekg(offset);
      std::vector<unsigned char> in(1 << 20), out(1 << 20);
      z_stream                   stream = {};
      if (inflateInit2(&stream, 15 + 32) != Z_OK)
        throw ComputationError(source + ": out of memory");
      std::uint64_t size   = 0;
      int           status = Z_OK;
      while (status == Z_OK)
        {
          if (stream.avail_in == 0)
            {
              file.read(reinterpret_cast<char *>(in.data()), in.size());
              stream.next_in  = in.data();
              stream.avail_in = file.gcount();
              if (stream.avail_in == 0)
                break;
            }
          stream.next_out  = out.data();
          stream.avail_out = out.size();
          status           = inflate(&stream, Z_NO_FLUSH);
          size += out.size() - stream.avail_out;
        }
      inflateEnd(&stream);
      if (status == Z_OK || status == Z_BUF_ERROR)
        throw InputError(source,
                         "ends early: its compressed voxels have no end, "
                         "expected a whole file");
      if (status != Z_STREAM_END)
        throw InputError(source,
                         std::string("is damaged: its compressed voxels cannot "
                                     "be read (") +
                           (stream.msg != nullptr ? stream.msg : "zlib") +
                           "), expected a whole file");
      return size;
    }

    /// Are all voxels there?
    void
    check_voxels(const std::string &filename, TextHeader &header)
    {
      const std::uint64_t there = size_of_file(header.data_file);
      const std::uint64_t left =
        there > header.offset ? there - header.offset : 0;
      // Deflate makes at most 1032 bytes of one.
      if (header.bytes / (header.compressed ? 1032 : 1) > left)
        throw InputError(filename,
                         "claims " + std::to_string(header.bytes) +
                           " bytes of voxels, and " + std::to_string(left) +
                           (header.compressed ? " compressed" : "") +
                           " bytes are there, expected a whole file");
      if (!header.compressed)
        return;
      const std::uint64_t size =
        inflated_size(filename, header.data_file, header.offset);
      if (size < header.bytes)
        throw InputError(filename,
                         "claims " + std::to_string(header.bytes) +
                           " bytes of voxels, and " + std::to_string(size) +
                           " are compressed there, expected a whole file");
    }

    std::vector<std::uint64_t>
    whole_sizes(const std::string &filename,
                const std::string &field,
                const std::string &text)
    {
      std::vector<std::uint64_t> sizes;
      std::istringstream         stream(text);
      std::string                word;
      while (stream >> word)
        {
          if (word.find_first_not_of("0123456789") != std::string::npos ||
              word.size() > 10 || std::stoull(word) == 0)
            throw InputError(filename,
                             field + ": '" + Text::one_line(word) +
                               "', expected whole numbers above 0");
          sizes.push_back(std::stoull(word));
        }
      return sizes;
    }

    /// Bytes of so many values. @throw InputError if no file can hold them
    std::uint64_t
    product(const std::string                &filename,
            const std::vector<std::uint64_t> &sizes,
            const std::uint64_t               factor)
    {
      std::uint64_t bytes = factor;
      for (const auto n : sizes)
        {
          if (bytes > std::numeric_limits<std::int64_t>::max() / n)
            throw InputError(filename,
                             "claims more voxels than any file can hold");
          bytes *= n;
        }
      return bytes;
    }

    const std::string &
    field_of(const std::string &filename,
             const TextHeader  &header,
             const std::string &name)
    {
      const auto found = header.fields.find(name);
      if (found == header.fields.end())
        throw InputError(filename,
                         "has no field '" + name +
                           "', expected it in the header");
      return found->second;
    }

    /// By the names of the format's definition. @return 0 for others
    unsigned int
    bytes_of_nrrd_type(const std::string &type)
    {
      static const std::map<unsigned int, std::string> types = {
        {1, "|signed char|int8|int8_t|uchar|unsigned char|uint8|uint8_t|"},
        {2,
         "|short|short int|signed short|signed short int|int16|int16_t|ushort|"
         "unsigned short|unsigned short int|uint16|uint16_t|"},
        {4,
         "|int|signed int|int32|int32_t|uint|unsigned int|uint32|uint32_t|"
         "float|"},
        {8,
         "|longlong|long long|long long int|signed long long|"
         "signed long long int|int64|int64_t|ulonglong|unsigned long long|"
         "unsigned long long int|uint64|uint64_t|double|"}};
      for (const auto &[bytes, names] : types)
        if (names.find("|" + type + "|") != std::string::npos)
          return bytes;
      return 0;
    }

    std::string
    or_empty(const TextHeader &header, const std::string &name)
    {
      const auto found = header.fields.find(name);
      return found == header.fields.end() ? "" : found->second;
    }
  } // namespace

  TextHeader
  read_meta_image_header(const std::string &filename)
  {
    // "Name = value" lines; ElementDataFile is the last one.
    TextHeader  header;
    HeaderLines lines(filename);
    std::string line;
    while (header.fields.count("ElementDataFile") == 0)
      {
        const bool there  = lines.next(line);
        const auto equals = line.find('=');
        if (!there ||
            (equals == std::string::npos && !Text::trim(line).empty()))
          throw InputError(filename,
                           "is no MetaImage: its header ends without "
                           "ElementDataFile, expected lines 'Name = value'");
        if (equals != std::string::npos)
          header.fields[Text::trim(line.substr(0, equals))] =
            Text::trim(line.substr(equals + 1));
      }
    header.sizes =
      whole_sizes(filename, "DimSize", field_of(filename, header, "DimSize"));
    if (field_of(filename, header, "NDims") !=
        std::to_string(header.sizes.size()))
      throw InputError(filename,
                       "NDims = " + header.fields["NDims"] +
                         " but DimSize has " +
                         std::to_string(header.sizes.size()) + " numbers");
    static const std::map<std::string, unsigned int> types = {
      {"MET_CHAR", 1},
      {"MET_UCHAR", 1},
      {"MET_SHORT", 2},
      {"MET_USHORT", 2},
      {"MET_INT", 4},
      {"MET_UINT", 4},
      {"MET_LONG", 4},
      {"MET_ULONG", 4},
      {"MET_LONG_LONG", 8},
      {"MET_FLOAT", 4},
      {"MET_ULONG_LONG", 8},
      {"MET_DOUBLE", 8}};
    std::string type = field_of(filename, header, "ElementType");
    if (const auto array = type.find("_ARRAY"); array != std::string::npos)
      type = type.substr(0, array);
    if (types.count(type) == 0)
      throw InputError(filename,
                       "ElementType = " + Text::one_line(type) +
                         ", expected MET_SHORT, MET_FLOAT or another number");
    const std::string channels = or_empty(header, "ElementNumberOfChannels");
    header.bytes               = product(
      filename,
      header.sizes,
      types.at(type) *
        (channels.empty()
                         ? 1
                         : whole_sizes(filename, "ElementNumberOfChannels", channels).at(0)));
    const std::string data = header.fields["ElementDataFile"];
    if (data == "LIST" || data.find('%') != std::string::npos)
      throw InputError(filename,
                       "ElementDataFile = " + Text::one_line(data) +
                         ", expected one file with all voxels");
    const bool local = data == "LOCAL" || data == "local" || data == "Local";
    header.data_file = local ? filename : beside(filename, data);
    header.compressed =
      boost::iequals(or_empty(header, "CompressedData"), "true");
    const std::string skip = or_empty(header, "HeaderSize");
    if (local)
      header.offset = lines.at;
    else if (skip == "-1")
      {
        const auto size = size_of_file(header.data_file);
        header.offset   = size > header.bytes ? size - header.bytes : 0;
      }
    else if (!skip.empty() && skip != "0")
      header.offset = whole_sizes(filename, "HeaderSize", skip).at(0);
    for (const char *binary : {"BinaryData", "BinaryDataByteOrderMSB"})
      if (const auto value = or_empty(header, binary);
          !value.empty() && !boost::iequals(value, "true") &&
          !boost::iequals(value, "false"))
        throw InputError(filename,
                         std::string(binary) + " = " + Text::one_line(value) +
                           ", expected True or False");
    if (boost::iequals(or_empty(header, "BinaryData"), "false"))
      throw InputError(filename,
                       "BinaryData = False: voxels as text, expected binary "
                       "ones");
    check_voxels(filename, header);
    return header;
  }

  TextHeader
  read_nrrd_header(const std::string &filename)
  {
    // "NRRD000x", lines "field: value", "key:=value" or comments, and an empty
    // line before the voxels.
    TextHeader  header;
    HeaderLines lines(filename);
    std::string line;
    lines.next(line);
    if (line.compare(0, 7, "NRRD000") != 0)
      throw InputError(filename, "is no NRRD file, expected NRRD000x first");
    while (lines.next(line) && !line.empty())
      {
        const auto colon = line.find(':');
        if (line[0] == '#')
          continue;
        if (colon == std::string::npos)
          throw InputError(filename,
                           "line '" + Text::one_line(line) +
                             "', expected 'field: value'");
        const bool is_key = line.compare(colon, 2, ":=") == 0;
        header.fields[line.substr(0, colon)] =
          Text::trim(line.substr(colon + (is_key ? 2 : 1)));
      }
    header.sizes =
      whole_sizes(filename, "sizes", field_of(filename, header, "sizes"));
    if (field_of(filename, header, "dimension") !=
        std::to_string(header.sizes.size()))
      throw InputError(filename,
                       "dimension " + header.fields["dimension"] +
                         " but sizes has " +
                         std::to_string(header.sizes.size()) + " numbers");
    const std::string  type = field_of(filename, header, "type");
    const unsigned int size = bytes_of_nrrd_type(type);
    if (size == 0)
      throw InputError(filename,
                       "type " + Text::one_line(type) +
                         ", expected short, float or another number");
    header.bytes             = product(filename, header.sizes, size);
    const std::string coding = field_of(filename, header, "encoding");
    std::string       data   = or_empty(header, "data file");
    if (data.empty())
      data = or_empty(header, "datafile");
    if (data.compare(0, 4, "LIST") == 0 || data.find('%') != std::string::npos)
      throw InputError(filename,
                       "data file: " + Text::one_line(data) +
                         ", expected one file with all voxels");
    header.data_file = data.empty() ? filename : beside(filename, data);
    header.offset    = data.empty() ? lines.at : 0;
    for (const char *skip : {"byte skip", "byteskip", "line skip", "lineskip"})
      if (const auto value = or_empty(header, skip);
          !value.empty() && value != "0")
        throw InputError(filename,
                         std::string(skip) + " " + Text::one_line(value) +
                           ", expected a file whose voxels begin at its start");
    header.compressed = coding == "gzip" || coding == "gz";
    if (!header.compressed && coding != "raw")
      throw InputError(filename,
                       "encoding " + Text::one_line(coding) +
                         ", expected raw or gzip");
    check_voxels(filename, header);
    return header;
  }
} // namespace Palpate
