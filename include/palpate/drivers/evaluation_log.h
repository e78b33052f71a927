#ifndef palpate_drivers_evaluation_log_h
#define palpate_drivers_evaluation_log_h

#include <deal.II/base/mpi.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace Palpate
{
  /**
   * The checkpoint of an identification: every answer the optimizer got, in
   * order, this rank's part in its own file. An optimizer that is deterministic
   * and gets the same answers takes the same path, so a resumed run replays the
   * log (no solves) and goes on where the log ends. A record cut off by a kill
   * is dropped on all ranks. Beside the log lies what the next evaluation
   * starts from (warm starts), for the last two numbers of records. Of a
   * motion: its outputs, and the states that the next step starts from.
   */
  class EvaluationLog
  {
  public:
    /// @param fingerprint of everything the answers depend on; a checkpoint
    /// with another one is refused.
    /// @param resume read what is there; otherwise start anew.
    /// @throw InputError if there is nothing to resume or it does not fit; it
    /// says what differs.
    EvaluationLog(const std::string    &directory,
                  const nlohmann::json &fingerprint,
                  const bool            resume,
                  const MPI_Comm       &comm);
    ~EvaluationLog();

    struct Record
    {
      /// 'V' value, 'G' gradient, 'H' Hessian product, 'S' output of a step
      char                kind;
      std::uint64_t       question = 0; ///< checksum of the arguments; step
      std::vector<double> answer;
    };

    /// The next record of a replay, or null when the log is used up.
    const Record *
    next(const char kind, const std::uint64_t question);

    /// Append a record, with the data a restart after it needs. Collective.
    void
    append(const Record &record, const std::vector<double> &warm_start);

    /// Warm start that belongs to the end of the log; empty if there is none.
    std::vector<double>
    warm_start() const;

    const MPI_Comm &
    communicator() const
    {
      return comm;
    }
    std::size_t
    n_replayed() const
    {
      return at;
    }
    std::size_t
    size() const
    {
      return n_records;
    }
    /// What record @p i answers.
    std::uint64_t
    question(const std::size_t i) const
    {
      return records[i].question;
    }

    static std::uint64_t
    checksum(const std::vector<double> &v, std::uint64_t start = 0);
    static std::uint64_t
    checksum(const std::string &text);

  private:
    std::string
    file_name(const std::string &name) const;

    const std::string   directory;
    const MPI_Comm      comm;
    std::vector<Record> records;
    std::size_t         at = 0, n_records = 0;
    std::FILE          *file = nullptr;
  };
} // namespace Palpate

#endif
