#include <palpate/core/errors.h>
#include <palpate/core/formula.h>
#include <palpate/drivers/observation.h>
#include <palpate/geometry/point_location.h>
#include <palpate/mesh/distributed_mesh.h>
#include <palpate/mesh/simplex.h>

#include <boost/random/mersenne_twister.hpp>
#include <boost/random/normal_distribution.hpp>
#include <boost/random/uniform_01.hpp>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <set>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  PlacesInMesh<dim>::PlacesInMesh(const SerialMesh<dim> &mesh,
                                  const SerialMesh<dim> &other,
                                  const MPI_Comm        &comm)
    : n(mesh.n_all_vertices())
  {
    const PointLocation<dim>  locator(other);
    std::vector<unsigned int> outside;
    for (std::size_t v = 0; v < mesh.vertices.size(); ++v)
      {
        places.push_back(locator.locate(mesh.vertices[v]));
        const auto  &cell  = other.cells[places.back().cell];
        double       edges = 0;
        unsigned int count = 0;
        for (unsigned int a = 0; a < dim + 1; ++a)
          for (unsigned int b = 0; b < a; ++b, ++count)
            edges += other.vertices[cell[a]].distance(other.vertices[cell[b]]);
        const double distance = places.back().distance;
        if (!(distance > tolerance * edges / count))
          continue;
        outside.push_back(mesh.vertex_number(v));
        farthest = std::max(farthest, distance);
      }
    farthest = Utilities::MPI::max(farthest, comm);
    // Ranks share vertices.
    std::set<unsigned int> all;
    for (const auto &part : Utilities::MPI::all_gather(comm, outside))
      all.insert(part.begin(), part.end());
    n_outside = all.size();
  }

  template <int dim>
  std::string
  PlacesInMesh<dim>::text() const
  {
    std::ostringstream out;
    out << std::setprecision(3) << n_outside << " of " << n << " vertices ("
        << 100 * share_outside() << " %) lie up to " << farthest
        << " m outside that file's body, by more than a quarter of its cells' "
           "edges there";
    return out.str();
  }

  namespace
  {
    /// No place in between belongs to a network. @throw InputError
    template <int dim>
    void
    check_same_network(const std::string     &file,
                       const SerialMesh<dim> &mesh,
                       const SerialMesh<dim> &other)
    {
      bool same = other.is_network() == mesh.is_network() &&
                  other.vertices.size() == mesh.vertices.size();
      for (std::size_t v = 0; same && v < other.vertices.size(); ++v)
        same = other.vertices[v].distance(mesh.vertices[v]) == 0;
      if (!same)
        throw InputError(file,
                         "expected a network with the same vertices as that of "
                         "the file that names it");
    }
  } // namespace

  template <int dim>
  std::vector<std::vector<double>>
  computed_displacements(const std::string         &parameter_file,
                         const SerialMesh<dim>     &mesh,
                         const std::vector<double> &times,
                         const double               largest_share_outside,
                         const MPI_Comm            &comm,
                         const ConditionalOStream  &log,
                         const bool                 dry_run)
  {
    Parameters parameters;
    declare_parameters(parameters.handler);
    parameters.parse(parameter_file, {});
    const std::string task = parameters.get("Task");
    if (task != (times.empty() ? "forward" : "simulate"))
      parameters.fail("Task",
                      std::string("expected ") +
                        (times.empty() ? "forward" : "simulate") +
                        " in a file named by Observation/Computed by");
    {
      const Parameters::Section section(parameters, "Observation");
      if (!parameters.get("Computed by").empty())
        parameters.fail("Computed by",
                        "expected none in a file named by Observation/Computed "
                        "by");
    }
    for (const char *name :
         {"Output directory", "Verbosity", "Additional shared libraries"})
      parameters.get(name);
    if (case_dimension(parameters) != dim)
      throw InputError(parameter_file,
                       "expected a case of dimension " + std::to_string(dim));
    log << "computing the observation with " << parameter_file << std::endl;
    Problem<dim> other(parameters, comm, log, false, false);
    parameters.refuse_unused(task);
    other.print_plan(task);
    const bool network = mesh.is_network() || other.data.mesh.is_network();
    std::shared_ptr<const SerialMesh<dim>> whole;
    std::unique_ptr<PlacesInMesh<dim>>     where;
    if (network)
      check_same_network(parameter_file, mesh, other.data.mesh);
    else
      {
        whole = std::make_shared<const SerialMesh<dim>>(
          whole_mesh(other.data.mesh, comm));
        where = std::make_unique<PlacesInMesh<dim>>(mesh, *whole, comm);
        if (where->share_outside() > largest_share_outside)
          throw InputError(parameter_file,
                           "Observation/Computed by: " + where->text() +
                             ", expected a body in the same place, or at most "
                             "Observation/Largest share outside");
        if (where->n_outside > 0)
          log << "note: " << where->text()
              << ", and take the displacement of its nearest point"
              << std::endl;
      }
    if (dry_run)
      {
        log << "dry run: this observation is not computed, a uniform stretch "
               "stands in for it"
            << std::endl;
        std::vector<double> stretch;
        for (const auto &v : mesh.vertices)
          for (unsigned int d = 0; d < dim; ++d)
            stretch.push_back(1e-3 * v[d]);
        return std::vector<std::vector<double>>(
          std::max<std::size_t>(1, times.size()), stretch);
      }
    std::vector<Vector> states;
    if (times.empty())
      {
        other.equilibrium->solve(other.initial_fields());
        states = other.equilibrium->states();
      }
    else
      {
        const std::vector<Snapshot<dim>> none(times.size());
        Trajectory<dim>                  run(
          *other.body, *other.time, none, other.steps_of(times), false);
        try
          {
            run.solve(other.initial_fields());
          }
        catch (const EntryError &e) // an entry of that file
          {
            throw InputError(parameter_file, e.what());
          }
        states = run.states();
      }
    std::vector<std::vector<double>> result;
    for (const Vector &state : states)
      {
        if (network)
          {
            result.push_back(other.discretization->gather_vertices(state));
            continue;
          }
        const SerialDisplacement<dim> u =
          other.serial_displacement(state, whole);
        result.emplace_back();
        for (const auto &place : where->places)
          {
            const Tensor<1, dim> here = u.value(place);
            result.back().insert(result.back().end(),
                                 here.begin_raw(),
                                 here.end_raw());
          }
      }
    return result;
  }

  template <int dim>
  void
  add_noise(std::vector<std::vector<double>> &displacements,
            const double                      fraction,
            const unsigned int                seed,
            const Discretization<dim>        &D)
  {
    boost::random::mt19937                     generator(seed);
    boost::random::normal_distribution<double> normal;
    const std::size_t                          N = D.mesh.n_all_vertices();
    for (auto &u : displacements)
      {
        double square = 0;
        for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
          if (D.is_vertex(n))
            for (unsigned int d = 0; d < dim; ++d)
              square += std::pow(u[D.node_places[n][0] * dim + d], 2);
        const double deviation =
          fraction * std::sqrt(D.sum(square) / N) / std::sqrt(dim);
        // Every rank draws all numbers and uses those of its vertices.
        unsigned int place = 0;
        for (std::size_t v = 0; v < N; ++v)
          {
            const bool here = place < D.mesh.vertices.size() &&
                              D.mesh.vertex_number(place) == v;
            for (unsigned int d = 0; d < dim; ++d)
              {
                const double x = deviation * normal(generator);
                if (here)
                  u[place * dim + d] += x;
              }
            place += here;
          }
      }
  }

  template <int dim>
  std::vector<char>
  choose_vertices(const SerialMesh<dim> &mesh,
                  const double           fraction,
                  const unsigned int     seed)
  {
    boost::random::mt19937            generator(seed);
    boost::random::uniform_01<double> uniform;
    std::vector<char>                 chosen(mesh.vertices.size(), 0);
    unsigned int                      place = 0;
    for (std::size_t v = 0; fraction > 0 && v < mesh.n_all_vertices(); ++v)
      {
        const bool is_chosen = uniform(generator) < fraction;
        if (place < chosen.size() && mesh.vertex_number(place) == v)
          chosen[place++] = is_chosen;
      }
    return chosen;
  }

  template <int dim>
  std::vector<double>
  values_at_barycentres(const std::string     &entry,
                        Parameters            &parameters,
                        const SerialMesh<dim> &mesh)
  {
    const auto function = read_formula<dim>(entry, parameters, 1, false);
    std::vector<double> values;
    for (std::size_t k = 0; k < mesh.n_cells(); ++k)
      {
        Point<dim> b;
        const auto vertices = mesh.vertices_of(k);
        for (const unsigned int v : vertices)
          b += mesh.vertices[v] / double(vertices.size());
        values.push_back(function->value(b));
      }
    return values;
  }

  template <int dim>
  std::vector<Tensor<2, dim>>
  pack_frames(const CaseData<dim>       &data,
              const Discretization<dim> &D,
              const std::size_t          snapshot)
  {
    const auto axes = data.arrays.find("anisotropy_axes");
    const auto rows = data.arrays.find("r_axis");
    if (axes == data.arrays.end() && rows == data.arrays.end())
      throw InputError(data.source,
                       "keys 'anisotropy_axes' and 'r_axis' are missing, "
                       "expected one because of Model/Frames = pack");
    const std::size_t M = data.mesh.cells.size();
    const std::size_t offset =
      (axes != data.arrays.end() && axes->second.shape.size() == 4
         ? snapshot * M * dim * dim
         : 0);
    const bool rows_by_step =
      (rows != data.arrays.end() && rows->second.shape.size() == 4);
    const std::size_t           first_row = (rows_by_step ? snapshot * M : 0);
    std::vector<Tensor<2, dim>> frames(D.n_cells());
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      {
        const std::size_t place = D.cell_place[k];
        const std::string cell  = std::to_string(D.cell_id[k]);
        Tensor<2, dim>    from_rows;
        if (rows != data.arrays.end())
          for (unsigned int l = 0; l < dim; ++l)
            {
              // Row l is (g_a . e_l) e_l vertex by vertex: take the largest.
              Tensor<1, dim> best;
              for (unsigned int a = 0; a < dim + 1; ++a)
                {
                  Tensor<1, dim> r;
                  for (unsigned int d = 0; d < dim; ++d)
                    r[d] = rows->second.values[((first_row + place) * dim + l) *
                                                 dim * (dim + 1) +
                                               a * dim + d];
                  if (r.norm() > best.norm())
                    best = r;
                }
              if (!(best.norm() > 0))
                throw InputError(data.source,
                                 "key 'r_axis': row " + std::to_string(l) +
                                   " of cell " + cell +
                                   " is zero, expected an axial row");
              for (unsigned int d = 0; d < dim; ++d)
                from_rows[d][l] = best[d] / best.norm();
            }
        frames[k] = from_rows;
        if (axes == data.arrays.end())
          continue;
        for (unsigned int d = 0; d < dim; ++d)
          for (unsigned int l = 0; l < dim; ++l)
            frames[k][d][l] =
              axes->second.values[offset + (place * dim + d) * dim + l];
        // Rows without steps are those of the first timestamp.
        if (rows != data.arrays.end() && (snapshot == 0 || rows_by_step))
          for (unsigned int l = 0; l < dim; ++l)
            {
              double dot = 0;
              for (unsigned int d = 0; d < dim; ++d)
                dot += frames[k][d][l] * from_rows[d][l];
              if (std::abs(std::abs(dot) - 1) > 1e-4)
                throw InputError(data.source,
                                 "keys 'anisotropy_axes' and 'r_axis' disagree "
                                 "at cell " +
                                   cell + ", axis " + std::to_string(l) +
                                   (rows_by_step
                                      ? " in step " + std::to_string(snapshot)
                                      : std::string()) +
                                   ", expected the same directions");
            }
      }
    return frames;
  }

  template <int dim>
  std::vector<double>
  density_from_mass(const SerialMesh<dim>     &mesh,
                    const std::vector<double> &mass)
  {
    std::vector<double> lumped(mesh.vertices.size(), 0.);
    for (std::size_t k = 0; k < mesh.cells.size(); ++k)
      {
        const double volume = Simplex<dim>(mesh, k).volume;
        for (const unsigned int v : mesh.cells[k])
          lumped[v] += volume / (dim + 1);
      }
    std::vector<double> density(mesh.cells.size(), 0.);
    for (std::size_t k = 0; k < density.size(); ++k)
      for (const unsigned int v : mesh.cells[k])
        density[k] += mass[v] / lumped[v] / (dim + 1);
    return density;
  }

#define INSTANTIATE(dim)                                                       \
  template class PlacesInMesh<dim>;                                            \
  template std::vector<std::vector<double>> computed_displacements(            \
    const std::string &,                                                       \
    const SerialMesh<dim> &,                                                   \
    const std::vector<double> &,                                               \
    const double,                                                              \
    const MPI_Comm &,                                                          \
    const ConditionalOStream &,                                                \
    const bool);                                                               \
  template std::vector<double> values_at_barycentres(const std::string &,      \
                                                     Parameters &,             \
                                                     const SerialMesh<dim> &); \
  template void                add_noise(std::vector<std::vector<double>> &,   \
                                         const double,                         \
                                         const unsigned int,                   \
                                         const Discretization<dim> &);         \
  template std::vector<char>   choose_vertices(const SerialMesh<dim> &,        \
                                               const double,                   \
                                               const unsigned int);            \
  template std::vector<Tensor<2, dim>> pack_frames(                            \
    const CaseData<dim> &, const Discretization<dim> &, const std::size_t);    \
  template std::vector<double> density_from_mass(const SerialMesh<dim> &,      \
                                                 const std::vector<double> &);

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
