#include <palpate/core/errors.h>
#include <palpate/core/number_table.h>
#include <palpate/drivers/landmarks.h>
#include <palpate/image/read_image.h>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    double
    percentile_of_sorted(const std::vector<double> &sorted, const double share)
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
              {"percentile_50", percentile_of_sorted(values, 0.5)},
              {"percentile_75", percentile_of_sorted(values, 0.75)},
              {"percentile_95", percentile_of_sorted(values, 0.95)},
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
    if (n_timestamps == 0)
      parameters.fail("Points", "there is no motion, expected a displacement");
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
        grid  = read_image(parameters.get("Voxels of"), 1);
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
        const auto start =
          read_number_table(points[moved.empty() ? s : 0], {3, 6});
        all[s].source       = moved.empty() ? points[s] : moved[s];
        all[s].timestamp    = timestamps[s];
        const bool together = (start[0].size() == 6);
        if (together == !moved.empty())
          throw InputError(points[moved.empty() ? s : 0],
                           std::string("has ") + (together ? "six" : "three") +
                             " columns, expected " +
                             (together ? "three beside Landmarks/Moved points"
                                       : "six, or Landmarks/Moved points"));
        const auto end = together ? start : read_number_table(moved[s], {3, 6});
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

  void
  check_landmarks(std::vector<Landmarks>                      &all,
                  const std::vector<Point<3>>                 &vertices,
                  const std::function<bool(const Point<3> &)> &inside)
  {
    Point<3> lower = vertices[0], upper = vertices[0];
    for (const Point<3> &x : vertices)
      for (unsigned int d = 0; d < 3; ++d)
        {
          lower[d] = std::min(lower[d], x[d]);
          upper[d] = std::max(upper[d], x[d]);
        }
    const double size = (upper - lower).norm();
    const auto   refused =
      [](const Landmarks &l, const std::string &what, const Point<3> &x) {
        std::ostringstream text;
        text << what << " (" << 1e3 * x[0] << ", " << 1e3 * x[1] << ", "
             << 1e3 * x[2]
             << ") mm, expected them in the body (Landmarks/Length unit, "
                "Coordinates)";
        throw InputError(l.source, text.str());
      };
    for (Landmarks &l : all)
      {
        const std::size_t n     = l.points.size();
        std::size_t       first = n;
        l.n_outside             = 0;
        for (std::size_t i = 0; i < n; ++i)
          if (!inside(l.points[i]))
            {
              first = std::min(first, i);
              ++l.n_outside;
            }
        if (l.n_outside > n / 2)
          refused(l,
                  std::to_string(l.n_outside) + " of " + std::to_string(n) +
                    " landmarks lie outside, the first at",
                  l.points[first]);
        for (std::size_t i = 0; i < n; ++i)
          if ((l.moved[i] - l.points[i]).norm() > size)
            refused(l,
                    "landmark " + std::to_string(i) +
                      " moves farther than the body is long, to",
                    l.moved[i]);
      }
  }

  nlohmann::json
  registration_errors(
    const Landmarks &landmarks,
    const std::vector<std::pair<std::string, std::vector<Tensor<1, 3>>>>
                             &motions,
    const ConditionalOStream &log)
  {
    const std::size_t   n = landmarks.points.size();
    std::vector<double> lengths;
    for (std::size_t i = 0; i < n; ++i)
      lengths.push_back(1e3 *
                        (landmarks.moved[i] - landmarks.points[i]).norm());
    nlohmann::json     result = {{"file", landmarks.source},
                                 {"timestamp", landmarks.timestamp},
                                 {"points", n},
                                 {"outside", landmarks.n_outside},
                                 {"motion_mm", statistics(lengths)}};
    std::ostringstream text;
    text << "  landmarks, timestamp " << landmarks.timestamp << ": " << n
         << " points";
    if (landmarks.n_outside > 0)
      text << " (" << landmarks.n_outside << " outside, nearest point)";
    text << std::setprecision(3) << ", motion "
         << result["motion_mm"]["mean"].get<double>() << " mm";
    for (const auto &[name, u] : motions)
      {
        std::vector<double> errors;
        for (std::size_t i = 0; i < n; ++i)
          errors.push_back(
            1e3 * (landmarks.points[i] + u[i] - landmarks.moved[i]).norm());
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
