#include <deal.II/base/exceptions.h>

#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/input_files.h>
#include <palpate/core/npz.h>

#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <new>

namespace Palpate
{
  namespace
  {
    const std::string npy_magic("\x93NUMPY", 6);
    constexpr double  largest_exact_integer = 9007199254740992.; // 2^53

    /// An array of a type that is no number's.
    class NotNumeric : public InputError
    {
    public:
      using InputError::InputError;
    };

    /// Text from a file as it may appear in a one-line message.
    std::string
    printable(const std::string &text)
    {
      std::string result = text.substr(
        0, std::min<std::size_t>(80, text.find_last_not_of(" \n") + 1));
      for (char &c : result)
        if (!std::isprint(static_cast<unsigned char>(c)))
          c = '?';
      return result;
    }



    std::string
    to_string(const std::vector<std::size_t> &shape)
    {
      std::string result = "(";
      for (std::size_t i = 0; i < shape.size(); ++i)
        result += (i > 0 ? ", " : "") + std::to_string(shape[i]);
      return result + (shape.size() == 1 ? ",)" : ")");
    }



    /// Number of entries of a shape; false if it cannot be represented.
    bool
    product(const std::vector<std::size_t> &shape, std::size_t &result)
    {
      result = 1;
      if (std::find(shape.begin(), shape.end(), 0) != shape.end())
        {
          result = 0;
          return true;
        }
      for (const std::size_t n : shape)
        {
          if (n > (std::numeric_limits<std::size_t>::max() / 16) / result)
            return false;
          result *= n;
        }
      return true;
    }



    /// What the header of a .npy member says.
    struct NpyHeader
    {
      char                     kind       = 'f'; // f, i, u, b
      std::size_t              item_size  = 8;
      bool                     big_endian = false, fortran_order = false;
      std::vector<std::size_t> shape;
      bool has_descr = false, has_order = false, has_shape = false;
    };



    /**
     * Reader of the Python dictionary in a .npy header, no more general than
     * that: string, True/False and tuple-of-integers values.
     */
    class HeaderParser
    {
    public:
      HeaderParser(const std::string &text,
                   const std::string &file,
                   const std::string &key)
        : text(text)
        , file(file)
        , key(key)
      {}

      NpyHeader
      parse()
      {
        NpyHeader header;
        require('{');
        while (next() != '}')
          {
            const std::string name = quoted();
            require(':');
            if (name == "descr")
              {
                dtype(header);
                header.has_descr = true;
              }
            else if (name == "fortran_order")
              {
                header.fortran_order = boolean();
                header.has_order     = true;
              }
            else if (name == "shape")
              {
                header.shape     = tuple();
                header.has_shape = true;
              }
            else
              fail();
            if (next() == ',')
              ++position;
            else if (next() != '}')
              fail();
          }
        if (!header.has_descr || !header.has_order || !header.has_shape)
          fail();
        return header;
      }

    private:
      const std::string &text, &file, &key;
      std::size_t        position = 0;

      [[noreturn]] void
      fail() const
      {
        throw InputError(file,
                         "key '" + key + "': bad .npy header \"" +
                           printable(text) +
                           "\", expected a dictionary with descr, "
                           "fortran_order and shape");
      }

      [[noreturn]] void
      refuse_type(const std::string &what) const
      {
        throw NotNumeric(file,
                         "key '" + key + "': " + what +
                           ", expected a numeric array (bool, int8 to int64, "
                           "uint8 to uint64, float32 or float64)");
      }

      char
      next()
      {
        while (position < text.size() &&
               std::isspace(static_cast<unsigned char>(text[position])))
          ++position;
        return position < text.size() ? text[position] : '\0';
      }

      void
      require(const char c)
      {
        if (next() != c)
          fail();
        ++position;
      }

      std::string
      quoted()
      {
        const char quote = next();
        if (quote != '\'' && quote != '"')
          fail();
        const std::size_t end = text.find(quote, position + 1);
        if (end == std::string::npos)
          fail();
        const std::string result =
          text.substr(position + 1, end - position - 1);
        position = end + 1;
        return result;
      }

      bool
      boolean()
      {
        next();
        for (const char *word : {"True", "False"})
          if (text.compare(position, std::strlen(word), word) == 0)
            {
              position += std::strlen(word);
              return word[0] == 'T';
            }
        fail();
      }

      std::vector<std::size_t>
      tuple()
      {
        std::vector<std::size_t> result;
        require('(');
        while (next() != ')')
          {
            std::size_t value = 0, digits = 0;
            for (; position < text.size() &&
                   std::isdigit(static_cast<unsigned char>(text[position]));
                 ++position, ++digits)
              value =
                10 * value + static_cast<std::size_t>(text[position] - '0');
            // 19 digits or more may have overflowed; 18 cannot.
            if (digits > 18)
              throw InputError(file,
                               "key '" + key + "': absurd shape in \"" +
                                 printable(text) +
                                 "\", expected sizes that fit the data");
            if (digits == 0 || result.size() == 32)
              fail();
            if (position < text.size() && text[position] == 'L')
              ++position; // Python 2 wrote long integers so
            result.push_back(value);
            if (next() == ',')
              ++position;
            else if (next() != ')')
              fail();
          }
        ++position;
        return result;
      }

      void
      dtype(NpyHeader &header)
      {
        if (next() == '[')
          refuse_type("structured array");
        const std::string descr = quoted();
        std::size_t       i     = 0;
        if (!descr.empty() && std::strchr("<>|=", descr[0]) != nullptr)
          {
            header.big_endian = (descr[0] == '>');
            i                 = 1;
          }
        const char        kind = i < descr.size() ? descr[i] : '\0';
        const std::string size = descr.substr(std::min(i + 1, descr.size()));
        const std::string name = " (dtype '" + printable(descr) + "')";
        switch (kind)
          {
            case 'O':
              throw NotNumeric(file,
                               "key '" + key + "': pickled object array" +
                                 name + ", expected a numeric array");
            case 'c':
              refuse_type("complex array" + name);
            case 'U':
            case 'S':
            case 'a':
              refuse_type("string array" + name);
            case 'M':
            case 'm':
              refuse_type("date or time array" + name);
            case 'f':
              if (size != "4" && size != "8")
                refuse_type("unsupported real type" + name);
              break;
            case 'i':
            case 'u':
              if (size != "1" && size != "2" && size != "4" && size != "8")
                refuse_type("unsupported integer type" + name);
              break;
            case 'b':
              if (size != "1")
                refuse_type("unsupported type" + name);
              break;
            default:
              refuse_type("unsupported type" + name);
          }
        header.kind      = kind;
        header.item_size = static_cast<std::size_t>(size[0] - '0');
      }
    };



    template <typename T>
    T
    from_bytes(const char *bytes, const bool big_endian)
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
    to_double(const char *bytes, const NpyHeader &header)
    {
      const bool big = header.big_endian;
      switch (header.kind)
        {
          case 'f':
            return header.item_size == 4 ? from_bytes<float>(bytes, big)
                                         : from_bytes<double>(bytes, big);
          case 'b':
            return *bytes != 0 ? 1. : 0.;
          case 'i':
            switch (header.item_size)
              {
                case 1:
                  return from_bytes<std::int8_t>(bytes, big);
                case 2:
                  return from_bytes<std::int16_t>(bytes, big);
                case 4:
                  return from_bytes<std::int32_t>(bytes, big);
                  default: {
                    // 2^53 + 1 rounds to 2^53: test before the conversion.
                    const auto v = from_bytes<std::int64_t>(bytes, big);
                    const auto limit =
                      static_cast<std::int64_t>(largest_exact_integer);
                    return v > limit || v < -limit
                             ? std::numeric_limits<double>::infinity()
                             : static_cast<double>(v);
                  }
              }
          default:
            switch (header.item_size)
              {
                case 1:
                  return from_bytes<std::uint8_t>(bytes, big);
                case 2:
                  return from_bytes<std::uint16_t>(bytes, big);
                case 4:
                  return from_bytes<std::uint32_t>(bytes, big);
                  default: {
                    const auto v = from_bytes<std::uint64_t>(bytes, big);
                    return v > static_cast<std::uint64_t>(largest_exact_integer)
                             ? std::numeric_limits<double>::infinity()
                             : static_cast<double>(v);
                  }
              }
        }
    }



    /// Values in C order from the bytes of a member.
    std::vector<double>
    convert(const std::string &bytes,
            const NpyHeader   &header,
            const std::string &file,
            const std::string &key)
    {
      const std::size_t   n = bytes.size() / header.item_size;
      std::vector<double> values(n);
      const std::size_t   rank = header.shape.size();
      // Position in the file of the entry with the current C-order index.
      std::vector<std::size_t> index(rank, 0), stride(rank, 1);
      for (std::size_t d = 1; d < rank; ++d)
        stride[d] = stride[d - 1] * header.shape[d - 1];

      std::size_t position = 0;
      for (std::size_t i = 0; i < n; ++i)
        {
          values[i] =
            to_double(bytes.data() + (header.fortran_order ? position : i) *
                                       header.item_size,
                      header);
          if (header.kind != 'f' && std::isinf(values[i]))
            throw InputError(file,
                             "key '" + key +
                               "': integer beyond 2^53 at entry " +
                               std::to_string(i) +
                               " (C order), expected magnitudes up to 2^53");
          if (header.fortran_order)
            for (std::size_t d = rank; d-- > 0;)
              {
                position += stride[d];
                if (++index[d] < header.shape[d])
                  break;
                position -= stride[d] * header.shape[d];
                index[d] = 0;
              }
        }
      return values;
    }



    struct ZipDiscard
    {
      void
      operator()(zip_t *archive) const
      {
        zip_discard(archive);
      }
    };
    using Archive = std::unique_ptr<zip_t, ZipDiscard>;

    struct MemberClose
    {
      void
      operator()(zip_file_t *member) const
      {
        zip_fclose(member);
      }
    };
    using Member = std::unique_ptr<zip_file_t, MemberClose>;

    std::string
    zip_message(const int code)
    {
      zip_error_t error;
      zip_error_init_with_code(&error, code);
      std::string message = printable(zip_error_strerror(&error));
      zip_error_fini(&error);
      return message;
    }



    /// Exactly @p n bytes of a member.
    std::string
    read_bytes(zip_file_t        *member,
               const std::size_t  n,
               const std::string &file,
               const std::string &key)
    {
      std::string bytes;
      try
        {
          bytes.resize(n);
        }
      catch (const std::exception &)
        {
          throw InputError(file,
                           "key '" + key + "': " + std::to_string(n) +
                             " bytes do not fit into memory, expected a "
                             "smaller array");
        }
      std::size_t done = 0;
      while (done < n)
        {
          const zip_int64_t got = zip_fread(member, &bytes[done], n - done);
          if (got <= 0)
            throw InputError(file,
                             "key '" + key +
                               "': damaged or truncated member (" +
                               (got < 0 ? printable(zip_file_strerror(member))
                                        : std::string("data end early")) +
                               "), expected " + std::to_string(n) + " bytes");
          done += static_cast<std::size_t>(got);
        }
      return bytes;
    }



    NpyArray
    read_member(zip_t             *archive,
                const zip_uint64_t index,
                const std::string &file,
                const std::string &key)
    {
      const auto fail = [&](const std::string &what) {
        throw InputError(file, "key '" + key + "': " + what);
      };

      zip_stat_t stat;
      zip_stat_init(&stat);
      const zip_uint64_t needed =
        ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
      if (zip_stat_index(archive, index, 0, &stat) != 0 ||
          (stat.valid & needed) != needed)
        fail("unreadable directory entry, expected a zip of .npy arrays");
      if ((stat.valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 &&
          stat.encryption_method != ZIP_EM_NONE)
        fail("encrypted member, expected a plain one");
      if (stat.comp_method != ZIP_CM_STORE &&
          stat.comp_method != ZIP_CM_DEFLATE)
        fail("compression method " + std::to_string(stat.comp_method) +
             ", expected stored or deflated");
      // Deflate cannot do better than 1:1032, so a claim beyond that is a lie
      // that must not reach an allocation.
      if (stat.size / 1100 > stat.comp_size + 1)
        fail("claims " + std::to_string(stat.size) + " bytes from " +
             std::to_string(stat.comp_size) +
             " compressed ones, expected a sound zip member");

      Member member(zip_fopen_index(archive, index, 0));
      if (!member)
        fail("cannot read member (" + printable(zip_strerror(archive)) +
             "), expected a sound zip member");

      const std::string not_npy =
        "not a .npy array, expected the numpy magic and a header";
      if (stat.size < 10)
        fail(not_npy);
      const std::string start = read_bytes(member.get(), 8, file, key);
      if (start.compare(0, 6, npy_magic) != 0)
        fail(not_npy);
      const int version = static_cast<unsigned char>(start[6]);
      if (version < 1 || version > 3)
        fail(".npy format version " + std::to_string(version) +
             ", expected 1, 2 or 3");
      const std::size_t length_size = (version == 1 ? 2 : 4);
      if (stat.size < 8 + length_size)
        fail(not_npy);
      const std::string length_bytes =
        read_bytes(member.get(), length_size, file, key);
      const std::size_t header_length =
        version == 1 ? from_bytes<std::uint16_t>(length_bytes.data(), false)
                     : from_bytes<std::uint32_t>(length_bytes.data(), false);
      const std::size_t available = stat.size - 8 - length_size;
      if (header_length > available || header_length > (1u << 20))
        fail("header length " + std::to_string(header_length) +
             ", expected at most " +
             std::to_string(std::min<std::size_t>(available, 1u << 20)));

      const std::string text =
        read_bytes(member.get(), header_length, file, key);
      const NpyHeader   header = HeaderParser(text, file, key).parse();
      const std::size_t n_data = available - header_length;

      std::size_t n = 0;
      if (!product(header.shape, n))
        fail("absurd shape " + to_string(header.shape) + ", expected " +
             std::to_string(n_data / header.item_size) + " entries");
      if (n * header.item_size != n_data)
        fail("shape " + to_string(header.shape) + " needs " +
             std::to_string(n * header.item_size) + " bytes but " +
             std::to_string(n_data) +
             " are present, expected a shape that matches the data");

      const std::string bytes = read_bytes(member.get(), n_data, file, key);
      // Reading past the end makes libzip compare the checksum.
      char extra;
      if (zip_fread(member.get(), &extra, 1) != 0)
        fail("damaged member (" + printable(zip_file_strerror(member.get())) +
             "), expected matching size and checksum");

      NpyArray array;
      array.shape      = header.shape;
      array.is_integer = (header.kind != 'f');
      try
        {
          array.values = convert(bytes, header, file, key);
        }
      catch (const std::bad_alloc &)
        {
          fail("shape " + to_string(header.shape) +
               " does not fit into memory, expected a smaller array");
        }
      return array;
    }



    /// The .npy image of an array, format version 1.
    std::string
    npy_bytes(const NpyArray &array)
    {
      std::string header =
        std::string("{'descr': '") + (array.is_integer ? "<i8" : "<f8") +
        "', 'fortran_order': False, 'shape': " + array.shape_string() + ", }";
      // The data begin at a multiple of 64 bytes.
      header.append(63 - (10 + header.size()) % 64, ' ');
      header += '\n';

      std::string bytes = npy_magic;
      bytes += '\x01';
      bytes += '\x00';
      bytes += static_cast<char>(header.size() & 0xff);
      bytes += static_cast<char>(header.size() >> 8);
      bytes += header;
      bytes.reserve(bytes.size() + 8 * array.size());
      for (const double value : array.values)
        {
          std::uint64_t bits;
          if (array.is_integer)
            bits = static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
          else
            std::memcpy(&bits, &value, 8);
          for (unsigned int i = 0; i < 8; ++i)
            bytes += static_cast<char>((bits >> (8 * i)) & 0xff);
        }
      return bytes;
    }



    /// Write the archive; an empty message means success.
    std::string
    write_archive(const std::string              &temporary,
                  const NpzArrays                &arrays,
                  const std::vector<std::string> &buffers,
                  const bool                      deflate)
    {
      if (arrays.empty())
        {
          // libzip makes no file for an archive without members.
          std::ofstream out(temporary, std::ios::binary);
          out << "PK\x05\x06" << std::string(18, '\0');
          out.close();
          return out ? "" : std::strerror(errno);
        }

      int     code = 0;
      Archive archive(
        zip_open(temporary.c_str(), ZIP_CREATE | ZIP_EXCL, &code));
      if (!archive)
        return zip_message(code);
      std::size_t i = 0;
      for (const auto &entry : arrays)
        {
          const std::string &bytes = buffers[i++];
          zip_source_t      *source =
            zip_source_buffer(archive.get(), bytes.data(), bytes.size(), 0);
          if (source == nullptr)
            return printable(zip_strerror(archive.get()));
          const zip_int64_t index = zip_file_add(archive.get(),
                                                 (entry.first + ".npy").c_str(),
                                                 source,
                                                 ZIP_FL_ENC_UTF_8);
          if (index < 0)
            {
              zip_source_free(source);
              return printable(zip_strerror(archive.get()));
            }
          // A fixed date (1980-01-01, as numpy): equal content, equal file.
          if (zip_set_file_compression(archive.get(),
                                       static_cast<zip_uint64_t>(index),
                                       deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE,
                                       0) != 0 ||
              zip_file_set_dostime(
                archive.get(), static_cast<zip_uint64_t>(index), 0, 0x21, 0) !=
                0)
            return printable(zip_strerror(archive.get()));
        }
      if (zip_close(archive.get()) != 0)
        return printable(zip_strerror(archive.get()));
      archive.release(); // closed
      return "";
    }



    /// Of names, shapes and values: how they are packed does not matter.
    std::uint64_t
    checksum_of(const NpzArrays &arrays)
    {
      std::uint64_t sum = 1;
      for (const auto &[name, array] : arrays)
        {
          sum = Palpate::checksum_of(name.data(), name.size(), sum);
          sum =
            Palpate::checksum_of(array.shape.data(),
                                 array.shape.size() * sizeof(array.shape[0]),
                                 sum);
          sum =
            Palpate::checksum_of(array.values.data(),
                                 array.values.size() * sizeof(array.values[0]),
                                 sum);
        }
      return sum;
    }



    /// Read back what was written; an empty message means it is all there.
    std::string
    check_archive(const std::string              &temporary,
                  const std::vector<std::string> &buffers)
    {
      int     code = 0;
      Archive archive(zip_open(temporary.c_str(), ZIP_RDONLY, &code));
      if (!archive)
        return zip_message(code);
      std::string chunk(1 << 16, '\0');
      for (std::size_t i = 0; i < buffers.size(); ++i)
        {
          Member member(zip_fopen_index(archive.get(), i, 0));
          if (!member)
            return printable(zip_strerror(archive.get()));
          std::size_t n   = 0;
          zip_int64_t got = 0;
          while ((got = zip_fread(member.get(), &chunk[0], chunk.size())) > 0)
            n += static_cast<std::size_t>(got);
          if (got < 0 || n != buffers[i].size())
            return "what was written does not read back";
        }
      return "";
    }
  } // namespace



  NpyArray::NpyArray(std::vector<std::size_t> shape_,
                     std::vector<double>      values_)
    : shape(std::move(shape_))
    , values(std::move(values_))
  {
    std::size_t n = 0;
    AssertThrow(product(shape, n) && n == values.size(),
                dealii::ExcDimensionMismatch(n, values.size()));
  }



  NpyArray
  NpyArray::integers(std::vector<std::size_t>         shape,
                     const std::vector<std::int64_t> &values)
  {
    NpyArray array(std::move(shape),
                   std::vector<double>(values.begin(), values.end()));
    array.is_integer = true;
    return array;
  }



  std::string
  NpyArray::shape_string() const
  {
    return to_string(shape);
  }



  NpzArrays
  read_npz(const std::string &filename)
  {
    std::map<std::string, std::string> not_numeric;
    NpzArrays                          arrays = read_npz(filename, not_numeric);
    if (!not_numeric.empty())
      throw InputError(not_numeric.begin()->second);
    return arrays;
  }



  NpzArrays
  read_npz(const std::string                  &filename,
           std::map<std::string, std::string> &not_numeric)
  {
    std::error_code error;
    const auto      status = std::filesystem::status(filename, error);
    if (!std::filesystem::exists(status))
      throw InputError(filename, "no such file, expected an NPZ file");
    if (std::filesystem::is_directory(status))
      throw InputError(filename, "is a folder, expected an NPZ file");
    if (std::filesystem::is_regular_file(status) &&
        std::filesystem::file_size(filename, error) == 0)
      throw InputError(filename, "empty file, expected an NPZ file");

    int     code = 0;
    Archive archive(zip_open(filename.c_str(), ZIP_RDONLY, &code));
    if (!archive)
      throw InputError(filename,
                       "not a zip archive, or truncated (" + zip_message(code) +
                         "), expected an NPZ file");

    NpzArrays         arrays;
    const zip_int64_t n = zip_get_num_entries(archive.get(), 0);
    for (zip_int64_t i = 0; i < n; ++i)
      {
        const auto  index = static_cast<zip_uint64_t>(i);
        const char *name  = zip_get_name(archive.get(), index, 0);
        if (name == nullptr)
          throw InputError(filename,
                           "member " + std::to_string(i) +
                             " has no readable name, expected an NPZ file");
        std::string key = name;
        if (key.size() < 4 || key.compare(key.size() - 4, 4, ".npy") != 0)
          continue; // not an array
        key = printable(key.substr(0, key.size() - 4));
        if (arrays.count(key) > 0 || not_numeric.count(key) > 0)
          throw InputError(filename,
                           "key '" + key +
                             "': present twice, expected one array per key");
        try
          {
            arrays[key] = read_member(archive.get(), index, filename, key);
          }
        catch (const NotNumeric &e)
          {
            arrays.erase(key);
            not_numeric[key] = e.what();
          }
      }
    note_input(filename, checksum_of(arrays));
    return arrays;
  }



  void
  write_npz(const std::string &filename,
            const NpzArrays   &arrays,
            const bool         deflate)
  {
    std::vector<std::string> buffers;
    for (const auto &entry : arrays)
      {
        std::size_t n = 0;
        AssertThrow(product(entry.second.shape, n) && n == entry.second.size(),
                    dealii::ExcDimensionMismatch(n, entry.second.size()));
        buffers.push_back(npy_bytes(entry.second));
      }

    static std::atomic<unsigned int> counter{0};
    const std::filesystem::path      target(filename);
    const std::string                temporary =
      (target.parent_path() /
       ("." + target.filename().string() + "." + std::to_string(getpid()) +
        "." + std::to_string(counter++) + ".tmp"))
        .string();

    std::string message = write_archive(temporary, arrays, buffers, deflate);
    if (message.empty())
      message = check_archive(temporary, buffers);
    if (message.empty() &&
        std::rename(temporary.c_str(), filename.c_str()) != 0)
      message = std::strerror(errno);
    if (!message.empty())
      {
        std::remove(temporary.c_str());
        throw ComputationError(shown_name(filename) +
                               ": cannot write: " + message);
      }
  }
} // namespace Palpate
