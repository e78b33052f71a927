#ifndef palpate_tests_sample_h
#define palpate_tests_sample_h

// A small body for tests: a box of simplices with some constrained surface,
// frames that are not the axes, an observation.

#include <palpate/drivers/taylor_tests.h>
#include <palpate/equilibrium/static_equilibrium.h>
#include <palpate/forces/springs/intersection_springs.h>
#include <palpate/geometry/springs.h>
#include <palpate/mesh/generate.h>
#include <palpate/mesh/network.h>

#include <iostream>

namespace Palpate
{
  /// Kernels are 5 times slower: in Debug long tests do less.
#ifdef DEBUG
  constexpr bool is_debug = true;
#else
  constexpr bool is_debug = false;
#endif

  template <int dim>
  SerialMesh<dim>
  sample_mesh(const unsigned int n, const double shake = 0.15)
  {
    ShapeDescription d;
    d.type               = (dim == 3 ? "box" : "rectangle");
    d.upper              = {{1., 0.8, 0.6}};
    d.subdivisions       = {{n, n, n}};
    SerialMesh<dim> mesh = generate_shape<dim>(d);
    // Move the vertices, so that no two cells are alike.
    for (std::size_t v = 0; v < mesh.vertices.size(); ++v)
      for (unsigned int i = 0; i < dim; ++i)
        mesh.vertices[v][i] += shake / n * random_number(7, v * dim + i);
    for (std::size_t k = 0; k < mesh.cells.size(); ++k)
      mesh.labels[k] = 1 + (mesh.vertices[mesh.cells[k][0]][0] > 0.5);
    return mesh;
  }

  /// Frames that turn from cell to cell.
  template <int dim>
  std::vector<dealii::Tensor<2, dim>>
  sample_frames(const Discretization<dim> &D)
  {
    std::vector<dealii::Tensor<2, dim>> identity(D.n_cells());
    for (auto &f : identity)
      for (unsigned int i = 0; i < dim; ++i)
        f[i][i] = 1;
    FrameCounts counts;
    return registered_frames(
      D, random_vector(D, 3, 0.05), identity, 1e-6, counts);
  }

  /// Strengths [C] for the two paths that tests give "external charges".
  inline Field
  external_charges()
  {
    Field f(1, 0., 2);
    f.place  = Place::body;
    f.values = {3e-6, -2e-6};
    return f;
  }

  template <int dim>
  struct Sample
  {
    explicit Sample(const unsigned int n,
                    const unsigned int degree      = 1,
                    const unsigned int n_snapshots = 1,
                    const double       stretch     = 0,
                    const double       shake       = 0.15)
      : mesh(sample_mesh<dim>(n, shake))
      , D(mesh, degree, MPI_COMM_WORLD)
      , constrained(D.n_nodes() * dim, 0)
      , log(std::cout, false)
    {
      dealii::LinearAlgebra::distributed::Vector<double> flags(
        D.node_partitioner());
      for (const auto &face : D.boundary_faces)
        if (face.id == 0 || (stretch > 0 && face.id == 1)) // x = 0, x = 1
          for (const unsigned int a : face.nodes)
            {
              const unsigned int node =
                D.cell_nodes[face.cell * D.nodes_per_cell + a];
              if (node < D.n_owned_nodes())
                flags.local_element(node) = 1;
            }
      flags.update_ghost_values();
      for (unsigned int i = 0; i < constrained.size(); ++i)
        constrained[i] = flags.local_element(i / dim) > 0.5;
      snapshots.resize(n_snapshots);
      for (unsigned int s = 0; s < n_snapshots; ++s)
        {
          snapshots[s].frames             = sample_frames(D);
          snapshots[s].observed           = random_vector(D, 11 + s, 0.02);
          snapshots[s].prescribed         = ghosted_copy(snapshots[s].observed);
          snapshots[s].observation_weight = std::vector<double>(D.n_nodes());
          for (unsigned int i = 0; i < D.n_nodes(); ++i)
            snapshots[s].observation_weight[i] =
              1.5 + random_number(5, D.node_vertices[i][0]);
        }
      // The base moves too, so that the body is stretched.
      for (auto &s : snapshots)
        if (stretch > 0)
          for (unsigned int i = 0; i < D.n_nodes(); ++i)
            s.prescribed.local_element(i * dim) =
              stretch * D.node_position(i)[0];
      state.u             = random_vector(D, 1, 0.02);
      fields["stiffness"] = random_field(D, 2, 1000, 0.5);
      fields["density"]   = random_field(D, 4, 200, 0.1);
      hounsfield          = random_field(D, 5, 200, 0.3);
    }

    /// With a stiffness per spring beside that of the cells.
    Fields
    fields_of_springs() const
    {
      Fields all = fields;
      all["spring_stiffness"] =
        spring_stiffness(D, snapshots[0].frames, fields["stiffness"]);
      all["hounsfield"] = hounsfield;
      return all;
    }

    Context<dim>
    context() const
    {
      return {D, state, fields, snapshots[0], constrained};
    }

    SerialMesh<dim>            mesh;
    Discretization<dim>        D;
    std::vector<char>          constrained;
    std::vector<Snapshot<dim>> snapshots;
    State                      state;
    Fields                     fields;
    Field                      hounsfield;
    dealii::ConditionalOStream log;
  };

  /// A network: the edges of such a body, with one face held.
  template <int dim>
  struct NetworkSample
  {
    explicit NetworkSample(const unsigned int n, const bool held = true)
      : mesh(edges(n))
      , D(mesh, 1, MPI_COMM_WORLD)
      , constrained(D.n_nodes() * dim, 0)
      , log(std::cout, false)
    {
      for (unsigned int i = 0; i < constrained.size(); ++i)
        constrained[i] = held && D.node_position(i / dim)[0] < 0.1;
      snapshots.resize(1);
      snapshots[0].observed           = random_vector(D, 11, 0.02);
      snapshots[0].prescribed         = ghosted_copy(D.make_vector());
      snapshots[0].observation_weight = std::vector<double>(D.n_nodes(), 1.);
      state.u                         = random_vector(D, 1, 0.02);
      state.v                         = random_vector(D, 2, 0.2);
      fields["stiffness"]             = random_field(D, 2, 30, 0.5);
      fields["rest_length"]           = Field(D.n_cells());
      for (unsigned int k = 0; k < D.n_cells(); ++k)
        fields["rest_length"][k] =
          (D.cell_id[k] % 5 == 0 ? 1.1 : 0.9) *
          D.node_position(D.cell_nodes[2 * k])
            .distance(D.node_position(D.cell_nodes[2 * k + 1]));
      const auto of_vertices =
        [&](const char *name, const unsigned int seed, const double mean) {
          Field &f = fields[name];
          f        = Field(D.n_nodes());
          f.place  = Place::vertices;
          for (unsigned int i = 0; i < D.n_nodes(); ++i)
            f[i] =
              mean * std::exp(0.5 * random_number(seed, D.node_vertices[i][0]));
        };
      of_vertices("mass", 3, 0.1);
      of_vertices("charge", 4, 2e-6);
      fields["external_charge"] = external_charges();
    }

    static SerialMesh<dim>
    edges(const unsigned int n)
    {
      SerialMesh<dim> mesh = sample_mesh<dim>(n);
      Network::take_edges(mesh);
      return mesh;
    }

    Context<dim>
    context() const
    {
      return {D, state, fields, snapshots[0], constrained};
    }

    SerialMesh<dim>            mesh;
    Discretization<dim>        D;
    std::vector<char>          constrained;
    std::vector<Snapshot<dim>> snapshots;
    State                      state;
    Fields                     fields;
    dealii::ConditionalOStream log;
  };

  /// Parameters of one registered term with some entries set.
  template <typename Base>
  std::unique_ptr<Base>
  make_term(const std::string                        &name,
            const std::map<std::string, std::string> &entries = {})
  {
    Parameters p;
    Registry<Base>::item(name).declare_parameters(p.handler);
    for (const auto &[key, value] : entries)
      p.handler.set(key, value);
    auto term = Registry<Base>::create(name);
    term->parse_parameters(p);
    return term;
  }
} // namespace Palpate

#endif
