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
  };
} // namespace Palpate

#endif
