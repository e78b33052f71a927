#ifndef palpate_core_fields_h
#define palpate_core_fields_h

#include <deal.II/base/exceptions.h>

#include <map>
#include <string>
#include <vector>

namespace Palpate
{
  /// What the values of a field belong to.
  enum class Place
  {
    cells,    ///< n_components per local cell, owned cells first
    nodes,    ///< as the entries of a nodal vector with its ghosts
    vertices, ///< one value per local node
    body      ///< n_components for the whole body: the same on every rank
  };

  /**
   * Values attached to the cells of this rank (owned ones first, then ghosts,
   * which Discretization::update_ghosts() fills), to its nodes or to the body.
   */
  struct Field
  {
    unsigned int        n_components = 1;
    Place               place        = Place::cells;
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
      AssertIndexRange(i, values.size());
      return values[i];
    }
    double
    operator[](const std::size_t i) const
    {
      AssertIndexRange(i, values.size());
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

  /// One value [any unit] for the whole body.
  inline Field
  body_field(const double value)
  {
    Field f(1, value);
    f.place = Place::body;
    return f;
  }

  /// What a field of this name belongs to.
  inline Place
  usual_place(const std::string &name)
  {
    return name.compare(0, 8, "initial_") == 0  ? Place::nodes
           : name == "mass" || name == "charge" ? Place::vertices
           : name == "damping_rate" || name == "damping_factor" ||
               name == "external_charge" || name.compare(0, 7, "ground_") == 0
             ? Place::body
             : Place::cells;
  }

  /**
   * Derivatives by fields (elements of the dual space), a type of its own so
   * that no derivative is used as a direction by accident. Only the entries of
   * owned cells and nodes are meaningful; those of the body are this rank's
   * part, to be summed over the ranks. A term adds to the fields that exist and
   * skips the others: a field nobody asked for costs nothing.
   */
  class FieldDuals
  {
  public:
    /// Zero derivatives by every field of @p fields.
    explicit FieldDuals(const Fields &fields)
    {
      for (const auto &[name, field] : fields)
        {
          map[name] = field;
          map[name].values.assign(field.values.size(), 0.);
        }
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
    void
    set_zero()
    {
      for (auto &[name, field] : map)
        field.values.assign(field.values.size(), 0.);
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
