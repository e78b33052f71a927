#include <palpate/core/errors.h>
#include <palpate/drivers/evaluated_unknowns.h>
#include <palpate/drivers/evaluation_log.h>
#include <palpate/drivers/fingerprint.h>
#include <palpate/drivers/problem.h>
#include <palpate/equilibrium/together.h>
#include <palpate/image/read_image.h>
#include <palpate/mesh/distributed_mesh.h>
#include <palpate/mesh/network.h>
#include <palpate/mesh/read_case.h>
#include <palpate/mesh/readers.h>

#include <algorithm>
#include <cmath>

namespace Palpate
{
  using namespace dealii;

  bool
  is_network(const Parameters &parameters)
  {
    // Without telling that the entry was read: not every task reads it.
    return const_cast<ParameterHandler &>(parameters.handler)
             .get({"Model"}, "Type") == "edge springs";
  }

  int
  case_dimension(Parameters &parameters)
  {
    const bool                network = is_network(parameters);
    const Parameters::Section section(parameters, "Case");
    const std::string         shape = parameters.get("Shape");
    if (shape.empty())
      {
        if (parameters.get("File").empty())
          parameters.fail("File", "expected a file, or a Shape to generate");
        return network ? Network::dimension(parameters.get("File"))
                       : mesh_dimension(parameters.get("File"));
      }
    return (shape == "rectangle" || shape == "disk") ? 2 : 3;
  }

  namespace
  {
    /// Whether the task ends with write_results().
    bool
    writes_results(Parameters &parameters)
    {
      const std::string task = parameters.get("Task");
      return task == "forward" || task == "evaluate" || task == "identify";
    }
  } // namespace

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
    const std::string task     = parameters.get("Task");
    const bool        simulate = (task == "simulate");
    if (simulate || task == "evaluate" || task == "identify" ||
        task == "verify")
      {
        const Parameters::Section section(parameters, "Time");
        if (parameters.get("Integrator") != "static")
          {
            time = std::make_unique<TimeParameters>();
            time->parse_parameters(parameters, !simulate);
          }
        else if (simulate)
          parameters.fail("Integrator", "expected one that moves the body");
      }
    if (time)
      read_snapshot_times();
    if (needs_objective)
      parse_objective();
    if (stiffness_from_parameterization)
      read_parameterization();
    if (task == "evaluate")
      more_unknowns = read_more_unknowns<dim>(parameters);
    if (!time || time->uses_equilibrium)
      {
        const Parameters::Section section(parameters, "Linear solver");
        solver_parameters.parse_parameters(parameters);
      }
    if (writes_results(parameters))
      {
        const Parameters::Section section(parameters, "Images");
        if (!parameters.get("Rasterise like").empty())
          {
            if (dim != 3)
              parameters.fail("Rasterise like", "expected a 3D case");
            raster_grid = std::make_shared<Image>(
              read_image(parameters.get("Rasterise like"), 1));
            raster_background = parameters.get_double("Rasterise background");
            raster_lps = (parameters.get("Displacement convention") == "LPS");
          }
      }
    data = load_case<dim>(parameters, comm, log, quality);
    if (data.mesh.is_whole() && !data.mesh.is_network() &&
        Utilities::MPI::n_mpi_processes(comm) > 1)
      keep_part(data, quality, comm);
    {
      const Parameters::Section section(parameters, "Model");
      degree = parameters.get_integer("Degree");
      if (!time)
        refuse_inverted = (parameters.get("Inverted cells") == "refuse");
    }
    discretization =
      std::make_unique<Discretization<dim>>(data.mesh, degree, comm);
    read_snapshots(dry_run);
    if constexpr (dim == 3)
      if (writes_results(parameters))
        {
          landmarks = read_landmarks(parameters, snapshots.size());
          if (!landmarks.empty())
            {
              const SerialMesh<3>    whole = whole_mesh(data.mesh, comm);
              const PointLocation<3> locator(whole);
              const double           size = std::cbrt(quality.volume);
              check_landmarks(landmarks,
                              whole.vertices,
                              [&](const Point<3> &x) {
                                return locator.locate(x).distance < 1e-9 * size;
                              });
            }
        }
    if (!landmarks.empty() && prescribed_scale != 1)
      {
        const Parameters::Section section(parameters, "Landmarks");
        parameters.fail("Points",
                        "expected Boundary conditions/Prescribed scale = 1: "
                        "landmarks show the whole motion");
      }
    constrain();
    read_frames();
    read_forces();
    stiffness = read_stiffness(stiffness_from_parameterization);
    if (time)
      read_initial_state();
    add_fields();
    if (time)
      {
        body.reset(new MovingBody<dim>{*equilibrium,
                                       *inertia,
                                       *discretization,
                                       constrained,
                                       moving[0],
                                       initial_fields(),
                                       [this](const double t, Vector &u) {
                                         prescribe(t, u);
                                       },
                                       force_names});
        if (needs_objective)
          trajectory = std::make_unique<Trajectory<dim>>(
            *body, *time, snapshots, steps_of(snapshot_times));
      }
    check_objective();
    // A load vector that is zero on all free DoFs gives no scale.
    if (!time)
      {
        Vector       load   = discretization->make_vector();
        const Fields fields = initial_fields();
        State        zero;
        zero.u = discretization->make_vector();
        try
          {
            together(comm, [&]() {
              for (const auto &force : equilibrium->forces)
                if (!force->scales_with_stiffness())
                  force->residual(
                    {*discretization, zero, fields, snapshots[0], constrained},
                    load);
            });
          }
        catch (const SolverError &e) // below the ground
          {
            throw InputError(parameters.filename,
                             std::string("Loads: ") + e.what());
          }
        for (unsigned int i = 0; i < load.locally_owned_size(); ++i)
          if (constrained[i])
            load.local_element(i) = 0;
        scale_identified = load.l2_norm() > 0;
        for (const auto &force : equilibrium->forces)
          {
            const auto names = force->field_names();
            scale_open =
              scale_open ||
              (!scale_identified && force->tangent_depends_on().state &&
               std::find(names.begin(), names.end(), "stiffness") ==
                 names.end());
          }
      }
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
  std::pair<double, double>
  Problem<dim>::mean_errors(const std::size_t first,
                            const std::size_t last) const
  {
    const auto         &D = *discretization;
    std::vector<double> sums(4, 0.);
    for (std::size_t s = first; s < last; ++s)
      if (snapshots[s].has_observation())
        {
          const auto &u = states().context(s).state.u;
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
  Tensor<1, dim>
  SerialDisplacement<dim>::value(
    const typename PointLocation<dim>::Result &where) const
  {
    const auto    &cell      = mesh->cells[where.cell];
    const auto    &l         = where.barycentric;
    const bool     quadratic = !edges.empty();
    Tensor<1, dim> u;
    for (unsigned int a = 0; a < dim + 1; ++a)
      {
        const double N = quadratic ? l[a] * (2 * l[a] - 1) : l[a];
        for (unsigned int d = 0; d < dim; ++d)
          u[d] += N * vertices[cell[a] * dim + d];
        if (quadratic)
          for (unsigned int b = a + 1; b < dim + 1; ++b)
            u += 4 * l[a] * l[b] *
                 edges.at(
                   {{std::min(cell[a], cell[b]), std::max(cell[a], cell[b])}});
      }
    return u;
  }

  template <int dim>
  SerialDisplacement<dim>
  Problem<dim>::serial_displacement(
    const Vector                                 &u,
    const std::shared_ptr<const SerialMesh<dim>> &whole) const
  {
    const auto             &D = *discretization;
    SerialDisplacement<dim> result;
    result.mesh     = whole;
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
        << "  " << D.n_dofs() << " degrees of freedom (degree " << degree
        << "), " << n_constrained_vertices << " vertices constrained, "
        << n_free_vertices << " free, " << snapshots.size() << " snapshot(s)"
        << std::endl;
    if (time)
      {
        log << "  " << time->n_steps() << " steps of " << time->step << " s by "
            << time->integrator
            << (time->substeps > 1
                  ? ", " + std::to_string(time->substeps) + " substeps each"
                  : "")
            << ", " << (time->lumped ? "lumped" : "consistent")
            << " mass; frames: " << frames_kind << std::endl;
        if (time->uses_equilibrium)
          log << "  linear solver: " << equilibrium->solver_description()
              << std::endl;
        if (trajectory)
          log << "  " << trajectory->description() << std::endl;
        return;
      }
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
    if (scale_open && !scale_identified)
      log << "  no load at rest: whether the stiffness has a scale depends on "
             "forces that come with the motion, and is found at the end"
          << std::endl;
    else if (!scale_identified)
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

  template struct SerialDisplacement<2>;
  template struct SerialDisplacement<3>;
  template <int dim>
  nlohmann::json
  Problem<dim>::fingerprint(const std::vector<std::string> &but) const
  {
    std::uint64_t hash = 0;
    // Sums over vertices and cells, as these are spread over the ranks.
    const auto   &D   = *discretization;
    std::uint64_t sum = 0;
    const auto    add = [&](const std::string         &name,
                         const unsigned int         number,
                         const std::vector<double> &values) {
      sum += EvaluationLog::checksum(values,
                                     EvaluationLog::checksum(name) +
                                       0x9e3779b97f4a7c15ull * number);
    };
    const auto nodal = [&](const std::string &name, const auto &values) {
      for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
        if (D.is_vertex(n))
          {
            std::vector<double> here;
            for (unsigned int d = 0; d < dim; ++d)
              here.push_back(values(n * dim + d));
            add(name, D.node_vertices[n][0], here);
          }
    };
    nodal("vertices", [&](const unsigned int i) {
      return D.node_position(i / dim)[i % dim];
    });
    for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
      {
        std::vector<double> cell;
        for (const unsigned int v : data.mesh.vertices_of(D.cell_place[k]))
          cell.push_back(data.mesh.vertex_number(v));
        cell.push_back(D.label(k));
        add("cells", D.cell_id[k], cell);
      }
    for (const auto &[name, array] : data.arrays)
      {
        const auto rows = Readers::rows_of_key(name, array);
        if (rows.what == Readers::RowsOf::cells)
          for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
            add(name,
                D.cell_id[k],
                take_rows(array, rows.axis, {D.cell_place[k]}).values);
        else if (rows.what == Readers::RowsOf::vertices)
          for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
            if (D.is_vertex(n))
              add(name,
                  D.node_vertices[n][0],
                  take_rows(array, rows.axis, {D.node_places[n][0]}).values);
      }
    if (data.mesh.is_network())
      for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
        add("vertex label", D.node_vertices[n][0], {double(D.node_label(n))});
    for (std::size_t s = 0; s < snapshots.size(); ++s)
      if (snapshots[s].has_observation())
        nodal("observed" + std::to_string(s), [&](const unsigned int i) {
          return snapshots[s].observed.local_element(i);
        });
    for (const char *name : {"initial_displacement", "initial_velocity"})
      if (fixed_fields.has(name))
        nodal(name,
              [&](const unsigned int i) { return fixed_fields[name][i]; });
    hash ^= Utilities::MPI::sum(sum, comm);
    if (prescribe_registered) // the times may follow Time/End
      hash = EvaluationLog::checksum(snapshot_times, hash);
    auto result    = fingerprint_of(parameters, but, comm);
    result["case"] = hash;
    return result;
  }

  template <int dim>
  bool
  Problem<dim>::is_driven() const
  {
    bool driven = prescribed_motion != nullptr || prescribe_registered;
    for (const auto &force : equilibrium->forces)
      driven = driven || !force->has_potential();
    return driven || std::find(force_names.begin(),
                               force_names.end(),
                               "external charges") != force_names.end();
  }

  template class Problem<2>;
  template class Problem<3>;
  template double
  geometric_mean(const Discretization<2> &, const Field &);
  template double
  geometric_mean(const Discretization<3> &, const Field &);
} // namespace Palpate
