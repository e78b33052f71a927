#include <palpate/drivers/result_fields.h>
#include <palpate/inverse/free_directions.h>
#include <palpate/parameterizations/field_unknowns.h>
#include <palpate/parameterizations/lame_parameters.h>

#include <cmath>
#include <map>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    std::string
    name_of(const Place place)
    {
      switch (place)
        {
          case Place::cells:
            return "cells";
          case Place::nodes:
          case Place::vertices:
            return "vertices";
          default:
            return "body";
        }
    }
  } // namespace

  template <int dim>
  NpyArray
  array_of(const Discretization<dim> &D, const Field &field)
  {
    const auto        root = Discretization<dim>::To::root;
    const std::size_t N = D.mesh.n_all_vertices(), M = D.n_global_cells();
    NpyArray          array;
    if (field.place == Place::cells)
      {
        array.shape = {M};
        if (field.n_components > 1)
          array.shape.push_back(field.n_components);
        array.values = D.gather_cells(field, root);
      }
    else if (field.place == Place::vertices)
      {
        array.shape  = {N};
        array.values = D.gather_vertices(field, root);
      }
    else if (field.place == Place::nodes)
      {
        Vector nodal = D.make_vector();
        std::copy(field.values.begin(),
                  field.values.begin() + D.n_owned_nodes() * dim,
                  nodal.begin());
        nodal.update_ghost_values();
        array.shape  = {N, dim};
        array.values = D.gather_vertices(nodal, root);
      }
    else
      array = field.values.size() == 1
                ? NpyArray({}, field.values)
                : NpyArray({field.values.size()}, field.values);
    return array;
  }

  template <int dim>
  void
  add_other_fields(const Discretization<dim>    &D,
                   const ReducedFunctional<dim> &J,
                   NpzArrays                    &arrays,
                   nlohmann::json               &summary)
  {
    for (const auto &[name, field] : J.fields())
      if (!is_stiffness(name))
        arrays[name] = array_of(D, field);
    const FieldDuals duals =
      LameParameters<dim>::by_unknowns(J.parameterization,
                                       J.point(),
                                       J.field_gradient());
    const auto &known = FieldUnknowns<dim>::known_fields();
    for (const auto &[name, dual] : duals)
      if (!is_stiffness(name) && known.count(name) > 0)
        {
          Field whole = dual;
          if (dual.place == Place::body) // every rank has a part of it
            Utilities::MPI::sum(dual.values, D.comm, whole.values);
          const std::string key   = "gradient_" + name;
          NpyArray          array = array_of(D, whole);
          if (array.shape.empty())
            array.shape = {1};
          const std::string unit    = known.at(name).unit;
          summary["gradients"][key] = {
            {"unit", unit.empty() ? "1" : "1/(" + unit + ")"},
            {"place", name_of(dual.place)},
            {"shape", array.shape}};
          arrays[key] = array;
        }
  }

  template <int dim>
  void
  add_mean_by_label(const Discretization<dim> &D,
                    const Field               &field,
                    const std::string         &title,
                    nlohmann::json            &summary)
  {
    std::map<int, std::pair<double, double>> labels;
    for (const int label : D.labels) // the same on all ranks
      labels[label] = {0., 0.};
    for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
      {
        auto &[volume, sum] = labels[D.label(k)];
        volume += D.volume[k];
        sum += D.volume[k] * std::log(field[k]);
      }
    for (const auto &[label, sums] : labels)
      summary[title + "_mean_by_label"][std::to_string(label)] =
        std::exp(D.sum(sums.second) / D.sum(sums.first));
  }

#define INSTANTIATE(dim)                                                  \
  template NpyArray array_of(const Discretization<dim> &, const Field &); \
  template void     add_other_fields(const Discretization<dim> &,         \
                                     const ReducedFunctional<dim> &,      \
                                     NpzArrays &,                         \
                                     nlohmann::json &);                   \
  template void     add_mean_by_label(const Discretization<dim> &,        \
                                      const Field &,                      \
                                      const std::string &,                \
                                      nlohmann::json &);

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
