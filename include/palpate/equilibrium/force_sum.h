#ifndef palpate_equilibrium_force_sum_h
#define palpate_equilibrium_force_sum_h

#include <palpate/forces/force.h>

#include <memory>
#include <vector>

namespace Palpate
{
  /**
   * All forces of a body with a part of its loads, as load steps have it:
   * h = sum of h_i + part * sum of the loads' (Force::role()), and so its
   * energy and its tangent. All functions are collective; where a force fails
   * on some rank, all do.
   */
  template <int dim>
  class ForceSum
  {
  public:
    /// @param forces kept by reference. @param load_part above 0
    ForceSum(const std::vector<std::unique_ptr<Force<dim>>> &forces,
             const double                                    load_part = 1)
      : forces(forces)
      , load_part(load_part)
    {}

    /// Of all ranks [J]; infinite where it has no value (inverted cells, below
    /// the ground).
    double
    energy(const Context<dim> &context) const;

    /// h += that of all [N], on owned nodes, constrained ones included.
    /// @throw SolverError
    void
    residual(const Context<dim> &context, Vector &h) const;

    /// K += dh/du or one of its substitutes. @throw SolverError
    void
    add_tangent(const Context<dim> &context,
                const Tangent       kind,
                TangentMatrix<dim> &K) const;

    /// dh += (dh/du) du. @throw SolverError
    void
    apply_tangent(const Context<dim> &context,
                  const Vector       &du,
                  Vector             &dh) const;

  private:
    /// Whether a force is there in part only.
    bool
    is_scaled(const Force<dim> &force) const
    {
      return load_part != 1 && force.role() == Role::load;
    }
    /// f(force, y) adds every force's vector to y.
    template <typename Function>
    void
    add_all(const Context<dim> &context, const Function &f, Vector &y) const;

    const std::vector<std::unique_ptr<Force<dim>>> &forces;
    const double                                    load_part;
  };
} // namespace Palpate

#endif
