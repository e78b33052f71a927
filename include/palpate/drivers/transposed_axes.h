#ifndef palpate_drivers_transposed_axes_h
#define palpate_drivers_transposed_axes_h

#include <palpate/geometry/discretization.h>
#include <palpate/geometry/snapshot.h>

#include <string>
#include <vector>

namespace Palpate
{
  /**
   * Axes of a pack are columns. Where its motion is known, they are compared
   * with the principal stretch directions of that motion, over all snapshots:
   * if these are the rows in many cells and the columns in next to none, the
   * axes were written as rows. Axes that come from elsewhere (fibres) are
   * neither, and stay. Collective. @throw InputError
   * @param source the pack, for messages
   */
  template <int dim>
  void
  refuse_transposed_axes(const std::string                &source,
                         const Discretization<dim>        &discretization,
                         const std::vector<Snapshot<dim>> &snapshots);
} // namespace Palpate

#endif
