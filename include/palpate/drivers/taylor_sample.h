#ifndef palpate_drivers_taylor_sample_h
#define palpate_drivers_taylor_sample_h

#include <palpate/forces/context.h>

namespace Palpate
{
  /// Where Taylor tests of a term take place.
  struct TestPoint
  {
    /// Near the state of the context; false: near zero displacement and
    /// velocity.
    bool at_state = false;
    /// Factor of what state and fields are moved by, and of the directions: 1
    /// moves nodes by 10 % of an edge, and changes fields by up to 65 %.
    double size = 1;
  };

  /**
   * A state, fields and directions to test derivatives with: those of a
   * context, moved at random, and with the fields a term wants if the context
   * has not got them.
   */
  template <int dim>
  class TaylorSample
  {
  public:
    /// @param c is kept by reference @param names of the term's fields
    TaylorSample(const Context<dim>             &c,
                 const std::vector<std::string> &names,
                 const unsigned int              seed,
                 const TestPoint                &point);

    /// Context at (u + t du, v + (rate t + r) du, fields + s dfields), until
    /// the next call.
    Context<dim>
    at(const double t, const double s, const double r = 0);

    const Discretization<dim> &D;
    Vector                     u, v, du, lambda; ///< ghosted
    Fields                     fields, dfields;

  private:
    void
    add_missing_fields(const std::vector<std::string> &names);
    void
    move_fields(const unsigned int seed, const double size);

    const Context<dim> &base;
    State               moved;
    Fields              moved_fields;
  };
} // namespace Palpate

#endif
