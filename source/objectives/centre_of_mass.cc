#include <palpate/objectives/objective.h>

namespace Palpate
{
  using namespace dealii;

  /**
   * Functions of the centre of mass c = int rho (x + u) / int rho
   * (doc/theory.md 12): its squared distance to a target, |c - target|^2 [m^2],
   * or its depth along a direction, -c . direction [m]. Without a density the
   * body is uniform. Of a network c = sum m_i x_i / sum m_i.
   */
  template <int dim>
  class CentreOfMass : public Objective<dim>
  {
  public:
    using T1 = Tensor<1, dim>;

    double
    value(const Context<dim> &c) const override
    {
      return function(measure(c).centre);
    }

    void
    state_gradient(const Context<dim> &c,
                   const double        factor,
                   Vector             &g) const override
    {
      const Measure m = measure(c);
      add_state(c, factor / m.mass * slope(m.centre), c.fields, g);
    }

    void
    field_gradient(const Context<dim> &c,
                   const double        factor,
                   FieldDuals         &g) const override
    {
      const std::string name = density_name(c.discretization);
      if (!g.has(name) || !c.fields.has(name))
        return;
      const Measure m = measure(c);
      add_density(c, m, factor / m.mass * slope(m.centre), g[name]);
    }

    void
    hessian(const Context<dim> &c,
            const double        factor,
            const Vector       &du,
            const Fields       &dfields,
            const bool          gauss_newton,
            Vector             &g_state,
            FieldDuals         &g_fields) const override
    {
      const auto       &D            = c.discretization;
      const Measure     m            = measure(c);
      const std::string name         = density_name(D);
      const bool        with_density = c.fields.has(name) && dfields.has(name);
      // Changes of mass and centre.
      const Density density(D, c.fields);
      double        dmass = 0;
      T1            moment;
      for (unsigned int k = 0; k < n_owned_parts(D); ++k)
        {
          moment += density(k) * size(D, k) * mean(D, du, k);
          if (with_density)
            {
              const double dm = dfields[name][k] * size(D, k);
              dmass += dm;
              moment += dm * (position(D, c.state.u, k) - m.centre);
            }
        }
      dmass            = D.sum(dmass);
      const T1 dcentre = sum(D, moment) / m.mass;
      const T1 G       = slope(m.centre);
      T1       dG      = slope_change(dcentre);
      if (!gauss_newton)
        dG -= dmass / m.mass * G;
      add_state(c, factor / m.mass * dG, c.fields, g_state);
      if (with_density && !gauss_newton)
        add_state(c, factor / m.mass * G, dfields, g_state);
      if (!g_fields.has(name) || !c.fields.has(name))
        return;
      add_density(c, m, factor / m.mass * dG, g_fields[name]);
      if (!gauss_newton)
        for (unsigned int k = 0; k < n_owned_parts(D); ++k)
          g_fields[name][k] +=
            factor / m.mass * size(D, k) * (G * (mean(D, du, k) - dcentre));
    }

    bool
    works_on_networks() const override
    {
      return true;
    }
    bool
    depends_on_state() const override
    {
      return true;
    }

  protected:
    virtual double
    function(const T1 &centre) const = 0;
    /// Its gradient, and the change of that.
    virtual T1
    slope(const T1 &centre) const = 0;
    virtual T1
    slope_change(const T1 &dcentre) const = 0;

    static T1
    read(Parameters &parameters, const std::string &entry)
    {
      const auto values = parameters.get_doubles(entry);
      T1         x;
      if (values.size() != dim && values.size() != 3)
        parameters.fail(entry,
                        "expected " + std::to_string(dim) + " components");
      for (unsigned int d = 0; d < dim; ++d)
        x[d] = values[d];
      return x;
    }

  private:
    struct Measure
    {
      double mass = 0; ///< [kg]
      T1     centre;   ///< [m]
    };

    // Parts: the cells of a body, which have a density, or the vertices of a
    // network, which have masses.
    static std::string
    density_name(const Discretization<dim> &D)
    {
      return D.is_network() ? "mass" : "density";
    }
    static unsigned int
    n_owned_parts(const Discretization<dim> &D)
    {
      return D.is_network() ? D.n_owned_nodes() : D.n_owned_cells();
    }
    static double
    size(const Discretization<dim> &D, const unsigned int k)
    {
      return D.is_network() ? 1. : D.volume[k];
    }
    struct Density
    {
      Density(const Discretization<dim> &D, const Fields &fields)
        : field(fields.has(density_name(D)) ? &fields[density_name(D)]
                                            : nullptr)
      {}
      double
      operator()(const unsigned int k) const
      {
        return field != nullptr ? (*field)[k] : 1.;
      }
      const Field *field;
    };
    /// Of a nodal vector in a part.
    static T1
    mean(const Discretization<dim> &D, const Vector &u, const unsigned int k)
    {
      const bool          point = D.is_network();
      const unsigned int *nodes =
        point ? &k : &D.cell_nodes[k * D.nodes_per_cell];
      T1 result;
      for (unsigned int a = 0; a < (point ? 1 : D.nodes_per_cell); ++a)
        for (unsigned int d = 0; d < dim; ++d)
          result[d] += (point ? 1. : D.mean_shape[a]) *
                       u.local_element(nodes[a] * dim + d);
      return result;
    }
    /// Mean position of a part, as it is now.
    static T1
    position(const Discretization<dim> &D,
             const Vector              &u,
             const unsigned int         k)
    {
      T1 result = mean(D, u, k);
      if (D.is_network())
        return result + T1(D.node_position(k));
      for (unsigned int a = 0; a < dim + 1; ++a)
        result += T1(D.node_position(D.cell_nodes[k * D.nodes_per_cell + a])) /
                  (dim + 1);
      return result;
    }
    static T1
    sum(const Discretization<dim> &D, const T1 &x)
    {
      T1 result;
      for (unsigned int d = 0; d < dim; ++d)
        result[d] = D.sum(x[d]);
      return result;
    }

    static Measure
    measure(const Context<dim> &c)
    {
      const auto   &D = c.discretization;
      const Density density(D, c.fields);
      Measure       m;
      for (unsigned int k = 0; k < n_owned_parts(D); ++k)
        {
          const double mass = density(k) * size(D, k);
          m.mass += mass;
          m.centre += mass * position(D, c.state.u, k);
        }
      m.mass   = D.sum(m.mass);
      m.centre = sum(D, m.centre) / m.mass;
      return m;
    }

    /// g += integral of (density of fields) G . N
    static void
    add_state(const Context<dim> &c,
              const T1           &G,
              const Fields       &fields,
              Vector             &g)
    {
      const auto   &D = c.discretization;
      const Density density(D, fields);
      if (D.is_network())
        {
          for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
            for (unsigned int d = 0; d < dim; ++d)
              g.local_element(n * dim + d) += density(n) * G[d];
          return;
        }
      std::vector<T1> out(D.nodes_per_cell);
      for (unsigned int k = 0; k < D.n_cells(); ++k)
        {
          for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
            out[a] = density(k) * D.volume[k] * D.mean_shape[a] * G;
          D.scatter(out, k, g);
        }
    }

    static void
    add_density(const Context<dim> &c, const Measure &m, const T1 &G, Field &g)
    {
      const auto &D = c.discretization;
      for (unsigned int k = 0; k < n_owned_parts(D); ++k)
        g[k] += size(D, k) * (G * (position(D, c.state.u, k) - m.centre));
    }
  };

  namespace
  {
    template <int dim>
    class CentreAtTarget : public CentreOfMass<dim>
    {
    public:
      using T1 = Tensor<1, dim>;

      static void
      declare_parameters(ParameterHandler &prm)
      {
        prm.declare_entry("Target",
                          "0, 0, 0",
                          Patterns::List(Patterns::Double(), 2, 3),
                          "Where the centre of mass should be [m].");
      }
      void
      parse_parameters(Parameters &parameters) override
      {
        target = this->read(parameters, "Target");
      }
      std::string
      column_name() const override
      {
        return "centre_of_mass";
      }

    protected:
      double
      function(const T1 &centre) const override
      {
        return (centre - target).norm_square();
      }
      T1
      slope(const T1 &centre) const override
      {
        return 2. * (centre - target);
      }
      T1
      slope_change(const T1 &dcentre) const override
      {
        return 2. * dcentre;
      }

    private:
      T1 target;
    };

    template <int dim>
    class Height : public CentreOfMass<dim>
    {
    public:
      using T1 = Tensor<1, dim>;

      static void
      declare_parameters(ParameterHandler &prm)
      {
        prm.declare_entry("Direction",
                          "",
                          Patterns::List(Patterns::Double(), 0, 3),
                          "Upward, of any length; empty: the last axis.");
      }
      void
      parse_parameters(Parameters &parameters) override
      {
        up[dim - 1] = 1;
        if (!parameters.get("Direction").empty())
          up = this->read(parameters, "Direction");
        if (!(up.norm() > 0))
          parameters.fail("Direction", "expected a direction, not zero");
        up /= up.norm();
      }
      std::string
      column_name() const override
      {
        return "height";
      }

    protected:
      double
      function(const T1 &centre) const override
      {
        return -(centre * up);
      }
      T1
      slope(const T1 &) const override
      {
        return -up;
      }
      T1
      slope_change(const T1 &) const override
      {
        return T1();
      }

    private:
      T1 up;
    };

    const char *centre_description =
      "squared distance of the centre of mass to a point";
    const char *height_description = "minus the height of the centre of mass";
    const Registry<Objective<2>>::Entry<CentreAtTarget<2>>
      centre_of_mass_2d("Centre of mass", centre_description);
    const Registry<Objective<3>>::Entry<CentreAtTarget<3>>
      centre_of_mass_3d("Centre of mass", centre_description);
    const Registry<Objective<2>>::Entry<Height<2>>
      height_of_mass_2d("Height", height_description);
    const Registry<Objective<3>>::Entry<Height<3>>
      height_of_mass_3d("Height", height_description);
  } // namespace
} // namespace Palpate
