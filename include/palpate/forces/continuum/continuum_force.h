#ifndef palpate_forces_continuum_continuum_force_h
#define palpate_forces_continuum_continuum_force_h

#include <palpate/forces/material_force.h>

namespace Palpate
{
  /**
   * A continuum material on the fields "stiffness" (Young's modulus [Pa]) and
   * "poisson_ratio" (given once, by label, or per cell by the pack).
   */
  template <int dim, typename Material>
  class ContinuumForce : public MaterialForce<dim, Material>
  {
  public:
    static void
    declare_parameters(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters) override;

    std::string
    stiffness_key() const override
    {
      return "youngs_modulus";
    }

    void
    check(const Discretization<dim> &D,
          const Parameters          &parameters) const override;

    void
    add_fields(const Discretization<dim>        &D,
               const std::vector<Snapshot<dim>> &snapshots,
               const CaseData<dim>              &data,
               const std::vector<std::string>   &unknown,
               Fields                           &fields) const override;

  private:
    bool                  from_pack = false;
    double                ratio     = 0.4;
    std::map<int, double> ratio_of_label;
  };
} // namespace Palpate

#endif
