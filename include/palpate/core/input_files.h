#ifndef palpate_core_input_files_h
#define palpate_core_input_files_h

#include <deal.II/base/mpi.h>

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace Palpate
{
  /// A file that this run reads.
  struct InputFile
  {
    std::string name; ///< as it was given
    dev_t       device = 0;
    ino_t       inode  = 0;
    /// Of the contents, 0: the bytes of the file are looked at when asked for.
    std::uint64_t checksum = 0;
    /// If it is (included by) a parameter file: that file.
    std::string parameter_file;
  };

  /**
   * Every reader calls this, so that outputs can be compared with inputs and
   * checkpoints know what their answers depend on.
   * @param checksum of the contents, if the reader knows a better one than that
   * of the bytes
   */
  void
  note_input(const std::string  &filename,
             const std::uint64_t checksum       = 0,
             const std::string  &parameter_file = "");

  /// What lies below this folder is the run's own: reading it back does not
  /// make it an input.
  void
  ignore_inputs_below(const std::string &folder);

  /// Those that this rank read so far.
  const std::vector<InputFile> &
  input_files();

  /// Continue a checksum by bytes.
  std::uint64_t
  checksum_of(const void *data, const std::size_t n, std::uint64_t sum = 0);

  /**
   * Names and checksums of the contents of what all ranks read, except for the
   * parameter file @p main and what it includes (its entries count instead).
   * Collective.
   */
  std::map<std::string, std::string>
  input_checksums(const std::string &main, const MPI_Comm &comm);
} // namespace Palpate

#endif
