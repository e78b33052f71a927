#include <palpate/core/errors.h>
#include <palpate/core/input_files.h>
#include <palpate/core/module.h>
#include <palpate/core/text.h>
#include <palpate/image/itk_volume.h>
#include <palpate/image/raw_data.h>
#include <palpate/image/read_image.h>

#include <boost/algorithm/string.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    bool
    ends_with(const std::string &name, const std::vector<std::string> &endings)
    {
      for (const auto &ending : endings)
        if (boost::iends_with(name, ending))
          return true;
      return false;
    }

    void
    refuse_slice(const std::string &filename)
    {
      if (ends_with(filename, {".dcm", ".ima"}))
        throw InputError(filename,
                         "is one file of a DICOM series, expected its folder");
    }

    std::string
    shape_of(const std::vector<unsigned int> &size)
    {
      std::string shape;
      for (const auto n : size)
        shape += (shape.empty() ? "" : " x ") + std::to_string(n);
      return shape;
    }

    /// A place that the file does not state is the axes of the world.
    std::string
    orientation_of(const std::string &format, const TextHeader &header)
    {
      const auto has = [&](const char *field) {
        return header.fields.count(field) > 0;
      };
      if (format == "MetaImage")
        return has("TransformMatrix") || has("Rotation") || has("Orientation")
                 ? "TransformMatrix"
                 : "voxel sizes";
      return has("space directions") ? "space directions" : "voxel sizes";
    }

    /// NRRD in the scanner's axes, as LPS and RAS are.
    void
    check_nrrd_space(const std::string &filename, const TextHeader &header)
    {
      const auto space = header.fields.find("space");
      if (space == header.fields.end())
        return;
      const std::string name = boost::to_lower_copy(space->second);
      for (const char *known : {"left-posterior-superior",
                                "lps",
                                "right-anterior-superior",
                                "ras",
                                "left-anterior-superior",
                                "las"})
        if (name == known)
          return;
      throw InputError(filename,
                       "space: " + Text::one_line(space->second) +
                         ", expected left-posterior-superior or "
                         "right-anterior-superior");
    }

    Image
    read_by_itk(const std::string &filename,
                const std::string &format,
                const unsigned int n_components,
                const std::string &series,
                const int          phase)
    {
      TextHeader header;
      if (format == "MetaImage")
        header = read_meta_image_header(filename);
      if (format == "NRRD")
        {
          header = read_nrrd_header(filename);
          check_nrrd_space(filename, header);
        }
      auto *const read = reinterpret_cast<ReadByItk *>(
        function_of_module("itk",
                           "palpate_read_by_itk",
                           "libinsighttoolkit5-dev",
                           "reads " + format + " (" + filename + ")"));
      ItkVolume volume;
      read(format, filename, series, volume);
      if (!volume.error.empty())
        throw InputError(filename, Text::one_line(volume.error));
      for (const auto &file : volume.files)
        note_input(file);
      if (!header.data_file.empty() && header.data_file != filename)
        note_input(header.data_file);

      auto size = volume.size;
      while (size.size() > 3 && size.back() == 1)
        size.pop_back();
      const std::string parts =
        " with " + std::to_string(volume.n_components) + " value(s) each";
      const bool is_part =
        size.size() == 4 && phase >= 0 && phase < static_cast<int>(size[3]);
      if ((size.size() != 3 && !is_part) ||
          (n_components > 0 && volume.n_components != n_components))
        throw InputError(
          filename,
          "has " + shape_of(volume.size) + " voxels" + parts + ", expected " +
            (n_components == 1
               ? "a scalar volume (three dimensions, one value)"
               : "a vector field (three dimensions, three values "
                 "each)"));
      Image image;
      image.source               = filename;
      const unsigned int n_parts = volume.n_components;
      image.n_components         = n_parts;
      for (unsigned int d = 0; d < 3; ++d)
        image.size[d] = size[d];
      // LPS [mm] to RAS [m].
      for (unsigned int i = 0; i < 3; ++i)
        {
          const double sign = i < 2 ? -1e-3 : 1e-3;
          for (unsigned int j = 0; j < 3; ++j)
            image.matrix[i][j] = sign * volume.matrix[i][j];
          image.origin[i] = sign * volume.origin[i];
        }
      image.orientation      = format == "DICOM" ? "positions of the slices"
                                                 : orientation_of(format, header);
      image.fields           = volume.fields;
      image.usual_convention = "LPS";
      image.update();
      const std::size_t n = image.n_voxels();
      if (is_part)
        volume.values =
          std::vector<float>(volume.values.begin() + phase * n * n_parts,
                             volume.values.begin() + (phase + 1) * n * n_parts);
      if (n_parts == 1)
        image.values = std::move(volume.values);
      else
        {
          image.values.resize(n * n_parts);
          for (std::size_t v = 0; v < n; ++v)
            for (unsigned int c = 0; c < n_parts; ++c)
              image.values[c * n + v] = volume.values[v * n_parts + c];
        }
      image.check_values();
      return image;
    }
  } // namespace

  Image
  read_image(const std::string &filename,
             const unsigned int n_components,
             const std::string &series,
             const int          phase)
  {
    std::error_code error;
    if (std::filesystem::is_directory(filename, error))
      return read_by_itk(filename, "DICOM", n_components, series, phase);
    if (ends_with(filename, {".mha", ".mhd"}))
      return read_by_itk(filename, "MetaImage", n_components, "", phase);
    if (ends_with(filename, {".nrrd", ".nhdr"}))
      return read_by_itk(filename, "NRRD", n_components, "", phase);
    refuse_slice(filename);
    return read_nifti(filename, std::max(n_components, 1u), phase);
  }

  unsigned int
  n_phases(const std::string &filename, const unsigned int n_components)
  {
    std::error_code error;
    if (std::filesystem::is_directory(filename, error) ||
        ends_with(filename, {".nrrd", ".nhdr"}))
      return 1;
    refuse_slice(filename);
    if (!ends_with(filename, {".mha", ".mhd"}))
      return n_nifti_phases(filename, n_components);
    const auto sizes = read_meta_image_header(filename).sizes;
    return sizes.size() == 4 ? sizes[3] : 1;
  }

  void
  check_same_grid(const Image &image, const Image &first)
  {
    std::ostringstream text;
    if (image.size != first.size)
      {
        text << "has " << image.size[0] << " x " << image.size[1] << " x "
             << image.size[2] << " voxels, expected " << first.size[0] << " x "
             << first.size[1] << " x " << first.size[2] << " as in "
             << first.source;
        throw InputError(image.source, text.str());
      }
    // Where the corners of the one are in the voxels of the other.
    for (unsigned int c = 0; c < 8; ++c)
      {
        Tensor<1, 3> corner;
        for (unsigned int d = 0; d < 3; ++d)
          corner[d] = (c >> d & 1) ? image.size[d] - 1. : 0.;
        const Tensor<1, 3> there =
          first.voxel(image.world(corner[0], corner[1], corner[2]));
        if ((there - corner).norm() > 0.01)
          {
            text << "voxel (" << corner[0] << ", " << corner[1] << ", "
                 << corner[2] << ") lies at voxel (" << there[0] << ", "
                 << there[1] << ", " << there[2] << ") of " << first.source
                 << ", expected the same grid";
            throw InputError(image.source, text.str());
          }
      }
  }
} // namespace Palpate
