#include <palpate/core/text.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <sstream>

namespace Palpate
{
  namespace Text
  {
    namespace
    {
      /// Letters and digits in lower case: what a reader compares.
      std::string
      letters_of(const std::string &word)
      {
        std::string result;
        for (const char c : word)
          {
            const unsigned char u = static_cast<unsigned char>(c);
            if (std::isalnum(u) || u > 127)
              result += static_cast<char>(std::tolower(u));
          }
        return result;
      }

      std::vector<std::string>
      sorted_words(const std::string &text)
      {
        std::vector<std::string> words;
        std::istringstream       in(text);
        for (std::string word; in >> word;)
          words.push_back(letters_of(word));
        std::sort(words.begin(), words.end());
        return words;
      }
    } // namespace

    std::string
    one_line(const std::string &raw)
    {
      std::string text, word;
      for (std::istringstream in(raw); in >> word;)
        text += (text.empty() ? "" : " ") + word;
      const auto is_control = [](const unsigned char c) {
        return c < 32 || c == 127;
      };
      if (std::any_of(text.begin(), text.end(), is_control) || !is_utf8(text))
        for (char &c : text)
          if (is_control(c) || static_cast<unsigned char>(c) > 127)
            c = '?';
      if (text.size() > 500)
        {
          std::size_t end = 500; // not within a letter of several bytes
          while (end > 0 &&
                 (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
            --end;
          text = text.substr(0, end) + "...";
        }
      return text;
    }

    std::string
    trim(const std::string &raw)
    {
      const char *blanks = " \t\n\v\f\r";
      const auto  first  = raw.find_first_not_of(blanks);
      if (first == std::string::npos)
        return "";
      return raw.substr(first, raw.find_last_not_of(blanks) - first + 1);
    }

    std::vector<std::string>
    split_lines(const std::string &text)
    {
      std::vector<std::string> lines(1);
      for (std::size_t i = 0; i < text.size(); ++i)
        if (text[i] == '\n' || text[i] == '\r')
          {
            if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n')
              ++i;
            lines.emplace_back();
          }
        else
          lines.back() += text[i];
      return lines;
    }

    std::string
    number(const double value, const int digits)
    {
      char buffer[32];
      std::snprintf(buffer, sizeof(buffer), "%.*g", digits, value);
      return buffer;
    }

    bool
    is_utf8(const std::string &bytes)
    {
      for (std::size_t i = 0; i < bytes.size();)
        {
          const unsigned char first = static_cast<unsigned char>(bytes[i]);
          const unsigned int  more  = first < 0x80                     ? 0
                                      : first >= 0xC2 && first <= 0xDF ? 1
                                      : first >= 0xE0 && first <= 0xEF ? 2
                                      : first >= 0xF0 && first <= 0xF4 ? 3
                                                                       : 9;
          if (i + more >= bytes.size())
            return false;
          for (unsigned int k = 1; k <= more; ++k)
            {
              const unsigned char c = static_cast<unsigned char>(bytes[i + k]);
              const unsigned char low  = k > 1           ? 0x80
                                         : first == 0xE0 ? 0xA0
                                         : first == 0xF0 ? 0x90
                                                         : 0x80;
              const unsigned char high = k > 1           ? 0xBF
                                         : first == 0xED ? 0x9F
                                         : first == 0xF4 ? 0x8F
                                                         : 0xBF;
              if (c < low || c > high)
                return false;
            }
          i += 1 + more;
        }
      return true;
    }

    std::string
    enumerate(const std::vector<std::string> &parts, const std::string &last)
    {
      std::string text;
      for (std::size_t i = 0; i < parts.size(); ++i)
        text += (i == 0 ? "" : i + 1 == parts.size() ? last : ", ") + parts[i];
      return text;
    }

    unsigned int
    edit_distance(const std::string &a, const std::string &b)
    {
      // d[i][j]: of the first i letters of a and the first j of b.
      std::vector<std::vector<unsigned int>> d(
        a.size() + 1, std::vector<unsigned int>(b.size() + 1));
      for (std::size_t i = 0; i <= a.size(); ++i)
        for (std::size_t j = 0; j <= b.size(); ++j)
          {
            if (i == 0 || j == 0)
              {
                d[i][j] = i + j;
                continue;
              }
            const bool same = a[i - 1] == b[j - 1];
            d[i][j]         = std::min({d[i - 1][j] + 1,
                                        d[i][j - 1] + 1,
                                        d[i - 1][j - 1] + (same ? 0 : 1)});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
              d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
          }
      return d[a.size()][b.size()];
    }

    std::string
    nearest(const std::string &word, const std::vector<std::string> &choices)
    {
      const std::string wanted = letters_of(word);
      if (wanted.empty() || wanted.size() > 100)
        return "";
      std::string result;
      std::size_t best = wanted.size(); // a word is not made of nothing
      for (const std::string &choice : choices)
        {
          const std::string letters = letters_of(choice);
          const std::size_t allowed =
            std::max<std::size_t>(1,
                                  std::max(wanted.size(), letters.size()) / 3);
          const std::size_t distance = edit_distance(wanted, letters);
          if (distance <= allowed && distance < letters.size() &&
              distance < best)
            {
              best   = distance;
              result = choice;
            }
        }
      if (!result.empty())
        return result;
      for (const std::string &choice : choices)
        if (sorted_words(choice) == sorted_words(word))
          return choice;
      for (const std::string &choice : choices)
        {
          const std::string letters = letters_of(choice);
          if (wanted.size() >= 3 && letters.find(wanted) != std::string::npos)
            {
              if (!result.empty() && result != choice)
                return ""; // several: no better than a guess
              result = choice;
            }
        }
      return result;
    }

    std::string
    did_you_mean(const std::string              &word,
                 const std::vector<std::string> &choices)
    {
      const std::string choice = nearest(word, choices);
      return choice.empty() ? "" : ", did you mean " + choice + "?";
    }
  } // namespace Text
} // namespace Palpate
