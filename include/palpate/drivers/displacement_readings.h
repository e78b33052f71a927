#ifndef palpate_drivers_displacement_readings_h
#define palpate_drivers_displacement_readings_h

#include <deal.II/base/conditional_ostream.h>

#include <palpate/drivers/landmarks.h>
#include <palpate/sampling/sample.h>

#include <nlohmann/json.hpp>

#include <array>
#include <functional>
#include <string>
#include <vector>

namespace Palpate
{
  /**
   * A displacement field that is read the wrong way is a smooth motion of the
   * right size, and nothing fails. With CT of both phases, or landmarks, the
   * readings can be told apart: as asked; with the other signs of x and y (RAS
   * for LPS); with the images exchanged (it leads from the moved phase back to
   * the first); with both.
   */
  class DisplacementReadings
  {
  public:
    /// u at a point [m], as asked.
    using Field = std::function<dealii::Tensor<1, 3>(const dealii::Point<3> &)>;

    /**
     * @param points of phase 0 [m], of which some thousand are taken
     * @param asked convention, "RAS" or "LPS"
     */
    DisplacementReadings(const std::vector<dealii::Point<3>> &points,
                         const Field                         &field,
                         const std::string                   &asked);

    /// The CT of phase 0, then that of phase 1.
    void
    sample(const ImageSampler &ct, const unsigned int phase);

    /// Compare by landmarks: mean distances [m] of all readings.
    void
    compare_landmarks(const Landmarks &landmarks, const Field &field);

    /**
     * What was found, into the summary ("displacement_readings") and the log.
     * @return a warning if another reading is clearly better, else nothing
     */
    std::string
    report(nlohmann::json                   &summary,
           const dealii::ConditionalOStream &log) const;

  private:
    static constexpr unsigned int n_readings = 4;

    std::array<std::string, n_readings> names, advice;
    std::vector<dealii::Point<3>>       points;
    /// Where u leads, as asked and with the other signs.
    std::array<std::vector<dealii::Point<3>>, 2> moved;
    /// CT of phase 0 and 1 at the points and at the moved ones.
    std::array<std::array<std::vector<double>, 3>, 2> hu;
    std::vector<double> landmark_errors; ///< [m] by reading, empty: none
  };
} // namespace Palpate

#endif
