#include <palpate/core/text.h>
#include <palpate/drivers/displacement_readings.h>

#include <cmath>
#include <iomanip>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    Tensor<1, 3>
    with_other_signs(Tensor<1, 3> u)
    {
      u[0] = -u[0];
      u[1] = -u[1];
      return u;
    }

    /// Pearson's, 0 where one of them is constant.
    double
    correlation(const std::vector<double> &a, const std::vector<double> &b)
    {
      double mean_a = 0, mean_b = 0;
      for (std::size_t i = 0; i < a.size(); ++i)
        {
          mean_a += a[i] / a.size();
          mean_b += b[i] / a.size();
        }
      double aa = 0, bb = 0, ab = 0;
      for (std::size_t i = 0; i < a.size(); ++i)
        {
          aa += (a[i] - mean_a) * (a[i] - mean_a);
          bb += (b[i] - mean_b) * (b[i] - mean_b);
          ab += (a[i] - mean_a) * (b[i] - mean_b);
        }
      return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
    }
  } // namespace

  DisplacementReadings::DisplacementReadings(
    const std::vector<Point<3>> &all_points,
    const Field                 &field,
    const std::string           &asked)
  {
    const std::string other      = asked == "RAS" ? "LPS" : "RAS";
    names                        = {asked,
                                    other,
                                    asked + ", images exchanged",
                                    other + ", images exchanged"};
    const std::string convention = "Images/Displacement convention = " + other,
                      exchange =
                        "a registration with fixed and moving image exchanged "
                        "(or the inverse field)";
    advice = {"", convention, exchange, convention + " and " + exchange};
    const std::size_t step = 1 + all_points.size() / 20000;
    for (std::size_t i = 0; i < all_points.size(); i += step)
      {
        const Tensor<1, 3> u = field(all_points[i]);
        points.push_back(all_points[i]);
        moved[0].push_back(points.back() + u);
        moved[1].push_back(points.back() + with_other_signs(u));
      }
  }

  void
  DisplacementReadings::sample(const ImageSampler &ct, const unsigned int phase)
  {
    for (unsigned int place = 0; place < 3; ++place)
      {
        auto &values = hu[phase][place];
        values.clear();
        for (const auto &x : place == 0 ? points : moved[place - 1])
          values.push_back(ct.value(x));
      }
  }

  void
  DisplacementReadings::compare_landmarks(const Landmarks &landmarks,
                                          const Field     &field)
  {
    landmark_errors.assign(n_readings, 0.);
    const std::size_t n = landmarks.points.size();
    for (std::size_t i = 0; i < n; ++i)
      {
        const Point<3>    &x = landmarks.points[i], &y = landmarks.moved[i];
        const Tensor<1, 3> there = field(x), back = field(y);
        landmark_errors[0] += (x + there - y).norm() / n;
        landmark_errors[1] += (x + with_other_signs(there) - y).norm() / n;
        landmark_errors[2] += (y + back - x).norm() / n;
        landmark_errors[3] += (y + with_other_signs(back) - x).norm() / n;
      }
  }

  std::string
  DisplacementReadings::report(nlohmann::json           &summary,
                               const ConditionalOStream &log) const
  {
    std::string warning;
    auto       &out = summary["displacement_readings"];
    if (!hu[0][0].empty() && !hu[1][0].empty())
      {
        // Phase 0 at x is phase 1 at x + u, exchanged phase 1 at x is phase 0
        // at x + u.
        const std::array<double, n_readings> r = {
          correlation(hu[0][0], hu[1][1]),
          correlation(hu[0][0], hu[1][2]),
          correlation(hu[1][0], hu[0][1]),
          correlation(hu[1][0], hu[0][2])};
        const double still = correlation(hu[0][0], hu[1][0]);
        log << "  CT of phase 0 against that of phase 1 where the displacement "
               "leads, correlation: ";
        unsigned int best = 0;
        for (unsigned int i = 0; i < n_readings; ++i)
          {
            out["ct_correlation"][names[i]] = r[i];
            log << (i > 0 ? "; " : "") << names[i] << " "
                << std::setprecision(3) << r[i];
            if (r[i] > r[best])
              best = i;
          }
        out["ct_correlation"]["no motion"] = still;
        log << "; no motion " << still << std::endl;
        if (best != 0 && r[best] > r[0] + 0.03 &&
            1 - r[best] < 0.8 * (1 - r[0]))
          warning = "the CTs agree better if the displacement is read as " +
                    names[best] + " (correlation " + Text::number(r[best], 3) +
                    ", as asked " + Text::number(r[0], 3) + "): is it " +
                    advice[best] + "?";
        else if (still > r[0] + 0.03 && 1 - still < 0.8 * (1 - r[0]))
          warning = "the CTs agree better without any motion (correlation " +
                    Text::number(still, 3) + ", with it " +
                    Text::number(r[0], 3) +
                    "): do displacement and CTs belong together?";
      }
    if (!landmark_errors.empty())
      {
        unsigned int best = 0;
        log << "  landmarks, mean error: ";
        for (unsigned int i = 0; i < n_readings; ++i)
          {
            out["landmark_error_mm"][names[i]] = 1e3 * landmark_errors[i];
            log << (i > 0 ? "; " : "") << names[i] << " "
                << std::setprecision(3) << 1e3 * landmark_errors[i] << " mm";
            if (landmark_errors[i] < landmark_errors[best])
              best = i;
          }
        log << std::endl;
        if (warning.empty() && best != 0 &&
            landmark_errors[best] < 0.8 * landmark_errors[0] &&
            landmark_errors[best] < landmark_errors[0] - 5e-4)
          warning =
            "the landmarks agree better if the displacement is read as " +
            names[best] + " (mean error " +
            Text::number(1e3 * landmark_errors[best], 3) + " mm, as asked " +
            Text::number(1e3 * landmark_errors[0], 3) + " mm): is it " +
            advice[best] + "?";
      }
    return warning;
  }
} // namespace Palpate
