#ifndef palpate_core_npz_h
#define palpate_core_npz_h

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace Palpate
{
  /**
   * One numpy array. Values are always kept as double in C order (int64 is
   * exact up to 2^53, which is checked on reading); `is_integer` remembers what
   * the file had and decides how it is written (int64 or float64).
   */
  struct NpyArray
  {
    std::vector<std::size_t> shape; ///< empty for a scalar
    std::vector<double>      values;
    bool                     is_integer = false;

    NpyArray() = default;
    /// A real array; the number of values must match the shape.
    NpyArray(std::vector<std::size_t> shape, std::vector<double> values);
    /// An integer array.
    static NpyArray
    integers(std::vector<std::size_t>         shape,
             const std::vector<std::int64_t> &values);

    std::size_t
    size() const
    {
      return values.size();
    }

    /// "(3, 4)" as numpy prints it, for messages.
    std::string
    shape_string() const;
  };

  using NpzArrays = std::map<std::string, NpyArray>;

  /**
   * Read all arrays of an NPZ file (a zip of .npy: stored or deflated members,
   * format version 1 to 3, bool, int8 to int64, uint8 to uint64, float32 and
   * float64, either byte order, C or Fortran order).
   * @throw InputError (naming file and key) for: missing file, not a zip,
   * truncated zip, bad header, a shape that does not match the data or is
   * absurdly large, pickled object arrays, unsupported dtypes (by name).
   */
  NpzArrays
  read_npz(const std::string &filename);

  /**
   * The same, for callers who need some arrays only.
   * @param not_numeric gets the arrays of text, objects and other types that
   * are not supported, with the message each would be refused with
   */
  NpzArrays
  read_npz(const std::string                  &filename,
           std::map<std::string, std::string> &not_numeric);

  /**
   * Write an NPZ file, deflated or (faster, for checkpoints) stored. The file
   * appears whole or not at all: it is written beside its final name, checked,
   * and renamed.
   * @throw ComputationError if the disk is full or the folder not writable.
   */
  void
  write_npz(const std::string &filename,
            const NpzArrays   &arrays,
            const bool         deflate = true);
} // namespace Palpate

#endif
