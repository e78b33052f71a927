#ifndef palpate_inverse_direction_search_h
#define palpate_inverse_direction_search_h

#include <palpate/equilibrium/state_problem.h>
#include <palpate/geometry/connected_parts.h>
#include <palpate/parameterizations/parameterization.h>

#include <Eigen/Dense>

namespace Palpate
{
  using DirectionMatrix = Eigen::MatrixXd;

  /// A relative change of a part of a field.
  struct DirectionCandidate
  {
    std::string field;
    int         part;
    Field       direction; ///< the field there, 0 elsewhere; with ghosts
    double      size = 0;  ///< natural size of h_q along it [N]
  };

  /// How FreeDirections finds them, in linear algebra.
  template <int dim>
  class DirectionSearch
  {
  public:
    DirectionSearch(StateProblem<dim>           &states,
                    const Parameterization<dim> &unknowns,
                    const std::vector<double>   &q,
                    const Fields                &fields,
                    const ConnectedParts        &parts)
      : states(states)
      , D(states.context(0).discretization)
      , constrained(states.context(0).constrained)
      , unknowns(unknowns)
      , at_q(unknowns.linearize(q))
      , n_unknowns(q.size())
      , fields(fields)
      , parts(parts)
    {
      for (const auto &name : unknowns.field_names())
        if (fields[name].place != Place::nodes)
          add_candidates(name);
    }

    /// Rows of powers of the candidates.
    DirectionMatrix
    run();

    std::vector<DirectionCandidate> candidates;

  private:
    /// Number of a value's part in its field.
    int
    part_of(const Field &field, const std::size_t i) const
    {
      return field.place == Place::cells ? parts.of_cell[i / field.n_components]
             : field.place == Place::vertices ? parts.of_node[i]
                                              : i;
    }
    void
    add_candidates(const std::string &name);
    /// Columns of h_q on free DoFs, one balance below the other, products of
    /// them with each other and with h, part by part; natural sizes.
    void
    ask_balances();
    /// Leave out cells and vertices that are held: results call them
    /// unobservable already.
    void
    leave_out_what_is_held();
    /// Those combinations that the parameterization can make.
    DirectionMatrix
    within_reach() const;
    /// What is left of a candidate when the parameterization has come as near
    /// as it can, every part with a weight of 1 in all.
    std::vector<double>
    out_of_reach(const DirectionCandidate &c) const;
    /// Owned values of all unknown fields, in the scale of their candidates.
    std::vector<double>
    scaled(const Fields &direction) const;
    std::vector<double>
    transposed(const std::vector<double> &rows) const;
    /// Their scales: weight by the value that counts as 1.
    void
    prepare_scales();
    bool
    is_fixed(const DirectionCandidate &c) const;
    double
    dot(const std::vector<double> &a, const std::vector<double> &b) const
    {
      double sum = 0;
      for (std::size_t i = 0; i < a.size(); ++i)
        sum += a[i] * b[i];
      return D.sum(sum);
    }

    StateProblem<dim>                                  &states;
    const Discretization<dim>                          &D;
    const std::vector<char>                            &constrained;
    const Parameterization<dim>                        &unknowns;
    const typename Parameterization<dim>::Linearization at_q;
    const std::size_t                                   n_unknowns;
    const Fields                                       &fields;
    const ConnectedParts                               &parts;
    std::map<std::string, std::vector<double>>          scales;
    DirectionMatrix by_q, by_q_h, by_h; ///< products of h_q and h
    double          negligible = 0;     ///< sum of all balances [N]
  };

} // namespace Palpate

#endif
