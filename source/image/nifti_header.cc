#include <palpate/core/errors.h>
#include <palpate/image/nifti_header.h>

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <sstream>

namespace Palpate
{
  namespace
  {
    /// The bytes of a header, read field by field in either byte order.
    class Bytes
    {
    public:
      std::vector<unsigned char> data;
      bool                       swapped = false;

      template <typename T>
      T
      get(const std::size_t at) const
      {
        unsigned char raw[sizeof(T)];
        std::memcpy(raw, data.data() + at, sizeof(T));
        if (swapped)
          std::reverse(raw, raw + sizeof(T));
        T value;
        std::memcpy(&value, raw, sizeof(T));
        return value;
      }
      std::string
      text(const std::size_t at, const std::size_t length) const
      {
        std::string result;
        for (std::size_t i = at; i < at + length && data[i] != 0; ++i)
          result += (data[i] >= 32 && data[i] < 127) ? char(data[i]) : '?';
        return result;
      }
    };

    /// The first bytes of a file, decompressed if it is compressed.
    std::vector<unsigned char>
    first_bytes(const std::string &filename, const std::size_t n)
    {
      const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(
        gzopen(filename.c_str(), "rb"), gzclose);
      if (!file)
        throw InputError(filename, "cannot be read");
      std::vector<unsigned char> bytes(n);
      const int got = gzread(file.get(), bytes.data(), unsigned(n));
      if (got < 0)
        {
          int         number = 0;
          const char *text   = gzerror(file.get(), &number);
          throw InputError(filename,
                           std::string("is damaged: ") +
                             (number == Z_ERRNO ? "it cannot be read" : text));
        }
      bytes.resize(std::max(got, 0));
      return bytes;
    }

    bool
    is_gzipped(const std::string &filename)
    {
      std::FILE    *file     = std::fopen(filename.c_str(), "rb");
      unsigned char start[2] = {0, 0};
      const bool both = file != nullptr && std::fread(start, 1, 2, file) == 2;
      if (file != nullptr)
        std::fclose(file);
      return both && start[0] == 0x1f && start[1] == 0x8b;
    }

    /// Where the fields of a version stand.
    NiftiHeader
    fields_of(const Bytes &b, const unsigned int version)
    {
      NiftiHeader h;
      h.version       = version;
      const bool v1   = (version == 1);
      const auto real = [&](const std::size_t at) {
        return v1 ? double(b.get<float>(at)) : b.get<double>(at);
      };
      const std::size_t size   = v1 ? 4 : 8;
      const auto        number = [&](const std::size_t at) {
        return v1 ? int(b.get<std::int16_t>(at)) : int(b.get<std::int32_t>(at));
      };
      const auto dim = [&](const unsigned int i) {
        return v1 ? std::int64_t(b.get<std::int16_t>(40 + 2 * i))
                  : b.get<std::int64_t>(16 + 8 * i);
      };
      h.n_dim = dim(0);
      for (unsigned int i = 1; i <= 7 && i <= h.n_dim; ++i)
        h.dim.push_back(dim(i));
      h.datatype = b.get<std::int16_t>(v1 ? 70 : 12);
      h.bitpix   = b.get<std::int16_t>(v1 ? 72 : 14);
      for (unsigned int i = 0; i < 8; ++i)
        h.pixdim[i] = real((v1 ? 76 : 104) + size * i);
      h.vox_offset  = v1 ? b.get<float>(108) : double(b.get<std::int64_t>(168));
      h.scl_slope   = real(v1 ? 112 : 176);
      h.scl_inter   = real(v1 ? 116 : 184);
      h.xyzt_units  = v1 ? b.data[123] : b.get<std::int32_t>(500);
      h.intent_code = v1 ? b.get<std::int16_t>(68) : b.get<std::int32_t>(504);
      h.intent_p1   = real(v1 ? 56 : 80);
      h.intent_name = b.text(v1 ? 328 : 508, 16);
      h.qform_code  = number(v1 ? 252 : 344);
      h.sform_code  = number(v1 ? 254 : 348);
      for (unsigned int i = 0; i < 3; ++i)
        {
          h.quatern[i] = real((v1 ? 256 : 352) + size * i);
          h.qoffset[i] = real((v1 ? 268 : 376) + size * i);
          for (unsigned int j = 0; j < 4; ++j)
            h.srow[i][j] = real((v1 ? 280 : 400) + size * (4 * i + j));
        }
      return h;
    }

    /// Refusals, each with the field's name and value.
    class Checks
    {
    public:
      Checks(const std::string &filename, const NiftiHeader &h)
        : filename(filename)
        , h(h)
      {}

      void
      dimensions() const
      {
        if (h.n_dim < 1 || h.n_dim > 7)
          fail("dim[0]", h.n_dim, "expected 1 to 7 dimensions");
        for (std::size_t i = 0; i < h.dim.size(); ++i)
          if (h.dim[i] < 1)
            fail("dim[" + std::to_string(i + 1) + "]",
                 h.dim[i],
                 "expected at least 1");
        if (h.n_voxels() == 0)
          throw InputError(filename,
                           "the header claims " + h.shape() +
                             " voxels, more than any file holds");
      }

      void
      type() const
      {
        const auto bits = [&]() {
          switch (h.datatype)
            {
              case 2:
              case 256:
                return 8;
              case 4:
              case 512:
                return 16;
              case 8:
              case 768:
              case 16:
                return 32;
              case 64:
              case 1024:
              case 1280:
                return 64;
              default:
                return 0;
            }
        }();
        if (bits == 0)
          fail("datatype",
               h.datatype,
               "expected an integer or real type of at most 64 bits");
        if (h.bitpix != bits)
          fail("bitpix",
               h.bitpix,
               "expected " + std::to_string(bits) + " for datatype " +
                 std::to_string(h.datatype));
      }

      void
      scaling() const
      {
        // NaN for both, or 0 for the slope: no scaling.
        if (std::isnan(h.scl_slope) &&
            (std::isnan(h.scl_inter) || h.scl_inter == 0))
          return;
        if (!std::isfinite(h.scl_slope))
          fail("scl_slope", h.scl_slope, "expected a finite number");
        if (h.scl_slope != 0 && !std::isfinite(h.scl_inter))
          fail("scl_inter",
               h.scl_inter,
               "expected a finite number: values may be off by the intercept "
               "that is lost");
      }

      void
      offset() const
      {
        const double least = h.pair ? 0 : h.version == 1 ? 352 : 544;
        if (!(h.vox_offset >= least) || h.vox_offset > 1e15 ||
            h.vox_offset != std::floor(h.vox_offset))
          fail("vox_offset",
               h.vox_offset,
               "expected a whole number of at least " +
                 std::to_string(int(least)));
      }

      /// Voxel sizes, quaternion, matrix: what the form in use reads.
      void
      placement() const
      {
        const std::size_t n = std::min<std::size_t>(3, h.dim.size());
        if (h.sform_code <= 0)
          for (std::size_t i = 1; i <= n; ++i)
            if (!(h.pixdim[i] > 0) || !std::isfinite(h.pixdim[i]))
              fail("pixdim[" + std::to_string(i) + "]",
                   h.pixdim[i],
                   "expected a positive voxel size");
        if (h.sform_code > 0)
          {
            for (unsigned int i = 0; i < 3; ++i)
              for (unsigned int j = 0; j < 4; ++j)
                if (!std::isfinite(h.srow[i][j]))
                  fail(std::string("srow_") + "xyz"[i] + "[" +
                         std::to_string(j) + "]",
                       h.srow[i][j],
                       "expected a finite number");
          }
        else if (h.qform_code > 0)
          quaternion();
        if (h.sform_code > 0 && h.qform_code == h.sform_code && sound_qform())
          same_forms();
      }

      void
      size() const
      {
        const std::string data = data_file();
        std::error_code   error;
        const double      held =
          static_cast<double>(std::filesystem::file_size(data, error));
        if (error)
          throw InputError(data, "cannot be read (voxels of " + filename + ")");
        // Deflate: at most 1032 bytes of one.
        const double most = is_gzipped(data) ? 1032. * held : held;
        const double claimed =
          h.vox_offset + double(h.n_voxels()) * (h.bitpix / 8);
        if (claimed > most)
          {
            std::ostringstream text;
            text.precision(15);
            text << "ends early: the header claims " << h.shape()
                 << " voxels, that is " << claimed << " bytes, the file "
                 << (is_gzipped(data) ? "can hold " : "has ") << most;
            throw InputError(data, text.str());
          }
      }

    private:
      template <typename T>
      [[noreturn]] void
      fail(const std::string &field,
           const T            value,
           const std::string &expected) const
      {
        std::ostringstream text;
        text << "the header's " << field << " is " << value << ", " << expected;
        throw InputError(filename, text.str());
      }

      std::string
      data_file() const
      {
        if (!h.pair)
          return filename;
        const auto        dot = filename.rfind(".hdr");
        const std::string tail =
          dot == std::string::npos ? "" : filename.substr(dot + 4);
        for (const std::string &end :
             {".img" + tail, std::string(".img"), std::string(".img.gz")})
          {
            const std::string name = filename.substr(0, dot) + end;
            if (std::filesystem::exists(name))
              return name;
          }
        throw InputError(
          filename, "is the header of a pair, expected its .img beside it");
      }

      double
      quaternion_square() const
      {
        double sum = 0;
        for (const double v : h.quatern)
          sum += v * v;
        return sum;
      }

      void
      quaternion() const
      {
        const char *names[3] = {"quatern_b", "quatern_c", "quatern_d"};
        for (unsigned int i = 0; i < 3; ++i)
          {
            if (!std::isfinite(h.quatern[i]))
              fail(names[i], h.quatern[i], "expected a finite number");
            if (!std::isfinite(h.qoffset[i]))
              fail(std::string("qoffset_") + "xyz"[i],
                   h.qoffset[i],
                   "expected a finite number");
          }
        if (quaternion_square() > 1 + 1e-4)
          fail("quaternion's b^2 + c^2 + d^2",
               quaternion_square(),
               "expected at most 1: a rotation");
        const double qfac = h.pixdim[0];
        if (qfac != 1 && qfac != -1 && qfac != 0)
          fail("pixdim[0]", qfac, "expected 1 or -1 (qfac)");
      }

      bool
      sound_qform() const
      {
        bool sound = quaternion_square() <= 1 + 1e-4;
        for (unsigned int i = 1; i <= 3; ++i)
          sound = sound && h.pixdim[i] > 0 && std::isfinite(h.pixdim[i]) &&
                  std::isfinite(h.qoffset[i - 1]);
        return sound;
      }

      /// Two forms of one meaning that place voxels more than half a voxel
      /// apart: one of them is wrong.
      void
      same_forms() const
      {
        const auto q     = h.qform();
        double     apart = 0;
        for (unsigned int corner = 0; corner < 8; ++corner)
          {
            double square = 0;
            for (unsigned int i = 0; i < 3; ++i)
              {
                double difference = q[i][3] - h.srow[i][3];
                for (unsigned int j = 0; j < 3 && j < h.dim.size(); ++j)
                  if (corner & (1u << j))
                    difference +=
                      (q[i][j] - h.srow[i][j]) * double(h.dim[j] - 1);
                square += difference * difference;
              }
            apart = std::max(apart, std::sqrt(square));
          }
        const double voxel = std::max({h.pixdim[1], h.pixdim[2], h.pixdim[3]});
        if (apart > 0.5 * voxel)
          {
            std::ostringstream text;
            text << "sform and qform have the same code (" << h.sform_code
                 << ") but place a corner " << apart
                 << " units apart, expected them to agree, or code 0 for the "
                    "one that does not hold";
            throw InputError(filename, text.str());
          }
      }

      const std::string &filename;
      const NiftiHeader &h;
    };
  } // namespace

  std::uint64_t
  NiftiHeader::n_voxels() const
  {
    std::uint64_t n = 1;
    for (const std::int64_t entries : dim)
      {
        if (entries < 1 || std::uint64_t(entries) > (1ull << 62) / n)
          return 0;
        n *= entries;
      }
    return n;
  }

  std::string
  NiftiHeader::shape() const
  {
    std::string text;
    for (const auto entries : dim)
      text += (text.empty() ? "" : " x ") + std::to_string(entries);
    return text;
  }

  std::array<std::array<double, 4>, 3>
  NiftiHeader::qform() const
  {
    const double b = quatern[0], c = quatern[1], d = quatern[2],
                 a       = std::sqrt(std::max(0., 1 - b * b - c * c - d * d));
    const double R[3][3] = {
      {a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)},
      {2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)},
      {2 * (b * d - a * c),
       2 * (c * d + a * b),
       a * a + d * d - b * b - c * c}};
    const double                         qfac = pixdim[0] < 0 ? -1 : 1;
    std::array<std::array<double, 4>, 3> result;
    for (unsigned int i = 0; i < 3; ++i)
      {
        for (unsigned int j = 0; j < 3; ++j)
          result[i][j] = R[i][j] * pixdim[j + 1] * (j == 2 ? qfac : 1);
        result[i][3] = qoffset[i];
      }
    return result;
  }

  NiftiHeader
  read_nifti_header(const std::string &filename)
  {
    const std::string ending =
      filename.substr(std::min(filename.rfind('.'), filename.size()));
    Bytes b;
    b.data              = first_bytes(filename, 544);
    const auto no_nifti = [&](const std::string &what) {
      return InputError(filename, what + ", expected .nii or .nii.gz");
    };
    if (b.data.size() < 348)
      throw no_nifti("is no NIfTI file (a header has 348 bytes)");
    unsigned int version = 0;
    for (const bool swapped : {false, true})
      {
        b.swapped       = swapped;
        const auto size = b.get<std::int32_t>(0);
        version = size == 348 ? 1 : size == 540 && b.data.size() >= 540 ? 2 : 0;
        if (version != 0)
          break;
      }
    if (version == 0)
      throw no_nifti("is no NIfTI file");
    const char *const magic =
      reinterpret_cast<const char *>(b.data.data()) + (version == 1 ? 344 : 4);
    const std::string kind(magic, 3);
    const std::string number = std::to_string(version);
    if ((kind != "n+" + number && kind != "ni" + number) || magic[3] != 0)
      throw no_nifti(version == 1
                       ? "is an Analyze 7.5 header or a damaged NIfTI one (no "
                         "magic n+1 or ni1): which side is left is not told"
                       : "has no magic n+2 or ni2");
    if (version == 2 && std::memcmp(magic + 4, "\r\n\032\n", 4) != 0)
      throw no_nifti("was changed by a transfer as text (NIfTI-2 signature)");
    NiftiHeader h = fields_of(b, version);
    h.pair        = (kind[1] == 'i');
    h.gzipped     = is_gzipped(filename);
    if (h.gzipped && ending != ".gz")
      throw no_nifti("is gzip-compressed but is not named so");
    const Checks checks(filename, h);
    checks.dimensions();
    checks.type();
    checks.scaling();
    checks.offset();
    checks.placement();
    checks.size();
    return h;
  }
} // namespace Palpate
