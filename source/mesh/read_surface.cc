#include <palpate/core/errors.h>
#include <palpate/core/input_files.h>
#include <palpate/core/text.h>
#include <palpate/mesh/quality.h>
#include <palpate/mesh/read_surface.h>

#include <assimp/Importer.hpp>
#include <assimp/postprocess.h>
#include <assimp/scene.h>
#include <boost/algorithm/string/predicate.hpp>

#include <cmath>
#include <fstream>
#include <numeric>

namespace Palpate
{
  bool
  is_surface_file(const std::string &filename)
  {
    for (const char *ending : {".stl", ".ply", ".obj", ".off"})
      if (boost::iends_with(filename, ending))
        return true;
    return false;
  }

  TriangleSurface
  read_surface(const std::string &filename, std::string &space)
  {
    // What 3D Slicer writes into the title, a comment or the first 80 bytes.
    std::ifstream file(filename, std::ios::binary);
    if (!file)
      throw InputError(filename, "cannot be read, expected a surface");
    std::string start(4096, ' ');
    file.read(&start[0], start.size());
    for (const char *axes : {"LPS", "RAS"})
      if (start.find(std::string("SPACE=") + axes) != std::string::npos)
        space = axes;
    note_input(filename);

    Assimp::Importer importer;
    importer.SetPropertyInteger(AI_CONFIG_PP_SBP_REMOVE,
                                aiPrimitiveType_POINT | aiPrimitiveType_LINE);
    const aiScene *scene =
      importer.ReadFile(filename,
                        aiProcess_Triangulate | aiProcess_PreTransformVertices |
                          aiProcess_SortByPType);
    if (scene == nullptr || scene->mNumMeshes == 0)
      throw InputError(filename,
                       "cannot be read, expected a surface (" +
                         Text::one_line(importer.GetErrorString()) + ")");
    std::vector<dealii::Point<3>> corners;
    TriangleSurface               surface;
    for (unsigned int m = 0; m < scene->mNumMeshes; ++m)
      {
        const aiMesh      &part  = *scene->mMeshes[m];
        const unsigned int first = corners.size();
        for (unsigned int v = 0; v < part.mNumVertices; ++v)
          {
            const aiVector3D &x = part.mVertices[v];
            if (!std::isfinite(x.x) || !std::isfinite(x.y) ||
                !std::isfinite(x.z))
              throw InputError(filename,
                               "vertex " + std::to_string(v) +
                                 " is not finite, expected finite coordinates");
            corners.emplace_back(x.x, x.y, x.z);
          }
        for (unsigned int f = 0; f < part.mNumFaces; ++f)
          {
            const unsigned int *const v = part.mFaces[f].mIndices;
            surface.triangles.push_back(
              {{first + v[0], first + v[1], first + v[2]}});
          }
      }

    // One vertex for all corners at a place.
    std::vector<unsigned int> same(corners.size());
    std::iota(same.begin(), same.end(), 0u);
    for (const auto &pair : coincident_vertices(corners))
      {
        unsigned int a = pair[0];
        while (same[a] != a)
          a = same[a];
        same[pair[1]] = a;
      }
    std::vector<unsigned int> number(corners.size());
    for (unsigned int v = 0; v < corners.size(); ++v)
      if (same[v] == v)
        {
          number[v] = surface.vertices.size();
          surface.vertices.push_back(
            {{corners[v][0], corners[v][1], corners[v][2]}});
        }
      else
        {
          unsigned int a = same[v];
          while (same[a] != a)
            a = same[a];
          number[v] = number[a];
        }
    std::vector<std::array<unsigned int, 3>> kept;
    for (auto t : surface.triangles)
      {
        for (unsigned int &v : t)
          v = number[v];
        if (t[0] != t[1] && t[1] != t[2] && t[2] != t[0])
          kept.push_back(t);
      }
    surface.triangles = kept;
    if (kept.empty())
      throw InputError(filename, "has no triangle, expected a closed surface");
    return surface;
  }
} // namespace Palpate
