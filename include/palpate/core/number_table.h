#ifndef palpate_core_number_table_h
#define palpate_core_number_table_h

#include <string>
#include <vector>

namespace Palpate
{
  /**
   * Read a text file with the same number of numbers in every line, as
   * spreadsheets and other programs write them. No line with a number is left
   * out, and what has two meanings is refused:
   * - lines end with LF, CR LF or CR; empty ones and those that begin with #
   *   are skipped, and so is a first line of names (words with a letter in
   *   front); a byte order mark is taken;
   * - numbers are separated by semicolons, tabs, commas or blanks; there is a
   *   decimal comma where semicolons, tabs or quotes separate;
   * - commas between digits in a line that has blanks or other commas as well,
   *   decimal commas beside decimal points, and empty places are refused.
   * @param widths numbers of columns that may be, ascending
   * @throw InputError naming file and line
   */
  std::vector<std::vector<double>>
  read_number_table(const std::string               &filename,
                    const std::vector<unsigned int> &widths);
} // namespace Palpate

#endif
