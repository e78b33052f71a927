#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/input_files.h>

#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <sstream>

namespace Palpate
{
  namespace
  {
    std::vector<InputFile> &
    all_inputs()
    {
      static std::vector<InputFile> inputs;
      return inputs;
    }
    std::vector<std::string> &
    own_folders()
    {
      static std::vector<std::string> folders;
      return folders;
    }

    std::uint64_t
    checksum_of_file(const std::string &name)
    {
      std::ifstream in(name, std::ios::binary);
      std::string   chunk(1 << 20, '\0');
      std::uint64_t sum = 0;
      while (in)
        {
          in.read(&chunk[0], static_cast<std::streamsize>(chunk.size()));
          sum = checksum_of(chunk.data(),
                            static_cast<std::size_t>(in.gcount()),
                            sum);
        }
      if (!in.eof())
        throw InputError(name, "cannot be read");
      return sum;
    }
  } // namespace

  std::uint64_t
  checksum_of(const void *data, const std::size_t n, std::uint64_t sum)
  {
    // FNV-1a on words, with a shift that brings high bits down.
    const char *at = static_cast<const char *>(data);
    sum ^= 14695981039346656037ull;
    for (std::size_t done = 0; done < n; done += 8)
      {
        std::uint64_t word = 0;
        std::memcpy(&word, at + done, std::min<std::size_t>(8, n - done));
        sum = (sum ^ word) * 1099511628211ull;
        sum ^= sum >> 29;
      }
    return (sum ^ n) * 1099511628211ull;
  }

  void
  note_input(const std::string  &filename,
             const std::uint64_t checksum,
             const std::string  &parameter_file)
  {
    struct stat status;
    if (::stat(filename.c_str(), &status) != 0)
      return; // the reader says so
    for (const auto &folder : own_folders())
      if (filename.compare(0, folder.size(), folder) == 0)
        return;
    for (InputFile &input : all_inputs())
      if (input.name == filename)
        {
          input.device   = status.st_dev;
          input.inode    = status.st_ino;
          input.checksum = checksum != 0 ? checksum : input.checksum;
          return;
        }
    all_inputs().push_back(
      {filename, status.st_dev, status.st_ino, checksum, parameter_file});
  }

  void
  ignore_inputs_below(const std::string &folder)
  {
    own_folders().push_back(folder + "/");
  }

  const std::vector<InputFile> &
  input_files()
  {
    return all_inputs();
  }

  std::map<std::string, std::string>
  input_checksums(const std::string &main, const MPI_Comm &comm)
  {
    std::map<std::string, std::string> mine;
    run_on_all(comm, [&]() {
      for (const InputFile &input : input_files())
        if (input.parameter_file.empty() || input.parameter_file != main)
          {
            std::ostringstream text;
            text << std::hex
                 << (input.checksum != 0 ? input.checksum
                                         : checksum_of_file(input.name));
            mine[input.name] = text.str();
          }
    });
    std::map<std::string, std::string> all;
    for (const auto &part : dealii::Utilities::MPI::all_gather(comm, mine))
      all.insert(part.begin(), part.end());
    return all;
  }
} // namespace Palpate
