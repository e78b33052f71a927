// How long an explicit step of a motion takes, forward and backward (with the
// steps computed once more). Prints one JSON line; see README.md.
#include <deal.II/base/timer.h>

#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/mesh/distributed_mesh.h>
#include <palpate/mesh/generate.h>
#include <palpate/mesh/quality.h>
#include <palpate/mesh/read_case.h>
#include <palpate/objectives/objective.h>
#include <palpate/time_integration/trajectory.h>

#include <boost/program_options.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <iostream>

namespace
{
  using namespace dealii;
  using namespace Palpate;
  using Palpate::Vector;

  constexpr int dim = 3;

  double
  median(std::vector<double> values)
  {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  }

  void
  run(const boost::program_options::variables_map &given, const MPI_Comm &comm)
  {
    CaseData<dim> data;
    if (given.count("case"))
      {
        data = read_case<dim>(given["case"].as<std::string>(), 1.);
        check_and_repair(data, true);
      }
    else
      {
        ShapeDescription shape;
        shape.type = "box";
        shape.subdivisions.fill(given["subdivisions"].as<unsigned int>());
        shape.tets_per_cube = 5;
        run_on_root(comm, [&]() { data.mesh = generate_shape<dim>(shape); });
        broadcast_mesh(data.mesh, comm);
      }
    const Discretization<dim> D(data.mesh, 1, comm);
    const std::vector<char>   free(D.n_nodes() * dim, 0);
    Tensor<2, dim>            identity;
    for (unsigned int d = 0; d < dim; ++d)
      identity[d][d] = 1;
    std::vector<Snapshot<dim>> moving(1);
    moving[0].frames.assign(D.n_cells(), identity);
    moving[0].prescribed = D.make_vector();

    Fields fields;
    fields["stiffness"]     = Field(D.n_cells(), 1e4);
    fields["poisson_ratio"] = Field(D.n_cells(), 0.4);
    fields["density"]       = Field(D.n_cells(), 1000.);
    Field velocity(D.n_nodes() * dim);
    velocity.place = Place::nodes;
    double size    = 0;
    for (unsigned int n = 0; n < D.n_nodes(); ++n)
      {
        const auto x      = D.node_position(n);
        size              = std::max(size, x.norm());
        velocity[n * dim] = std::sin(7 * x[1]);
      }
    fields["initial_velocity"] = velocity;

    std::vector<std::unique_ptr<Force<dim>>> forces;
    forces.push_back(
      Registry<Force<dim>>::create(given["material"].as<std::string>()));
    auto  inertia = std::make_unique<InertiaForce<dim>>(D, true);
    auto *kept    = inertia.get();
    forces.push_back(std::move(inertia));
    SolverParameters solver;
    solver.direct = true;
    const NewtonParameters   newton;
    const ConditionalOStream log(std::cout, false);
    StaticEquilibrium<dim>   equilibrium(
      D, free, moving, std::move(forces), solver, newton, log);
    MovingBody<dim> body{equilibrium,
                         *kept,
                         D,
                         free,
                         moving[0],
                         fields,
                         [](const double, Vector &) {}};
    TimeParameters  time;
    time.integrator = given["integrator"].as<std::string>();
    time.substeps   = 10;
    const unsigned int n_steps =
      std::max(1u, given["substeps"].as<unsigned int>() / time.substeps);
    Vector       mode;
    const double limit = stable_step(body, *body.initial_state(1e-6), mode);
    time.step          = 0.5 * limit * time.substeps;
    time.end           = n_steps * time.step;

    const std::vector<Snapshot<dim>> one(1);
    std::vector<double>              forward, backward;
    std::string                      plan;
    for (unsigned int i = 0; i < given["repeat"].as<unsigned int>(); ++i)
      {
        Trajectory<dim> run(body, time, one, {n_steps});
        plan = run.description();
        // The stable limit is found in the first run; later ones start there.
        run.solve(fields);
        MPI_Barrier(comm);
        Timer timer(comm, true);
        run.solve(fields);
        timer.stop();
        forward.push_back(timer.wall_time() / (n_steps * time.substeps));
        std::vector<Vector> rhs(1, D.make_vector()), none(1);
        rhs[0] = 1.;
        Fields unknown;
        unknown["stiffness"] = fields["stiffness"];
        FieldDuals g(unknown);
        timer.restart();
        run.add_gradient(rhs, none, g);
        timer.stop();
        backward.push_back(timer.wall_time() / (n_steps * time.substeps));
      }
    const double           tets = D.n_global_cells();
    nlohmann::ordered_json line;
    line["tets"]                    = tets;
    line["vertices"]                = data.mesh.vertices.size();
    line["ranks"]                   = Utilities::MPI::n_mpi_processes(comm);
    line["material"]                = given["material"].as<std::string>();
    line["substeps"]                = n_steps * time.substeps;
    line["forward_ms_per_substep"]  = 1e3 * median(forward);
    line["backward_ms_per_substep"] = 1e3 * median(backward);
    line["backward_over_forward"]   = median(backward) / median(forward);
    line["forward_ns_per_tet"]      = 1e9 * median(forward) / tets;
    line["backward_ns_per_tet"]     = 1e9 * median(backward) / tets;
    line["plan"]                    = plan;
    if (Utilities::MPI::this_mpi_process(comm) == 0)
      std::cout << line << std::endl;
  }
} // namespace

int
main(int argc, char **argv)
{
  Utilities::MPI::MPI_InitFinalize mpi(argc, argv, 1);
  const MPI_Comm                   comm = MPI_COMM_WORLD;
  namespace po                          = boost::program_options;
  po::options_description options("usage: explicit_steps [options]");
  options.add_options()("help", "this text")(
    "subdivisions",
    po::value<unsigned int>()->default_value(15),
    "cubes per side of the unit cube, of 5 tets each")(
    "case", po::value<std::string>(), "a case pack instead of the cube")(
    "material",
    po::value<std::string>()->default_value("stable neo-hookean"),
    "a model")("integrator",
               po::value<std::string>()->default_value("symplectic euler"),
               "an explicit one")("substeps",
                                  po::value<unsigned int>()->default_value(200),
                                  "of the run")(
    "repeat", po::value<unsigned int>()->default_value(5), "medians count");
  try
    {
      po::variables_map given;
      po::store(po::parse_command_line(argc, argv, options), given);
      po::notify(given);
      if (given.count("help"))
        {
          if (Utilities::MPI::this_mpi_process(comm) == 0)
            std::cout << options;
          return 0;
        }
      run(given, comm);
    }
  catch (const std::exception &e)
    {
      if (Utilities::MPI::this_mpi_process(comm) == 0)
        std::cerr << "explicit_steps: error: " << e.what() << std::endl;
      return 2;
    }
  return 0;
}
