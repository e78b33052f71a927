#ifndef palpate_core_state_h
#define palpate_core_state_h

#include <palpate/core/types.h>

namespace Palpate
{
  /// What a body does at one moment: plain data, shared by statics and motion.
  struct State
  {
    Vector u;        ///< displacement [m], ghosted
    Vector v;        ///< velocity [m/s], empty in statics
    double time = 0; ///< [s]
  };
} // namespace Palpate

#endif
