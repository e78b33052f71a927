#include <palpate/drivers/problem.h>

#include <algorithm>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    template <int dim>
    nlohmann::json
    as_json(const FreeDirections<dim> &directions)
    {
      nlohmann::json all   = nlohmann::json::array();
      const auto     words = directions.in_words();
      for (std::size_t i = 0; i < directions.all.size(); ++i)
        {
          nlohmann::json one;
          for (const auto &part : directions.all[i].parts)
            {
              nlohmann::json unknown = {{"field", part.field},
                                        {"exponent", part.exponent}};
              if (usual_place(part.field) == Place::body && part.part >= 0)
                unknown["value"] = part.part;
              else if (part.part >= 0)
                {
                  unknown["component"] = part.part;
                  unknown["labels"]    = directions.parts.labels[part.part];
                  unknown["cells"]     = directions.parts.n_cells[part.part];
                }
              one["unknowns"].push_back(unknown);
            }
          one["meaning"] = words[i];
          all.push_back(one);
        }
      return all;
    }
  } // namespace

  template <int dim>
  void
  Problem<dim>::find_free_directions(const ReducedFunctional<dim> &J)
  {
    if (!free_directions.is_null())
      return;
    const Fields              all = states().context(0).fields;
    const FreeDirections<dim> found(states(),
                                    J.parameterization,
                                    J.point(),
                                    all);
    free_directions               = as_json(found);
    const auto            words   = found.in_words();
    constexpr std::size_t n_shown = 8;
    for (std::size_t i = 0; i < std::min(words.size(), n_shown); ++i)
      warn(words[i]);
    if (words.size() > n_shown)
      warn(std::to_string(words.size() - n_shown) +
           " more such directions are in summary.json");
    scale_identified        = !found.stiffness;
    to_reference            = found.common_stiffness;
    const auto of_stiffness = [](const FreeDirection &direction) {
      return std::any_of(direction.parts.begin(),
                         direction.parts.end(),
                         [](const auto &part) {
                           return is_stiffness(part.field);
                         });
    };
    if (found.stiffness && !found.common_stiffness)
      warn(stiffness_key() +
           " is where the start and the regularization left it in these "
           "directions, not a measurement");
    else if (std::count_if(found.all.begin(), found.all.end(), of_stiffness) >
             1)
      warn("the mean of " + stiffness_key() +
           " is put to the reference stiffness; ratios between components are "
           "where the start and the regularization left them");
  }

  template void
  Problem<2>::find_free_directions(const ReducedFunctional<2> &);
  template void
  Problem<3>::find_free_directions(const ReducedFunctional<3> &);
} // namespace Palpate
