#ifndef palpate_optimizers_short_columns_h
#define palpate_optimizers_short_columns_h

#include <cstdint>
#include <vector>

namespace Palpate
{
  /**
   * Columns of n numbers in 16 bits each: in every 64 rows multiples of 1/32767
   * of the largest of them. Products are of this rank, in single precision.
   * They read half the bytes of floats, and those of 1,024 rows in one piece:
   * for columns so many that reading them is what takes time.
   */
  class ShortColumns
  {
  public:
    /// Append factor * x, rounded; x as long as in all other columns.
    void
    push_back(const double factor, const std::vector<double> &x);

    void
    erase(const std::size_t column);

    std::size_t
    size() const
    {
      return n_columns;
    }

    /// A column, as it is kept.
    std::vector<double>
    operator[](const std::size_t column) const;

    /// result_j = columns_j . x
    void
    multiply(const std::vector<double> &x, double *result) const;

    /// y += sum_j factors_j columns_j
    void
    add(const double *factors, std::vector<double> &y) const;

    /// 1,024 rows, column after column.
    struct Rows
    {
      std::vector<std::int16_t> multiples; ///< 0 after the last row
      std::vector<float>        units;     ///< of 64 rows each
    };

  private:
    std::vector<Rows> rows;
    std::size_t       n = 0, n_columns = 0;
  };
} // namespace Palpate

#endif
