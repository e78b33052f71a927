#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/drivers/evaluation_log.h>
#include <palpate/drivers/fingerprint.h>

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    constexpr std::uint64_t magic = 0x70616c7061746531ull; // "palpate1"

    struct RecordHeader
    {
      std::uint64_t magic, kind, question, length, checksum;
    };
  } // namespace

  std::uint64_t
  EvaluationLog::checksum(const std::vector<double> &v, std::uint64_t hash)
  {
    hash ^= 14695981039346656037ull;
    for (const double x : v)
      {
        std::uint64_t bits;
        std::memcpy(&bits, &x, sizeof bits);
        hash = (hash ^ bits) * 1099511628211ull;
        hash ^= hash >> 29;
      }
    return hash;
  }

  std::uint64_t
  EvaluationLog::checksum(const std::string &text)
  {
    return checksum(std::vector<double>(text.begin(), text.end()));
  }

  std::string
  EvaluationLog::file_name(const std::string &name) const
  {
    std::ostringstream out;
    out << directory << "/" << name << "."
        << Utilities::MPI::this_mpi_process(comm) << "of"
        << Utilities::MPI::n_mpi_processes(comm);
    return out.str();
  }

  EvaluationLog::EvaluationLog(const std::string    &directory,
                               const nlohmann::json &fingerprint,
                               const bool            resume,
                               const MPI_Comm       &comm)
    : directory(directory)
    , comm(comm)
  {
    const std::string name = file_name("evaluations");
    const std::string mark = directory + "/fingerprint";
    run_on_root(comm, [&]() {
      if (!resume)
        {
          std::filesystem::create_directories(directory);
          write_file(mark, fingerprint.dump(1) + "\n");
        }
      else
        check_fingerprint(mark, directory, fingerprint);
    });
    std::size_t              good = 0; // bytes of whole records
    std::vector<std::size_t> ends;
    if (resume)
      {
        if (Utilities::MPI::min(static_cast<int>(std::filesystem::exists(name)),
                                comm) == 0)
          throw InputError(directory,
                           "holds no checkpoint of a run with " +
                             std::to_string(
                               Utilities::MPI::n_mpi_processes(comm)) +
                             " rank(s), expected one to resume");
        const std::string text = read_file(name, false);
        while (good + sizeof(RecordHeader) <= text.size())
          {
            RecordHeader h;
            std::memcpy(&h, text.data() + good, sizeof h);
            if (h.magic != magic || h.length > text.size() / sizeof(double) ||
                good + sizeof h + h.length * sizeof(double) > text.size())
              break;
            Record r;
            r.kind     = static_cast<char>(h.kind);
            r.question = h.question;
            r.answer.resize(h.length);
            std::memcpy(r.answer.data(),
                        text.data() + good + sizeof h,
                        h.length * sizeof(double));
            if (checksum(r.answer, h.question) != h.checksum)
              break;
            records.push_back(r);
            good += sizeof h + h.length * sizeof(double);
            ends.push_back(good);
          }
      }
    n_records =
      Utilities::MPI::min(static_cast<unsigned long>(records.size()), comm);
    // The warm start may lie one record behind on some rank: go back to the
    // last number of records for which every rank has one.
    while (
      n_records > 0 &&
      Utilities::MPI::min(static_cast<int>(std::filesystem::exists(file_name(
                            "warm_start_" + std::to_string(n_records)))),
                          comm) == 0)
      --n_records;
    records.resize(n_records);
    good = (n_records > 0 ? ends[n_records - 1] : 0);
    if (resume)
      {
        std::error_code ignored;
        std::filesystem::resize_file(name, good, ignored);
      }
    file = std::fopen(name.c_str(), resume ? "ab" : "wb");
    if (Utilities::MPI::min(static_cast<int>(file != nullptr), comm) == 0)
      throw ComputationError(name + ": cannot be written");
  }

  EvaluationLog::~EvaluationLog()
  {
    if (file != nullptr)
      std::fclose(file);
  }

  const EvaluationLog::Record *
  EvaluationLog::next(const char kind, const std::uint64_t question)
  {
    if (at >= records.size())
      return nullptr;
    const Record &r    = records[at++];
    const int     fits = (r.kind == kind && r.question == question);
    if (Utilities::MPI::min(fits, comm) == 0)
      throw InputError(directory,
                       "does not belong to this run: evaluation " +
                         std::to_string(at) +
                         " was asked at another point, expected the parameters "
                         "and the case of the interrupted run");
    return &r;
  }

  void
  EvaluationLog::append(const Record              &record,
                        const std::vector<double> &warm_start)
  {
    // First what belongs to the new number of records, then the record: a kill
    // in between leaves the old pair whole.
    std::string message;
    try
      {
        const std::uint64_t sum = checksum(warm_start);
        write_file(
          file_name("warm_start_" + std::to_string(n_records + 1)),
          std::string(reinterpret_cast<const char *>(&sum), sizeof sum) +
            std::string(reinterpret_cast<const char *>(warm_start.data()),
                        warm_start.size() * sizeof(double)));
        const RecordHeader h{magic,
                             static_cast<std::uint64_t>(record.kind),
                             record.question,
                             record.answer.size(),
                             checksum(record.answer, record.question)};
        const bool         good = std::fwrite(&h, sizeof h, 1, file) == 1 &&
                          std::fwrite(record.answer.data(),
                                      sizeof(double),
                                      record.answer.size(),
                                      file) == record.answer.size() &&
                          std::fflush(file) == 0;
        if (!good)
          throw ComputationError(
            file_name("evaluations") +
            ": cannot be written: " + std::strerror(errno));
      }
    catch (const Error &e)
      {
        message = e.what();
      }
    for (const auto &m : Utilities::MPI::all_gather(comm, message))
      if (!m.empty())
        throw ComputationError(m);
    ++n_records;
    at = n_records; // nothing left to replay
    if (n_records > 2)
      std::remove(
        file_name("warm_start_" + std::to_string(n_records - 2)).c_str());
  }

  std::vector<double>
  EvaluationLog::warm_start() const
  {
    if (n_records == 0)
      return {};
    const std::string text =
      read_file(file_name("warm_start_" + std::to_string(n_records)), false);
    std::uint64_t       sum = 0;
    std::vector<double> v(text.size() / sizeof(double));
    if (!v.empty())
      {
        v.pop_back();
        std::memcpy(&sum, text.data(), sizeof sum);
        std::memcpy(v.data(),
                    text.data() + sizeof sum,
                    v.size() * sizeof(double));
      }
    const int good = (v.size() * sizeof(double) + sizeof sum == text.size() &&
                      checksum(v) == sum);
    if (Utilities::MPI::min(good, comm) == 0)
      throw InputError(
        directory,
        "is damaged: the state after evaluation " + std::to_string(n_records) +
          " does not fit its checksum, expected the files of the "
          "interrupted run");
    return v;
  }
} // namespace Palpate
