#include <palpate/core/errors.h>
#include <palpate/core/module.h>
#include <palpate/mesh/tetrahedralize.h>

namespace Palpate
{
  LabelledTetrahedra
  tetrahedralize(const LabelledBody &body)
  {
    using Function       = void(const LabelledBody &, LabelledTetrahedra &);
    auto *const function = reinterpret_cast<Function *>(function_of_module(
      "cgal", "palpate_tetrahedralize", "libcgal-dev", "makes tetrahedra"));
    LabelledTetrahedra mesh;
    function(body, mesh);
    if (!mesh.error.empty())
      throw ComputationError("no mesh could be made: " + mesh.error);
    if (mesh.cells.empty())
      throw ComputationError("no mesh could be made: " + mesh.library +
                             " found no cell, expected a body larger than the "
                             "cells");
    return mesh;
  }
} // namespace Palpate
