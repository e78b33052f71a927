#include <palpate/objectives/objective.h>

namespace Palpate
{
  using namespace dealii;

  /**
   * Misfit to the registered displacement (doc/theory.md 4). Nodal norm: the
   * Euclidean norm over free vertex DoFs; L2: the integral over the body,
   * prescribed vertices included. With d = sqrt(w) (u - u_obs):
   * relative |d|^2 / (|d_obs|^2 (1 + eps^2)), plain |d|^2 / 2.
   */
  template <int dim>
  class DisplacementMisfit : public Objective<dim>
  {
  public:
    static void
    declare_parameters(ParameterHandler &prm)
    {
      prm.declare_entry("Norm",
                        "nodal",
                        Patterns::Selection("nodal|L2"),
                        "nodal: over free vertices, as published; L2: integral "
                        "over the body [m^dim], independent of the mesh.");
      prm.declare_entry("Relative",
                        "true",
                        Patterns::Bool(),
                        "Divide by the observation's square; false: half the "
                        "square [m^2].");
      prm.declare_entry("Component weights",
                        "1, 1, 1",
                        Patterns::List(Patterns::Double(0), 2, 3),
                        "Of the directions x, y, z.");
      prm.declare_entry("Relative epsilon",
                        "0",
                        Patterns::Double(0),
                        "Added to the denominator, as a fraction of |u_obs|.");
    }

    void
    parse_parameters(Parameters &parameters) override
    {
      integral           = (parameters.get("Norm") == "L2");
      relative           = parameters.get_bool("Relative");
      epsilon            = parameters.get_double("Relative epsilon");
      const auto weights = parameters.get_doubles("Component weights");
      if (weights.size() < dim)
        parameters.fail("Component weights",
                        "expected " + std::to_string(dim) + " numbers");
      for (unsigned int d = 0; d < dim; ++d)
        root_of_component[d] = std::sqrt(weights[d]);
    }

    double
    value(const Context<dim> &c) const override
    {
      Vector d = difference(c), Md = c.discretization.make_vector();
      apply_mass(c, d, Md);
      return scale(c) * (d * Md);
    }

    void
    state_gradient(const Context<dim> &c,
                   const double        factor,
                   Vector             &g) const override
    {
      add_mass(c, 2 * factor * scale(c), difference(c), g);
    }

    void
    hessian(const Context<dim> &c,
            const double        factor,
            const Vector       &du,
            const Fields &,
            const bool,
            Vector &g_state,
            FieldDuals &) const override
    {
      Vector d = ghosted_copy(du);
      weigh(c, d);
      add_mass(c, 2 * factor * scale(c), d, g_state);
    }

    bool
    depends_on_state() const override
    {
      return true;
    }
    bool
    works_on_networks() const override
    {
      return true;
    }
    bool
    needs_observation() const override
    {
      return true;
    }
    std::string
    column_name() const override
    {
      return "displacement_misfit";
    }

  private:
    /// sqrt of the weight of a local DoF.
    double
    root_weight(const Context<dim> &c, const unsigned int dof) const
    {
      const unsigned int node = dof / dim;
      if (!integral &&
          (c.constrained[dof] || !c.discretization.is_vertex(node)))
        return 0;
      return root_of_component[dof % dim] *
             std::sqrt(c.snapshot.observation_weight[node]);
    }

    void
    weigh(const Context<dim> &c, Vector &d) const
    {
      for (unsigned int i = 0; i < c.discretization.n_nodes() * dim; ++i)
        d.local_element(i) *= root_weight(c, i);
    }

    /// sqrt(w) (u - u_obs), with ghosts.
    Vector
    difference(const Context<dim> &c) const
    {
      Vector d = c.discretization.make_vector();
      for (unsigned int i = 0; i < c.discretization.n_nodes() * dim; ++i)
        d.local_element(i) =
          root_weight(c, i) *
          (c.state.u.local_element(i) - c.snapshot.observed.local_element(i));
      d.set_ghost_state(true);
      return d;
    }

    /// Md = (mass matrix or identity) d
    void
    apply_mass(const Context<dim> &c, const Vector &d, Vector &Md) const
    {
      const auto &D = c.discretization;
      if (!integral)
        {
          for (unsigned int i = 0; i < D.n_owned_nodes() * dim; ++i)
            Md.local_element(i) += d.local_element(i);
          return;
        }
      const unsigned int          nn = D.nodes_per_cell;
      std::vector<Tensor<1, dim>> in, out(nn);
      for (unsigned int k = 0; k < D.n_cells(); ++k)
        {
          D.gather(d, k, in);
          for (unsigned int a = 0; a < nn; ++a)
            {
              out[a] = Tensor<1, dim>();
              for (unsigned int b = 0; b < nn; ++b)
                out[a] += D.volume[k] * D.mass_matrix[a * nn + b] * in[b];
            }
          D.scatter(out, k, Md);
        }
    }

    /// g += factor sqrt(w) M d
    void
    add_mass(const Context<dim> &c,
             const double        factor,
             const Vector       &d,
             Vector             &g) const
    {
      Vector Md = c.discretization.make_vector();
      apply_mass(c, d, Md);
      for (unsigned int i = 0; i < c.discretization.n_owned_nodes() * dim; ++i)
        g.local_element(i) += factor * root_weight(c, i) * Md.local_element(i);
    }

    /// @throw EntryError if no direction of any vertex counts. Collective.
    void
    check_weights(const Context<dim> &c) const
    {
      double sum = 0;
      for (unsigned int i = 0; i < c.discretization.n_owned_nodes() * dim; ++i)
        sum += root_weight(c, i);
      if (!(c.discretization.sum(sum) > 0))
        throw EntryError("Objective/Displacement misfit",
                         "all weights of free vertices are 0 "
                         "(observation_weight, Component weights, "
                         "Observation/Held out fraction), expected some above "
                         "0");
    }

    /// What |d|^2 is multiplied by.
    double
    scale(const Context<dim> &c) const
    {
      if (!relative)
        {
          check_weights(c);
          return 0.5;
        }
      Vector d  = ghosted_copy(c.snapshot.observed),
             Md = c.discretization.make_vector();
      weigh(c, d);
      apply_mass(c, d, Md);
      const double square = d * Md;
      if (!(square > 0))
        check_weights(c);
      if (!(square > 0))
        throw EntryError("Objective/Displacement misfit",
                         "the observed displacement is zero at all free "
                         "vertices of weight > 0, expected a motion (or "
                         "Relative = false)");
      return 1. / (square * (1 + epsilon * epsilon));
    }

    bool                    integral          = false;
    bool                    relative          = true;
    double                  epsilon           = 0;
    std::array<double, dim> root_of_component = ones();

    static std::array<double, dim>
    ones()
    {
      std::array<double, dim> result;
      result.fill(1);
      return result;
    }
  };

  namespace
  {
    const char *displacement_misfit_description =
      "squared distance to the registered displacement";
    const Registry<Objective<2>>::Entry<DisplacementMisfit<2>>
      displacement_misfit_2d("Displacement misfit",
                             displacement_misfit_description);
    const Registry<Objective<3>>::Entry<DisplacementMisfit<3>>
      displacement_misfit_3d("Displacement misfit",
                             displacement_misfit_description);
  } // namespace
} // namespace Palpate
