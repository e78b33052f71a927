#ifndef palpate_forces_charges_vertex_charges_h
#define palpate_forces_charges_vertex_charges_h

#include <palpate/core/parameters.h>
#include <palpate/forces/context.h>

#include <memory>

namespace Palpate
{
  /**
   * The charges of a body's vertices [C] (doc/theory.md 13): of a network the
   * field "charge" of the vertices; else made of the field "charge_density"
   * [C/m^3] of the cells, q = sum over a vertex's cells of rho V/4.
   */
  class VertexCharges
  {
  public:
    static constexpr int dim = 3;

    /// The entries "Charge" and "Charge density"; terms share them.
    static void
    declare_parameters(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters);
    /// False if the file gives no charges.
    bool
    any() const
    {
      return given;
    }
    /// @throw InputError
    void
    check(const Discretization<dim> &D, const Parameters &parameters) const;
    /// @throw InputError if the pack lacks them
    void
    add_fields(const Discretization<dim> &D,
               const CaseData<dim>       &data,
               Fields                    &fields) const;

    /// Of the field that was given.
    std::string
    field_name() const
    {
      return density ? "charge_density" : "charge";
    }
    static std::string
    field_name(const Discretization<dim> &D)
    {
      return D.is_network() ? "charge" : "charge_density";
    }
    /// Charges of owned nodes of such a field.
    static std::vector<double>
    charges(const Discretization<dim> &D, const Field &field);
    /// g += the derivative by the field, from that by the charges of owned
    /// nodes. Collective.
    static void
    add_vjp(const Discretization<dim> &D,
            const std::vector<double> &by_charge,
            Field                     &g);

  private:
    bool                  density = false; ///< which of the two was given
    bool                  given = false, from_pack = false;
    double                value = 0;
    std::map<int, double> of_label;
  };
} // namespace Palpate

#endif
