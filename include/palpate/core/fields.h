#ifndef palpate_core_fields_h
#define palpate_core_fields_h

#include <map>
#include <string>
#include <vector>

namespace Palpate
{
  /**
   * Values attached to the cells of this rank: n_components per cell, owned
   * cells first, then ghost cells (Discretization::update_ghosts() fills
   * those).
   */
  struct Field
  {
    unsigned int        n_components = 1;
    std::vector<double> values;

    Field() = default;
    Field(const std::size_t  n_cells,
          const double       value        = 0,
          const unsigned int n_components = 1)
      : n_components(n_components)
      , values(n_cells * n_components, value)
    {}

    double &
    operator[](const std::size_t i)
    {
      return values[i];
    }
    double
    operator[](const std::size_t i) const
    {
      return values[i];
    }
  };

  /// Primal fields by name: "stiffness" [Pa], "density" [kg/m^3], ... Ghosted.
  class Fields
  {
  public:
    bool
    has(const std::string &name) const
    {
      return map.count(name) > 0;
    }
    Field &
    operator[](const std::string &name)
    {
      return map[name];
    }
    const Field &
    operator[](const std::string &name) const
    {
      return map.at(name);
    }
    auto
    begin() const
    {
      return map.begin();
    }
    auto
    end() const
    {
      return map.end();
    }

  private:
    std::map<std::string, Field> map;
  };

  /**
   * Derivatives by fields (elements of the dual space), a type of its own so
   * that no derivative is used as a direction by accident. Only the entries of
   * owned cells are meaningful. A term adds to the fields that exist and
   * skips the others: a field nobody asked for costs nothing.
   */
  class FieldDuals
  {
  public:
    /// Zero derivatives by every field of @p fields.
    explicit FieldDuals(const Fields &fields)
    {
      for (const auto &[name, field] : fields)
        map[name] = Field(field.values.size() / field.n_components,
                          0.,
                          field.n_components);
    }
    bool
    has(const std::string &name) const
    {
      return map.count(name) > 0;
    }
    Field &
    operator[](const std::string &name)
    {
      return map.at(name);
    }
    const Field &
    operator[](const std::string &name) const
    {
      return map.at(name);
    }
    auto
    begin() const
    {
      return map.begin();
    }
    auto
    end() const
    {
      return map.end();
    }
    /// this += factor * other
    void
    add(const double factor, const FieldDuals &other)
    {
      for (auto &[name, field] : map)
        {
          const Field &o = other[name];
          for (std::size_t i = 0; i < field.values.size(); ++i)
            field.values[i] += factor * o.values[i];
        }
    }

  private:
    std::map<std::string, Field> map;
  };
} // namespace Palpate

#endif
