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
    std::size_t                   n_outside = 0; ///< of the body
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

  /// Count the landmarks outside the body. @throw InputError if most are, or
  /// one moves farther than the body is long
  void
  check_landmarks(std::vector<Landmarks>              &landmarks,
                  const std::vector<dealii::Point<3>> &vertices,
                  const std::function<bool(const dealii::Point<3> &)> &inside);

  /**
   * The target registration error |x + u(x) - x_moved| of some motions, as JSON
   * and in the log: mean, standard deviation, percentiles 50, 75, 95, maximum
   * [mm].
   * @param motions name ("input_field", "simulated") and u at every landmark
   * [m]; those outside take that of the nearest point
   */
  nlohmann::json
  registration_errors(
    const Landmarks &landmarks,
    const std::vector<std::pair<std::string, std::vector<dealii::Tensor<1, 3>>>>
                                     &motions,
    const dealii::ConditionalOStream &log);
} // namespace Palpate

#endif
