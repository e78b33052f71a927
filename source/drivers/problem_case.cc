#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/text.h>
#include <palpate/drivers/observation.h>
#include <palpate/drivers/problem.h>
#include <palpate/geometry/stretch.h>
#include <palpate/mesh/distributed_mesh.h>
#include <palpate/mesh/faces.h>
#include <palpate/mesh/generate.h>
#include <palpate/mesh/join_vertices.h>
#include <palpate/mesh/network.h>
#include <palpate/mesh/partitioned_pack.h>
#include <palpate/mesh/read_case.h>

#include <boost/algorithm/string/predicate.hpp>

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>

// The case of a Problem: mesh, observation, constraints.
namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// Arrays of a network that this file does not ask for: key and entry.
    std::vector<std::pair<std::string, std::string>>
    unused_arrays(const Parameters &parameters)
    {
      // Without telling that they were read.
      auto      &prm   = const_cast<ParameterHandler &>(parameters.handler);
      const bool finds = prm.get("Task") == "identify";
      std::vector<std::pair<std::string, std::string>> result;
      if (!finds && prm.get({"Stiffness"}, "Source") != "pack")
        result.emplace_back("spring_constant", "Stiffness/Source");
      if (prm.get({"Loads"}, "Mass") != "pack")
        result.emplace_back("mass", "Loads/Mass");
      if (prm.get({"Loads"}, "Charge") != "pack")
        result.emplace_back("charge", "Loads/Charge");
      return result;
    }

    /// A mesh in LPS, as the file or the user says: x and y of vertices,
    /// displacements and material axes change their signs (a half turn, so that
    /// no cell is turned inside out).
    template <int dim>
    void
    turn_to_ras(CaseData<dim> &data, Parameters &parameters)
    {
      const std::string asked = parameters.get("Coordinates");
      if (asked == "RAS" && data.coordinates == "LPS")
        parameters.fail("Coordinates",
                        data.source +
                          " says SPACE=LPS, expected LPS or of file");
      if (asked != "LPS" && data.coordinates != "LPS")
        return;
      if (dim != 3)
        parameters.fail("Coordinates", "expected a 3D mesh for LPS");
      for (auto &v : data.mesh.vertices)
        for (unsigned int d = 0; d < 2; ++d)
          v[d] *= -1;
      // Rows of three numbers a vertex; of the axes (columns) rows of a matrix.
      for (const auto &[key, size] :
           {std::pair<const char *, std::size_t>("displacement_field", 1),
            std::pair<const char *, std::size_t>("displacement_steps", 1),
            std::pair<const char *, std::size_t>("anisotropy_axes", 3)})
        {
          const auto array = data.arrays.find(key);
          if (array == data.arrays.end())
            continue;
          auto &values = array->second.values;
          for (std::size_t i = 0; i < values.size(); ++i)
            if (i / size % 3 < 2)
              values[i] *= -1;
        }
      data.notes.push_back("LPS coordinates" +
                           std::string(asked == "LPS" ? "" : " (SPACE=LPS)") +
                           ": x and y were turned to RAS");
    }
  } // namespace

  template <int dim>
  CaseData<dim>
  load_case(Parameters               &parameters,
            const MPI_Comm           &comm,
            const ConditionalOStream &log,
            QualityReport<dim>       &quality)
  {
    CaseData<dim>     data;
    const bool        network = is_network(parameters);
    const auto        unused  = network
                                  ? unused_arrays(parameters)
                                  : std::vector<std::pair<std::string, std::string>>();
    const std::string task    = parameters.get("Task");
    if (network && task != "forward" && task != "simulate" &&
        task != "evaluate" && task != "identify" && task != "verify")
      parameters.fail(
        "Task",
        "expected forward, simulate, evaluate, identify or verify "
        "for a network (Model/Type = edge springs)");
    const Parameters::Section section(parameters, "Case");
    const std::string         shape = parameters.get("Shape");
    if (Network::is_surface(shape) && !network)
      parameters.fail("Shape",
                      "expected Model/Type = edge springs for a surface");
    if (!shape.empty() && parameters.is_changed("File"))
      parameters.fail("Shape", "expected either Case/File or Case/Shape");
    const bool parts = shape.empty() && is_partitioned(parameters.get("File"));
    if (parts && network)
      parameters.fail("File", "expected a whole mesh for a network");
    if (parts)
      {
        if (parameters.get("Length unit") != "m")
          parameters.fail("Length unit",
                          "parts are in metres, expected m for " +
                            parameters.get("File"));
        parameters.get("Repair orientation"); // was done when they were cut
        data =
          read_partitioned_pack<dim>(parameters.get("File"), quality, comm);
      }
    else if (shape.empty())
      {
        const std::string text = parameters.get("Length unit"),
                          file = parameters.get("File");
        const double unit      = text == "mm" ? 1e-3 : text == "cm" ? 1e-2 : 1.;
        const bool   vtk =
          boost::iends_with(file, ".vtu") || boost::iends_with(file, ".vtk");
        data =
          network
            ? Network::read<dim>(file, unit)
            : Palpate::read_case<dim>(file,
                                      unit,
                                      vtk ? parameters.get("Label array") : "");
        turn_to_ras(data, parameters);
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
        const bool box     = (shape == "box" || shape == "rectangle"),
                   surface = Network::is_surface(shape);
        if (surface)
          {
            const auto n = parameters.get_integers("Subdivisions");
            for (unsigned int i = 0; i < std::min<std::size_t>(3, n.size());
                 ++i)
              d.subdivisions[i] = n[i];
          }
        if (shape == "torus")
          {
            d.major_radius = parameters.get_double("Major radius");
            d.minor_radius = parameters.get_double("Minor radius");
          }
        if (shape == "sheet")
          {
            get_corner("Lower corner", d.lower);
            get_corner("Upper corner", d.upper);
          }
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
        if (!surface && (!box || d.subdivisions[0] == 0))
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
        data.source          = "generated " + shape;
        data.has_own_numbers = true;
        if constexpr (dim == 3)
          if (surface)
            run_on_all(comm,
                       [&]() { data.mesh = Network::generate_surface(d); });
        if (!surface)
          {
            run_on_root(comm, [&]() { data.mesh = generate_shape<dim>(d); });
            broadcast_mesh(data.mesh, comm);
            if (network)
              Network::take_edges(data.mesh);
          }
      }
    if (shape.empty() && !parts)
      {
        const std::string text = parameters.get("Join vertices");
        const double      tolerance =
          text.empty() ? 0 : parameters.get_double("Join vertices");
        if (!(tolerance >= 0))
          parameters.fail("Join vertices", "expected a length of at least 0");
        if (tolerance > 0)
          join_vertices(data, tolerance);
        else if (text.empty() && is_discontinuous(data.mesh))
          join_vertices(data, 1e-12);
      }
    if (network)
      quality = Network::check(data);
    else if (!parts) // those are whole already, and in metres
      quality =
        check_and_repair(data, parameters.get_bool("Repair orientation"));
    if (shape.empty() && !parts)
      {
        const auto pairs = coincident_vertices(data.mesh.vertices);
        if (!pairs.empty())
          {
            std::ostringstream text;
            text << pairs.size()
                 << " pair(s) of vertices coincide (closer than 1e-6 of the "
                    "body), the first is "
                 << pairs[0][0] << " and " << pairs[0][1] << " at ("
                 << data.mesh.vertices[pairs[0][0]]
                 << ") m: they are not joined, what meets there is apart "
                    "(Case/Join vertices)";
            data.notes.push_back(text.str());
          }
      }
    if (!parameters.get("Label function").empty())
      {
        const auto values =
          values_at_barycentres<dim>("Label function", parameters, data.mesh);
        run_on_all(comm, [&]() {
          for (std::size_t k = 0; k < values.size(); ++k)
            {
              if (!(std::abs(values[k]) < 1e6) ||
                  values[k] != std::round(values[k]))
                parameters.fail("Label function",
                                "is not a whole number at cell " +
                                  std::to_string(data.mesh.cell_number(k)) +
                                  ", expected labels such as 1 and 2");
              data.mesh.labels[k] = static_cast<int>(values[k]);
            }
        });
        if (network)
          Network::label_vertices(data.mesh);
      }
    for (const auto &[key, entry] : unused)
      if (data.arrays.count(key) > 0)
        data.notes.push_back("key '" + key + "' is not used, as " + entry +
                             " is not pack");
    for (const auto &note : data.notes)
      log << "note: " << data.source << ": " << note << std::endl;
    return data;
  }

  template <int dim>
  void
  refuse_parts(const CaseData<dim> &data, const std::string &task)
  {
    if (!data.mesh.is_whole())
      throw InputError(data.source,
                       "is a partitioned pack, expected the whole case for "
                       "Task = " +
                         task);
  }

  template <int dim>
  void
  Problem<dim>::read_snapshots(const bool dry_run)
  {
    const std::size_t n = data.mesh.vertices.size() * dim;
    if (time && snapshot_times.empty()) // nothing is observed
      {
        snapshots.resize(1);
        return;
      }
    {
      const Parameters::Section section(parameters, "Observation");
      const std::string         file    = parameters.get("Computed by");
      const bool                formula = !parameters.get("Formula").empty();
      if (!file.empty() && formula)
        parameters.fail("Formula", "expected none beside Computed by");
      if (!file.empty())
        registered = computed_displacements<dim>(file,
                                                 data.mesh,
                                                 snapshot_times,
                                                 parameters.get_double(
                                                   "Largest share outside"),
                                                 comm,
                                                 log,
                                                 dry_run);
      else if (formula)
        registered = displacements_of_formula();
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
            add_noise(registered,
                      noise,
                      parameters.get_integer("Noise seed"),
                      *discretization);
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
    std::vector<double> box(2 * dim, -1e300); // upper corner, minus the lower
    for (const auto &v : data.mesh.vertices)
      for (unsigned int d = 0; d < dim; ++d)
        {
          box[d]       = std::max(box[d], v[d]);
          box[dim + d] = std::max(box[dim + d], -v[d]);
        }
    Utilities::MPI::max(box, comm, box);
    double extent = 0;
    for (unsigned int d = 0; d < dim; ++d)
      extent = std::max(extent, box[d] + box[dim + d]);
    if (extent > 100 || extent < 1e-4)
      warn("the body is " + Text::number(extent, 3) +
           " m across: is Case/Length unit right?");
    // At rest a body deforms by less than its size; it may fly farther.
    const double farthest = time ? 1e6 : 1;
    run_on_all(comm, [&]() {
      for (std::size_t s = 0; s < registered.size(); ++s)
        for (std::size_t i = 0; i < n; ++i)
          if (!(std::abs(registered[s][i]) < farthest * extent))
            throw InputError(data.source,
                             (data.arrays.count("displacement_steps")
                                ? "key 'displacement_steps'"
                                : "key 'displacement_field'") +
                               std::string(": the displacement of vertex ") +
                               std::to_string(
                                 data.mesh.vertex_number(i / dim)) +
                               " in snapshot " + std::to_string(s) +
                               " is more than " + (time ? "1e6 times " : "") +
                               "the size of the body, expected a motion in the "
                               "file's length unit (Case/Length unit)");
    });
    if (time && !registered.empty() &&
        registered.size() != snapshot_times.size())
      {
        const Parameters::Section section(parameters, "Time");
        parameters.fail("Snapshot times",
                        "expected " + std::to_string(registered.size()) +
                          " times, one for every displacement of " +
                          data.source);
      }
    snapshots.resize(time ? snapshot_times.size()
                          : std::max<std::size_t>(1, registered.size()));
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
    const auto                            any_vertex = [&]() {
      const bool any =
        std::find(vertex.begin(), vertex.end(), true) != vertex.end();
      return Utilities::MPI::max(any ? 1 : 0, comm) > 0;
    };
    if (kind == "boundary_nodes")
      {
        const auto &flags =
          array("boundary_nodes", "Constrained vertices = boundary_nodes");
        for (std::size_t v = 0; v < n; ++v)
          vertex[v] = flags.values[v] != 0;
        if (time && !any_vertex())
          throw InputError(data.source,
                           "key 'boundary_nodes': all 0, expected a vertex to "
                           "constrain (or Boundary conditions/Constrained "
                           "vertices = none)");
      }
    else if (kind == "formula")
      {
        const auto formula =
          read_formula<dim>("Constrained formula", parameters, 1, false);
        run_on_all(comm, [&]() {
          for (std::size_t v = 0; v < n; ++v)
            {
              const double value = formula->value(data.mesh.vertices[v]);
              if (!std::isfinite(value))
                parameters.fail("Constrained formula",
                                "is not finite at vertex " +
                                  std::to_string(data.mesh.vertex_number(v)) +
                                  ", expected finite values");
              vertex[v] = value > 0;
            }
        });
        if (!any_vertex())
          parameters.fail("Constrained formula",
                          "is above 0 at no vertex, expected one at least (or "
                          "Constrained vertices = none)");
      }
    else if (data.mesh.is_network() && kind != "none")
      parameters.fail("Constrained vertices",
                      "a network has no surface, expected boundary_nodes, "
                      "formula or none");
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
            for (const unsigned int v : D.node_places[nodes[a]])
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
      if (D.is_vertex(i) && vertex[D.node_places[i][0]])
        node[i] = 1;

    // A rank may see a node only through ghost cells: owners decide.
    LinearAlgebra::distributed::Vector<double> flags(D.node_partitioner());
    for (unsigned int i = 0; i < D.n_owned_nodes(); ++i)
      flags.local_element(i) = node[i];
    flags.update_ghost_values();
    vertex_constrained.assign(n, 0);
    for (unsigned int i = 0; i < D.n_nodes(); ++i)
      if (D.is_vertex(i))
        vertex_constrained[D.node_places[i][0]] = flags.local_element(i) > 0.5;
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
    const bool        none = time && n_constrained_vertices == 0;
    const std::string values =
      none ? "zero" : parameters.get("Prescribed values");
    if (values == "function")
      prescribed_motion =
        read_formula<dim>("Prescribed function", parameters, dim, true);
    prescribe_registered = (values == "registered");
    if (prescribe_registered && registered.empty())
      parameters.fail(
        "Prescribed values",
        time && snapshot_times.empty()
          ? "registered ones are those at Time/Snapshot times, of "
            "which there are none, expected some (or zero, or "
            "function)"
          : data.source +
              " has no displacement_field or displacement_steps"
              ", expected one" +
              (time ? " with Time/Snapshot times" : "") +
              " (or Prescribed values = zero)");
    if (time)
      {
        moving.resize(1);
        moving[0].prescribed = ghosted_copy(D.make_vector());
        prescribe(0, moving[0].prescribed);
      }
    for (auto &s : snapshots)
      {
        s.prescribed =
          ghosted_copy(prescribe_registered ? s.observed : D.make_vector());
        if (prescribed_motion)
          {
            prescribe(time ? 0. : 1., s.prescribed);
            double wrong = 0;
            for (unsigned int i = 0; i < D.n_nodes() * dim; ++i)
              wrong += !std::isfinite(s.prescribed.local_element(i));
            if (D.sum(wrong) > 0)
              parameters.fail("Prescribed function",
                              "is not finite at some constrained vertex, "
                              "expected finite values");
          }
      }

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
    const std::vector<char> held =
      choose_vertices(data.mesh, held_fraction, held_seed);
    for (std::size_t s = 0; s < snapshots.size(); ++s)
      {
        snapshots[s].observation_weight.assign(D.n_nodes(), 0.);
        for (unsigned int i = 0; i < D.n_nodes(); ++i)
          {
            double w = 1e300;
            for (const unsigned int v : D.node_places[i])
              w =
                std::min(w, held[v] && !vertex_constrained[v] ? 0. : weight[v]);
            snapshots[s].observation_weight[i] = w;
          }
      }
    observable = Field(D.n_cells());
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      {
        for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
          if (!constrained[D.cell_nodes[k * D.nodes_per_cell + a] * dim])
            observable[k] = 1;
        n_unobservable += (k < D.n_owned_cells() && observable[k] == 0);
      }
    n_unobservable = Utilities::MPI::sum(n_unobservable, comm);
  }

  template <int dim>
  void
  Problem<dim>::prescribe(const double t, Vector &u) const
  {
    if (prescribed_motion)
      prescribed_motion->set_time(t);
    // Registered motion: linear in time between the snapshots, and from rest.
    std::size_t later = 0;
    while (prescribe_registered && later + 1 < snapshots.size() &&
           snapshot_times[later] < t)
      ++later;
    double share = 0;
    if (prescribe_registered)
      {
        const double before = later > 0 ? snapshot_times[later - 1] : 0.;
        share = std::min(1., (t - before) / (snapshot_times[later] - before));
      }
    const auto registered_at = [&](const unsigned int dof) {
      return share * snapshots[later].observed.local_element(dof) +
             (later > 0
                ? (1 - share) * snapshots[later - 1].observed.local_element(dof)
                : 0.);
    };
    for (unsigned int n = 0; n < discretization->n_nodes(); ++n)
      if (constrained[n * dim])
        for (unsigned int d = 0; d < dim; ++d)
          u.local_element(n * dim + d) =
            prescribed_motion
              ? prescribed_motion->value(discretization->node_position(n), d)
            : prescribe_registered ? registered_at(n * dim + d)
                                   : 0.;
  }

  template <int dim>
  std::vector<unsigned int>
  Problem<dim>::steps_of(const std::vector<double> &times) const
  {
    std::vector<unsigned int> steps;
    for (const double t : times)
      {
        const double              step = std::round(t / time->step);
        const Parameters::Section section(parameters, "Time");
        std::ostringstream        text;
        if (!steps.empty() && step <= steps.back())
          {
            text << t << " comes after " << steps.back() * time->step
                 << ", expected increasing times, each once";
            parameters.fail("Snapshot times", text.str());
          }
        if (!(t > 0) || !(t <= time->end * (1 + 1e-12)) ||
            std::abs(step * time->step - t) > 1e-6 * time->step)
          {
            text << t << " is none of the times of the run, expected "
                 << "multiples of Step = " << time->step
                 << " up to End = " << time->end;
            parameters.fail("Snapshot times", text.str());
          }
        steps.push_back(static_cast<unsigned int>(step));
      }
    return steps;
  }

  template <int dim>
  void
  Problem<dim>::read_snapshot_times()
  {
    const bool simulate = parameters.get("Task") == "simulate";
    {
      const Parameters::Section section(parameters, "Time");
      const std::string         list = parameters.get("Snapshot times");
      if (list == "every step")
        for (unsigned int i = 1; i <= time->n_steps(); ++i)
          snapshot_times.push_back(i * time->step);
      else if (!list.empty() && list != "final")
        snapshot_times = parameters.get_doubles("Snapshot times");
      else if (list == "final" || !simulate)
        snapshot_times = {time->end};
    }
    const auto steps = steps_of(snapshot_times);
    // As the run counts them.
    for (std::size_t s = 0; s < steps.size(); ++s)
      snapshot_times[s] = steps[s] * time->step;
  }

  template <int dim>
  std::vector<std::vector<double>>
  Problem<dim>::displacements_of_formula()
  {
    std::vector<std::vector<double>> result;
    const auto formula = read_formula<dim>("Formula", parameters, dim, true);
    for (const double t : time ? snapshot_times : std::vector<double>(1, 1.))
      {
        formula->set_time(t);
        result.emplace_back();
        run_on_all(comm, [&]() {
          for (std::size_t v = 0; v < data.mesh.vertices.size(); ++v)
            for (unsigned int d = 0; d < dim; ++d)
              {
                result.back().push_back(
                  formula->value(data.mesh.vertices[v], d));
                if (!std::isfinite(result.back().back()))
                  parameters.fail("Formula",
                                  "is not finite at vertex " +
                                    std::to_string(data.mesh.vertex_number(v)) +
                                    ", expected finite displacements");
              }
        });
      }
    return result;
  }

  template <int dim>
  void
  Problem<dim>::check_constraints() const
  {
    const std::string where = data.source;
    if (time && n_free_vertices > 0)
      return; // a body may fly
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
    const auto               &D = *discretization;
    const auto               &m = data.mesh;
    const unsigned int        C = quality.n_components;
    std::vector<char>         mine(m.vertices.size(), 0);
    std::vector<unsigned int> first(C, no_cell), count(C), lowest(C, no_cell);
    for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
      if (D.is_vertex(n))
        mine[D.node_places[n][0]] = 1;
    // Places of this rank's vertices that hold a component.
    std::vector<std::set<unsigned int>> held(C);
    for (std::size_t k = 0; k < m.n_cells(); ++k)
      {
        const unsigned int c = quality.component_of_cell[k];
        first[c]             = std::min(first[c], m.cell_number(k));
        for (const unsigned int v : m.vertices_of(k))
          if (mine[v] && vertex_constrained[v])
            held[c].insert(v);
      }
    for (unsigned int c = 0; c < C; ++c)
      {
        count[c] = held[c].size();
        if (!held[c].empty())
          lowest[c] = m.vertex_number(*held[c].begin());
      }
    Utilities::MPI::min(first, comm, first);
    Utilities::MPI::min(lowest, comm, lowest);
    Utilities::MPI::sum(count, comm, count);
    // Positions of one vertex of each component, by number.
    const auto positions = [&](const std::vector<unsigned int> &numbers) {
      std::vector<double> x(C * dim, 0.);
      for (unsigned int c = 0; c < C; ++c)
        for (const unsigned int v : held[c])
          if (m.vertex_number(v) == numbers[c])
            std::copy(m.vertices[v].begin_raw(),
                      m.vertices[v].end_raw(),
                      x.begin() + c * dim);
      Utilities::MPI::sum(x, comm, x);
      std::vector<Point<dim>> points(C);
      for (unsigned int c = 0; c < C; ++c)
        std::copy(x.begin() + c * dim,
                  x.begin() + (c + 1) * dim,
                  points[c].begin_raw());
      return points;
    };
    const auto                p0 = positions(lowest);
    std::vector<double>       length(C, 0.), span(C, 0.);
    std::vector<unsigned int> farthest(C, no_cell);
    for (unsigned int c = 0; c < C; ++c)
      for (const unsigned int v : held[c])
        length[c] = std::max(length[c], (m.vertices[v] - p0[c]).norm());
    Utilities::MPI::max(length, comm, length);
    for (unsigned int c = 0; c < C; ++c)
      for (const unsigned int v : held[c])
        if ((m.vertices[v] - p0[c]).norm() == length[c])
          farthest[c] = std::min(farthest[c], m.vertex_number(v));
    Utilities::MPI::min(farthest, comm, farthest);
    const auto p1 = positions(farthest);
    for (unsigned int c = 0; c < C; ++c)
      if (length[c] > 0)
        for (const unsigned int v : held[c])
          {
            const Tensor<1, dim> d = m.vertices[v] - p0[c],
                                 e = (p1[c] - p0[c]) / length[c];
            span[c] = std::max(span[c], (d - (d * e) * e).norm());
          }
    Utilities::MPI::max(span, comm, span);
    for (unsigned int c = 0; c < C; ++c)
      {
        const std::string name = "component " + std::to_string(c) +
                                 " (the one of cell " +
                                 std::to_string(first[c]) + ")";
        if (count[c] == 0)
          throw InputError(where,
                           name + " has no constrained vertex: it is free to "
                                  "move, expected every component to be held");
        if (length[c] == 0 || (dim == 3 && span[c] < 1e-9 * length[c]))
          throw InputError(where,
                           name + " is held by " + std::to_string(count[c]) +
                             " vertices in one line: it is free to rotate, "
                             "expected more constrained vertices");
      }
  }

  template <int dim>
  void
  Problem<dim>::check_strain()
  {
    if (registered.empty() || discretization->is_network())
      return;
    const auto                 &D = *discretization;
    std::vector<double>         smallest, largest; // principal stretches
    unsigned long               beyond = 0, inverted = 0, total = 0;
    std::vector<Tensor<1, dim>> u;
    for (const auto &s : snapshots)
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          D.gather(s.observed, k, u);
          const Tensor<2, dim> F         = D.deformation_gradient(u, k, 0);
          const auto           stretches = principal_stretches(F);
          largest.push_back(stretches.front());
          smallest.push_back(stretches.back());
          beyond += largest_strain<dim>(stretches) > 0.1;
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

#define INSTANTIATE(dim)                                                  \
  template CaseData<dim> load_case(Parameters &,                          \
                                   const MPI_Comm &,                      \
                                   const ConditionalOStream &,            \
                                   QualityReport<dim> &);                 \
  template void refuse_parts(const CaseData<dim> &, const std::string &); \
  template void Problem<dim>::read_snapshots(const bool);                 \
  template void Problem<dim>::constrain();                                \
  template void Problem<dim>::check_constraints() const;                  \
  template void Problem<dim>::prescribe(const double, Vector &) const;    \
  template void Problem<dim>::check_strain();                             \
  template void Problem<dim>::read_snapshot_times();                      \
  template std::vector<unsigned int> Problem<dim>::steps_of(              \
    const std::vector<double> &) const;

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
