// How long one gradient of the reduced functional takes, stage by stage:
// assembly, AMG set-up (or factorization), forward and adjoint solves, and the
// rest, each from zero vectors. Prints one JSON line; see README.md.
#include <deal.II/base/timer.h>

#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/equilibrium/static_equilibrium.h>
#include <palpate/forces/external/loads.h>
#include <palpate/forces/springs/sms.h>
#include <palpate/inverse/reduced_functional.h>
#include <palpate/mesh/distributed_mesh.h>
#include <palpate/mesh/generate.h>
#include <palpate/mesh/quality.h>
#include <palpate/mesh/read_case.h>
#include <palpate/parameterizations/log_linear.h>

#include <boost/program_options.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>

namespace
{
  using namespace dealii;
  using namespace Palpate;
  using Palpate::Vector;

  constexpr int dim = 3;

  struct Options
  {
    unsigned int subdivisions = 20, tets_per_cube = 6, snapshots = 1,
                 repeat   = 1;
    double      tolerance = 1e-8;
    std::string solver    = "cg amg", file;
  };

  /// @return false if only help was asked for.
  bool
  parse(int argc, char **argv, const bool root, Options &o)
  {
    namespace po = boost::program_options;
    int n = o.subdivisions, t = o.tets_per_cube, s = o.snapshots, r = o.repeat;
    po::options_description options("usage: gradient_evaluation [options]");
    options.add_options()("help", "this text")(
      "subdivisions", po::value(&n), "cubes per side of the unit cube [20]")(
      "tets-per-cube", po::value(&t), "5 or 6 [6]")(
      "snapshots", po::value(&s), "solves with the same matrix [1]")(
      "tolerance", po::value(&o.tolerance), "true relative residual [1e-8]")(
      "solver", po::value(&o.solver), "\"cg amg\" or direct [cg amg]")(
      "case",
      po::value(&o.file),
      "a pack with displacement_field instead of the cube")(
      "repeat", po::value(&r), "evaluations, the medians count [1]");
    po::variables_map given;
    try
      {
        po::store(po::parse_command_line(argc, argv, options), given);
        po::notify(given);
      }
    catch (const po::error &e)
      {
        throw InputError("command line", e.what());
      }
    if (given.count("help"))
      {
        if (root)
          std::cout << options;
        return false;
      }
    const auto expect = [](const bool good, const std::string &text) {
      if (!good)
        throw InputError("command line", text);
    };
    expect(n >= 1 && n <= 500, "--subdivisions: expected 1 to 500");
    expect(t == 5 || t == 6, "--tets-per-cube: expected 5 or 6");
    expect(s >= 1 && s <= 1000, "--snapshots: expected 1 to 1000");
    expect(r >= 1 && r <= 1000, "--repeat: expected 1 to 1000");
    expect(o.tolerance > 0 && o.tolerance < 1,
           "--tolerance: expected a value between 0 and 1");
    expect(o.solver == "cg amg" || o.solver == "direct",
           "--solver: expected \"cg amg\" or direct");
    if (given.count("case"))
      for (const char *other : {"subdivisions", "tets-per-cube"})
        expect(!given.count(other),
               std::string("--") + other + " does not go with --case");
    o.subdivisions  = n;
    o.tets_per_cube = t;
    o.snapshots     = s;
    o.repeat        = r;
    return true;
  }

  /// Greatest memory of this process so far [MiB].
  double
  peak_memory()
  {
    std::ifstream file("/proc/self/status");
    std::string   word;
    double        kibibytes = 0;
    while (file >> word)
      if (word == "VmHWM:")
        file >> kibibytes;
    return kibibytes / 1024;
  }

  /// Entries of the matrix of all ranks, zeros of constrained DoFs included.
  std::size_t
  count_nonzeros(const Discretization<dim> &D)
  {
    std::vector<std::vector<unsigned int>> neighbors(D.n_owned_nodes());
    const unsigned int                     nn = D.nodes_per_cell;
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      for (unsigned int a = 0; a < nn; ++a)
        if (D.cell_nodes[k * nn + a] < D.n_owned_nodes())
          {
            auto &list = neighbors[D.cell_nodes[k * nn + a]];
            list.insert(list.end(),
                        &D.cell_nodes[k * nn],
                        &D.cell_nodes[k * nn] + nn);
          }
    std::size_t n = 0;
    for (auto &list : neighbors)
      {
        std::sort(list.begin(), list.end());
        n += std::unique(list.begin(), list.end()) - list.begin();
      }
    return Utilities::MPI::sum(n * dim * dim, D.comm);
  }

  CaseData<dim>
  read_mesh(const Options &o, const MPI_Comm &comm)
  {
    CaseData<dim> data;
    if (o.file.empty())
      {
        ShapeDescription shape;
        shape.type = "box";
        shape.subdivisions.fill(o.subdivisions);
        shape.tets_per_cube = o.tets_per_cube;
        run_on_root(comm, [&]() { data.mesh = generate_shape<dim>(shape); });
        broadcast_mesh(data.mesh, comm);
      }
    else
      {
        data = read_case<dim>(o.file, 1.);
        check_and_repair(data, true);
        if (!data.arrays.count("displacement_field"))
          throw InputError(o.file,
                           "key 'displacement_field' is missing, expected it "
                           "because of --case");
      }
    return data;
  }

  /// log alpha = log 500 + log 20 (1/2 + 1/2 sin 7x cos 5y) at barycentres; x
  /// and y in units of the bounding box.
  Field
  stiffness(const Discretization<dim> &D)
  {
    Point<dim> lower = D.mesh.vertices[0], upper = lower;
    for (const auto &v : D.mesh.vertices)
      for (unsigned int d = 0; d < dim; ++d)
        {
          lower[d] = std::min(lower[d], v[d]);
          upper[d] = std::max(upper[d], v[d]);
        }
    Field alpha(D.n_cells());
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      {
        Point<dim> b;
        for (const unsigned int v : D.mesh.cells[D.cell_id[k]])
          b += D.mesh.vertices[v] / (dim + 1.);
        const double x = (b[0] - lower[0]) / (upper[0] - lower[0]),
                     y = (b[1] - lower[1]) / (upper[1] - lower[1]);
        alpha[k]       = std::exp(std::log(500.) +
                            (std::log(1e4) - std::log(500.)) *
                              (0.5 + 0.5 * std::sin(7 * x) * std::cos(5 * y)));
      }
    return alpha;
  }

  /// 1 for the DoFs of the face z = 1 (id 5), or of the whole surface.
  std::vector<char>
  constrain(const Discretization<dim> &D, const bool surface)
  {
    Vector flags = D.make_vector();
    if (surface)
      for (unsigned int i = 0; i < D.n_nodes() * dim; ++i)
        flags.local_element(i) = D.surface_node[i / dim];
    else
      {
        // A rank may see a node only through ghost cells: owners decide.
        flags.zero_out_ghost_values();
        for (const auto &face : D.boundary_faces)
          if (face.id == 5)
            for (const unsigned int a : face.nodes)
              {
                const unsigned int node =
                  D.cell_nodes[face.cell * D.nodes_per_cell + a];
                if (node < D.n_owned_nodes())
                  for (unsigned int d = 0; d < dim; ++d)
                    flags.local_element(node * dim + d) = 1;
              }
        flags.update_ghost_values();
      }
    std::vector<char> constrained(D.n_nodes() * dim);
    for (unsigned int i = 0; i < constrained.size(); ++i)
      constrained[i] = flags.local_element(i) > 0.5;
    return constrained;
  }

  /// A pack's motion in S equal steps, or fields about as large as the motion
  /// under gravity.
  std::vector<Snapshot<dim>>
  make_snapshots(const Discretization<dim> &D,
                 const CaseData<dim>       &data,
                 const unsigned int         S)
  {
    Tensor<2, dim> identity;
    for (unsigned int d = 0; d < dim; ++d)
      identity[d][d] = 1;
    std::vector<Snapshot<dim>> snapshots(S);
    const auto                 it = data.arrays.find("displacement_field");
    for (unsigned int s = 0; s < S; ++s)
      {
        Snapshot<dim> &shot = snapshots[s];
        const double   part = (s + 1.) / S;
        shot.frames.assign(D.n_cells(), identity);
        shot.observation_weight.assign(D.n_nodes(), 1.);
        if (it != data.arrays.end())
          {
            std::vector<double> u = it->second.values;
            for (double &v : u)
              v *= part;
            shot.observed   = D.interpolate_vertices(u);
            shot.prescribed = shot.observed;
            continue;
          }
        shot.prescribed = D.make_vector();
        shot.observed   = D.make_vector();
        for (unsigned int i = 0; i < D.n_nodes(); ++i)
          {
            const Point<dim> x      = D.node_position(i);
            const double     c      = 0.1 * part * (1 - x[2]);
            const double     u[dim] = {c * std::sin(3 * x[1]),
                                       c * std::cos(2 * x[0] + s),
                                       -c * (1 + x[0] * x[1])};
            for (unsigned int d = 0; d < dim; ++d)
              shot.observed.local_element(i * dim + d) = u[d];
          }
      }
    return snapshots;
  }

  double
  median(std::vector<double> values)
  {
    std::sort(values.begin(), values.end());
    const std::size_t n = values.size();
    return 0.5 * (values[(n - 1) / 2] + values[n / 2]);
  }

  void
  run(const Options &o, const MPI_Comm &comm)
  {
    const unsigned int rank = Utilities::MPI::this_mpi_process(comm);
    const auto         wait = [&]() {
      MPI_Barrier(comm);
      return MPI_Wtime();
    };
    double              start = wait();
    const CaseData<dim> data  = read_mesh(o, comm);

    const Discretization<dim> D(data.mesh, 1, comm);
    const std::vector<char>   constrained = constrain(D, !o.file.empty());
    const auto                snapshots = make_snapshots(D, data, o.snapshots);
    const Field               alpha     = stiffness(D);

    // The default ratios are nu = 0.4, isotropic.
    std::vector<std::unique_ptr<Force<dim>>> forces;
    forces.push_back(std::make_unique<SmsForce<dim, SmsMaterial<dim>>>());
    Fields fixed_fields;
    if (o.file.empty())
      {
        auto gravity     = std::make_unique<Gravity<dim>>();
        gravity->gravity = Tensor<1, dim>({0, 0, -9.81});
        forces.push_back(std::move(gravity));
        fixed_fields["density"] = Field(D.n_cells(), 200.);
      }
    SolverParameters solver_parameters;
    solver_parameters.direct             = (o.solver == "direct");
    solver_parameters.relative_tolerance = o.tolerance;
    const NewtonParameters         newton_parameters;
    const ConditionalOStream       log(std::cout, false);
    StaticEquilibrium<dim>         equilibrium(D,
                                       constrained,
                                       snapshots,
                                       std::move(forces),
                                       solver_parameters,
                                       newton_parameters,
                                       log);
    std::vector<WeightedTerm<dim>> terms;
    // Defaults: relative, over free vertices.
    terms.push_back(
      {Registry<Objective<dim>>::create("Displacement misfit"), 1., "misfit"});
    LogLinear<dim> per_cell(false, false, true);
    per_cell.limits.lower = 1e-300;
    per_cell.limits.upper = 1e300;
    Fields initial;
    initial["stiffness"] = alpha;
    per_cell.bind(D, initial);
    const std::vector<double> q = per_cell.initial();
    std::vector<Vector>       zero(o.snapshots, D.make_vector());
    const auto                longest = [&](const double seconds) {
      return Utilities::MPI::max(seconds, comm);
    };
    const double mesh = longest(wait() - start);

    const char *const stages[] = {
      "assemble", "setup", "forward", "adjoint", "gradient", "total"};
    std::map<std::string, std::vector<double>> seconds;
    unsigned long       forward_iterations = 0, adjoint_iterations = 0;
    double              objective = 0, norm_u = 0;
    std::vector<double> g;
    for (unsigned int i = 0; i < o.repeat; ++i)
      {
        // Nothing is kept from the last repetition.
        equilibrium.set_states(zero);
        ReducedFunctional<dim> J(
          equilibrium, per_cell, terms, fixed_fields, comm);
        SolveCounts &counts = equilibrium.counts;
        counts              = SolveCounts();
        start               = wait();
        objective           = J.value(q);
        forward_iterations  = counts.linear_iterations;
        J.gradient(q, g);
        const double total = longest(MPI_Wtime() - start);
        adjoint_iterations = counts.linear_iterations - forward_iterations;
        norm_u             = equilibrium.context(0).state.u.l2_norm();

        double       known   = 0;
        const double parts[] = {counts.seconds_assembly,
                                counts.seconds_setup,
                                counts.seconds_forward,
                                counts.seconds_adjoint};
        for (unsigned int p = 0; p < 4; ++p)
          {
            const double value = longest(parts[p]);
            seconds[stages[p]].push_back(value);
            known += value;
          }
        seconds["gradient"].push_back(std::max(0., total - known));
      }
    const double memory =
      Utilities::MPI::sum(peak_memory(), comm); // before anything else is made
    double square = 0;
    for (const double x : g)
      square += x * x;

    nlohmann::ordered_json out;
    out["tets"]      = D.n_global_cells();
    out["dofs"]      = D.dof_handler().n_dofs();
    out["ranks"]     = Utilities::MPI::n_mpi_processes(comm);
    out["snapshots"] = o.snapshots;
    out["tolerance"] = o.tolerance;
    out["solver"]    = o.solver;
    out["repeat"]    = o.repeat;
    out["mesh"]      = mesh;
    double total     = 0;
    for (const std::string stage : stages)
      {
        if (stage != "total")
          total += median(seconds[stage]);
        out[stage] = (stage == "total" ? total : median(seconds[stage]));
      }
    out["iterations_forward"] = forward_iterations;
    out["iterations_adjoint"] = adjoint_iterations;
    out["peak_memory"]        = memory;
    out["nonzeros"]           = count_nonzeros(D);
    out["norm_u"]             = norm_u;
    out["objective"]          = objective;
    out["norm_gradient"]      = std::sqrt(D.sum(square));
    if (rank == 0)
      std::cout << out.dump() << std::endl;
  }
} // namespace

int
main(int argc, char **argv)
{
  deal_II_exceptions::disable_abort_on_exception();
  deal_II_exceptions::suppress_stacktrace_in_exceptions();
  Utilities::MPI::MPI_InitFinalize mpi(argc, argv, 1);
  const MPI_Comm                   comm = MPI_COMM_WORLD;
  const bool root = Utilities::MPI::this_mpi_process(comm) == 0;
  // Our own errors are thrown by all ranks alike.
  try
    {
      Options options;
      if (parse(argc, argv, root, options))
        run(options, comm);
      return 0;
    }
  catch (const Palpate::Error &e)
    {
      if (root)
        std::cerr << "gradient_evaluation: error: " << e.what() << std::endl;
      return e.exit_code;
    }
  catch (const std::exception &e)
    {
      std::cerr << "gradient_evaluation: error: " << e.what() << std::endl;
      MPI_Abort(comm, 1);
      return 1;
    }
}
