#ifndef palpate_core_files_h
#define palpate_core_files_h

#include <deal.II/base/mpi.h>

#include <functional>
#include <string>

namespace Palpate
{
  /**
   * Write a text or binary file so that it appears whole or not at all.
   * @throw ComputationError naming the file (disk full, not writable).
   */
  void
  write_file(const std::string &filename, const std::string &content);

  /// The content of a file. @param is_input whether it is something the user
  /// gave (note_input()). @throw InputError if it cannot be read.
  std::string
  read_file(const std::string &filename, const bool is_input = true);

  /// What messages call a file that waits for the end of its run (see Outputs):
  /// the name it will have then.
  std::string
  shown_name(const std::string &filename);

  /**
   * Run @p work on rank 0; if it throws one of our errors, every rank throws
   * it, so that no rank waits for another for ever. Collective.
   */
  void
  run_on_root(const MPI_Comm &comm, const std::function<void()> &work);

  /// The same on every rank: if one throws, all throw the error of the first
  /// that did. @p work communicates with nobody. Collective.
  void
  run_on_all(const MPI_Comm &comm, const std::function<void()> &work);
} // namespace Palpate

#endif
