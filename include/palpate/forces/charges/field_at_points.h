#ifndef palpate_forces_charges_field_at_points_h
#define palpate_forces_charges_field_at_points_h

#include <palpate/forces/charges/electric_field.h>
#include <palpate/forces/force.h>

#include <memory>
#include <string>
#include <vector>

namespace Palpate
{
  /// A force that knows point charges beside those of the vertices.
  class HasPointCharges
  {
  public:
    virtual ~HasPointCharges() = default;
    /// Where they are at the context's time. @throw SolverError
    virtual PointCharges
    point_charges(const Context<3> &context) const = 0;
  };

  /**
   * Points [m] of a file: .npz with "points" (P, 3), or a text of three numbers
   * per line. @throw InputError
   */
  std::vector<dealii::Point<3>>
  read_field_points(const std::string &filename);

  /**
   * Field [V/m] and potential [V] of all point charges, those of the vertices
   * where they are now and the external ones, at places that no charge is at:
   * e = k_c sum_j q_j (x - x_j)/|x - x_j|^3, phi = k_c sum_j q_j/|x - x_j|,
   * all summed one by one. An external field that is given as a formula is not
   * part of it. The same on all ranks. Collective.
   * @throw SolverError naming a point where a charge is
   */
  FieldAtCharges
  field_at_points(const Context<3>                             &context,
                  const std::vector<std::unique_ptr<Force<3>>> &forces,
                  const std::vector<dealii::Point<3>>          &points);
} // namespace Palpate

#endif
