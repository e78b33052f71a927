#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/drivers/landmarks.h>
#include <palpate/image/image.h>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// Rows of three or six numbers.
    std::vector<std::vector<double>>
    read_table(const std::string &filename)
    {
      std::istringstream               lines(read_file(filename));
      std::vector<std::vector<double>> rows;
      std::string                      line;
      for (unsigned int number = 1; std::getline(lines, line); ++number)
        {
          for (char &c : line)
            if (c == ',' || c == ';' || c == '\t' || c == '\r')
              c = ' ';
          std::istringstream  words(line);
          std::vector<double> row;
          std::string         word;
          bool                names = false;
          while (words >> word)
            {
              char        *end   = nullptr;
              const double value = std::strtod(word.c_str(), &end);
              if (*end != '\0' || !std::isfinite(value))
                names = true;
              row.push_back(value);
            }
          if (row.empty() || line[line.find_first_not_of(' ')] == '#')
            continue;
          if (names && number == 1)
            continue;
          const std::size_t n = rows.empty() ? row.size() : rows[0].size();
          if (names || row.size() != n || (n != 3 && n != 6))
            throw InputError(filename,
                             "line " + std::to_string(number) + " is '" +
                               line.substr(0, 60) + "', expected " +
                               (rows.empty() ? "three or six"
                                : n == 3     ? "three"
                                             : "six") +
                               " numbers");
          rows.push_back(row);
        }
      if (rows.empty())
        throw InputError(filename, "has no points, expected at least one");
      return rows;
    }

    double
    percentile(const std::vector<double> &sorted, const double share)
    {
      const double      at = share * (sorted.size() - 1);
      const std::size_t i  = static_cast<std::size_t>(at);
      const std::size_t j  = std::min(i + 1, sorted.size() - 1);
      return sorted[i] + (at - i) * (sorted[j] - sorted[i]);
    }

    nlohmann::json
    statistics(std::vector<double> values)
    {
      std::sort(values.begin(), values.end());
      double sum = 0, squares = 0;
      for (const double v : values)
        sum += v;
      const double mean = sum / values.size();
      for (const double v : values)
        squares += (v - mean) * (v - mean);
      return {{"mean", mean},
              {"standard_deviation", std::sqrt(squares / values.size())},
              {"percentile_50", percentile(values, 0.5)},
              {"percentile_75", percentile(values, 0.75)},
              {"percentile_95", percentile(values, 0.95)},
              {"largest", values.back()}};
    }
  } // namespace

  std::vector<Landmarks>
  read_landmarks(Parameters &parameters, const std::size_t n_timestamps)
  {
    const Parameters::Section section(parameters, "Landmarks");
    const auto                points = parameters.get_list("Points");
    if (points.empty())
      return {};
    const auto moved      = parameters.get_list("Moved points");
    auto       timestamps = parameters.get_integers("Timestamps");
    const auto n          = moved.empty() ? points.size() : moved.size();
    if (!moved.empty() && points.size() != 1)
      parameters.fail("Points", "expected one file beside Moved points");
    if (timestamps.empty() && n == n_timestamps)
      for (unsigned int s = 0; s < n; ++s)
        timestamps.push_back(s);
    if (timestamps.size() != n)
      parameters.fail("Timestamps",
                      "expected " + std::to_string(n) +
                        ", one per file of moved points (the case has " +
                        std::to_string(n_timestamps) + ")");
    for (const int t : timestamps)
      if (t < 0 || static_cast<std::size_t>(t) >= n_timestamps)
        parameters.fail("Timestamps",
                        "expected numbers from 0 to " +
                          std::to_string(n_timestamps - 1));

    const std::string coordinates = parameters.get("Coordinates");
    const bool        voxels      = (coordinates == "voxels");
    Image             grid;
    double            first = 0, unit = 1e-3;
    if (voxels)
      {
        if (parameters.get("Voxels of").empty())
          parameters.fail("Voxels of",
                          "expected the image whose voxels the landmarks "
                          "count");
        grid  = read_nifti(parameters.get("Voxels of"), 1);
        first = parameters.get_integer("First voxel");
      }
    else
      {
        const std::string name = parameters.get("Length unit");
        unit                   = name == "m" ? 1 : name == "cm" ? 1e-2 : 1e-3;
      }
    const auto place = [&](const double *x) {
      if (voxels)
        return grid.world(x[0] - first, x[1] - first, x[2] - first);
      const double sign = (coordinates == "LPS" ? -1 : 1);
      return Point<3>(sign * unit * x[0], sign * unit * x[1], unit * x[2]);
    };

    std::vector<Landmarks> all(n);
    for (unsigned int s = 0; s < n; ++s)
      {
        const auto start    = read_table(points[moved.empty() ? s : 0]);
        all[s].source       = moved.empty() ? points[s] : moved[s];
        all[s].timestamp    = timestamps[s];
        const bool together = (start[0].size() == 6);
        if (together == !moved.empty())
          throw InputError(points[moved.empty() ? s : 0],
                           std::string("has ") + (together ? "six" : "three") +
                             " columns, expected " +
                             (together ? "three beside Landmarks/Moved points"
                                       : "six, or Landmarks/Moved points"));
        const auto end = together ? start : read_table(moved[s]);
        if (!together && end[0].size() != 3)
          throw InputError(moved[s], "has six columns, expected three");
        if (end.size() != start.size())
          throw InputError(moved[s],
                           "has " + std::to_string(end.size()) +
                             " points, expected " +
                             std::to_string(start.size()) + " as in " +
                             points[0]);
        for (std::size_t i = 0; i < start.size(); ++i)
          {
            all[s].points.push_back(place(start[i].data()));
            all[s].moved.push_back(place(end[i].data() + (together ? 3 : 0)));
          }
      }
    return all;
  }

  nlohmann::json
  registration_errors(
    const Landmarks &landmarks,
    const std::vector<
      std::pair<std::string, std::function<Tensor<1, 3>(const Point<3> &)>>>
                                                &motions,
    const std::function<bool(const Point<3> &)> &inside,
    const ConditionalOStream                    &log)
  {
    const std::size_t   n       = landmarks.points.size();
    std::size_t         outside = 0;
    std::vector<double> lengths;
    for (std::size_t i = 0; i < n; ++i)
      {
        outside += !inside(landmarks.points[i]);
        lengths.push_back(1e3 *
                          (landmarks.moved[i] - landmarks.points[i]).norm());
      }
    if (outside > n / 2)
      {
        std::ostringstream text;
        text << outside << " of " << n << " landmarks lie outside, the first "
             << "point is (" << 1e3 * landmarks.points[0][0] << ", "
             << 1e3 * landmarks.points[0][1] << ", "
             << 1e3 * landmarks.points[0][2]
             << ") mm, expected them in the body (Landmarks/Length unit, "
                "Coordinates)";
        throw InputError(landmarks.source, text.str());
      }
    nlohmann::json     result = {{"file", landmarks.source},
                                 {"timestamp", landmarks.timestamp},
                                 {"points", n},
                                 {"outside", outside},
                                 {"motion_mm", statistics(lengths)}};
    std::ostringstream text;
    text << "  landmarks, timestamp " << landmarks.timestamp << ": " << n
         << " points";
    if (outside > 0)
      text << " (" << outside << " outside, nearest point)";
    text << std::setprecision(3) << ", motion "
         << result["motion_mm"]["mean"].get<double>() << " mm";
    for (const auto &[name, u] : motions)
      {
        std::vector<double> errors;
        for (std::size_t i = 0; i < n; ++i)
          {
            const Point<3> &x = landmarks.points[i];
            errors.push_back(1e3 * (x + u(x) - landmarks.moved[i]).norm());
          }
        const auto s         = statistics(errors);
        result[name + "_mm"] = s;
        text << "; error of "
             << (name == "simulated" ? "the simulated motion"
                                     : "the input field")
             << " " << s["mean"].get<double>()
             << " mm (50, 75, 95 %: " << s["percentile_50"].get<double>()
             << ", " << s["percentile_75"].get<double>() << ", "
             << s["percentile_95"].get<double>() << ")";
      }
    log << text.str() << std::endl;
    return result;
  }
} // namespace Palpate
