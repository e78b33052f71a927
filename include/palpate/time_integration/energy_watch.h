#ifndef palpate_time_integration_energy_watch_h
#define palpate_time_integration_energy_watch_h

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace Palpate
{
  /// Whether the energy of a motion rises: where nothing from outside moves the
  /// body, the steps are then too long for the forces it met.
  class EnergyWatch
  {
  public:
    /// @param energies of one time: kinetic, elastic, of each load [J]
    void
    add(const std::vector<double> &energies)
    {
      double total = 0;
      for (const double e : energies)
        {
          scale = std::max(scale, std::abs(e));
          total += e;
        }
      lowest = std::min(lowest, total);
      most   = std::max(most, total - lowest);
    }
    /// The largest rise above what it was before [J].
    double
    gained() const
    {
      return most;
    }
    /// Beyond what stable steps let energy oscillate by.
    bool
    rose() const
    {
      return most > 0.1 * scale;
    }

  private:
    double scale = 0, lowest = std::numeric_limits<double>::max(), most = 0;
  };
} // namespace Palpate

#endif
