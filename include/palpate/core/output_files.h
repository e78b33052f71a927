#ifndef palpate_core_output_files_h
#define palpate_core_output_files_h

#include <palpate/core/input_files.h>
#include <palpate/core/outputs.h>

#include <map>
#include <string>
#include <vector>

namespace Palpate
{
  /// What Outputs asks of file names and folders. None of it is collective.
  namespace OutputFiles
  {
    /// Patterns of pictures for ParaView and of NIfTI maps.
    std::vector<std::string>
    pictures();

    /// Whether a name fits one of the patterns of a shell. @param flags of
    /// fnmatch()
    bool
    matches(const std::string              &name,
            const std::vector<std::string> &patterns,
            const int                       flags = 0);

    /// Whether two names lead to one file (links are followed).
    bool
    same_file(const std::string &a, const std::string &b);

    /// The input that is this file, or null.
    const InputFile *
    input_at(const std::string &name);

    /// Files below a folder, relative to it, in ascending order.
    std::vector<std::string>
    below(const std::string &folder);

    /// Files in a folder that a run may replace, relative to it; the run's own
    /// parameter file is none of them.
    /// @throw InputError if a folder has the name of a file to be written
    std::vector<std::string>
    to_be_replaced(const std::string   &folder,
                   const Outputs::Plan &plan,
                   const std::string   &parameter_file);

    /// @throw ComputationError
    void
    rename(const std::string &from, const std::string &to);

    /// What the run behind a summary.json wrote, with sizes in bytes; nothing
    /// if there is no such file.
    std::map<std::string, std::size_t>
    of_summary(const std::string &name);

    /**
     * What the program itself wrote into a folder: the files that summary.json
     * lists, with the size that they had then (all, if a version without such a
     * list wrote it), and a checkpoint with its history.csv. Whatever else has
     * the name of a result is somebody's.
     */
    class OwnFiles
    {
    public:
      explicit OwnFiles(const std::string &folder);

      /// @param name relative to the folder
      bool
      wrote(const std::string &name) const;

    private:
      std::string                        folder;
      std::map<std::string, std::size_t> listed;
      bool has_summary = false, has_list = false, has_checkpoint = false;
    };

    /// Whether a file below checkpoint/ has a name that the program gives.
    bool
    is_of_checkpoint(const std::string &name);

    /// A name beside a file that is free, "result.npz.kept" or
    /// "result.npz.kept2".
    std::string
    kept_name(const std::string &file);

    /// The last entry, "Section/Name", whose value (or a part of whose list)
    /// this is; nothing if there is none.
    std::string
    entry_with(const Parameters &parameters, const std::string &value);

    /// The first three names, and how many more there are.
    std::string
    listed(const std::vector<std::string> &names);
  } // namespace OutputFiles
} // namespace Palpate

#endif
