#include <palpate/core/errors.h>
#include <palpate/core/input_files.h>
#include <palpate/mesh/gmsh_sections.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>
#include <type_traits>
#include <unordered_set>

namespace Palpate
{
  namespace
  {
    using Readers::GmshSections;

    /**
     * Walks through the sections of a file and checks counts and node numbers,
     * as Gmsh 4.8 crashes on wrong ones. What the numbers mean is left to Gmsh,
     * but for the groups of elements.
     */
    class FileCheck
    {
    public:
      FileCheck(const std::string &filename,
                const std::string &text,
                const bool         binary,
                GmshSections      &result)
        : filename(filename)
        , text(text)
        , binary(binary)
        , result(result)
      {}

      void
      version_2()
      {
        open("Nodes");
        nodes_2();
        close();
        open("Elements");
        result.groups_of_elements = true;
        if (elements_2())
          close();
        else
          result.unknown_type = true;
        std::sort(result.listed.begin(), result.listed.end());
      }

      void
      version_4()
      {
        if (text.find("\n$Entities") != std::string::npos)
          {
            open("Entities");
            entities();
            close();
          }
        open("Nodes");
        nodes();
        close();
        open("Elements");
        if (elements())
          close();
      }

    private:
      const std::string                &filename, &text;
      const bool                        binary;
      GmshSections                     &result;
      bool                              text_mode = false;
      std::string                       section;
      std::size_t                       position = 0, end = 0;
      std::unordered_set<std::uint64_t> tags;
      /// Tags of the entities of each dimension.
      std::array<std::unordered_set<int>, 4> known;

      [[noreturn]] void
      fail(const std::string &what) const
      {
        throw InputError(filename,
                         "section $" + section + " " + what +
                           ", expected a whole Gmsh mesh");
      }

      void
      open(const std::string &name)
      {
        section  = name;
        position = text.find("\n$" + name);
        end      = text.find("$End" + name);
        if (position == std::string::npos || end == std::string::npos)
          fail("is not there");
        position = text.find('\n', position + 1) + 1;
        if (position > end)
          fail("is empty");
      }

      void
      close()
      {
        skip_space();
        if (position != end)
          fail("has more than it announces");
      }

      void
      skip_space()
      {
        while (position < end &&
               std::isspace(static_cast<unsigned char>(text[position])))
          ++position;
      }

      template <typename T>
      T
      number()
      {
        T value = 0;
        if (binary && !text_mode)
          {
            if (end - position < sizeof(T))
              fail("ends early");
            std::memcpy(&value, text.data() + position, sizeof(T));
            position += sizeof(T);
            return value;
          }
        skip_space();
        if (position == end)
          fail("ends early");
        const auto parsed =
          std::from_chars(text.data() + position, text.data() + end, value);
        if (std::is_integral<T>::value &&
            parsed.ec == std::errc::result_out_of_range)
          fail("has the number " +
               std::string(text.data() + position, parsed.ptr).substr(0, 40) +
               ", outside of " + std::to_string(std::numeric_limits<T>::min()) +
               " to " + std::to_string(std::numeric_limits<T>::max()));
        position = static_cast<std::size_t>(parsed.ptr - text.data());
        if (parsed.ec == std::errc::invalid_argument ||
            !std::isspace(static_cast<unsigned char>(text[position])))
          fail("has something that is not a number");
        return value;
      }

      int
      integer()
      {
        return number<int>();
      }

      /// Of things that take at least a byte each.
      std::uint64_t
      count()
      {
        const auto value = number<std::uint64_t>();
        if (value > text.size())
          fail("has a bad count (" + std::to_string(value) + ")");
        return value;
      }

      /// Dimension and tag of the entity of a block.
      int
      entity()
      {
        const int d = integer(), tag = integer();
        if (d < 0 || d > 3 || tag <= 0)
          fail("has a block of entity " + std::to_string(tag) +
               " of dimension " + std::to_string(d));
        return d;
      }

      void
      entities()
      {
        std::array<std::uint64_t, 4> n;
        for (auto &n_d : n)
          n_d = count();
        for (unsigned int d = 0; d < 4; ++d)
          for (std::uint64_t e = 0; e < n[d]; ++e)
            {
              const int tag = integer();
              if (tag <= 0 || !known[d].insert(tag).second)
                fail("has the entity " + std::to_string(tag) +
                     " of dimension " + std::to_string(d) +
                     ", twice or not positive");
              for (unsigned int i = 0; i < (d == 0 ? 3 : 6); ++i)
                number<double>();
              // Physical groups, and the entities of its boundary.
              for (std::uint64_t i = count(); i > 0; --i)
                if (integer() == 0)
                  fail("has a physical group 0");
              for (std::uint64_t i = (d == 0 ? 0 : count()); i > 0; --i)
                if (const int part = integer();
                    known[d - 1].count(std::abs(part)) == 0)
                  fail("has an entity with the unknown boundary entity " +
                       std::to_string(part));
            }
      }

      void
      nodes()
      {
        const auto n_blocks = count(), n_nodes = count();
        const auto min = number<std::uint64_t>(), max = number<std::uint64_t>();
        for (std::uint64_t b = 0; b < n_blocks; ++b)
          {
            const int d          = entity();
            const int parametric = integer();
            if (parametric != 0 && parametric != 1)
              fail("has a broken block " + std::to_string(b));
            const auto n = count();
            for (std::uint64_t i = 0; i < n; ++i)
              {
                const auto tag = number<std::uint64_t>();
                if (tag < min || tag > max || tag == 0 ||
                    !tags.insert(tag).second)
                  fail("has the node number " + std::to_string(tag) +
                       " twice or out of its range");
              }
            for (std::uint64_t i = n * (3 + (parametric == 1 ? d : 0)); i > 0;
                 --i)
              number<double>();
          }
        if (tags.size() != n_nodes)
          fail("announces " + std::to_string(n_nodes) + " nodes but has " +
               std::to_string(tags.size()));
      }

      /// Number of nodes of a type of element, 0 if not known here.
      static unsigned int
      element_size(const int type)
      {
        constexpr unsigned int sizes[] = {0, 2,  3,  4,  4,  8, 6, 5,  3,  6,
                                          9, 10, 27, 18, 14, 1, 8, 20, 15, 13};
        return type < 0 || type > 19 ? 0 : sizes[type];
      }

      void
      element_node(const std::uint64_t element, const std::uint64_t tag) const
      {
        if (tags.count(tag) == 0)
          fail("has element " + std::to_string(element) +
               " with the unknown node " + std::to_string(tag));
      }

      /// The number in a section's first line, text in all files.
      std::uint64_t
      count_2()
      {
        text_mode            = true;
        const auto value     = count();
        text_mode            = false;
        const std::size_t at = text.find('\n', position);
        position             = std::min(at, end - 1) + 1;
        return value;
      }

      void
      nodes_2()
      {
        for (std::uint64_t i = count_2(); i > 0; --i)
          {
            const int tag = integer();
            if (tag <= 0 || !tags.insert(tag).second)
              fail("has the node number " + std::to_string(tag) +
                   " twice or not positive");
            for (unsigned int d = 0; d < 3; ++d)
              number<double>();
          }
      }

      /// False if there is a type of element that is not known here.
      bool
      elements_2()
      {
        const auto n_elements = count_2();
        // In binary files a header may speak for several elements.
        for (std::uint64_t n_read = 0, n_block = 1; n_read < n_elements;
             n_read += n_block)
          {
            int       element = binary ? 0 : integer();
            const int type    = integer();
            if (element_size(type) == 0)
              return false;
            if (binary)
              n_block = static_cast<std::uint64_t>(std::max(integer(), 0));
            const int n_tags = integer();
            if (n_block == 0 || n_block > n_elements - n_read)
              fail("has a block of " + std::to_string(n_block) + " elements");
            for (std::uint64_t e = 0; e < n_block; ++e)
              {
                if (binary)
                  element = integer();
                // Group, entity, and from the third on the number of
                // partitions with their list.
                GmshSections::Listed listed{{{0, 0, 0, 0}}, 0};
                for (int i = 0; i < n_tags; ++i)
                  {
                    const int tag = integer();
                    if (i == 2 && tag != n_tags - 3)
                      fail("has element " + std::to_string(element) +
                           " with a bad list of partitions");
                    if (i == 0) // negative: the other way around
                      listed.group = std::abs(tag);
                  }
                for (unsigned int j = 0; j < element_size(type); ++j)
                  {
                    const int node = integer();
                    element_node(element, node);
                    listed.nodes[j % 4] = node;
                  }
                if (type == 15 || type == 1 || type == 2 || type == 4)
                  {
                    std::sort(listed.nodes.begin(), listed.nodes.end());
                    result.listed.push_back(listed);
                  }
              }
          }
        return true;
      }

      /// False if there is a type of element that is not known here.
      bool
      elements()
      {
        const auto n_blocks = count(), n_elements = count();
        const auto min = number<std::uint64_t>(), max = number<std::uint64_t>();
        std::uint64_t n_read = 0;
        for (std::uint64_t b = 0; b < n_blocks; ++b)
          {
            entity();
            const int type = integer();
            if (element_size(type) == 0)
              return false;
            const auto n = count();
            for (std::uint64_t i = 0; i < n; ++i, ++n_read)
              {
                const auto element = number<std::uint64_t>();
                if (element < min || element > max)
                  fail("has element number " + std::to_string(element) +
                       " out of its range");
                for (unsigned int j = 0; j < element_size(type); ++j)
                  element_node(element, number<std::uint64_t>());
              }
          }
        if (n_read != n_elements)
          fail("announces " + std::to_string(n_elements) +
               " elements but has " + std::to_string(n_read));
        return true;
      }
    };



  } // namespace

  namespace Readers
  {
    GmshSections
    check_gmsh_sections(const std::string &filename)
    {
      std::ifstream in(filename, std::ios::binary);
      if (!in)
        throw InputError(filename, "cannot be read, expected a Gmsh mesh");
      note_input(filename);
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
      if (version != 2. && version != 2.1 && version != 2.2 && version != 4.1)
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

      if (binary != 0)
        {
          // After the line "2.2 1 8" comes the int 1.
          const std::size_t line = text.find('\n', text.find('\n') + 1) + 1;
          std::int32_t      one  = 0;
          if (line + sizeof(one) <= text.size())
            std::memcpy(&one, text.data() + line, sizeof(one));
          if (one != 1)
            throw InputError(filename,
                             "binary numbers in another byte order, expected "
                             "that of this computer");
        }

      // The counts are text in version 2 and in ASCII files. None can exceed
      // the size of the file, whatever Gmsh would allocate for them.
      GmshSections result;
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
              result.n_elements = static_cast<std::size_t>(count);
          }
      FileCheck check(filename, text, binary != 0, result);
      if (version > 3)
        check.version_4();
      else
        check.version_2();
      return result;
    }



    std::vector<int>
    GmshSections::groups_of(std::array<std::size_t, 4> nodes,
                            std::size_t               &n_repetitions) const
    {
      std::sort(nodes.begin(), nodes.end());
      std::vector<int> groups;
      n_repetitions = 0;
      for (auto it =
             std::lower_bound(listed.begin(), listed.end(), Listed{nodes, 0});
           it != listed.end() && it->nodes == nodes;
           ++it)
        if (it != listed.begin() && std::prev(it)->nodes == nodes &&
            std::prev(it)->group == it->group)
          ++n_repetitions;
        else if (it->group > 0)
          groups.push_back(it->group);
      return groups;
    }
  } // namespace Readers
} // namespace Palpate
