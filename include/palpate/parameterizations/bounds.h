#ifndef palpate_parameterizations_bounds_h
#define palpate_parameterizations_bounds_h

#include <palpate/core/parameters.h>
#include <palpate/geometry/discretization.h>

#include <set>

namespace Palpate
{
  /// The entries that all parameterizations of a stiffness share: its bounds,
  /// and labels whose cells keep their start.
  struct StiffnessBounds
  {
    double           lower = 500, upper = 1e4; ///< [Pa], per spring [N/m]
    std::vector<int> fixed_labels;

    static void
    declare_parameters(dealii::ParameterHandler &prm);
    /// @throw InputError
    void
    parse_parameters(Parameters &parameters);
    /// Lower bound and Upper bound only.
    static void
    declare_range(dealii::ParameterHandler &prm);
    void
    parse_range(Parameters &parameters);

    /// Labels of the mesh that are not fixed. @throw InputError if a fixed
    /// label has no cell or no label is left.
    template <int dim>
    std::set<int>
    free_labels(const Discretization<dim> &discretization) const;
  };
} // namespace Palpate

#endif
