#ifndef palpate_mesh_gmsh_session_h
#define palpate_mesh_gmsh_session_h

#include <gmsh.h>

#include <cstddef>

namespace Palpate
{
  /**
   * Scope in which the Gmsh API may be called: initialises Gmsh in silence,
   * without configuration files, with errors thrown as exceptions; leaves
   * nothing behind. Scopes may be nested and repeated; the outermost one
   * initialises, clears and finalises. Not for several threads at once.
   */
  class GmshSession
  {
  public:
    GmshSession()
    {
      if (depth()++ > 0)
        return;
      try
        {
          gmsh::initialize(0, nullptr, false);
          gmsh::option::setNumber("General.Terminal", 0);
          // 3: throw, never exit.
          gmsh::option::setNumber("General.AbortOnError", 3);
        }
      catch (...)
        {
          --depth();
          throw;
        }
    }

    ~GmshSession()
    {
      if (--depth() > 0)
        return;
      try
        {
          gmsh::clear();
          gmsh::finalize();
        }
      catch (...)
        {
          // Nothing can be done about it, and nothing depends on it.
        }
    }

    GmshSession(const GmshSession &) = delete;
    GmshSession &
    operator=(const GmshSession &) = delete;

  private:
    static std::size_t &
    depth()
    {
      static std::size_t value = 0;
      return value;
    }
  };
} // namespace Palpate

#endif
