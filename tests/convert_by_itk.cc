// An image by ITK from one format to another, so that tests read what another
// tool wrote: convert_by_itk scalar|vector IN.nii OUT, where OUT is .mha, .mhd,
// .nrrd (+
// ":compressed"), or a folder for a DICOM series of slices. Values are short
// or, of vectors, float.
#include <itkGDCMImageIO.h>
#include <itkImageFileReader.h>
#include <itkImageFileWriter.h>
#include <itkImageSeriesWriter.h>
#include <itkMetaDataObject.h>
#include <itkMetaImageIO.h>
#include <itkNiftiImageIO.h>
#include <itkNrrdImageIO.h>
#include <itkVector.h>

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <sstream>

template <typename Image>
typename Image::Pointer
read(const std::string &name)
{
  const auto reader = itk::ImageFileReader<Image>::New();
  reader->SetImageIO(itk::NiftiImageIO::New());
  reader->SetFileName(name);
  reader->Update();
  return reader->GetOutput();
}

template <typename Image>
void
write_file(const Image &image, std::string name)
{
  const auto colon      = name.rfind(":compressed");
  const bool compressed = colon != std::string::npos;
  name                  = name.substr(0, colon);
  const auto writer     = itk::ImageFileWriter<Image>::New();
  if (name.rfind(".nrrd") != std::string::npos ||
      name.rfind(".nhdr") != std::string::npos)
    writer->SetImageIO(itk::NrrdImageIO::New());
  else
    writer->SetImageIO(itk::MetaImageIO::New());
  writer->SetFileName(name);
  writer->SetInput(&image);
  writer->SetUseCompression(compressed);
  writer->Update();
}

std::string
joined(const std::vector<double> &numbers)
{
  std::ostringstream text;
  text.precision(12);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    text << (i > 0 ? "\\" : "") << numbers[i];
  return text.str();
}

/// One file a slice, named against their order.
void
write_series(const itk::Image<short, 3> &image, const std::string &folder)
{
  using Slice        = itk::Image<short, 2>;
  const auto size    = image.GetLargestPossibleRegion().GetSize();
  const auto d       = image.GetDirection();
  const auto spacing = image.GetSpacing();
  std::filesystem::create_directories(folder);
  std::vector<std::string>               names;
  std::vector<itk::MetaDataDictionary>   dictionaries(size[2]);
  std::vector<itk::MetaDataDictionary *> pointers;
  for (unsigned int k = 0; k < size[2]; ++k)
    {
      itk::Image<short, 3>::PointType at;
      image.TransformIndexToPhysicalPoint(
        {{0, 0, static_cast<itk::IndexValueType>(k)}}, at);
      auto      &tags = dictionaries[k];
      const auto set  = [&](const char *tag, const std::string &value) {
        itk::EncapsulateMetaData<std::string>(tags, tag, value);
      };
      set("0008|0016", "1.2.840.10008.5.1.4.1.1.2");
      set("0008|0060", "CT");
      set("0008|103e", "made for a test");
      set("0020|000d", "1.2.826.0.1.3680043.2.1125.1.1");
      set("0020|000e", "1.2.826.0.1.3680043.2.1125.1.2");
      set("0020|0052", "1.2.826.0.1.3680043.2.1125.1.3");
      set("0020|0013", std::to_string(k + 1));
      set("0020|0032", joined({at[0], at[1], at[2]}));
      set("0020|0037",
          joined({d[0][0], d[1][0], d[2][0], d[0][1], d[1][1], d[2][1]}));
      set("0018|0050", joined({spacing[2]}));
      set("0028|1052", "-1024");
      set("0028|1053", "1");
      pointers.push_back(&tags);
      char name[32];
      std::snprintf(name, sizeof(name), "/slice_%03u.dcm", 900 - 7 * k);
      names.push_back(folder + name);
    }
  const auto io = itk::GDCMImageIO::New();
  io->KeepOriginalUIDOn();
  const auto writer =
    itk::ImageSeriesWriter<itk::Image<short, 3>, Slice>::New();
  writer->SetImageIO(io);
  writer->SetFileNames(names);
  writer->SetMetaDataDictionaryArray(&pointers);
  writer->SetInput(&image);
  writer->Update();
}

int
main(int argc, char **argv)
{
  if (argc != 4)
    return 2;
  const std::string kind = argv[1], in = argv[2], out = argv[3];
  try
    {
      if (kind == "vector")
        write_file(*read<itk::Image<itk::Vector<float, 3>, 3>>(in), out);
      else if (out.find('.', out.rfind('/')) != std::string::npos)
        write_file(*read<itk::Image<short, 3>>(in), out);
      else
        write_series(*read<itk::Image<short, 3>>(in), out);
    }
  catch (const itk::ExceptionObject &e)
    {
      std::cerr << e << "\n";
      return 1;
    }
  return 0;
}
