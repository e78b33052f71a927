#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/mesh/gmsh_session.h>
#include <palpate/mesh/write_mesh.h>

#include <cstdio>
#include <map>

namespace Palpate
{
  void
  write_gmsh(const std::string   &filename,
             const SerialMesh<3> &mesh,
             const double         length_unit)
  {
    const std::string temporary = filename + ".partial.msh";
    bool              failed    = false;
    try
      {
        const GmshSession session;
        gmsh::model::add("mesh");
        std::map<int, std::vector<std::size_t>> cells_of_label, nodes_of_cells;
        for (std::size_t k = 0; k < mesh.cells.size(); ++k)
          {
            cells_of_label[mesh.labels[k]].push_back(k + 1);
            for (const unsigned int v : mesh.cells[k])
              nodes_of_cells[mesh.labels[k]].push_back(v + 1);
          }
        std::vector<std::size_t> tags(mesh.vertices.size());
        std::vector<double>      coordinates;
        for (std::size_t v = 0; v < tags.size(); ++v)
          {
            tags[v] = v + 1;
            for (unsigned int d = 0; d < 3; ++d)
              coordinates.push_back(mesh.vertices[v][d] / length_unit);
          }
        for (const auto &[label, cells] : cells_of_label)
          {
            gmsh::model::addDiscreteEntity(3, label);
            if (!tags.empty())
              gmsh::model::mesh::addNodes(3, label, tags, coordinates);
            tags.clear();
            coordinates.clear();
            const int tetrahedron = 4;
            gmsh::model::mesh::addElements(
              3, label, {tetrahedron}, {cells}, {nodes_of_cells[label]});
            gmsh::model::addPhysicalGroup(3, {label}, label);
          }
        gmsh::write(temporary);
        // It says nothing of a full disk.
        const std::string written = read_file(temporary, false);
        failed = written.find("$EndElements") == std::string::npos;
      }
    catch (const std::exception &)
      {
        failed = true;
      }
    if (failed || std::rename(temporary.c_str(), filename.c_str()) != 0)
      {
        std::remove(temporary.c_str());
        throw ComputationError(shown_name(filename) + ": cannot be written");
      }
  }
} // namespace Palpate
