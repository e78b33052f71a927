#include <palpate/core/errors.h>
#include <palpate/mesh/readers.h>
#include <palpate/mesh/timestamps.h>

#include <glob.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <set>
#include <sstream>

namespace Palpate
{
  namespace
  {
    /// Order of names in which numbers count by value.
    bool
    naturally_before(const std::string &a, const std::string &b)
    {
      const auto is_digit = [](const char c) {
        return std::isdigit(static_cast<unsigned char>(c)) != 0;
      };
      std::size_t i = 0, j = 0;
      while (i < a.size() && j < b.size())
        if (is_digit(a[i]) && is_digit(b[j]))
          {
            const auto digits = [&](const std::string &s, std::size_t &at) {
              const std::size_t start = at;
              while (at < s.size() && is_digit(s[at]))
                ++at;
              const std::string all = s.substr(start, at - start);
              return all.substr(
                std::min(all.find_first_not_of('0'), all.size()));
            };
            const std::string m = digits(a, i), n = digits(b, j);
            if (m.size() != n.size())
              return m.size() < n.size();
            if (m != n)
              return m < n;
          }
        else if (a[i] != b[j])
          return a[i] < b[j];
        else
          {
            ++i;
            ++j;
          }
      return a.size() - i != b.size() - j ? a.size() - i < b.size() - j : a < b;
    }

    std::vector<std::string>
    matches(const std::string &pattern)
    {
      glob_t                   found;
      std::vector<std::string> files;
      if (glob(pattern.c_str(), 0, nullptr, &found) == 0)
        files.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
      globfree(&found);
      if (files.empty())
        throw InputError(pattern,
                         "matches no file, expected case packs (.npz), one per "
                         "timestamp");
      std::sort(files.begin(), files.end(), naturally_before);
      return files;
    }

    /// The arrays under one key, which all files must have.
    std::vector<const NpyArray *>
    of_all(const std::vector<std::string> &files,
           const std::vector<NpzArrays>   &packs,
           const std::string              &key)
    {
      std::vector<const NpyArray *> arrays;
      for (std::size_t s = 0; s < packs.size(); ++s)
        {
          const auto it = packs[s].find(key);
          if (it == packs[s].end())
            {
              std::size_t other = 0;
              while (packs[other].count(key) == 0)
                ++other;
              fail_key(
                files[s],
                key,
                "missing, expected it in the file of every timestamp, as in " +
                  files[other]);
            }
          arrays.push_back(&it->second);
        }
      return arrays;
    }

    bool
    same(const NpyArray &a, const NpyArray &b)
    {
      return a.shape == b.shape && a.values == b.values;
    }

    bool
    all_same(const std::vector<const NpyArray *> &arrays)
    {
      return std::all_of(arrays.begin(), arrays.end(), [&](const NpyArray *a) {
        return same(*a, *arrays[0]);
      });
    }

    /// One array with the timestamps in front, without the 1 that each may
    /// have there. @param rank of one timestamp
    NpyArray
    stack(const std::vector<std::string>      &files,
          const std::string                   &key,
          const std::vector<const NpyArray *> &arrays,
          const std::size_t                    rank)
    {
      NpyArray all;
      for (std::size_t s = 0; s < arrays.size(); ++s)
        {
          std::vector<std::size_t> shape = arrays[s]->shape;
          if (shape.size() == rank + 1 && shape[0] == 1)
            shape.erase(shape.begin());
          if (shape.size() != rank)
            fail_key(files[s],
                     key,
                     "shape " + arrays[s]->shape_string() +
                       ", expected one timestamp per file");
          if (s == 0)
            all.shape = shape;
          else if (shape != all.shape)
            fail_key(files[s],
                     key,
                     "shape " + arrays[s]->shape_string() + ", expected " +
                       arrays[0]->shape_string() + " as in " + files[0]);
          all.values.insert(all.values.end(),
                            arrays[s]->values.begin(),
                            arrays[s]->values.end());
        }
      all.shape.insert(all.shape.begin(), arrays.size());
      return all;
    }

    /// Where a file first differs from the first one.
    [[noreturn]] void
    refuse_difference(const std::vector<std::string>      &files,
                      const std::string                   &key,
                      const std::vector<const NpyArray *> &arrays)
    {
      std::size_t s = 0;
      while (same(*arrays[s], *arrays[0]))
        ++s;
      const NpyArray &first = *arrays[0], &other = *arrays[s];
      if (first.shape != other.shape)
        fail_key(files[s],
                 key,
                 "shape " + other.shape_string() + ", expected " +
                   first.shape_string() + " as in " + files[0] +
                   " (one mesh for all timestamps)");
      std::size_t i = 0; // NaN differs from itself
      while (first.values[i] == other.values[i])
        ++i;
      std::ostringstream text;
      text.precision(10);
      text << "value " << other.values[i] << " at "
           << Readers::index_string(other.shape, i) << ", expected "
           << first.values[i] << " as in " << files[0]
           << " (the same for all timestamps)";
      fail_key(files[s], key, text.str());
    }

    /// Of HU that differ: the phases and their mean.
    void
    join_hounsfield(const std::vector<std::string> &files,
                    const std::vector<NpzArrays>   &packs,
                    NpzArrays                      &joined)
    {
      const std::string steps = "hu_tetra_steps", mean = "hu_tetra_mean";
      const auto        has = [&](const std::string &key) {
        return std::any_of(packs.begin(), packs.end(), [&](const NpzArrays &p) {
          return p.count(key) > 0;
        });
      };
      if (has(steps))
        {
          const auto arrays = of_all(files, packs, steps);
          joined[steps] =
            all_same(arrays) ? *arrays[0] : stack(files, steps, arrays, 2);
        }
      if (!has(mean))
        return;
      const auto arrays = of_all(files, packs, mean);
      if (all_same(arrays))
        {
          joined[mean] = *arrays[0];
          return;
        }
      const std::size_t rank = arrays[0]->shape.size();
      NpyArray          all  = stack(files, mean, arrays, rank);
      const std::size_t S = packs.size(), M = all.size() / S;
      NpyArray          average;
      average.shape = {M, 1};
      average.values.assign(M, 0.);
      for (std::size_t i = 0; i < all.size(); ++i)
        average.values[i % M] += all.values[i] / S;
      joined[mean] = average;
      all.shape    = {S, M, 1};
      if (joined.count(steps) == 0)
        joined[steps] = all;
    }
  } // namespace



  namespace Readers
  {
    std::vector<std::string>
    files_of(const std::string &text)
    {
      std::error_code error;
      if (std::filesystem::exists(text, error) ||
          text.find_first_of(",*?") == std::string::npos)
        return {text};
      std::vector<std::string> files;
      std::istringstream       in(text);
      for (std::string name; std::getline(in, name, ',');)
        {
          const std::size_t first = name.find_first_not_of(" \t\n");
          if (first == std::string::npos)
            continue;
          name = name.substr(first, name.find_last_not_of(" \t\n") - first + 1);
          if (name.find_first_of("*?") == std::string::npos ||
              std::filesystem::exists(name, error))
            files.push_back(name);
          else
            for (const auto &match : matches(name))
              files.push_back(match);
        }
      if (files.empty())
        return {text};
      const std::set<std::string> different(files.begin(), files.end());
      for (const auto &file : different)
        if (std::count(files.begin(), files.end(), file) > 1)
          throw InputError(file,
                           "is named twice by '" + text +
                             "', expected one file per timestamp");
      return files;
    }



    NpzArrays
    join_timestamps(const std::vector<std::string> &files,
                    const std::vector<NpzArrays>   &packs)
    {
      // Of one timestamp: the rank.
      const std::map<std::string, std::size_t> by_timestamp = {
        {"displacement_field", 2},
        {"anisotropy_axes", 3},
        {"r_axis", 3},
        {"r_shear", 3},
        {"r_vol", 2}};
      std::set<std::string> keys;
      for (const auto &pack : packs)
        for (const auto &entry : pack)
          keys.insert(entry.first);
      if (keys.count("displacement_steps") > 0)
        {
          std::size_t s = 0;
          while (packs[s].count("displacement_steps") == 0)
            ++s;
          fail_key(files[s],
                   "displacement_steps",
                   "in one of " + std::to_string(files.size()) +
                     " files, expected displacement_field, of one timestamp");
        }
      if (keys.count("displacement_field") == 0)
        fail_key(files[0],
                 "displacement_field",
                 "missing, expected one per timestamp in " +
                   std::to_string(files.size()) + " files");
      NpzArrays joined;
      for (const auto &key : keys)
        {
          if (key == "hu_tetra_steps" || key == "hu_tetra_mean")
            continue;
          const auto arrays = of_all(files, packs, key);
          const auto known  = by_timestamp.find(key);
          if (known != by_timestamp.end())
            joined[key] = stack(files, key, arrays, known->second);
          else if (all_same(arrays))
            joined[key] = *arrays[0];
          else
            refuse_difference(files, key, arrays);
        }
      joined["displacement_steps"] = std::move(joined["displacement_field"]);
      joined.erase("displacement_field");
      join_hounsfield(files, packs, joined);
      return joined;
    }
  } // namespace Readers
} // namespace Palpate
