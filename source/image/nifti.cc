#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/input_files.h>
#include <palpate/image/image.h>

#include <nifti2_io.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>

namespace Palpate
{
  using namespace dealii;

  Point<3>
  Image::world(const double i, const double j, const double k) const
  {
    return origin + matrix * Tensor<1, 3>({i, j, k});
  }

  void
  Image::update()
  {
    const auto   s   = spacing();
    const double det = determinant(matrix);
    if (!(std::abs(det) > 1e-6 * s[0] * s[1] * s[2]) || !std::isfinite(det))
      throw InputError(source,
                       "the " + orientation +
                         " has no inverse, expected three independent voxel "
                         "directions");
    inverse = invert(matrix);
  }

  std::array<double, 3>
  Image::spacing() const
  {
    std::array<double, 3> s{};
    for (unsigned int j = 0; j < 3; ++j)
      s[j] =
        std::sqrt(matrix[0][j] * matrix[0][j] + matrix[1][j] * matrix[1][j] +
                  matrix[2][j] * matrix[2][j]);
    return s;
  }

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

    /// Voxel values as they are in the file, swapped to this machine's order.
    /// libnifti's own loader replaces NaN by zero, which would hide them.
    std::vector<char>
    raw_values(nifti_image &header)
    {
      const std::string source = header.iname ? header.iname : header.fname;
      znzFile           file =
        znzopen(source.c_str(), "rb", nifti_is_gzfile(source.c_str()));
      const std::size_t size =
        static_cast<std::size_t>(header.nvox) * header.nbyper;
      std::vector<char> bytes(size);
      std::size_t       got = 0;
      if (!znz_isnull(file) &&
          znzseek(file, header.iname_offset, SEEK_SET) >= 0)
        got = znzread(bytes.data(), 1, size, file);
      if (!znz_isnull(file))
        znzclose(file);
      if (got != size)
        throw InputError(source,
                         "ends after " + std::to_string(got) + " of " +
                           std::to_string(size) +
                           " bytes of voxels, expected a whole file");
      if (header.byteorder != nifti_short_order() && header.swapsize > 1)
        nifti_swap_Nbytes(size / header.swapsize,
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
      std::vector<float> values(header.nvox);
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

  Image
  read_nifti(const std::string &filename, const unsigned int n_components)
  {
    nifti_set_debug_level(0);
    std::FILE *exists = std::fopen(filename.c_str(), "rb");
    if (exists == nullptr)
      throw InputError(filename, "cannot be read");
    std::fclose(exists);
    const NiftiHandle header(nifti_image_read(filename.c_str(), 0));
    const std::string extension =
      filename.substr(std::min(filename.rfind('.'), filename.size()));
    if (!header && (extension == ".mha" || extension == ".mhd"))
      throw InputError(filename,
                       "is a MetaImage, expected NIfTI (elastix writes it with "
                       "ResultImageFormat \"nii.gz\")");
    if (!header)
      throw InputError(filename, "is no NIfTI file, expected .nii or .nii.gz");
    const nifti_image &h = *header;
    for (const char *name : {h.fname, h.iname})
      if (name != nullptr)
        note_input(name);

    // Trailing dimensions of one entry say nothing.
    std::vector<std::int64_t> n(h.dim + 1, h.dim + 1 + h.ndim);
    while (n.size() > 3 && n.back() == 1)
      n.pop_back();
    std::string shape;
    for (const auto entries : n)
      shape += (shape.empty() ? "" : " x ") + std::to_string(entries);
    const bool scalar = (n.size() == 3);
    const bool vector =
      (n.size() == 4 && n[3] == 3) || (n.size() == 5 && n[3] == 1 && n[4] == 3);
    if (n_components == 1 ? !scalar : !vector)
      throw InputError(filename,
                       "has " + shape + " entries, expected " +
                         (n_components == 1
                            ? "a scalar volume (three dimensions)"
                            : "a vector field (x, y, z, 1, 3 or x, y, z, 3)"));

    Image image;
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

    image.values = to_float(h, raw_values(*header), filename);
    if (h.scl_slope != 0 && std::isfinite(h.scl_slope) &&
        std::isfinite(h.scl_inter))
      for (float &v : image.values)
        v = static_cast<float>(v * h.scl_slope + h.scl_inter);
    for (std::size_t i = 0; i < image.values.size(); ++i)
      if (!std::isfinite(image.values[i]))
        {
          const std::size_t v = i % image.n_voxels();
          throw InputError(filename,
                           "voxel (" + std::to_string(v % image.size[0]) +
                             ", " +
                             std::to_string(v / image.size[0] % image.size[1]) +
                             ", " +
                             std::to_string(v / image.size[0] / image.size[1]) +
                             ") is not a number, expected finite values");
        }
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
    h.qform_code = h.sform_code = NIFTI_XFORM_SCANNER_ANAT;
    h.xyz_units                 = NIFTI_UNITS_MM;
    if (image.n_components == 3)
      h.intent_code = NIFTI_INTENT_VECTOR;
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
