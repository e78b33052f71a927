#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/input_files.h>
#include <palpate/core/interruption.h>

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

namespace Palpate
{
  void
  write_file(const std::string &filename, const std::string &content)
  {
    const std::string temporary =
      filename + ".tmp" + std::to_string(::getpid());
    std::FILE *file = std::fopen(temporary.c_str(), "wb");
    bool       good = (file != nullptr);
    if (good)
      {
        good = std::fwrite(content.data(), 1, content.size(), file) ==
               content.size();
        good = (std::fclose(file) == 0) && good;
      }
    if (good)
      good = (std::rename(temporary.c_str(), filename.c_str()) == 0);
    if (!good)
      {
        const std::string reason = std::strerror(errno);
        std::remove(temporary.c_str());
        throw ComputationError(shown_name(filename) +
                               ": cannot be written: " + reason);
      }
  }

  std::string
  read_file(const std::string &filename, const bool is_input)
  {
    if (is_input)
      note_input(filename);
    std::ifstream      in(filename, std::ios::binary);
    std::ostringstream out;
    if (in && in.peek() == std::ifstream::traits_type::eof())
      return "";
    if (!in || !(out << in.rdbuf()))
      throw InputError(filename, "cannot be read");
    return out.str();
  }

  std::string
  shown_name(const std::string &filename)
  {
    std::string name = filename;
    for (const std::string part : {"/.palpate/results", "/checkpoint/results"})
      if (const auto at = name.rfind(part + "/"); at != std::string::npos)
        name.erase(at, part.size());
    // A folder of its own beside a file that an entry names.
    if (const auto at = name.rfind(".palpate-"); at != std::string::npos)
      name.erase(at, name.find('/', at) - at + 1);
    return name;
  }

  namespace
  {
    /// The exit code of what @p work throws (0: nothing), and its message.
    int
    code_of(const std::function<void()> &work, std::string &message)
    {
      try
        {
          work();
        }
      catch (const Error &e)
        {
          message = e.what();
          return e.exit_code;
        }
      catch (const std::bad_alloc &)
        {
          message = "out of memory";
          return 1;
        }
      catch (const std::exception &e)
        {
          message = std::string("internal error: ") + e.what();
          return 1;
        }
      return 0;
    }

    void
    throw_of_rank(const MPI_Comm    &comm,
                  const unsigned int rank,
                  const int          code,
                  const std::string &message)
    {
      const int         c = dealii::Utilities::MPI::broadcast(comm, code, rank);
      const std::string m =
        dealii::Utilities::MPI::broadcast(comm, message, rank);
      if (c == 2)
        throw InputError(m);
      if (c > 128)
        throw Interrupted(m, c);
      throw ComputationError(m);
    }
  } // namespace

  void
  run_on_root(const MPI_Comm &comm, const std::function<void()> &work)
  {
    std::string message;
    int         code = 0;
    if (dealii::Utilities::MPI::this_mpi_process(comm) == 0)
      code = code_of(work, message);
    if (dealii::Utilities::MPI::broadcast(comm, code, 0) != 0)
      throw_of_rank(comm, 0, code, message);
  }

  void
  run_on_all(const MPI_Comm &comm, const std::function<void()> &work)
  {
    std::string        message;
    const int          code  = code_of(work, message);
    const unsigned int n     = dealii::Utilities::MPI::n_mpi_processes(comm);
    const unsigned int first = dealii::Utilities::MPI::min(
      code == 0 ? n : dealii::Utilities::MPI::this_mpi_process(comm), comm);
    if (first < n)
      throw_of_rank(comm, first, code, message);
  }
} // namespace Palpate
