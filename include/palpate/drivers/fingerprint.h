#ifndef palpate_drivers_fingerprint_h
#define palpate_drivers_fingerprint_h

#include <deal.II/base/mpi.h>

#include <palpate/core/parameters.h>

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace Palpate
{
  /**
   * What the answers in a checkpoint depend on, piece by piece: `ranks`, the
   * `entries` of the parameter file ("Section/Name": value) and a checksum of
   * the contents of all `files` that were read. Collective.
   * @param but entries that may change ("Section/Name")
   */
  nlohmann::json
  fingerprint_of(const Parameters               &parameters,
                 const std::vector<std::string> &but,
                 const MPI_Comm                 &comm);

  /// How the fingerprint of a checkpoint differs from this run's: the number of
  /// ranks, the entries and the files by name; nothing if they are the same.
  std::string
  difference(const nlohmann::json &then, const nlohmann::json &now);

  /// The same with a fingerprint in a file.
  /// @throw InputError naming the folder @p checkpoint and what differs
  void
  check_fingerprint(const std::string    &file,
                    const std::string    &checkpoint,
                    const nlohmann::json &now);
} // namespace Palpate

#endif
