// The one file that sees ITK: a shared library of its own (libpalpate_itk),
// opened when an image of one of its formats is first needed. What it is given
// has been looked at before (raw_data.h): ITK fills what is missing with what
// lies in memory.
#include <palpate/image/itk_volume.h>

#include <itkGDCMImageIO.h>
#include <itkGDCMSeriesFileNames.h>
#include <itkMetaDataObject.h>
#include <itkMetaImageIO.h>
#include <itkNrrdImageIO.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <sstream>

namespace
{
  using Palpate::ItkVolume;
  using IO = itk::ImageIOBase;

  struct Refused : std::runtime_error
  {
    using std::runtime_error::runtime_error;
  };

  /// GDCM and MetaIO speak to standard error, where the one line of our own
  /// error belongs.
  class Silence
  {
  public:
    Silence()
      : before(std::cerr.rdbuf(text.rdbuf()))
    {}
    ~Silence()
    {
      std::cerr.rdbuf(before);
    }
    Silence(const Silence &) = delete;

  private:
    std::ostringstream    text;
    std::streambuf *const before;
  };

  template <typename T>
  void
  convert(const std::vector<char> &bytes, std::vector<float> &values)
  {
    const T *const from = reinterpret_cast<const T *>(bytes.data());
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(from[i]);
  }

  std::vector<float>
  read_values(IO &io)
  {
    const unsigned int n_dim = io.GetNumberOfDimensions();
    itk::ImageIORegion region(n_dim);
    for (unsigned int d = 0; d < n_dim; ++d)
      {
        region.SetIndex(d, 0);
        region.SetSize(d, io.GetDimensions(d));
      }
    io.SetIORegion(region);
    std::vector<char> bytes(io.GetImageSizeInBytes());
    io.Read(bytes.data());
    std::vector<float> values(io.GetImageSizeInComponents());
    switch (io.GetComponentType())
      {
        case IO::UCHAR:
          convert<unsigned char>(bytes, values);
          break;
        case IO::CHAR:
          convert<signed char>(bytes, values);
          break;
        case IO::USHORT:
          convert<unsigned short>(bytes, values);
          break;
        case IO::SHORT:
          convert<short>(bytes, values);
          break;
        case IO::UINT:
          convert<unsigned int>(bytes, values);
          break;
        case IO::INT:
          convert<int>(bytes, values);
          break;
        case IO::ULONG:
          convert<unsigned long>(bytes, values);
          break;
        case IO::LONG:
          convert<long>(bytes, values);
          break;
        case IO::ULONGLONG:
          convert<unsigned long long>(bytes, values);
          break;
        case IO::LONGLONG:
          convert<long long>(bytes, values);
          break;
        case IO::FLOAT:
          convert<float>(bytes, values);
          break;
        case IO::DOUBLE:
          convert<double>(bytes, values);
          break;
        default:
          throw Refused("has voxels of type " +
                        IO::GetComponentTypeAsString(io.GetComponentType()) +
                        ", expected an integer or real type");
      }
    return values;
  }

  void
  take_fields(const IO &io, ItkVolume &volume)
  {
    const auto &fields = io.GetMetaDataDictionary();
    for (const auto &name : fields.GetKeys())
      {
        std::string text;
        if (itk::ExposeMetaData<std::string>(fields, name, text))
          volume.fields[name] = text;
      }
  }

  void
  read_file(IO &io, const std::string &name, ItkVolume &volume)
  {
    io.SetFileName(name);
    io.ReadImageInformation();
    const unsigned int n_dim = io.GetNumberOfDimensions();
    for (unsigned int d = 0; d < n_dim; ++d)
      volume.size.push_back(io.GetDimensions(d));
    volume.n_components = io.GetNumberOfComponents();
    for (unsigned int d = 0; d < 3 && d < n_dim; ++d)
      {
        const auto direction = io.GetDirection(d);
        for (unsigned int i = 0; i < 3 && i < n_dim; ++i)
          volume.matrix[i][d] = io.GetSpacing(d) * direction[i];
        volume.origin[d] = io.GetOrigin(d);
      }
    take_fields(io, volume);
    volume.values = read_values(io);
    volume.files  = {name};
  }

  using Vector = std::array<double, 3>;

  double
  dot(const Vector &a, const Vector &b)
  {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  }

  struct Slice
  {
    std::string        file;
    double             at = 0; ///< along the normal [mm]
    Vector             origin{};
    std::vector<float> values;
  };

  std::string
  text_of(const ItkVolume &volume, const std::string &tag)
  {
    const auto found = volume.fields.find(tag);
    if (found == volume.fields.end())
      return "";
    std::string text = found->second;
    while (!text.empty() && (text.back() == ' ' || text.back() == 0))
      text.pop_back();
    return text;
  }

  /// The files of one series of a folder.
  std::vector<std::string>
  files_of_series(const std::string &folder, const std::string &wanted)
  {
    const auto names = itk::GDCMSeriesFileNames::New();
    names->SetUseSeriesDetails(true);
    names->SetDirectory(folder);
    std::vector<std::string> files, all;
    std::ostringstream       list;
    unsigned int             n = 0;
    for (const auto &uid : names->GetSeriesUIDs())
      {
        const auto here = names->GetFileNames(uid);
        if (here.empty())
          continue;
        ItkVolume  first;
        const auto io = itk::GDCMImageIO::New();
        io->SetFileName(here[0]);
        try
          {
            io->ReadImageInformation();
            take_fields(*io, first);
          }
        catch (const itk::ExceptionObject &)
          {} // no image: a report, a plan
        const std::string series      = text_of(first, "0020|000e"),
                          description = text_of(first, "0008|103e");
        list << (n > 0 ? "; " : "") << series << " '" << description << "' of "
             << here.size() << " file(s)";
        if (wanted.empty() || uid.find(wanted) != std::string::npos ||
            description.find(wanted) != std::string::npos)
          {
            ++n;
            files = here;
          }
      }
    if (list.str().empty())
      throw Refused("has no DICOM series, expected a folder with the files of "
                    "one");
    if (n != 1)
      throw Refused("has " + std::to_string(n) + " series" +
                    (wanted.empty() ? "" : " with '" + wanted + "'") +
                    ", expected one (Images/DICOM series): " + list.str());
    return files;
  }

  /**
   * One file a slice: the place of each is its own (0020,0032), not what the
   * order of the names or an average spacing says.
   */
  void
  read_series(const std::string &folder,
              const std::string &wanted,
              ItkVolume         &volume)
  {
    std::vector<Slice>  slices;
    std::vector<double> spacing;
    std::vector<Vector> directions;
    Vector              normal{};
    const auto          files = files_of_series(folder, wanted);
    for (const auto &file : files)
      {
        const auto io = itk::GDCMImageIO::New();
        ItkVolume  one;
        read_file(*io, file, one);
        const auto refuse = [&](const std::string &what) {
          throw Refused(what + " in " + file.substr(file.rfind('/') + 1));
        };
        if (one.size.size() > 2 && one.size[2] != 1)
          refuse("has several slices in one file, expected one each (dcm2niix "
                 "writes NIfTI of it):");
        if (one.n_components != 1)
          refuse("has colours, expected grey values,");
        if (text_of(one, "0020|0032").empty() ||
            text_of(one, "0020|0037").empty() ||
            text_of(one, "0028|0030").empty())
          refuse(
            "has no position (0020,0032), orientation (0020,0037) or pixel "
            "spacing (0028,0030), expected a slice with its place,");
        std::vector<Vector> axes(2);
        for (unsigned int d = 0; d < 2; ++d)
          {
            const auto direction = io->GetDirection(d);
            for (unsigned int i = 0; i < 3; ++i)
              axes[d][i] = direction[i];
          }
        if (slices.empty())
          {
            volume.size   = {one.size[0], one.size[1], 0};
            volume.fields = one.fields;
            directions    = axes;
            spacing       = {io->GetSpacing(0), io->GetSpacing(1)};
            normal        = {axes[0][1] * axes[1][2] - axes[0][2] * axes[1][1],
                             axes[0][2] * axes[1][0] - axes[0][0] * axes[1][2],
                             axes[0][0] * axes[1][1] - axes[0][1] * axes[1][0]};
          }
        if (one.size[0] != volume.size[0] || one.size[1] != volume.size[1])
          refuse("has slices of several sizes, expected one, not " +
                 std::to_string(one.size[0]) + " x " +
                 std::to_string(one.size[1]));
        for (unsigned int d = 0; d < 2; ++d)
          if (std::abs(io->GetSpacing(d) - spacing[d]) > 1e-4 * spacing[d] ||
              dot(axes[d], directions[d]) < 1 - 1e-6)
            refuse(
              "has slices of several spacings or directions, expected one, "
              "not those");
        Slice slice;
        slice.file = file;
        for (unsigned int i = 0; i < 3; ++i)
          slice.origin[i] = io->GetOrigin(i);
        slice.at     = dot(slice.origin, normal);
        slice.values = std::move(one.values);
        slices.push_back(std::move(slice));
      }
    if (slices.size() < 2)
      throw Refused("has one slice, expected a volume");
    std::stable_sort(slices.begin(),
                     slices.end(),
                     [](const Slice &a, const Slice &b) {
                       return a.at < b.at;
                     });
    double median;
    {
      std::vector<double> steps;
      for (std::size_t k = 1; k < slices.size(); ++k)
        steps.push_back(slices[k].at - slices[k - 1].at);
      std::nth_element(steps.begin(),
                       steps.begin() + steps.size() / 2,
                       steps.end());
      median = steps[steps.size() / 2];
    }
    for (std::size_t k = 1; k < slices.size(); ++k)
      {
        const double       this_step = slices[k].at - slices[k - 1].at;
        std::ostringstream text;
        text << " (" << slices[k - 1].at << " and " << slices[k].at
             << " mm along the normal)";
        if (this_step < 1e-3)
          throw Refused("has several slices at one place" + text.str() +
                        ", expected one volume (phases of a 4D CT: a folder "
                        "each)");
        if (std::abs(this_step - median) > 0.02 * median)
          throw Refused("has slices " + std::to_string(this_step) +
                        " mm apart" + text.str() + " where others are " +
                        std::to_string(median) +
                        " mm, expected even steps: is a slice missing?");
      }
    volume.n_components = 1;
    volume.size[2]      = slices.size();
    volume.origin       = slices[0].origin;
    for (unsigned int i = 0; i < 3; ++i)
      {
        for (unsigned int d = 0; d < 2; ++d)
          volume.matrix[i][d] = spacing[d] * directions[d][i];
        // Also where the gantry was tilted, and the slices are shifted.
        volume.matrix[i][2] =
          (slices.back().origin[i] - slices[0].origin[i]) / (slices.size() - 1);
      }
    volume.values.reserve(volume.size[0] * std::size_t(volume.size[1]) *
                          slices.size());
    for (auto &slice : slices)
      {
        volume.values.insert(volume.values.end(),
                             slice.values.begin(),
                             slice.values.end());
        slice.values = {};
        volume.files.push_back(slice.file);
      }
  }
} // namespace

extern "C" __attribute__((visibility("default"))) void
palpate_read_by_itk(const std::string &format,
                    const std::string &name,
                    const std::string &series,
                    ItkVolume         &volume)
{
  itk::Object::SetGlobalWarningDisplay(false);
  const Silence silence;
  try
    {
      if (format == "DICOM")
        read_series(name, series, volume);
      else if (format == "NRRD")
        read_file(*itk::NrrdImageIO::New(), name, volume);
      else
        read_file(*itk::MetaImageIO::New(), name, volume);
    }
  catch (const Refused &e)
    {
      volume.error = e.what();
    }
  catch (const itk::ExceptionObject &e)
    {
      volume.error = std::string("cannot be read: ") + e.GetDescription();
    }
  catch (const std::exception &e)
    {
      volume.error = std::string("cannot be read: ") + e.what();
    }
}
