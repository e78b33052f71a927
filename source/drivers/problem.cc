#include <deal.II/base/function_parser.h>

#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/drivers/observation.h>
#include <palpate/drivers/problem.h>
#include <palpate/forces/external/loads.h>
#include <palpate/mesh/distributed_mesh.h>
#include <palpate/mesh/faces.h>
#include <palpate/mesh/generate.h>
#include <palpate/mesh/read_case.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <set>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  int
  case_dimension(Parameters &parameters)
  {
    const Parameters::Section section(parameters, "Case");
    const std::string         shape = parameters.get("Shape");
    if (shape.empty())
      {
        if (parameters.get("File").empty())
          parameters.fail("File", "expected a file, or a Shape to generate");
        return mesh_dimension(parameters.get("File"));
      }
    return (shape == "rectangle" || shape == "disk") ? 2 : 3;
  }

  template <int dim>
  Problem<dim>::Problem(Parameters               &parameters,
                        const MPI_Comm           &comm,
                        const ConditionalOStream &log,
                        const bool                needs_objective,
                        const bool stiffness_from_parameterization,
                        const bool dry_run)
    : parameters(parameters)
    , comm(comm)
    , log(log)
  {
    // What can be wrong is read before anything is computed.
    if (needs_objective)
      parse_objective();
    {
      const Parameters::Section section(parameters, "Linear solver");
      solver_parameters.parse_parameters(parameters);
    }
    read_case();
    {
      const Parameters::Section section(parameters, "Model");
      degree = parameters.get_integer("Degree");
    }
    discretization =
      std::make_unique<Discretization<dim>>(data.mesh, degree, comm);
    read_snapshots(dry_run);
    constrain();
    read_frames();
    read_forces();
    stiffness = read_stiffness(stiffness_from_parameterization);
    check_objective();
    // A load vector that is zero on all free DoFs gives no scale.
    Vector load = discretization->make_vector();
    for (const auto &force : equilibrium->forces)
      if (!force->scales_with_stiffness())
        {
          Fields fields       = fixed_fields;
          fields["stiffness"] = stiffness;
          State zero;
          zero.u = discretization->make_vector();
          force->residual(
            {*discretization, zero, fields, snapshots[0], constrained}, load);
        }
    for (unsigned int i = 0; i < load.locally_owned_size(); ++i)
      if (constrained[i])
        load.local_element(i) = 0;
    scale_identified = load.l2_norm() > 0;
    if (!scale_identified && stiffness_from_parameterization)
      {
        const Parameters::Section section(parameters, "Parameterization");
        if (!parameters.get("Reference stiffness").empty())
          {
            reference_stated    = true;
            reference_stiffness = parameters.get_double("Reference stiffness");
            if (!(reference_stiffness > 0))
              parameters.fail("Reference stiffness",
                              "expected a positive value");
          }
      }
    check_strain();
  }

  template <int dim>
  void
  Problem<dim>::warn(const std::string &text)
  {
    warnings.push_back(text);
    log << "warning: " << text << std::endl;
  }

  template <int dim>
  const NpyArray &
  Problem<dim>::array(const std::string &key,
                      const std::string &wanted_by) const
  {
    const auto it = data.arrays.find(key);
    if (it == data.arrays.end())
      throw InputError(data.source,
                       "key '" + key + "' is missing, expected it because of " +
                         wanted_by);
    return it->second;
  }

  template <int dim>
  void
  Problem<dim>::read_case()
  {
    const Parameters::Section section(parameters, "Case");
    const std::string         shape = parameters.get("Shape");
    if (!shape.empty() && parameters.is_set("File") &&
        !parameters.get("File").empty())
      parameters.fail("Shape", "expected either Case/File or Case/Shape");
    if (shape.empty())
      {
        const std::string unit = parameters.get("Length unit");
        data                   = Palpate::read_case<dim>(parameters.get("File"),
                                       unit == "mm"   ? 1e-3
                                                         : unit == "cm" ? 1e-2
                                                                        : 1.);
      }
    else
      {
        ShapeDescription          d;
        const Parameters::Section generated(parameters, "Generated shape");
        d.type                = shape;
        const auto get_corner = [&](const std::string     &name,
                                    std::array<double, 3> &corner) {
          const auto values = parameters.get_doubles(name);
          if (values.size() < dim)
            parameters.fail(name,
                            "expected " + std::to_string(dim) + " numbers");
          std::copy(values.begin(), values.end(), corner.begin());
        };
        const bool box = (shape == "box" || shape == "rectangle");
        if (box)
          {
            get_corner("Lower corner", d.lower);
            get_corner("Upper corner", d.upper);
            const auto n = parameters.get_integers("Subdivisions");
            if (n.size() < dim)
              parameters.fail("Subdivisions",
                              "expected " + std::to_string(dim) + " numbers");
            for (unsigned int i = 0; i < n.size(); ++i)
              d.subdivisions[i] = n[i];
            if (dim == 3)
              d.tets_per_cube = parameters.get_integer("Tetrahedra per cube");
          }
        if (!box || d.subdivisions[0] == 0)
          d.mesh_size = parameters.get_double("Mesh size");
        if (shape == "truncated cone")
          {
            d.bottom_radius = parameters.get_double("Bottom radius");
            d.top_radius    = parameters.get_double("Top radius");
            d.height        = parameters.get_double("Height");
            d.wedge_angle   = parameters.get_double("Wedge angle");
          }
        if (shape == "ball" || shape == "disk")
          d.radius = parameters.get_double("Radius");
        if (shape == "ellipsoid pair")
          {
            get_corner("Semi-axes", d.semi_axes);
            d.gap = parameters.get_double("Gap");
          }
        data.source = "generated " + shape;
        run_on_root(comm, [&]() { data.mesh = generate_shape<dim>(d); });
        broadcast_mesh(data.mesh, comm);
      }
    const bool repair = parameters.get_bool("Repair orientation");
    quality           = check_and_repair(data, repair);
    for (const auto &note : data.notes)
      log << "note: " << data.source << ": " << note << std::endl;
  }

  template <int dim>
  void
  Problem<dim>::read_snapshots(const bool dry_run)
  {
    const std::size_t n = data.mesh.vertices.size() * dim;
    {
      const Parameters::Section section(parameters, "Observation");
      const std::string         file = parameters.get("Computed by");
      if (!file.empty())
        registered = {
          computed_displacement<dim>(file, data.mesh, comm, log, dry_run)};
      else if (data.arrays.count("displacement_steps"))
        {
          const auto &steps = data.arrays["displacement_steps"];
          for (std::size_t s = 0; s < steps.shape[0]; ++s)
            registered.emplace_back(steps.values.begin() + s * n,
                                    steps.values.begin() + (s + 1) * n);
        }
      else if (data.arrays.count("displacement_field"))
        registered = {data.arrays["displacement_field"].values};

      if (!registered.empty())
        {
          const double noise = parameters.get_double("Noise");
          if (noise > 0)
            add_noise<dim>(registered,
                           noise,
                           parameters.get_integer("Noise seed"));
        }
    }
    {
      const Parameters::Section section(parameters, "Boundary conditions");
      if (!registered.empty() &&
          parameters.get("Prescribed values") == "registered")
        {
          prescribed_scale = parameters.get_double("Prescribed scale");
          for (auto &u : registered)
            for (double &v : u)
              v *= prescribed_scale;
        }
    }
    double extent = 0;
    for (const auto &v : data.mesh.vertices)
      extent = std::max(extent, (v - data.mesh.vertices[0]).norm());
    for (std::size_t s = 0; s < registered.size(); ++s)
      for (std::size_t i = 0; i < n; ++i)
        if (!(std::abs(registered[s][i]) < 1e6 * extent))
          throw InputError(data.source,
                           (data.arrays.count("displacement_steps")
                              ? "key 'displacement_steps'"
                              : "key 'displacement_field'") +
                             std::string(": the displacement of vertex ") +
                             std::to_string(i / dim) + " in snapshot " +
                             std::to_string(s) +
                             " is more than 1e6 times the size of the body, "
                             "expected a motion in the file's length unit");
    snapshots.resize(std::max<std::size_t>(1, registered.size()));
    for (std::size_t s = 0; s < registered.size(); ++s)
      snapshots[s].observed =
        discretization->interpolate_vertices(registered[s]);
  }

  template <int dim>
  void
  Problem<dim>::constrain()
  {
    const auto               &D = *discretization;
    const std::size_t         n = data.mesh.vertices.size();
    std::vector<char>         vertex(n, 0);
    const Parameters::Section section(parameters, "Boundary conditions");
    const std::string         kind = parameters.get("Constrained vertices");
    std::set<std::array<unsigned int, 2>> edges; // constrained edges
    std::set<unsigned int>                ids;
    if (kind == "boundary_nodes")
      {
        const auto &flags =
          array("boundary_nodes", "Constrained vertices = boundary_nodes");
        for (std::size_t v = 0; v < n; ++v)
          vertex[v] = flags.values[v] != 0;
      }
    else if (kind == "surface")
      vertex = quality.surface_vertex;
    else if (kind == "boundary ids")
      {
        for (const int id : parameters.get_integers("Boundary ids"))
          if (id < 0)
            parameters.fail("Boundary ids", "expected ids >= 0");
          else
            ids.insert(id);
        if (ids.empty())
          parameters.fail("Boundary ids", "expected at least one id");
      }
    // With boundary ids, the vertices of faces with that id. Edge nodes are
    // constrained where they lie on a face whose vertices all are.
    std::set<unsigned int> seen;
    std::vector<char>      node(D.n_nodes(), 0);
    for (const auto &face : D.boundary_faces)
      {
        const unsigned int *nodes = &D.cell_nodes[face.cell * D.nodes_per_cell];
        seen.insert(face.id);
        bool all = true;
        if (kind == "boundary ids")
          all = ids.count(face.id) > 0;
        else
          for (const unsigned int a : face.nodes)
            for (const unsigned int v : D.node_vertices[nodes[a]])
              all = all && vertex[v];
        if (all)
          for (const unsigned int a : face.nodes)
            node[nodes[a]] = 1;
      }
    if (kind == "boundary ids")
      for (const unsigned int id : ids)
        if (Utilities::MPI::max(static_cast<unsigned int>(seen.count(id)),
                                comm) == 0)
          parameters.fail("Boundary ids",
                          "no face of " + data.source + " has id " +
                            std::to_string(id));
    for (unsigned int i = 0; i < D.n_nodes(); ++i)
      if (D.is_vertex(i) && vertex[D.node_vertices[i][0]])
        node[i] = 1;

    // A rank may see a node only through ghost cells: owners decide.
    LinearAlgebra::distributed::Vector<double> flags(D.node_partitioner());
    for (unsigned int i = 0; i < D.n_owned_nodes(); ++i)
      flags.local_element(i) = node[i];
    flags.update_ghost_values();
    constrained.resize(D.n_nodes() * dim);
    for (unsigned int i = 0; i < D.n_nodes() * dim; ++i)
      constrained[i] = flags.local_element(i / dim) > 0.5;

    std::vector<double> count(2, 0.);
    for (unsigned int i = 0; i < D.n_owned_nodes(); ++i)
      if (D.is_vertex(i))
        ++count[constrained[i * dim] ? 0 : 1];
    Utilities::MPI::sum(count, comm, count);
    n_constrained_vertices = count[0];
    n_free_vertices        = count[1];
    check_constraints();

    // Prescribed values and weights of the observation.
    const std::string values = parameters.get("Prescribed values");
    if (values == "registered" && registered.empty())
      parameters.fail("Prescribed values",
                      data.source +
                        " has no displacement_field or displacement_steps, "
                        "expected one (or Prescribed values = zero)");
    for (auto &s : snapshots)
      s.prescribed =
        ghosted_copy(values == "registered" ? s.observed : D.make_vector());

    double held_fraction = 0;
    long   held_seed     = 1;
    if (!registered.empty())
      {
        parameters.leave();
        {
          const Parameters::Section observation(parameters, "Observation");
          held_fraction = parameters.get_double("Held out fraction");
          if (held_fraction > 0)
            held_seed = parameters.get_integer("Held out seed");
        }
        parameters.enter("Boundary conditions");
      }
    std::vector<double> weight(n, 1.);
    const auto          it = data.arrays.find("observation_weight");
    if (it != data.arrays.end())
      weight = it->second.values;
    const std::vector<char> held = choose(n, held_fraction, held_seed);
    for (std::size_t s = 0; s < snapshots.size(); ++s)
      {
        snapshots[s].observation_weight.assign(D.n_nodes(), 0.);
        for (unsigned int i = 0; i < D.n_nodes(); ++i)
          {
            double w = 1e300;
            for (const unsigned int v : D.node_vertices[i])
              w =
                std::min(w, held[v] && !constrained[i * dim] ? 0. : weight[v]);
            snapshots[s].observation_weight[i] = w;
          }
      }
    for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
      {
        bool all = true;
        for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
          all =
            all && constrained[D.cell_nodes[k * D.nodes_per_cell + a] * dim];
        n_unobservable += all;
      }
    n_unobservable = Utilities::MPI::sum(n_unobservable, comm);
  }

  template <int dim>
  void
  Problem<dim>::check_constraints() const
  {
    const std::string where = data.source;
    if (n_constrained_vertices == 0)
      throw InputError(where,
                       "no vertex is constrained (Boundary conditions/"
                       "Constrained vertices), expected enough to hold the "
                       "body");
    if (n_free_vertices == 0)
      throw InputError(where,
                       "no vertex is free (Boundary conditions/Constrained "
                       "vertices), expected something to solve for");
    // Every component must be held against rigid motion: its constrained
    // vertices must span dim - 1 directions.
    const auto         &D = *discretization;
    std::vector<double> flag(data.mesh.vertices.size(), 0.);
    for (unsigned int i = 0; i < D.n_owned_nodes(); ++i)
      if (D.is_vertex(i) && constrained[i * dim])
        flag[D.node_vertices[i][0]] = 1;
    Utilities::MPI::sum(flag, comm, flag);
    std::vector<std::set<unsigned int>> held(quality.n_components);
    std::vector<unsigned int>           first(quality.n_components, no_cell);
    for (std::size_t k = 0; k < data.mesh.cells.size(); ++k)
      {
        const unsigned int c = quality.component_of_cell[k];
        first[c]             = std::min<unsigned int>(first[c], k);
        for (const unsigned int v : data.mesh.cells[k])
          if (flag[v] > 0)
            held[c].insert(v);
      }
    for (unsigned int c = 0; c < quality.n_components; ++c)
      {
        const std::string name = "component " + std::to_string(c) +
                                 " (the one of cell " +
                                 std::to_string(first[c]) + ")";
        if (held[c].empty())
          throw InputError(where,
                           name + " has no constrained vertex: it is free to "
                                  "move, expected every component to be held");
        const Point<dim> p0 = data.mesh.vertices[*held[c].begin()];
        Tensor<1, dim>   e;
        double           span = 0, length = 0;
        for (const unsigned int v : held[c])
          if ((data.mesh.vertices[v] - p0).norm() > e.norm())
            e = data.mesh.vertices[v] - p0;
        length = e.norm();
        if (dim == 3 && length > 0)
          for (const unsigned int v : held[c])
            {
              const Tensor<1, dim> d = data.mesh.vertices[v] - p0;
              span =
                std::max(span, (d - (d * e) / (length * length) * e).norm());
            }
        if (length == 0 || (dim == 3 && span < 1e-9 * length))
          throw InputError(where,
                           name + " is held by " +
                             std::to_string(held[c].size()) +
                             " vertices in one line: it is free to rotate, "
                             "expected more constrained vertices");
      }
  }

  template <int dim>
  void
  Problem<dim>::read_frames()
  {
    const auto               &D = *discretization;
    const Parameters::Section section(parameters, "Model");
    frames_kind = parameters.get("Frames");
    if (frames_kind == "default")
      frames_kind = registered.empty() ? "coordinate axes" : "registered";
    Tensor<2, dim> identity;
    for (unsigned int d = 0; d < dim; ++d)
      identity[d][d] = 1;
    std::vector<Tensor<2, dim>> frames(D.n_cells(), identity);
    if (frames_kind == "registered")
      {
        if (registered.empty())
          parameters.fail("Frames",
                          data.source +
                            " has no displacement_field or displacement_steps, "
                            "expected one");
        const double tolerance = parameters.get_double("Near rigid tolerance");
        for (auto &s : snapshots)
          {
            frames =
              registered_frames(D, s.observed, frames, tolerance, frame_counts);
            s.frames = frames;
          }
        for (unsigned long *c : {&frame_counts.registered,
                                 &frame_counts.near_rigid,
                                 &frame_counts.inverted,
                                 &frame_counts.collapsed,
                                 &frame_counts.motionless})
          *c = Utilities::MPI::sum(*c, comm);
        return;
      }
    if (frames_kind == "pack")
      for (std::size_t s = 0; s < snapshots.size(); ++s)
        snapshots[s].frames = pack_frames<dim>(data, D, s);
    else
      for (auto &s : snapshots)
        s.frames = frames;
  }

  template <int dim>
  void
  Problem<dim>::read_forces()
  {
    const auto                              &D = *discretization;
    std::vector<std::unique_ptr<Force<dim>>> forces;
    {
      const Parameters::Section section(parameters, "Model");
      forces.push_back(Registry<Force<dim>>::create(parameters.get("Type")));
      forces.back()->parse_parameters(parameters);
    }
    {
      const Parameters::Section section(parameters, "Loads");
      bool                      needs_density = false;
      for (const char *name : {"gravity", "traction", "pressure"})
        {
          auto force = Registry<Force<dim>>::create(name);
          force->parse_parameters(parameters);
          const auto &load = dynamic_cast<const DeadLoad<dim> &>(*force);
          if (!load.is_active())
            continue;
          if (const auto *surface =
                dynamic_cast<const SurfaceLoad<dim> *>(&load))
            {
              std::set<unsigned int> ids;
              for (const auto &face : D.boundary_faces)
                ids.insert(face.id);
              for (const auto &[id, value] : surface->loads)
                if (Utilities::MPI::max(
                      static_cast<unsigned int>(ids.count(id)), comm) == 0)
                  parameters.fail(std::string(name) == "traction" ? "Traction"
                                                                  : "Pressure",
                                  "no face of " + data.source + " has id " +
                                    std::to_string(id));
            }
          for (const auto &field : load.field_names())
            needs_density = needs_density || field == "density";
          forces.push_back(std::move(force));
        }
      if (needs_density)
        {
          const std::string   source = parameters.get("Density");
          const std::size_t   M      = data.mesh.cells.size();
          std::vector<double> rho(M);
          if (source == "pack" && data.arrays.count("density"))
            rho = data.arrays["density"].values;
          else if (source == "pack")
            rho =
              density_from_mass(data.mesh,
                                array("mass", "Loads/Density = pack").values);
          else if (source == "from HU")
            {
              const double floor = parameters.get_double("HU density floor");
              const auto  &hu =
                array("hu_tetra_mean", "Loads/Density = from HU").values;
              for (std::size_t k = 0; k < M; ++k)
                rho[k] = std::max(hu[k] + 1000, floor);
            }
          else
            {
              const double value = parameters.get_double("Density");
              if (!(value > 0))
                parameters.fail("Density", "expected a positive value");
              rho.assign(M, value);
            }
          fixed_fields["density"] = D.scatter_cells(rho);
        }
    }
    bool nonlinear = false;
    for (const auto &force : forces)
      nonlinear = nonlinear || force->tangent_depends_on().state;
    if (nonlinear)
      {
        const Parameters::Section section(parameters, "Newton");
        newton_parameters.parse_parameters(parameters);
      }
    equilibrium = std::make_unique<StaticEquilibrium<dim>>(D,
                                                           constrained,
                                                           snapshots,
                                                           std::move(forces),
                                                           solver_parameters,
                                                           newton_parameters,
                                                           log);
  }

  template <int dim>
  Field
  Problem<dim>::read_stiffness(const bool from_parameterization)
  {
    const auto               &D = *discretization;
    const Parameters::Section section(parameters,
                                      from_parameterization ? "Parameterization"
                                                            : "Stiffness");
    const std::string entry = from_parameterization ? "Initial value" : "Value";
    std::string       source;
    if (from_parameterization)
      source = (parameters.get(entry) == "pack" ? "pack" : "constant");
    else
      source = parameters.get("Source");
    const std::size_t   M = data.mesh.cells.size();
    std::vector<double> alpha(M);
    if (source == "constant")
      {
        const double value = parameters.get_double(entry);
        if (!(value > 0))
          parameters.fail(entry, "expected a positive stiffness");
        alpha.assign(M, value);
      }
    else if (source == "pack")
      alpha = array("alpha_k", "a stiffness from the pack").values;
    else if (source == "per label")
      {
        const auto values = parameters.get_map("Values", 1);
        for (std::size_t k = 0; k < M; ++k)
          {
            const auto it = values.find(data.mesh.labels[k]);
            if (it == values.end() || !(it->second[0] > 0))
              parameters.fail("Values",
                              "expected a positive stiffness for label " +
                                std::to_string(data.mesh.labels[k]) +
                                " of cell " + std::to_string(k));
            alpha[k] = it->second[0];
          }
      }
    else
      {
        FunctionParser<dim> function(1);
        // muParser's wrapper explains itself on std::cerr: we do it below.
        struct Silence
        {
          std::streambuf *kept = std::cerr.rdbuf(nullptr);
          ~Silence()
          {
            std::cerr.rdbuf(kept);
            std::cerr.clear();
          }
        } silence;
        try
          {
            function.initialize(dim == 2 ? "x,y" : "x,y,z",
                                parameters.get("Function"),
                                {});
            for (std::size_t k = 0; k < M; ++k)
              {
                Point<dim> b;
                for (const unsigned int v : data.mesh.cells[k])
                  b += data.mesh.vertices[v] / (dim + 1.);
                alpha[k] = function.value(b);
                if (!(alpha[k] > 0) || !std::isfinite(alpha[k]))
                  parameters.fail("Function",
                                  "is not positive at cell " +
                                    std::to_string(k) +
                                    ", expected a stiffness > 0 everywhere");
              }
          }
        catch (const ExceptionBase &)
          {
            parameters.fail("Function",
                            "cannot be understood, expected an expression of "
                            "x, y, z such as 1000 + 500*sin(10*x)");
          }
      }
    for (std::size_t k = 0; k < M; ++k)
      if (!(alpha[k] > 1e-20 && alpha[k] < 1e20))
        {
          const std::string expected =
            "the stiffness of cell " + std::to_string(k) +
            " is out of range, expected a value between 1e-20 and 1e20 Pa";
          if (source == "pack")
            throw InputError(data.source, "key 'alpha_k': " + expected);
          parameters.fail(source == "constant"    ? entry
                          : source == "per label" ? "Values"
                                                  : "Function",
                          expected);
        }
    const Field field   = D.scatter_cells(alpha);
    reference_stiffness = geometric_mean(D, field);
    return field;
  }

  template <int dim>
  void
  Problem<dim>::parse_objective()
  {
    const Parameters::Section section(parameters, "Objective");
    for (const auto &[name, item] : Registry<Objective<dim>>::items())
      {
        const Parameters::Section term_section(parameters, name);
        WeightedTerm<dim>         term;
        term.objective = item.create();
        term.objective->parse_parameters(parameters);
        term.weight = parameters.get_double("Weight");
        term.name   = name;
        terms.push_back(std::move(term));
      }
  }

  template <int dim>
  void
  Problem<dim>::check_objective() const
  {
    for (const auto &term : terms)
      if (term.weight > 0 && term.objective->needs_observation() &&
          registered.empty())
        throw InputError(data.source,
                         "has no displacement_field or displacement_steps, "
                         "expected one because of Objective/" +
                           term.name);
    // Fails where the observation is zero at all free vertices.
    for (std::size_t s = 0; s < snapshots.size(); ++s)
      for (const auto &term : terms)
        if (term.weight > 0 && term.objective->needs_observation())
          term.objective->value(equilibrium->context(s));
  }

  template <int dim>
  void
  Problem<dim>::check_strain()
  {
    if (registered.empty())
      return;
    const auto                 &D = *discretization;
    std::vector<double>         smallest, largest; // principal stretches
    unsigned long               beyond = 0, inverted = 0, total = 0;
    std::vector<Tensor<1, dim>> u;
    for (const auto &s : snapshots)
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          D.gather(s.observed, k, u);
          const auto     g = D.barycentric_gradients(k);
          Tensor<2, dim> F;
          for (unsigned int a = 0; a < dim + 1; ++a)
            F += outer_product(u[a], g[a]);
          for (unsigned int d = 0; d < dim; ++d)
            F[d][d] += 1;
          const auto lambda = eigenvalues(symmetrize(transpose(F) * F));
          double     worst  = 0;
          for (unsigned int d = 0; d < dim; ++d)
            {
              const double stretch = std::sqrt(std::max(0., lambda[d]));
              worst                = std::max(worst, std::abs(stretch - 1));
              if (d == 0)
                largest.push_back(stretch); // eigenvalues descend
              if (d == dim - 1)
                smallest.push_back(stretch);
            }
          beyond += worst > 0.1;
          inverted += determinant(F) <= 0;
          ++total;
        }
    beyond   = Utilities::MPI::sum(beyond, comm);
    inverted = Utilities::MPI::sum(inverted, comm);
    total    = Utilities::MPI::sum(total, comm);
    // The 1st percentile of the smallest, the 99th of the largest stretch.
    const auto percentile = [&](const std::vector<double> &mine,
                                const double               share) {
      std::vector<double> all;
      for (const auto &part : Utilities::MPI::gather(comm, mine, 0))
        all.insert(all.end(), part.begin(), part.end());
      std::sort(all.begin(), all.end());
      const double value =
        all.empty() ? 0.
                    : all[static_cast<std::size_t>(share * (all.size() - 1))];
      return Utilities::MPI::broadcast(comm, value, 0);
    };
    const double low  = percentile(smallest, 0.01),
                 high = percentile(largest, 0.99);
    strain_statistics = {{"principal_stretch_percentile_1", low},
                         {"principal_stretch_percentile_99", high},
                         {"share_of_cells_above_10_percent",
                          double(beyond) / total},
                         {"inverted_by_the_registration", inverted}};
    if (equilibrium->assumes_small_strain() && beyond > 0.01 * total)
      {
        std::ostringstream text;
        text.precision(3);
        text << "the registered motion leaves small strain, which the model "
                "assumes: "
             << 100. * beyond / total
             << " % of the cells exceed 10 % (principal stretches " << low
             << " to " << high << " between the 1st and 99th percentile)";
        warn(text.str());
      }
    if (inverted > 0)
      warn("the registered motion inverts " + std::to_string(inverted) +
           " cells (det F <= 0)");
  }

  template <int dim>
  std::pair<double, double>
  Problem<dim>::mean_errors() const
  {
    const auto         &D = *discretization;
    std::vector<double> sums(4, 0.);
    for (std::size_t s = 0; s < snapshots.size(); ++s)
      if (snapshots[s].has_observation())
        {
          const auto &u = equilibrium->context(s).state.u;
          for (unsigned int i = 0; i < D.n_owned_nodes(); ++i)
            if (D.is_vertex(i) && !constrained[i * dim])
              {
                // Weight 0 in the pack is held out too.
                const unsigned int which =
                  snapshots[s].observation_weight[i] == 0 ? 2 : 0;
                double square = 0;
                for (unsigned int d = 0; d < dim; ++d)
                  square +=
                    std::pow(u.local_element(i * dim + d) -
                               snapshots[s].observed.local_element(i * dim + d),
                             2);
                sums[which] += std::sqrt(square);
                ++sums[which + 1];
              }
        }
    Utilities::MPI::sum(sums, comm, sums);
    return {sums[1] > 0 ? sums[0] / sums[1] : 0.,
            sums[3] > 0 ? sums[2] / sums[3] : 0.};
  }

  template <int dim>
  SerialDisplacement<dim>
  Problem<dim>::serial_displacement() const
  {
    const auto             &D = *discretization;
    const auto             &u = equilibrium->context(0).state.u;
    SerialDisplacement<dim> result;
    result.mesh     = data.mesh;
    result.vertices = D.gather_vertices(u);
    if (degree == 2)
      {
        std::vector<double> mine;
        for (unsigned int i = 0; i < D.n_owned_nodes(); ++i)
          if (!D.is_vertex(i))
            {
              mine.push_back(D.node_vertices[i][0]);
              mine.push_back(D.node_vertices[i][1]);
              for (unsigned int d = 0; d < dim; ++d)
                mine.push_back(u.local_element(i * dim + d));
            }
        for (const auto &part : Utilities::MPI::all_gather(comm, mine))
          for (std::size_t i = 0; i < part.size(); i += 2 + dim)
            {
              Tensor<1, dim> value;
              for (unsigned int d = 0; d < dim; ++d)
                value[d] = part[i + 2 + d];
              result.edges[{{static_cast<unsigned int>(part[i]),
                             static_cast<unsigned int>(part[i + 1])}}] = value;
            }
      }
    return result;
  }

  template <int dim>
  void
  Problem<dim>::print_plan(const std::string &task) const
  {
    const auto &D = *discretization;
    log << "task " << task << " on " << data.source << " with "
        << Utilities::MPI::n_mpi_processes(comm) << " rank(s)" << std::endl
        << describe(quality) << std::endl
        << "  " << D.dof_handler().n_dofs() << " degrees of freedom (degree "
        << degree << "), " << n_constrained_vertices
        << " vertices constrained, " << n_free_vertices << " free, "
        << snapshots.size() << " snapshot(s)" << std::endl;
    if (n_unobservable > 0)
      log << "  " << n_unobservable
          << " cells have prescribed vertices only: their stiffness cannot be "
             "observed (observable = 0)"
          << std::endl;
    log << "  frames: " << frames_kind;
    if (frames_kind == "registered")
      log << " (" << frame_counts.registered << " principal stretch, "
          << frame_counts.near_rigid << " near-rigid, " << frame_counts.inverted
          << " inverted, " << frame_counts.collapsed << " collapsed, "
          << frame_counts.motionless << " of these without motion)";
    log << std::endl
        << "  linear solver: " << equilibrium->solver_description()
        << std::endl;
    if (!scale_identified)
      log << "  no load: only relative stiffness can be found; absolute values "
             "are relative to the reference stiffness "
          << reference_stiffness << " Pa" << std::endl;
  }

  template <int dim>
  double
  geometric_mean(const Discretization<dim> &D, const Field &field)
  {
    double sum = 0, volume = 0;
    for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
      {
        sum += D.volume[k] * std::log(field[k]);
        volume += D.volume[k];
      }
    return std::exp(D.sum(sum) / D.sum(volume));
  }

  template class Problem<2>;
  template class Problem<3>;
  template double
  geometric_mean(const Discretization<2> &, const Field &);
  template double
  geometric_mean(const Discretization<3> &, const Field &);
} // namespace Palpate
