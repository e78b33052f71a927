#include <palpate/objectives/objective.h>

namespace Palpate
{
  using namespace dealii;

  /**
   * Charbonnier total variation of the displacement (doc/theory.md 4),
   * R = integral of sqrt(|H|_F^2 + eps^2), H the displacement gradient. Unit
   * m^dim.
   */
  template <int dim>
  class DisplacementTotalVariation : public Objective<dim>
  {
  public:
    static void
    declare_parameters(ParameterHandler &prm)
    {
      prm.declare_entry("Epsilon",
                        "1e-4",
                        Patterns::Double(0),
                        "Smoothing of the norm (no unit), > 0.");
    }

    void
    parse_parameters(Parameters &parameters) override
    {
      epsilon = parameters.get_double("Epsilon");
      if (!(epsilon > 0))
        parameters.fail("Epsilon", "expected a positive value");
    }

    double
    value(const Context<dim> &c) const override
    {
      const auto                 &D   = c.discretization;
      double                      sum = 0;
      std::vector<Tensor<1, dim>> u;
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          D.gather(c.state.u, k, u);
          for (unsigned int q = 0; q < D.n_q; ++q)
            sum += D.JxW(k, q) * root(D.displacement_gradient(u, k, q));
        }
      return D.sum(sum);
    }

    void
    state_gradient(const Context<dim> &c,
                   const double        factor,
                   Vector             &g) const override
    {
      loop(c, factor, nullptr, false, g);
    }

    void
    hessian(const Context<dim> &c,
            const double        factor,
            const Vector       &du,
            const Fields &,
            const bool gauss_newton,
            Vector    &g_state,
            FieldDuals &) const override
    {
      loop(c, factor, &du, gauss_newton, g_state);
    }

    bool
    depends_on_state() const override
    {
      return true;
    }
    std::string
    column_name() const override
    {
      return "displacement_tv";
    }

  private:
    double
    root(const Tensor<2, dim> &H) const
    {
      return std::sqrt(H.norm_square() + epsilon * epsilon);
    }

    /// g += factor * integral of P : grad w, with P = H / s, or its derivative
    /// along du: dH / s - H (H : dH) / s^3 (lagged: the first part only).
    void
    loop(const Context<dim> &c,
         const double        factor,
         const Vector       *du,
         const bool          lagged,
         Vector             &g) const
    {
      const auto                 &D = c.discretization;
      std::vector<Tensor<1, dim>> u, d, out(D.nodes_per_cell);
      for (unsigned int k = 0; k < D.n_cells(); ++k)
        {
          D.gather(c.state.u, k, u);
          if (du != nullptr)
            D.gather(*du, k, d);
          for (auto &o : out)
            o = Tensor<1, dim>();
          for (unsigned int q = 0; q < D.n_q; ++q)
            {
              const Tensor<2, dim> H = D.displacement_gradient(u, k, q);
              const double         s = root(H);
              Tensor<2, dim>       P = H / s;
              if (du != nullptr)
                {
                  const Tensor<2, dim> dH = D.displacement_gradient(d, k, q);
                  P                       = dH / s;
                  if (!lagged)
                    P -= scalar_product(H, dH) / (s * s * s) * H;
                }
              for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
                out[a] += factor * D.JxW(k, q) * (P * D.gradients(k, q)[a]);
            }
          D.scatter(out, k, g);
        }
    }

    double epsilon = 1e-4;
  };

  namespace
  {
    const char *displacement_total_variation_description =
      "total variation of the displacement gradient";
    const Registry<Objective<2>>::Entry<DisplacementTotalVariation<2>>
      displacement_total_variation_2d("Displacement total variation",
                                      displacement_total_variation_description);
    const Registry<Objective<3>>::Entry<DisplacementTotalVariation<3>>
      displacement_total_variation_3d("Displacement total variation",
                                      displacement_total_variation_description);
  } // namespace
} // namespace Palpate
