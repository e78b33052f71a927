#ifndef palpate_forces_matrix_free_force_h
#define palpate_forces_matrix_free_force_h

#include <palpate/forces/force.h>

namespace Palpate
{
  /**
   * A force between all nodes, whose tangent no sparse matrix holds: for
   * explicit motions, which multiply by it. They have no second derivatives.
   */
  template <int dim>
  class MatrixFreeForce : public Force<dim>
  {
  public:
    bool
    has_matrix() const override
    {
      return false;
    }
    void
    add_tangent(const Context<dim> &,
                const Tangent,
                TangentMatrix<dim> &) const override
    {
      Assert(false, dealii::ExcMessage("this force has no matrix"));
    }
    void
    second_vjp(const Context<dim> &,
               const Vector &,
               const Vector &,
               const Fields &,
               Vector &,
               FieldDuals &) const override
    {
      Assert(false, dealii::ExcMessage("motions have no second derivatives"));
    }
    Depends
    tangent_depends_on() const override
    {
      Depends d;
      d.state = true;
      return d;
    }
    bool
    scales_with_stiffness() const override
    {
      return false;
    }
  };
} // namespace Palpate

#endif
