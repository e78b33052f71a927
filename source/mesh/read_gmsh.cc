#include <palpate/core/errors.h>
#include <palpate/mesh/gmsh_session.h>
#include <palpate/mesh/readers.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <unordered_map>

namespace Palpate
{
  namespace
  {
    // Gmsh's numbers of the linear simplices by dimension.
    constexpr int simplex_type[] = {15, 1, 2, 4};

    /**
     * Refuse what Gmsh would take for something else (any text is a .geo
     * script to it) or read in part without a word (truncated files).
     * @return the number of elements the file declares, 0 if unknown.
     */
    std::size_t
    check_sections(const std::string &filename)
    {
      std::ifstream in(filename, std::ios::binary);
      if (!in)
        throw InputError(filename, "cannot be read, expected a Gmsh mesh");
      const std::string text{std::istreambuf_iterator<char>(in),
                             std::istreambuf_iterator<char>()};
      const std::string header = "$MeshFormat";
      if (text.compare(0, header.size(), header) != 0)
        throw InputError(filename,
                         "does not begin with $MeshFormat, expected a Gmsh "
                         "mesh of version 2.2 or 4.1");
      double             version = 0;
      int                binary  = 0;
      std::istringstream format(text.substr(header.size(), 100));
      format >> version >> binary;
      if (version != 2. && version != 2.1 && version != 2.2 && version != 4. &&
          version != 4.1)
        throw InputError(filename,
                         "Gmsh format version " + std::to_string(version) +
                           ", expected 2.2 or 4.1");
      for (const std::string section : {"MeshFormat", "Nodes", "Elements"})
        {
          const std::size_t begin = text.find("$" + section);
          if (begin == std::string::npos)
            throw InputError(filename,
                             "no section $" + section +
                               ", expected a whole Gmsh mesh");
          if (text.find("$End" + section, begin) == std::string::npos)
            throw InputError(filename,
                             "no $End" + section +
                               " (truncated file?), expected a whole Gmsh "
                               "mesh");
        }

      // The counts are text in version 2 and in ASCII files. None can exceed
      // the size of the file, whatever Gmsh would allocate for them.
      std::size_t n_elements = 0;
      if (version < 3 || binary == 0)
        for (const std::string section : {"$Nodes", "$Elements"})
          {
            const std::size_t  begin = text.find(section) + section.size();
            std::istringstream line(text.substr(begin, 200));
            long long          count = -1;
            line >> count;
            if (version > 3)
              line >> count; // number of blocks comes first
            if (!line || count < 0 ||
                static_cast<std::size_t>(count) > text.size())
              throw InputError(filename,
                               "bad count in section " + section +
                                 ", expected a number that fits the file");
            if (section == "$Elements")
              n_elements = static_cast<std::size_t>(count);
          }
      return n_elements;
    }



    /// Run @p work on the opened file, with Gmsh's exceptions translated.
    template <typename Work>
    auto
    with_file(const std::string &filename, const Work &work)
    {
      const std::size_t n_declared = check_sections(filename);
      const std::string expected   = ", expected a Gmsh mesh";
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
          return work();
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



    /// Physical groups of an entity.
    std::vector<int>
    physical_groups(const int dim, const int entity)
    {
      std::vector<int> groups;
      gmsh::model::getPhysicalGroupsForEntity(dim, entity, groups);
      return groups;
    }



    template <int n_vertices>
    struct Element
    {
      std::size_t                         tag;
      int                                 group;
      std::array<std::size_t, n_vertices> nodes; ///< tags
    };

    /**
     * The simplices of a dimension with their first group (0 if none), in the
     * order of tags. Files of version 2 repeat the elements of an entity for
     * each of its groups: these are taken once.
     */
    template <int dim>
    std::vector<Element<dim + 1>>
    simplices(const bool only_in_groups)
    {
      std::vector<Element<dim + 1>> result;
      gmsh::vectorpair              entities;
      gmsh::model::getEntities(entities, dim);
      for (const auto &entity : entities)
        {
          const std::vector<int> groups = physical_groups(dim, entity.second);
          if (only_in_groups && groups.empty())
            continue;
          const int group = groups.empty() ? 0 : std::abs(groups.front());
          std::vector<std::size_t> tags, nodes;
          gmsh::model::mesh::getElementsByType(simplex_type[dim],
                                               tags,
                                               nodes,
                                               entity.second);
          std::set<std::array<std::size_t, dim + 1>> seen;
          for (std::size_t e = 0; e < tags.size(); ++e)
            {
              Element<dim + 1> element{tags[e], group, {}};
              std::copy_n(nodes.begin() + e * (dim + 1),
                          dim + 1,
                          element.nodes.begin());
              if (groups.size() < 2 || seen.insert(element.nodes).second)
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
    read_opened(const std::string &filename)
    {
      CaseData<dim> data;
      data.source = filename;
      refuse_other_elements<dim>(filename);

      std::vector<std::size_t> tags;
      std::vector<double>      coordinates, parameters;
      gmsh::model::mesh::getNodes(tags, coordinates, parameters);
      std::unordered_map<std::size_t, std::size_t> position;
      for (std::size_t i = 0; i < tags.size(); ++i)
        position[tags[i]] = i;

      const auto               cells = simplices<dim>(false);
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
          data.mesh.labels.push_back(cell.group);
        }

      std::vector<BoundaryFace<dim>> faces;
      std::size_t                    foreign = 0;
      for (const auto &element : simplices<dim - 1>(true))
        {
          BoundaryFace<dim> face;
          face.id    = static_cast<unsigned int>(element.group);
          bool known = true;
          for (unsigned int i = 0; i < dim; ++i)
            {
              const auto v = vertex.find(element.nodes[i]);
              known        = known && v != vertex.end();
              if (known)
                face.vertices[i] = v->second;
            }
          if (known)
            faces.push_back(face);
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
      return with_file(filename, [&]() {
        std::vector<int> types;
        gmsh::model::mesh::getElementTypes(types, 3);
        return types.empty() ? 2 : 3;
      });
    }



    template <int dim>
    CaseData<dim>
    read_gmsh(const std::string &filename)
    {
      return with_file(filename, [&]() { return read_opened<dim>(filename); });
    }



    template CaseData<2>
    read_gmsh<2>(const std::string &);
    template CaseData<3>
    read_gmsh<3>(const std::string &);
  } // namespace Readers
} // namespace Palpate
