#include <palpate/core/errors.h>
#include <palpate/forces/charges/vertex_charges.h>

#include <algorithm>
#include <set>

namespace Palpate
{
  using namespace dealii;

  void
  VertexCharges::declare_parameters(ParameterHandler &prm)
  {
    prm.declare_entry("Charge density",
                      "",
                      Patterns::Anything(),
                      "[C/m^3] of a charged body, whose vertices repel and "
                      "attract each other; explicit motions in 3D. A "
                      "number, \"label: value; ...\" (others have none), or "
                      "pack (charge_density); empty: none.");
    prm.declare_entry("Charge",
                      "",
                      Patterns::Anything(),
                      "[C] of every vertex of a network in 3D, for explicit "
                      "motions and imex. A number, \"label: value; ...\" by "
                      "label of the vertices, or pack (charge); empty: none.");
  }

  void
  VertexCharges::parse_parameters(Parameters &parameters)
  {
    density = !parameters.get("Charge density").empty();
    if (density && !parameters.get("Charge").empty())
      parameters.fail("Charge", "expected none beside Charge density");
    const std::string entry = density ? "Charge density" : "Charge",
                      text  = parameters.get(entry);
    given                   = !text.empty();
    if (!given)
      return;
    from_pack = (text == "pack");
    if (text.find(':') != std::string::npos)
      for (const auto &[label, v] : parameters.get_map(entry, 1))
        of_label[label] = v[0];
    else if (!from_pack)
      value = parameters.get_double(entry);
    bool good = std::abs(value) < 1e9;
    for (const auto &[label, v] : of_label)
      good = good && std::abs(v) < 1e9;
    if (!good)
      parameters.fail(entry, "expected values below 1e9 C/m^3 (or C)");
  }

  void
  VertexCharges::check(const Discretization<dim> &D,
                       const Parameters          &parameters) const
  {
    if (!any())
      return;
    const std::string entry = density ? "Charge density" : "Charge";
    if (density == D.is_network())
      parameters.fail(entry,
                      D.is_network()
                        ? "expected Loads/Charge [C] for the vertices of a "
                          "network"
                        : "expected Loads/Charge density [C/m^3]: charges of "
                          "vertices are those of a network (Model/Type = edge "
                          "springs)");
    const std::set<int> labels(D.is_network() ? D.mesh.vertex_labels.begin()
                                              : D.labels.begin(),
                               D.is_network() ? D.mesh.vertex_labels.end()
                                              : D.labels.end());
    for (const auto &[label, v] : of_label)
      if (labels.count(label) == 0)
        parameters.fail(entry,
                        std::string("no ") +
                          (D.is_network() ? "vertex" : "cell") + " has label " +
                          std::to_string(label));
  }

  void
  VertexCharges::add_fields(const Discretization<dim> &D,
                            const CaseData<dim>       &data,
                            Fields                    &fields) const
  {
    const std::string name  = field_name(D);
    Field            &field = fields[name];
    if (from_pack)
      {
        const auto it = data.arrays.find(name);
        if (it == data.arrays.end())
          throw InputError(data.source,
                           "key '" + name +
                             "' is missing, expected it because of Loads/" +
                             (density ? "Charge density" : "Charge") +
                             " = pack");
        field = D.is_network() ? D.scatter_vertices(it->second.values)
                               : D.scatter_cells(it->second.values);
        return;
      }
    field       = Field(D.is_network() ? D.n_nodes() : D.n_cells(), value);
    field.place = usual_place(name);
    if (of_label.empty())
      return;
    for (unsigned int i = 0; i < field.values.size(); ++i)
      {
        const auto it =
          of_label.find(D.is_network() ? D.node_label(i) : D.label(i));
        field[i] = it == of_label.end() ? 0. : it->second;
      }
  }

  std::vector<double>
  VertexCharges::charges(const Discretization<dim> &D, const Field &field)
  {
    std::vector<double> q(D.n_owned_nodes(), 0.);
    if (D.is_network())
      {
        std::copy_n(field.values.begin(), q.size(), q.begin());
        return q;
      }
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      for (unsigned int a = 0; a < dim + 1; ++a)
        if (const unsigned int n = D.cell_nodes[k * D.nodes_per_cell + a];
            n < q.size())
          q[n] += field[k] * D.volume[k] / (dim + 1);
    return q;
  }

  void
  VertexCharges::add_vjp(const Discretization<dim> &D,
                         const std::vector<double> &by_charge,
                         Field                     &g)
  {
    if (D.is_network())
      {
        for (unsigned int n = 0; n < by_charge.size(); ++n)
          g[n] += by_charge[n];
        return;
      }
    LinearAlgebra::distributed::Vector<double> nodal(D.node_partitioner());
    for (unsigned int n = 0; n < by_charge.size(); ++n)
      nodal.local_element(n) = by_charge[n];
    nodal.update_ghost_values();
    for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
      for (unsigned int a = 0; a < dim + 1; ++a)
        g[k] += D.volume[k] / (dim + 1) *
                nodal.local_element(D.cell_nodes[k * D.nodes_per_cell + a]);
  }
} // namespace Palpate
