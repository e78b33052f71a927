#include <palpate/core/errors.h>
#include <palpate/core/module.h>
#include <palpate/mesh/tetrahedralize.h>

namespace Palpate
{
  namespace
  {
    template <typename Function>
    Function *
    function_of_cgal(const std::string &name)
    {
      return reinterpret_cast<Function *>(
        function_of_module("cgal", name, "libcgal-dev", "makes tetrahedra"));
    }

    void
    check(const LabelledTetrahedra &mesh)
    {
      if (!mesh.error.empty())
        throw ComputationError("no mesh could be made: " + mesh.error);
      if (mesh.cells.empty())
        throw ComputationError(
          "no mesh could be made: " + mesh.library +
          " found no cell, expected a body larger than the "
          "cells");
    }
  } // namespace

  LabelledTetrahedra
  tetrahedralize(const LabelledBody &body)
  {
    auto *const function =
      function_of_cgal<void(const LabelledBody &, LabelledTetrahedra &)>(
        "palpate_tetrahedralize");
    LabelledTetrahedra mesh;
    function(body, mesh);
    check(mesh);
    return mesh;
  }

  LabelledTetrahedra
  tetrahedralize(const std::string     &source,
                 const TriangleSurface &surface,
                 const LabelledBody    &how)
  {
    auto *const function = function_of_cgal<
      void(const TriangleSurface &, LabelledBody, LabelledTetrahedra &)>(
      "palpate_tetrahedralize_surface");
    LabelledTetrahedra mesh;
    function(surface, how, mesh);
    if (mesh.input_is_wrong)
      throw InputError(source, mesh.error);
    check(mesh);
    return mesh;
  }
} // namespace Palpate
