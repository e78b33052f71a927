#ifndef palpate_core_errors_h
#define palpate_core_errors_h

#include <stdexcept>
#include <string>

namespace Palpate
{
  /**
   * Base of all errors a user can meet. The message is one line without the
   * leading "palpate: error: ", which `main()` adds.
   */
  class Error : public std::runtime_error
  {
  public:
    Error(const std::string &message, const int exit_code)
      : std::runtime_error(message)
      , exit_code(exit_code)
    {}

    /// What the program returns to the shell.
    const int exit_code;
  };

  /**
   * The input is wrong: everything that can be known before solving. Message:
   * "FILE: what is wrong, where (key, cell, vertex, line), what was expected".
   * Exit code 2.
   */
  class InputError : public Error
  {
  public:
    explicit InputError(const std::string &message)
      : Error(message, 2)
    {}
    InputError(const std::string &source, const std::string &message)
      : Error(source + ": " + message, 2)
    {}
  };

  /// What is wrong with an array of a file.
  [[noreturn]] inline void
  fail_key(const std::string &file,
           const std::string &key,
           const std::string &what)
  {
    throw InputError(file, "key '" + key + "': " + what);
  }

  /// A term found an entry of the parameter file wrong ("Section/Name") and
  /// does not know the file: main() adds its name.
  class EntryError : public InputError
  {
  public:
    using InputError::InputError;
  };

  /**
   * The computation failed (a solve not converged, a singular system, an
   * inverted cell, disk full, a verification that did not pass). Exit code 1.
   */
  class ComputationError : public Error
  {
  public:
    explicit ComputationError(const std::string &message)
      : Error(message, 1)
    {}
  };

  /// A linear or nonlinear solve failed; main() adds the parameter file.
  class SolverError : public ComputationError
  {
  public:
    using ComputationError::ComputationError;
  };
} // namespace Palpate

#endif
