#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/input_files.h>
#include <palpate/image/image.h>
#include <palpate/image/nifti_header.h>

#include <nifti2_io.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    struct Free
    {
      void
      operator()(nifti_image *image) const
      {
        nifti_image_free(image);
      }
    };
    using NiftiHandle = std::unique_ptr<nifti_image, Free>;

    /// A file that may be compressed, read to its end, so that the checksum of
    /// gzip counts.
    class WholeFile
    {
    public:
      explicit WholeFile(const std::string &name)
        : name(name)
        , file(gzopen(name.c_str(), "rb"))
      {
        if (file == nullptr)
          throw InputError(name, "cannot be read");
        gzbuffer(file, 1 << 20);
      }
      ~WholeFile()
      {
        gzclose_r(file);
      }
      WholeFile(const WholeFile &) = delete;

      /// As many as there are. @throw InputError for damaged data
      std::size_t
      read(char *to, const std::size_t n)
      {
        std::size_t got = 0;
        while (got < n)
          {
            const unsigned int wanted = std::min<std::size_t>(n - got, 1 << 24);
            const int          now    = gzread(file, to + got, wanted);
            if (now < 0)
              throw InputError(name,
                               std::string("is damaged: ") + what_is_wrong());
            got += now;
            if (now < static_cast<int>(wanted))
              break;
          }
        return got;
      }

      /// To the end. @throw InputError if the stream is damaged or cut off
      void
      finish()
      {
        std::vector<char> rest(1 << 16);
        while (read(rest.data(), rest.size()) > 0)
          ;
        int number = 0;
        gzerror(file, &number);
        if (number == Z_BUF_ERROR)
          throw InputError(name, "ends early, expected a whole file");
      }

    private:
      std::string
      what_is_wrong() const
      {
        int         number = 0;
        const char *text   = gzerror(file, &number);
        return number == Z_ERRNO ? std::strerror(errno) : text;
      }

      const std::string name;
      gzFile            file;
    };

    /**
     * Values as they are in the file, swapped to this machine's order: of some
     * volumes (by their place in the file, rising). libnifti's own loader
     * replaces NaN by zero, which would hide them.
     */
    std::vector<char>
    raw_values(nifti_image                    &header,
               const std::size_t               n_voxels,
               const std::vector<std::size_t> &volumes)
    {
      const std::string source = header.iname ? header.iname : header.fname;
      WholeFile         file(source);
      const std::size_t size = n_voxels * header.nbyper;
      std::vector<char> bytes(size * volumes.size()), skipped(1 << 20);
      std::size_t       at      = 0; // in the file
      const auto        skip_to = [&](const std::size_t to) {
        while (at < to)
          {
            const std::size_t wanted = std::min(skipped.size(), to - at),
                              got    = file.read(skipped.data(), wanted);
            at += got;
            if (got < wanted)
              return;
          }
      };
      const std::size_t start = header.iname_offset;
      for (std::size_t i = 0; i < volumes.size(); ++i)
        {
          skip_to(start + volumes[i] * size);
          if (at == start + volumes[i] * size)
            at += file.read(bytes.data() + i * size, size);
          if (at != start + (volumes[i] + 1) * size)
            throw InputError(source,
                             "ends after " +
                               std::to_string(at > start ? at - start : 0) +
                               " of " +
                               std::to_string(header.nvox * header.nbyper) +
                               " bytes of voxels, expected a whole file");
        }
      file.finish();
      if (header.byteorder != nifti_short_order() && header.swapsize > 1)
        nifti_swap_Nbytes(bytes.size() / header.swapsize,
                          header.swapsize,
                          bytes.data());
      return bytes;
    }

    template <typename T>
    void
    convert(const std::vector<char> &bytes, std::vector<float> &values)
    {
      for (std::size_t i = 0; i < values.size(); ++i)
        {
          T v;
          std::memcpy(&v, bytes.data() + i * sizeof(T), sizeof(T));
          values[i] = static_cast<float>(v);
        }
    }

    std::vector<float>
    to_float(const nifti_image       &header,
             const std::vector<char> &bytes,
             const std::string       &source)
    {
      std::vector<float> values(bytes.size() / header.nbyper);
      switch (header.datatype)
        {
          case DT_UINT8:
            convert<std::uint8_t>(bytes, values);
            break;
          case DT_INT8:
            convert<std::int8_t>(bytes, values);
            break;
          case DT_UINT16:
            convert<std::uint16_t>(bytes, values);
            break;
          case DT_INT16:
            convert<std::int16_t>(bytes, values);
            break;
          case DT_UINT32:
            convert<std::uint32_t>(bytes, values);
            break;
          case DT_INT32:
            convert<std::int32_t>(bytes, values);
            break;
          case DT_UINT64:
            convert<std::uint64_t>(bytes, values);
            break;
          case DT_INT64:
            convert<std::int64_t>(bytes, values);
            break;
          case DT_FLOAT32:
            convert<float>(bytes, values);
            break;
          case DT_FLOAT64:
            convert<double>(bytes, values);
            break;
          default:
            throw InputError(source,
                             std::string("voxels of type ") +
                               nifti_datatype_string(header.datatype) +
                               ", expected an integer or real type");
        }
      return values;
    }

    double
    metres_per_unit(const int code, const std::string &source)
    {
      switch (code)
        {
          case NIFTI_UNITS_METER:
            return 1;
          case NIFTI_UNITS_UNKNOWN: // most write no unit and mean mm
          case NIFTI_UNITS_MM:
            return 1e-3;
          case NIFTI_UNITS_MICRON:
            return 1e-6;
          default:
            throw InputError(source,
                             "unit of length number " + std::to_string(code) +
                               ", expected m, mm or micron");
        }
    }
  } // namespace

  namespace
  {
    /// What the file says its vectors are. @return "RAS", "LPS" or "" (not
    /// said)
    std::string
    convention_of_vectors(const NiftiHeader &h, const std::string &filename)
    {
      const auto refuse = [&](const std::string &what) {
        throw InputError(filename,
                         what + ", expected displacements in the world");
      };
      const std::string intent = "has intent " + std::to_string(h.intent_code);
      if (h.intent_code >= 2006 && h.intent_code <= 2016)
        refuse(intent + ": a warp in FSL's own coordinates");
      if (h.intent_code == 1008)
        refuse(intent + ": points, not displacements");
      if (h.intent_name == "NREG_TRANS" && h.intent_p1 != 1)
        refuse(intent + " NREG_TRANS with intent_p1 " +
               std::to_string(static_cast<int>(h.intent_p1)) +
               ": positions, velocities or splines of NiftyReg (1 is a "
               "displacement)");
      const int  time    = h.xyzt_units & 0x38; // s, ms or us
      const bool says_so = h.intent_code == 1006 || h.intent_code == 1007;
      if (h.dim.size() == 4 && time != 0 && time <= 24 && !says_so)
        refuse("has three volumes in time (xyzt_units " +
               std::to_string(h.xyzt_units) + ")");
      return h.intent_code == 1006 ? "RAS" : "";
    }
  } // namespace

  namespace
  {
    /// Trailing dimensions of one entry say nothing.
    std::vector<std::int64_t>
    shape_of(const NiftiHeader &header)
    {
      auto n = header.dim;
      while (n.size() > 3 && n.back() == 1)
        n.pop_back();
      return n;
    }

    /// Volumes (or fields) in a file of this shape, 0: it has none.
    std::size_t
    phases_of(const std::vector<std::int64_t> &n,
              const unsigned int               n_components)
    {
      if (n_components == 1)
        return n.size() == 3 ? 1 : n.size() == 4 ? n[3] : 0;
      if (n.size() == 4 && n[3] == 3)
        return 1;
      return n.size() == 5 && n[4] == 3 ? n[3] : 0;
    }

    /// A pair is known by its .hdr.
    std::string
    header_of(const std::string &filename)
    {
      const auto img = filename.rfind(".img");
      return img != std::string::npos && img + 7 >= filename.size()
               ? filename.substr(0, img) + ".hdr" + filename.substr(img + 4)
               : filename;
    }
  } // namespace

  unsigned int
  n_nifti_phases(const std::string &filename, const unsigned int n_components)
  {
    const auto n =
      phases_of(shape_of(read_nifti_header(header_of(filename))), n_components);
    return n > 1 ? n : 1;
  }

  Image
  read_nifti(const std::string &filename,
             const unsigned int n_components,
             const int          phase)
  {
    nifti_set_debug_level(0);
    const NiftiHeader raw = read_nifti_header(header_of(filename));
    const NiftiHandle header(nifti_image_read(filename.c_str(), 0));
    if (!header)
      throw InputError(filename, "is no NIfTI file, expected .nii or .nii.gz");
    const nifti_image &h = *header;
    for (const char *name : {h.fname, h.iname})
      if (name != nullptr)
        note_input(name);

    const auto        n       = shape_of(raw);
    const std::size_t n_there = phases_of(n, n_components);
    if (n_there == 0 || (phase < 0 ? n_there != 1 : phase >= int(n_there)))
      {
        std::string shape;
        for (const auto entries : n)
          shape += (shape.empty() ? "" : " x ") + std::to_string(entries);
        throw InputError(
          filename,
          "has " + shape + " entries, expected " +
            (n_components == 1
               ? "a scalar volume (three dimensions)"
               : "a vector field (x, y, z, 1, 3 or x, y, z, 3)"));
      }

    Image image;
    if (n_components == 3)
      image.convention = convention_of_vectors(raw, filename);
    image.source       = filename;
    image.n_components = n_components;
    for (unsigned int d = 0; d < 3; ++d)
      image.size[d] = n[d];
    const double unit  = metres_per_unit(h.xyz_units, filename);
    const auto   place = (h.sform_code > 0) ? h.sto_xyz : h.qto_xyz;
    image.orientation  = h.sform_code > 0   ? "sform"
                         : h.qform_code > 0 ? "qform"
                                            : "voxel sizes";
    for (unsigned int i = 0; i < 3; ++i)
      {
        for (unsigned int j = 0; j < 3; ++j)
          image.matrix[i][j] = unit * place.m[i][j];
        image.origin[i] = unit * place.m[i][3];
      }
    image.update();

    // The components are the last dimension of the file, phases that before it.
    std::vector<std::size_t> volumes;
    for (unsigned int c = 0; c < n_components; ++c)
      volumes.push_back(c * n_there + std::max(phase, 0));
    image.values =
      to_float(h, raw_values(*header, image.n_voxels(), volumes), filename);
    if (h.scl_slope != 0 && std::isfinite(h.scl_slope) &&
        std::isfinite(h.scl_inter))
      for (float &v : image.values)
        v = static_cast<float>(v * h.scl_slope + h.scl_inter);
    image.check_values();
    return image;
  }

  void
  write_nifti(const std::string &filename, const Image &image)
  {
    nifti_set_debug_level(0);
    const std::int64_t dim3[8] = {
      3, image.size[0], image.size[1], image.size[2], 1, 1, 1, 1};
    const std::int64_t dim5[8] = {
      5, image.size[0], image.size[1], image.size[2], 1, 3, 1, 1};
    NiftiHandle header(
      nifti_make_new_nim(image.n_components == 1 ? dim3 : dim5, DT_FLOAT32, 1));
    if (!header)
      throw ComputationError(filename + ": out of memory");
    nifti_image &h = *header;
    for (unsigned int i = 0; i < 4; ++i)
      for (unsigned int j = 0; j < 4; ++j)
        h.sto_xyz.m[i][j] = i == 3   ? (j == 3)
                            : j == 3 ? 1e3 * image.origin[i]
                                     : 1e3 * image.matrix[i][j];
    nifti_dmat44_to_quatern(h.sto_xyz,
                            &h.quatern_b,
                            &h.quatern_c,
                            &h.quatern_d,
                            &h.qoffset_x,
                            &h.qoffset_y,
                            &h.qoffset_z,
                            &h.dx,
                            &h.dy,
                            &h.dz,
                            &h.qfac);
    h.pixdim[0]  = h.qfac;
    h.pixdim[1]  = h.dx;
    h.pixdim[2]  = h.dy;
    h.pixdim[3]  = h.dz;
    h.sform_code = NIFTI_XFORM_SCANNER_ANAT;
    // The qform is a rotation: it cannot say what is sheared.
    const auto turned = nifti_quatern_to_dmat44(h.quatern_b,
                                                h.quatern_c,
                                                h.quatern_d,
                                                h.qoffset_x,
                                                h.qoffset_y,
                                                h.qoffset_z,
                                                h.dx,
                                                h.dy,
                                                h.dz,
                                                h.qfac);
    double     apart  = 0; // [mm], over the volume
    for (unsigned int i = 0; i < 3; ++i)
      for (unsigned int j = 0; j < 3; ++j)
        apart = std::max(apart,
                         std::abs(turned.m[i][j] - h.sto_xyz.m[i][j]) *
                           image.size[j]);
    h.qform_code = apart < 1e-3 * std::min({h.dx, h.dy, h.dz})
                     ? NIFTI_XFORM_SCANNER_ANAT
                     : NIFTI_XFORM_UNKNOWN;
    h.xyz_units  = NIFTI_UNITS_MM;
    if (image.n_components == 3)
      h.intent_code =
        image.convention == "RAS" ? NIFTI_INTENT_DISPVECT : NIFTI_INTENT_VECTOR;
    h.nifti_type   = NIFTI_FTYPE_NIFTI1_1;
    h.iname_offset = 352;
    nifti_1_header first;
    nifti_convert_nim2n1hdr(&h, &first);

    // The library's own writing says nothing of a full disk.
    const bool        zipped    = nifti_is_gzfile(filename.c_str());
    const std::string temporary = filename + ".partial";
    znzFile           file      = znzopen(temporary.c_str(), "wb", zipped);
    bool              good      = !znz_isnull(file);
    const auto        put       = [&](const void *data, const std::size_t n) {
      good = good && znzwrite(data, 1, n, file) == n;
    };
    put(&first, sizeof(first));
    put("\0\0\0\0", 4);
    const std::size_t bytes = image.values.size() * sizeof(float),
                      chunk = 1 << 24;
    const char *data = reinterpret_cast<const char *>(image.values.data());
    for (std::size_t at = 0; at < bytes && good; at += chunk)
      put(data + at, std::min(chunk, bytes - at));
    if (!znz_isnull(file))
      good = (znzclose(file) == 0) && good;
    if (!good || std::rename(temporary.c_str(), filename.c_str()) != 0)
      {
        std::remove(temporary.c_str());
        throw ComputationError(shown_name(filename) + ": cannot be written");
      }
  }
} // namespace Palpate
