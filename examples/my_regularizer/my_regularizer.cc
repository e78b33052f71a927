// A term of your own, outside of Palpate's source tree. To write another one,
// copy this file and change what is marked (1) to (6). A term that depends on
// the displacement is derived straight from Objective<dim> and overrides
// state_gradient() and hessian() as well: see doc/extending.md, and
// source/objectives/displacement_total_variation.cc.

#include <palpate/objectives/log_field_objective.h>

#include <cmath>

// Without a name, so that a copy of this file cannot clash with it when both
// libraries are loaded.
namespace
{
  using namespace Palpate;

  /**
   * (1) Gaussian prior on the logarithm of the stiffness,
   *   R(alpha) = 1/(2 V) sum_k V_k (log alpha_k - log alpha_0)^2,
   * V_k the volume of cell k, V that of the body. No unit. Where the data say
   * nothing, alpha becomes alpha_0; the weight sets how little that takes.
   *
   * LogFieldObjective wants all derivatives by x = log alpha and does the chain
   * rule to alpha; it knows that the term does not depend on the displacement.
   */
  template <int dim>
  class StiffnessPrior : public LogFieldObjective<dim>
  {
  public:
    /// (2) What the user may set in "subsection Stiffness prior". Weight is
    /// there already. State the unit.
    static void
    declare_parameters(dealii::ParameterHandler &prm)
    {
      prm.declare_entry("Reference value",
                        "2236",
                        dealii::Patterns::Double(),
                        "alpha_0, the stiffness expected everywhere [Pa].");
    }

    /// Also called where Weight is 0: the defaults must be valid.
    void
    parse_parameters(Parameters &parameters) override
    {
      const double alpha_0 = parameters.get_double("Reference value");
      if (!(alpha_0 > 0))
        parameters.fail("Reference value", "expected a positive value");
      x_0 = std::log(alpha_0);
    }

    /// (3) Column of history.csv, key of summary.json.
    std::string
    column_name() const override
    {
      return "stiffness_prior";
    }

  protected:
    /// (4) R. Loop over the cells this rank owns, then sum over the ranks:
    /// every rank returns the same number.
    double
    log_value(const Discretization<dim> &D, const Field &x) const override
    {
      double sum = 0;
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        sum += 0.5 * D.volume[k] * (x[k] - x_0) * (x[k] - x_0);
      return D.sum(sum) / total_volume(D);
    }

    /// (5) g_k += dR/dx_k for owned cells.
    void
    log_gradient(const Discretization<dim> &D,
                 const Field               &x,
                 Field                     &g) const override
    {
      const double V = total_volume(D);
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        g[k] += D.volume[k] / V * (x[k] - x_0);
    }

    /// (6) h_k += sum_l d^2R/dx_k dx_l dx_l. The bool asks for a positive
    /// substitute; this Hessian is positive.
    void
    log_hessian(const Discretization<dim> &D,
                const Field &,
                const Field &dx,
                const bool,
                Field &h) const override
    {
      const double V = total_volume(D);
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        h[k] += D.volume[k] / V * dx[k];
    }

  private:
    static double
    total_volume(const Discretization<dim> &D)
    {
      double sum = 0;
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        sum += D.volume[k];
      return D.sum(sum);
    }

    double x_0 = 0; ///< log alpha_0
  };

  // One line per dimension makes the term known when the library is loaded: by
  // its name in the .prm, in --list, --print-parameters and in Task = verify.
  const char *description = "pulls log stiffness towards a reference value";
  const Registry<Objective<2>>::Entry<StiffnessPrior<2>>
    entry_2d("Stiffness prior", description);
  const Registry<Objective<3>>::Entry<StiffnessPrior<3>>
    entry_3d("Stiffness prior", description);
} // namespace
