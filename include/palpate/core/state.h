#ifndef palpate_core_state_h
#define palpate_core_state_h

#include <palpate/core/types.h>

namespace Palpate
{
  /// What a body does at one moment: plain data, shared by statics and motion.
  /// Copying loses the ghosts of its vectors: see ghosted_copy().
  struct State
  {
    Vector u;        ///< displacement [m], ghosted
    Vector v;        ///< velocity [m/s], empty in statics
    double time = 0; ///< [s]
  };

  /// A copy with its ghost entries. Collective.
  inline void
  copy_state(const State &from, State &to)
  {
    for (const auto part : {&State::u, &State::v})
      {
        Vector copy = ghosted_copy(from.*part);
        (to.*part).swap(copy);
      }
    to.time = from.time;
  }
} // namespace Palpate

#endif
