#include <palpate/core/errors.h>
#include <palpate/mesh/gmsh_sections.h>
#include <palpate/mesh/gmsh_session.h>
#include <palpate/mesh/readers.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <set>
#include <unordered_map>

namespace Palpate
{
  namespace
  {
    // Gmsh's numbers of the linear simplices by dimension.
    constexpr int simplex_type[] = {15, 1, 2, 4};

    using Readers::GmshSections;

    /// Run @p work on the opened file and what its text says, with Gmsh's
    /// exceptions translated.
    template <typename Work>
    auto
    with_file(const std::string &filename, const Work &work)
    {
      const GmshSections sections   = Readers::check_gmsh_sections(filename);
      const std::size_t  n_declared = sections.n_elements;
      const std::string  expected   = ", expected a Gmsh mesh";
      try
        {
          GmshSession session;
          gmsh::open(filename);

          std::vector<int>                      types;
          std::vector<std::vector<std::size_t>> tags, nodes;
          gmsh::model::mesh::getElements(types, tags, nodes);
          std::size_t n = 0;
          for (const auto &t : tags)
            n += t.size();
          if (n == 0)
            throw InputError(filename, "no elements" + expected);
          if (n < n_declared)
            throw InputError(filename,
                             "section $Elements declares " +
                               std::to_string(n_declared) + " but " +
                               std::to_string(n) +
                               " could be read, expected a whole Gmsh mesh");
          return work(sections);
        }
      catch (const InputError &)
        {
          throw;
        }
      catch (const std::string &message)
        {
          throw InputError(filename, Readers::one_line(message) + expected);
        }
      catch (const std::exception &e)
        {
          throw InputError(filename, Readers::one_line(e.what()) + expected);
        }
      catch (...)
        {
          throw InputError(filename, "Gmsh cannot read it" + expected);
        }
    }



    /// Physical groups of an entity, ascending.
    std::vector<int>
    physical_groups(const int dim, const int entity)
    {
      std::vector<int> groups;
      gmsh::model::getPhysicalGroupsForEntity(dim, entity, groups);
      for (int &group : groups)
        group = std::abs(group); // negative: the other way around
      std::sort(groups.begin(), groups.end());
      groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
      return groups;
    }



    template <int n_vertices>
    struct Element
    {
      std::size_t                         tag;
      std::vector<int>                    groups; ///< ascending
      std::array<std::size_t, n_vertices> nodes;  ///< tags
    };

    /**
     * The simplices of a dimension with all their groups, in the order of
     * tags. Files of version 2 repeat an element for each of its groups: these
     * are taken once.
     */
    template <int dim>
    std::vector<Element<dim + 1>>
    simplices(const GmshSections &sections, const bool only_in_groups)
    {
      std::vector<Element<dim + 1>> result;
      gmsh::vectorpair              entities;
      gmsh::model::getEntities(entities, dim);
      std::set<std::array<std::size_t, dim + 1>> seen;
      for (const auto &entity : entities)
        {
          const std::vector<int>   groups = physical_groups(dim, entity.second);
          std::vector<std::size_t> tags, nodes;
          gmsh::model::mesh::getElementsByType(simplex_type[dim],
                                               tags,
                                               nodes,
                                               entity.second);
          for (std::size_t e = 0; e < tags.size(); ++e)
            {
              Element<dim + 1> element{tags[e], groups, {}};
              std::copy_n(nodes.begin() + e * (dim + 1),
                          dim + 1,
                          element.nodes.begin());
              if (sections.groups_of_elements)
                {
                  std::array<std::size_t, 4> key{};
                  std::copy(element.nodes.begin(),
                            element.nodes.end(),
                            key.begin());
                  std::size_t n_repetitions = 0;
                  element.groups = sections.groups_of(key, n_repetitions);
                  // One that is listed twice in a group stays there twice, to
                  // be refused if it is a cell.
                  if (n_repetitions == 0 && element.groups.size() > 1 &&
                      !seen.insert(element.nodes).second)
                    continue;
                }
              if (!only_in_groups || !element.groups.empty())
                result.push_back(element);
            }
        }
      std::stable_sort(result.begin(),
                       result.end(),
                       [](const auto &a, const auto &b) {
                         return a.tag < b.tag;
                       });
      return result;
    }



    /// The one group of a cell, which becomes its label; 0 if it has none.
    template <int dim>
    int
    label_of(const std::string &filename, const Element<dim + 1> &cell)
    {
      if (cell.groups.empty())
        return 0;
      const auto shown = [](const int group) {
        std::string name;
        gmsh::model::getPhysicalName(dim, group, name);
        return std::to_string(group) +
               (name.empty() ? "" : " (\"" + Readers::one_line(name) + "\")");
      };
      if (cell.groups.size() > 1)
        throw InputError(filename,
                         "element " + std::to_string(cell.tag) +
                           " is in the physical " +
                           (dim == 3 ? "volumes " : "surfaces ") +
                           shown(cell.groups[0]) + " and " +
                           shown(cell.groups[1]) +
                           ", expected one, which is the cell's label");
      return cell.groups[0];
    }



    /// Refuse all elements of the mesh's dimension or above but simplices.
    template <int dim>
    void
    refuse_other_elements(const std::string &filename)
    {
      std::vector<int> types;
      gmsh::model::mesh::getElementTypes(types);
      for (const int type : types)
        {
          std::string         name;
          int                 type_dim, order, n_nodes, n_primary;
          std::vector<double> coordinates;
          gmsh::model::mesh::getElementProperties(
            type, name, type_dim, order, n_nodes, coordinates, n_primary);
          if (type_dim >= dim && type != simplex_type[dim])
            {
              std::vector<std::size_t> tags, nodes;
              gmsh::model::mesh::getElementsByType(type, tags, nodes);
              throw InputError(filename,
                               "element " +
                                 (tags.empty() ? std::string("?")
                                               : std::to_string(tags[0])) +
                                 " is a " + name + ", expected only linear " +
                                 (dim == 3 ? "tetrahedra" : "triangles"));
            }
        }
    }



    template <int dim>
    CaseData<dim>
    read_opened(const std::string &filename, const GmshSections &sections)
    {
      CaseData<dim> data;
      data.source          = filename;
      data.has_own_numbers = true; // of the tags
      refuse_other_elements<dim>(filename);
      if (sections.unknown_type)
        throw InputError(filename,
                         "has elements of a high order or unknown type, "
                         "expected a mesh of linear ones");

      std::vector<std::size_t> tags;
      std::vector<double>      coordinates, parameters;
      gmsh::model::mesh::getNodes(tags, coordinates, parameters);
      std::unordered_map<std::size_t, std::size_t> position;
      for (std::size_t i = 0; i < tags.size(); ++i)
        position[tags[i]] = i;

      const auto               cells = simplices<dim>(sections, false);
      std::vector<std::size_t> used;
      for (const auto &cell : cells)
        for (const std::size_t node : cell.nodes)
          {
            if (position.count(node) == 0)
              throw InputError(filename,
                               "element " + std::to_string(cell.tag) +
                                 " has node " + std::to_string(node) +
                                 ", expected a node of the file");
            used.push_back(node);
          }
      std::sort(used.begin(), used.end());
      used.erase(std::unique(used.begin(), used.end()), used.end());
      if (used.size() < position.size())
        data.notes.push_back("ignored " +
                             std::to_string(position.size() - used.size()) +
                             " nodes that belong to no cell");

      std::vector<double>                           xyz;
      std::unordered_map<std::size_t, unsigned int> vertex;
      for (const std::size_t node : used)
        {
          const auto        next = static_cast<unsigned int>(vertex.size());
          const std::size_t i    = position[node];
          vertex[node]           = next;
          xyz.insert(xyz.end(),
                     coordinates.begin() + 3 * i,
                     coordinates.begin() + 3 * i + 3);
        }
      data.mesh.vertices = Readers::to_points<dim>(filename, xyz);

      for (const auto &cell : cells)
        {
          std::array<unsigned int, dim + 1> vertices;
          for (unsigned int i = 0; i <= dim; ++i)
            vertices[i] = vertex[cell.nodes[i]];
          data.mesh.cells.push_back(vertices);
          data.mesh.labels.push_back(label_of<dim>(filename, cell));
        }

      std::vector<BoundaryFace<dim>> faces;
      std::size_t                    foreign = 0;
      for (const auto &element : simplices<dim - 1>(sections, true))
        {
          BoundaryFace<dim> face;
          bool              known = true;
          for (unsigned int i = 0; i < dim; ++i)
            {
              const auto v = vertex.find(element.nodes[i]);
              known        = known && v != vertex.end();
              if (known)
                face.vertices[i] = v->second;
            }
          if (known)
            for (const int group : element.groups)
              {
                face.id = static_cast<unsigned int>(group);
                faces.push_back(face);
              }
          else
            ++foreign;
        }
      if (foreign > 0)
        data.notes.push_back("ignored " + std::to_string(foreign) +
                             " faces with nodes that belong to no cell");
      Readers::set_boundary_faces(data, faces);
      return data;
    }
  } // namespace



  namespace Readers
  {
    int
    gmsh_dimension(const std::string &filename)
    {
      return with_file(filename, [&](const GmshSections &) {
        std::vector<int> types;
        gmsh::model::mesh::getElementTypes(types, 3);
        return types.empty() ? 2 : 3;
      });
    }



    template <int dim>
    CaseData<dim>
    read_gmsh(const std::string &filename)
    {
      return with_file(filename, [&](const GmshSections &sections) {
        return read_opened<dim>(filename, sections);
      });
    }



    template CaseData<2>
    read_gmsh<2>(const std::string &);
    template CaseData<3>
    read_gmsh<3>(const std::string &);
  } // namespace Readers
} // namespace Palpate
