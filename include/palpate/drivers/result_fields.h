#ifndef palpate_drivers_result_fields_h
#define palpate_drivers_result_fields_h

#include <palpate/core/npz.h>
#include <palpate/inverse/reduced_functional.h>

#include <nlohmann/json.hpp>

namespace Palpate
{
  /**
   * A field in input numbering, on rank 0: (M) or (M, components) of cells,
   * (N, dim) of nodes (their vertices), (N) of vertices, () or (n) of the body.
   * Collective.
   */
  template <int dim>
  NpyArray
  array_of(const Discretization<dim> &discretization, const Field &field);

  /**
   * The fields of a reduced functional beside the stiffness, as they are at its
   * last point, under their names; and the derivatives of the objective by what
   * `More unknowns` names, raw, as gradient_NAME, whose unit, place and shape
   * are listed under "gradients" of the summary. Collective.
   * @param J after gradient()
   */
  template <int dim>
  void
  add_other_fields(const Discretization<dim>    &discretization,
                   const ReducedFunctional<dim> &J,
                   NpzArrays                    &arrays,
                   nlohmann::json               &summary);

  /// summary[TITLE_mean_by_label][label]: the geometric mean of a positive
  /// field of cells, weighted by volume. Collective.
  template <int dim>
  void
  add_mean_by_label(const Discretization<dim> &discretization,
                    const Field               &field,
                    const std::string         &title,
                    nlohmann::json            &summary);
} // namespace Palpate

#endif
