#ifndef palpate_core_text_h
#define palpate_core_text_h

#include <string>
#include <vector>

namespace Palpate
{
  /**
   * Words for messages: what a user wrote, shown on one line, and what might
   * have been meant.
   */
  namespace Text
  {
    /// On one line, of at most 500 bytes; binary data as question marks.
    std::string
    one_line(const std::string &raw);

    /// Without blanks, tabs and line ends at both ends.
    std::string
    trim(const std::string &raw);

    /// Lines that end in LF, CR LF or CR.
    std::vector<std::string>
    split_lines(const std::string &text);

    /// With at most so many digits, as "0.001" or "1e-09".
    std::string
    number(const double value, const int digits = 6);

    /// True if the bytes are UTF-8 (RFC 3629: no overlong forms, no
    /// surrogates, at most U+10FFFF).
    bool
    is_utf8(const std::string &bytes);

    /// "a, b and c".
    std::string
    enumerate(const std::vector<std::string> &parts,
              const std::string              &last = " and ");

    /**
     * Letters to insert, delete, replace or swap with the next one to get from
     * one word to another (optimal string alignment).
     */
    unsigned int
    edit_distance(const std::string &a, const std::string &b);

    /**
     * The choice a mistyped word means: the same letters and digits, else at
     * most a third of them changed, else the same words in another order, else
     * the only choice that contains the word; the first of equal ones.
     * @return empty if no choice is near.
     */
    std::string
    nearest(const std::string &word, const std::vector<std::string> &choices);

    /// ", did you mean CHOICE?" for the end of a message, or nothing.
    std::string
    did_you_mean(const std::string              &word,
                 const std::vector<std::string> &choices);
  } // namespace Text
} // namespace Palpate

#endif
