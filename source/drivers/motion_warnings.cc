#include <palpate/drivers/problem.h>

#include <cmath>
#include <iomanip>
#include <sstream>

// What a Problem says about a motion that is doubtful.
namespace Palpate
{
  using namespace dealii;

  template <int dim>
  void
  Problem<dim>::warn_of_motion(const EnergyWatch &energy, const double chatter)
  {
    std::ostringstream text;
    text << std::setprecision(3);
    if (energy.rose() && !is_driven())
      {
        text << "the energy rose by " << energy.gained()
             << " J, although nothing from outside moves the body: the steps "
                "are too long for the forces it met";
        warn(text.str());
      }
    // A kick c = h/m dF/dv at rest makes v (1 - c) of a slow vertex's velocity.
    const double kick = Utilities::MPI::max(chatter, comm);
    if (!(kick > 2))
      return;
    // Other steps meet somewhat other pressures.
    const double              too_long = 1.1 * kick / 2;
    const Parameters::Section section(parameters, "Loads");
    text.str("");
    text << "the friction of the ground chatters: at Friction speed and below, "
            "a substep changes the velocity of a vertex by up to "
         << kick << " times itself (below 2 it comes to rest), and gradients "
         << "may be far from what small changes show; expected ";
    if (time->is_explicit)
      text << "Time/Substeps of at least "
           << static_cast<long>(std::ceil(time->substeps * too_long));
    else
      text << "a Time/Step of at most " << time->step / too_long << " s";
    text << ", or a Loads/Friction speed of at least "
         << too_long * parameters.get_double("Friction speed") << " m/s";
    warn(text.str());
  }

  template <int dim>
  void
  Problem<dim>::watch_motion()
  {
    if (!trajectory)
      return;
    trajectory->watch();
    warn_of_motion(trajectory->energy(), trajectory->chatter());
  }

  template void
  Problem<2>::warn_of_motion(const EnergyWatch &, const double);
  template void
  Problem<3>::warn_of_motion(const EnergyWatch &, const double);
  template void
  Problem<2>::watch_motion();
  template void
  Problem<3>::watch_motion();
} // namespace Palpate
