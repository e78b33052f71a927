#ifndef palpate_forces_context_h
#define palpate_forces_context_h

#include <palpate/core/fields.h>
#include <palpate/core/state.h>
#include <palpate/geometry/discretization.h>
#include <palpate/geometry/snapshot.h>

namespace Palpate
{
  /**
   * All that a force or an objective may see: the current state, the named
   * fields and the snapshot. Terms meet only through this.
   */
  template <int dim>
  struct Context
  {
    const Discretization<dim> &discretization;
    const State               &state;
    const Fields              &fields;
    const Snapshot<dim>       &snapshot;
    /// 1 for constrained local DoFs (ghosts included).
    const std::vector<char> &constrained;
    /// dv/du [1/s] where the velocity follows the displacement: in an implicit
    /// step; else 0. Tangents by the displacement count with it.
    const double velocity_rate = 0;
  };
} // namespace Palpate

#endif
