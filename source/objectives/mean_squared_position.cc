#include <palpate/core/errors.h>
#include <palpate/objectives/objective.h>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /**
     * Mean squared distance of the vertices to where they were registered
     * (doc/theory.md 14): |x - x_obs|^2/N over all N vertices of weight above 0
     * [m^2], constrained ones included, each by its weight.
     */
    template <int dim>
    class MeanSquaredPosition : public Objective<dim>
    {
    public:
      static void
      declare_parameters(ParameterHandler &)
      {}
      void
      parse_parameters(Parameters &) override
      {}

      double
      value(const Context<dim> &c) const override
      {
        double sum = 0;
        for_each_vertex(c, [&](const unsigned int i, const double w) {
          const double d =
            c.state.u.local_element(i) - c.snapshot.observed.local_element(i);
          sum += w * d * d;
        });
        return c.discretization.sum(sum) / count(c);
      }

      void
      state_gradient(const Context<dim> &c,
                     const double        factor,
                     Vector             &g) const override
      {
        const double share = 2 * factor / count(c);
        for_each_vertex(c, [&](const unsigned int i, const double w) {
          g.local_element(i) +=
            share * w *
            (c.state.u.local_element(i) - c.snapshot.observed.local_element(i));
        });
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
        const double share = 2 * factor / count(c);
        for_each_vertex(c, [&](const unsigned int i, const double w) {
          g_state.local_element(i) += share * w * du.local_element(i);
        });
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
      bool
      needs_observation() const override
      {
        return true;
      }
      std::vector<std::string>
      field_names() const override
      {
        return {};
      }
      std::string
      column_name() const override
      {
        return "mean_squared_position";
      }

    private:
      /// f(owned DoF of a vertex, its weight)
      template <typename Function>
      static void
      for_each_vertex(const Context<dim> &c, const Function &f)
      {
        const auto &D = c.discretization;
        for (unsigned int i = 0; i < D.n_owned_nodes() * dim; ++i)
          if (D.is_vertex(i / dim) &&
              c.snapshot.observation_weight[i / dim] > 0)
            f(i, c.snapshot.observation_weight[i / dim]);
      }
      /// Vertices that count. @throw EntryError if there are none
      static double
      count(const Context<dim> &c)
      {
        double n = 0;
        for_each_vertex(c, [&](const unsigned int i, double) {
          n += (i % dim == 0);
        });
        n = c.discretization.sum(n);
        if (!(n > 0))
          throw EntryError("Objective/Mean squared position",
                           "no vertex has a weight above 0, expected some");
        return n;
      }
    };

    const char *mean_squared_position_description =
      "mean squared distance to the registered positions [m^2]";
    const Registry<Objective<2>>::Entry<MeanSquaredPosition<2>>
      mean_squared_position_2d("Mean squared position",
                               mean_squared_position_description);
    const Registry<Objective<3>>::Entry<MeanSquaredPosition<3>>
      mean_squared_position_3d("Mean squared position",
                               mean_squared_position_description);
  } // namespace
} // namespace Palpate
