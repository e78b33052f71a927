#ifndef palpate_inverse_free_directions_h
#define palpate_inverse_free_directions_h

#include <palpate/equilibrium/state_problem.h>
#include <palpate/geometry/connected_parts.h>
#include <palpate/parameterizations/parameterization.h>

namespace Palpate
{
  /// Powers of one factor c > 0 by which fields can be multiplied, part by
  /// part, so that no state changes.
  struct FreeDirection
  {
    struct Part
    {
      std::string field;
      /// Number of the ConnectedParts, of the body's values
      /// of a field that belongs to the body; -1: all of them.
      int    part;
      double exponent;
    };
    std::vector<Part> parts;
  };

  /// True for the fields whose common factor is the scale of the stiffness.
  bool
  is_stiffness(const std::string &field);

  /**
   * What no state can tell of the unknowns: is there a direction along which
   * the balance of forces 0 = h_s(u_s, q) stays 0 at the states u_s found?
   * Nobody's list of loads is asked but the derivatives h_q themselves.
   *
   * Tried are relative changes of every unknown field, one for each of the
   * ConnectedParts (for each value of a field of the body), and all that can be
   * combined of them. First those combinations v are found that the
   * parameterization can make: |A p - v| <= 1e-3 |v| for some p, A = dfields/dq
   * (least squares by conjugate gradients), and no cell is fixed. Of them the
   * null space of h_q is returned: |h_q v| <= 1e-6 |natural size of h_q v| on
   * free DoFs, the natural size being what it is at all DoFs, or with random
   * signs from cell to cell, so that forces do not cancel; so is what is
   * negligible beside all forces (a body in free fall). Multiples of h
   * itself count as 0, as the states are solved to a tolerance only; all forces
   * proportional to powers of one factor make such multiples.
   *
   * Fields at the nodes (initial states) are states themselves and never free.
   * Regularizers are not asked: they may pin such a direction, but know nothing
   * of the body.
   */
  template <int dim>
  class FreeDirections
  {
  public:
    using Q = std::vector<double>;

    /// @param states solved at @p fields, which hold what @p unknowns makes of
    /// q, and all others. Collective. @throw SolverError
    FreeDirections(StateProblem<dim>           &states,
                   const Parameterization<dim> &unknowns,
                   const Q                     &q,
                   const Fields                &fields);

    std::vector<FreeDirection> all;
    /// Whether one of them changes the stiffness, and whether one is nothing
    /// but a common factor of all stiffness.
    bool stiffness = false, common_stiffness = false;

    /// "one factor common to stiffness and density is free", for each.
    std::vector<std::string>
    in_words() const;

    const ConnectedParts parts;

  private:
    std::string
    name_of(const FreeDirection::Part &part) const;
  };
} // namespace Palpate

#endif
