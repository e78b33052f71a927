#ifndef palpate_drivers_landmarks_h
#define palpate_drivers_landmarks_h

#include <deal.II/base/conditional_ostream.h>
#include <deal.II/base/point.h>

#include <palpate/core/parameters.h>

#include <nlohmann/json.hpp>

#include <functional>

namespace Palpate
{
  /// Points a reader of the images marked at phase 0, and where she found them
  /// again.
  struct Landmarks
  {
    std::string                   source;
    unsigned int                  timestamp = 0;
    std::vector<dealii::Point<3>> points, moved; ///< RAS [m]
  };

  /**
   * Read what the section Landmarks names; empty if it names nothing. Text
   * files of numbers separated by commas, semicolons, tabs or spaces, with or
   * without a line of names first: either six columns (point, moved point), one
   * file per timestamp, or three columns, one file of points and one of moved
   * points per timestamp (as DIR-Lab has them).
   * @throw InputError for: other columns, text among numbers, numbers of points
   * that differ, timestamps the case has not.
   */
  std::vector<Landmarks>
  read_landmarks(Parameters &parameters, const std::size_t n_timestamps);

  /**
   * The target registration error |x + u(x) - x_moved| of some motions, as JSON
   * and in the log: mean, standard deviation, percentiles 50, 75, 95, maximum
   * [mm].
   * @param motions name ("input_field", "simulated") and u(x) [m]
   * @param inside whether a point is where the motions are known; the others
   * (which take those of the nearest point) are counted
   * @throw InputError if most of the points are not
   */
  nlohmann::json
  registration_errors(
    const Landmarks &landmarks,
    const std::vector<
      std::pair<std::string,
                std::function<dealii::Tensor<1, 3>(const dealii::Point<3> &)>>>
                                                        &motions,
    const std::function<bool(const dealii::Point<3> &)> &inside,
    const dealii::ConditionalOStream                    &log);
} // namespace Palpate

#endif
