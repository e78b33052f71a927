#ifndef palpate_forces_stress_law_h
#define palpate_forces_stress_law_h

#include <palpate/forces/context.h>

namespace Palpate
{
  /**
   * What a force that is a material tells of its stress, for terms that look at
   * it: the first Piola-Kirchhoff stress P [Pa] at a displacement gradient H
   * in a local cell, a function of H and of the fields there, and its
   * derivatives. dP/dH is symmetric.
   */
  template <int dim>
  class StressLaw
  {
  public:
    using T2 = dealii::Tensor<2, dim>;

    virtual ~StressLaw() = default;

    /// The fields it depends on.
    virtual std::vector<std::string>
    stress_fields() const = 0;

    /// True if P is Cauchy's stress, too.
    virtual bool
    is_for_small_strain() const = 0;

    virtual T2
    stress(const Context<dim> &c, const unsigned int k, const T2 &H) const = 0;

    /// dP/dH [dH]
    virtual T2
    stress_by_gradient(const Context<dim> &c,
                       const unsigned int  k,
                       const T2           &H,
                       const T2           &dH) const = 0;

    /// dP/dfields [dfields]
    virtual T2
    stress_by_fields(const Context<dim> &c,
                     const unsigned int  k,
                     const T2           &H,
                     const Fields       &dfields) const = 0;

    /// g += (dP/dfields)^T W
    virtual void
    add_stress_vjp(const Context<dim> &c,
                   const unsigned int  k,
                   const T2           &H,
                   const T2           &W,
                   FieldDuals         &g) const = 0;

    /// The change of (dP/dH)^T W along dH and dfields.
    virtual T2
    second_by_gradient(const Context<dim> &c,
                       const unsigned int  k,
                       const T2           &H,
                       const T2           &W,
                       const T2           &dH,
                       const Fields       &dfields) const = 0;

    /// g += the change of (dP/dfields)^T W along dH and dfields.
    virtual void
    add_second_by_fields(const Context<dim> &c,
                         const unsigned int  k,
                         const T2           &H,
                         const T2           &W,
                         const T2           &dH,
                         const Fields       &dfields,
                         FieldDuals         &g) const = 0;
  };
} // namespace Palpate

#endif
