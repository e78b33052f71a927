#include <palpate/core/errors.h>
#include <palpate/core/text.h>
#include <palpate/drivers/read_mask.h>
#include <palpate/image/read_image.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

namespace Palpate
{
  namespace
  {

    /// A segment of a .seg.nrrd, as 3D Slicer writes them.
    struct Segment
    {
      std::string  name;
      unsigned int layer = 0;
      int          value = 0;
    };

    std::vector<Segment>
    segments_of(const Image &image)
    {
      std::vector<Segment> segments;
      const auto           field = [&](const std::string &name) {
        const auto found = image.fields.find(name);
        return found == image.fields.end() ? "" : found->second;
      };
      for (unsigned int i = 0;; ++i)
        {
          const std::string start = "Segment" + std::to_string(i) + "_",
                            value = field(start + "LabelValue"),
                            layer = field(start + "Layer");
          if (value.empty())
            return segments;
          Segment segment;
          segment.name  = field(start + "Name");
          segment.value = std::atoi(value.c_str());
          segment.layer = std::atoi(layer.c_str());
          if (segment.layer >= image.n_components)
            throw InputError(image.source,
                             start + "Layer is " + Text::one_line(layer) +
                               ", expected 0 to " +
                               std::to_string(image.n_components - 1));
          segments.push_back(segment);
        }
    }

    /// Whole numbers from 0 on. @throw InputError naming the first other voxel
    std::vector<int>
    whole_numbers(const Image &image)
    {
      std::vector<int> labels(image.values.size());
      for (std::size_t v = 0; v < labels.size(); ++v)
        {
          const double value = image.values[v], whole = std::round(value);
          if (std::abs(value - whole) > 1e-3 || whole < 0 || whole > 60000)
            throw InputError(image.source,
                             image.place_of(v % image.n_voxels()) + " is " +
                               Text::number(value) +
                               ", expected labels: whole numbers from 0 to "
                               "60000");
          labels[v] = static_cast<int>(whole);
        }
      return labels;
    }

    /**
     * Labels of one file. Segments in several layers, whose numbers repeat, are
     * numbered from 1 on in their order; where they overlap, the first has the
     * voxel.
     */
    std::vector<int>
    labels_of(const Image                &image,
              std::map<int, std::string> &titles,
              nlohmann::json             &warnings)
    {
      const auto values   = whole_numbers(image);
      const auto segments = segments_of(image);
      if (image.n_components == 1)
        {
          for (const auto &segment : segments)
            titles[segment.value] = segment.name;
          return values;
        }
      if (segments.empty())
        throw InputError(image.source,
                         "has " + std::to_string(image.n_components) +
                           " values in each voxel, expected one label, or "
                           "segments in layers (.seg.nrrd)");
      const std::size_t n = image.n_voxels();
      std::vector<int>  labels(n, 0);
      std::size_t       overlap = 0;
      for (unsigned int i = 0; i < segments.size(); ++i)
        {
          titles[i + 1] = segments[i].name;
          for (std::size_t v = 0; v < n; ++v)
            if (values[segments[i].layer * n + v] == segments[i].value)
              {
                overlap += labels[v] != 0;
                labels[v] = labels[v] != 0 ? labels[v] : i + 1;
              }
        }
      if (overlap > 0)
        warnings.push_back(image.source + ": " + std::to_string(overlap) +
                           " voxels are in several segments, the first keeps "
                           "them");
      return labels;
    }

    /// One file with labels.
    Mask
    read_labels(const std::string      &file,
                const std::vector<int> &wanted,
                nlohmann::json         &warnings)
    {
      Mask       mask;
      Image      image  = read_image(file, 0);
      const auto labels = labels_of(image, mask.titles, warnings);
      std::map<int, std::uint16_t> number;
      for (const int label : labels)
        if (label > 0 && (wanted.empty() ||
                          std::count(wanted.begin(), wanted.end(), label) > 0))
          number[label] = 0;
      for (const int label : wanted)
        if (number.count(label) == 0)
          {
            std::vector<std::string> there;
            for (const int other : std::set<int>(labels.begin(), labels.end()))
              if (other > 0 && there.size() < 20)
                there.push_back(std::to_string(other));
            throw InputError(file,
                             "no voxel has the label " + std::to_string(label) +
                               " (Mesh/Labels), expected one of " +
                               Text::enumerate(there, " or "));
          }
      for (auto &[label, n] : number)
        {
          mask.names.push_back(label);
          n = mask.names.size();
        }
      mask.volume.values.assign(labels.size(), 0);
      for (std::size_t v = 0; v < labels.size(); ++v)
        if (const auto found = number.find(labels[v]); found != number.end())
          mask.volume.values[v] = found->second;
      image.values     = {};
      mask.volume.grid = image;
      return mask;
    }

    /// A file for each label: what is not 0. Where they overlap, the first has
    /// the voxel.
    Mask
    read_list(const std::vector<std::string> &files, nlohmann::json &warnings)
    {
      Mask mask;
      for (unsigned int l = 0; l < files.size(); ++l)
        {
          const Image image  = read_image(files[l], 1);
          const auto  labels = whole_numbers(image);
          if (l == 0)
            {
              mask.volume.grid        = image;
              mask.volume.grid.values = {};
              mask.volume.values.assign(labels.size(), 0);
            }
          check_same_grid(image, mask.volume.grid);
          std::size_t overlap = 0, n = 0;
          for (std::size_t v = 0; v < labels.size(); ++v)
            if (labels[v] > 0 && mask.volume.values[v] == 0)
              {
                mask.volume.values[v] = l + 1;
                ++n;
              }
            else if (labels[v] > 0)
              ++overlap;
          if (n == 0)
            throw InputError(
              files[l],
              overlap > 0 ? "lies within the masks before it, expected "
                            "voxels of its own"
                          : "has no voxel above 0, expected a segmentation");
          if (overlap > 0)
            warnings.push_back(files[l] + ": " + std::to_string(overlap) +
                               " voxels are in a mask before it, too, which "
                               "keeps them");
          mask.names.push_back(l + 1);
        }
      return mask;
    }
  } // namespace

  Mask
  read_mask(const std::vector<std::string> &files,
            const std::vector<int>         &wanted,
            nlohmann::json                 &warnings)
  {
    Mask mask = files.size() == 1 ? read_labels(files[0], wanted, warnings)
                                  : read_list(files, warnings);
    mask.volume.n_labels = mask.names.size();
    if (mask.names.empty())
      throw InputError(files[0],
                       "has no voxel above 0, expected a segmentation");
    return mask;
  }
} // namespace Palpate
