#include <palpate/inverse/direction_search.h>
#include <palpate/inverse/free_directions.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  bool
  is_stiffness(const std::string &field)
  {
    return field == "stiffness" || field == "spring_stiffness";
  }

  template <int dim>
  FreeDirections<dim>::FreeDirections(StateProblem<dim>           &states,
                                      const Parameterization<dim> &unknowns,
                                      const Q                     &q,
                                      const Fields                &fields)
    : parts(states.context(0).discretization, states.context(0).constrained)
  {
    DirectionSearch<dim>  search(states, unknowns, q, fields, parts);
    const auto           &tried = search.candidates;
    const DirectionMatrix rows  = search.run();
    // A factor of all stiffness, less its parts along the rows: 0 if it is one
    // of them.
    Eigen::RowVectorXd common(rows.cols());
    bool               asked = false;
    for (unsigned int i = 0; i < tried.size(); ++i)
      {
        common[i] = is_stiffness(tried[i].field);
        asked     = asked || is_stiffness(tried[i].field);
      }
    for (Eigen::Index r = 0; r < rows.rows(); ++r)
      {
        FreeDirection              direction;
        std::map<std::string, int> n_values;
        for (const auto &c : tried)
          ++n_values[c.field];
        Eigen::Index pivot = 0;
        while (std::abs(rows(r, pivot)) < 1e-3)
          ++pivot;
        common -= common[pivot] * rows.row(r);
        for (unsigned int i = 0; i < tried.size();)
          {
            const unsigned int n      = n_values[tried[i].field];
            const auto         powers = rows.row(r).segment(i, n);
            const bool         equal =
              (powers.array() - powers[0]).abs().maxCoeff() < 1e-3;
            for (unsigned int j = 0; j < (equal ? 1 : n); ++j)
              if (std::abs(powers[j]) > 1e-3)
                {
                  direction.parts.push_back({tried[i].field,
                                             equal ? -1 : tried[i + j].part,
                                             powers[j]});
                  stiffness = stiffness || is_stiffness(tried[i].field);
                }
            i += n;
          }
        all.push_back(direction);
      }
    common_stiffness =
      asked && rows.rows() > 0 && common.cwiseAbs().maxCoeff() < 1e-2;
  }

  template <int dim>
  std::string
  FreeDirections<dim>::name_of(const FreeDirection::Part &part) const
  {
    std::string name = part.field;
    std::replace(name.begin(), name.end(), '_', ' ');
    if (part.part < 0)
      return name;
    const std::string number = std::to_string(part.part + 1);
    if (usual_place(part.field) == Place::body)
      return name + " " + number;
    std::string labels;
    for (const int label : parts.labels[part.part])
      labels += (labels.empty() ? "" : ", ") + std::to_string(label);
    return name + " of component " + number + " (label" +
           (parts.labels[part.part].size() == 1 ? " " : "s ") + labels + ")";
  }

  template <int dim>
  std::vector<std::string>
  FreeDirections<dim>::in_words() const
  {
    std::vector<std::string> result;
    for (const auto &direction : all)
      {
        const auto &p     = direction.parts;
        const bool  equal = std::all_of(p.begin(), p.end(), [&](const auto &x) {
          return std::abs(x.exponent - p[0].exponent) < 1e-3;
        });
        std::ostringstream text;
        text.precision(4);
        text << (p.size() == 1 ? "the factor of "
                 : equal       ? "one factor common to "
                               : "one factor c of ");
        for (unsigned int i = 0; i < p.size(); ++i)
          {
            text << (i == 0             ? ""
                     : i + 1 < p.size() ? ", "
                                        : " and ")
                 << name_of(p[i]);
            if (!equal)
              text << " (c^" << p[i].exponent << ")";
          }
        text << " is free: it changes nothing in the states";
        result.push_back(text.str());
      }
    return result;
  }

  template class FreeDirections<2>;
  template class FreeDirections<3>;
} // namespace Palpate
