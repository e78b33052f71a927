#ifndef palpate_geometry_snapshot_h
#define palpate_geometry_snapshot_h

#include <palpate/core/types.h>

#include <vector>

namespace Palpate
{
  /**
   * One timestamp of a case: what is prescribed, what was observed, and the
   * material frames.
   */
  template <int dim>
  struct Snapshot
  {
    /// Orthonormal frame of each local cell; column l is e_l.
    std::vector<dealii::Tensor<2, dim>> frames;

    /// Displacement of the constrained nodes [m] (other entries unused),
    /// ghosted.
    Vector prescribed;

    /// Registered displacement [m], ghosted; empty if there is none.
    Vector observed;

    /// Weight of the observation per local node (0: held out or not a vertex).
    std::vector<double> observation_weight;

    bool
    has_observation() const
    {
      return observed.size() > 0;
    }
  };
} // namespace Palpate

#endif
