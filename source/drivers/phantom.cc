#include <deal.II/base/timer.h>

#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/interruption.h>
#include <palpate/core/outputs.h>
#include <palpate/core/parameter_file.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>
#include <palpate/image/image.h>
#include <palpate/mesh/write_mesh.h>
#include <palpate/phantom/lung_phantom.h>

#include <boost/random/mersenne_twister.hpp>
#include <boost/random/normal_distribution.hpp>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    struct PhantomParameters
    {
      LungPhantom::Description description;
      unsigned int             n_phases, n_samples, n_landmarks;
      double                   voxel_size, mesh_size, fine_mesh_size, noise;
    };

    PhantomParameters
    read_phantom_parameters(Parameters &parameters)
    {
      const Parameters::Section section(parameters, "Phantom");
      PhantomParameters         p;
      auto                     &d = p.description;
      d.seed                      = parameters.get_integer("Seed");
      p.n_phases                  = parameters.get_integer("Phases");
      p.n_samples                 = parameters.get_integer("Samples per voxel");
      p.n_landmarks               = parameters.get_integer("Landmarks");
      const auto between          = [&](const std::string &name,
                               const double       low,
                               const double       high,
                               const std::string &unit) {
        const double value = parameters.get_double(name);
        if (!(value >= low && value <= high))
          {
            std::ostringstream text;
            text << "expected a value from " << low << " to " << high << unit;
            parameters.fail(name, text.str());
          }
        return value;
      };
      p.voxel_size          = between("Voxel size", 5e-4, 0.05, " m");
      p.mesh_size           = between("Mesh size", 1e-3, 0.05, " m");
      p.fine_mesh_size      = parameters.get_double("Fine mesh size") == 0
                                ? 0
                                : between("Fine mesh size", 1e-3, 0.05, " m (or 0)");
      p.noise               = between("CT noise", 0, 1000, " HU");
      d.diaphragm_motion    = between("Diaphragm motion", 0, 0.1, " m");
      d.chest_expansion     = between("Chest expansion", 0, 0.3, "");
      d.texture             = between("Texture", 0, 100, " HU");
      d.stiffness           = between("Stiffness", 1, 1e6, " Pa");
      d.stiffness_slope     = between("Stiffness slope", -5, 5, "");
      d.neighborhood_slope  = between("Neighborhood slope", -5, 5, "");
      d.neighborhood_radius = between("Neighborhood radius", 1e-3, 0.05, " m");
      return p;
    }

    /// A grid of cubes around the chest.
    Image
    chest_grid(const double voxel_size)
    {
      Image grid;
      for (unsigned int d = 0; d < 3; ++d)
        {
          grid.size[d]      = static_cast<unsigned int>(std::ceil(
            (LungPhantom::upper[d] - LungPhantom::lower[d]) / voxel_size));
          grid.matrix[d][d] = voxel_size;
          grid.origin[d]    = LungPhantom::lower[d] + voxel_size / 2;
        }
      grid.update();
      return grid;
    }

    /// Fill an image from a function of voxel coordinates.
    template <typename Value>
    Image
    filled(const Image &grid, const unsigned int n_components, const Value &f)
    {
      Image image        = grid;
      image.n_components = n_components;
      image.values.resize(grid.n_voxels() * n_components);
      std::size_t n = 0;
      for (unsigned int k = 0; k < grid.size[2]; ++k)
        for (unsigned int j = 0; j < grid.size[1]; ++j)
          for (unsigned int i = 0; i < grid.size[0]; ++i, ++n)
            {
              const auto v = f(i, j, k);
              for (unsigned int c = 0; c < n_components; ++c)
                image.values[c * grid.n_voxels() + n] = v[c];
            }
      return image;
    }

    /// CT of a phase: means over the voxels, and noise.
    Image
    scan(const LungPhantom         &phantom,
         const PhantomParameters   &p,
         const Image               &grid,
         const LungPhantom::Breath &breath,
         const unsigned int         seed)
    {
      boost::random::mt19937                     random(seed);
      boost::random::normal_distribution<double> normal;
      const unsigned int                         n = p.n_samples;
      return filled(grid, 1, [&](const double i, const double j, double k) {
        double hu = 0;
        for (unsigned int a = 0; a < n * n * n; ++a)
          {
            const auto offset = [n](const unsigned int b) {
              return (b % n + 0.5) / n - 0.5;
            };
            hu += phantom.hounsfield(grid.world(i + offset(a),
                                                j + offset(a / n),
                                                k + offset(a / n / n)),
                                     breath);
          }
        return std::array<double, 1>{
          {std::round(hu / (n * n * n) + p.noise * normal(random))}};
      });
    }

    /// The field that takes points of one phase to another [mm].
    Image
    motion(const Image               &grid,
           const LungPhantom::Breath &from,
           const LungPhantom::Breath &to)
    {
      Image field =
        filled(grid, 3, [&](const double i, const double j, double k) {
          const Point<3> x = grid.world(i, j, k);
          return 1e3 * (to.map(from.inverse(x)) - x);
        });
      field.convention = "RAS";
      return field;
    }

    std::string
    two_digits(const unsigned int k)
    {
      return (k < 10 ? "0" : "") + std::to_string(k);
    }

    /// What is known exactly, on a mesh.
    NpzArrays
    truth(const LungPhantom                      &phantom,
          const SerialMesh<3>                    &mesh,
          const std::vector<char>                &surface_vertex,
          const std::vector<LungPhantom::Breath> &breaths)
    {
      const std::size_t N = mesh.vertices.size(), M = mesh.cells.size(),
                        S = breaths.size() - 1;
      NpzArrays           arrays;
      std::vector<double> points, steps, alpha, hu(M * (S + 1)), mean(M, 0.),
        density;
      for (const auto &x : mesh.vertices)
        points.insert(points.end(), x.begin_raw(), x.end_raw());
      for (std::size_t s = 1; s <= S; ++s)
        for (const auto &x : mesh.vertices)
          {
            const Tensor<1, 3> u = breaths[s].map(x) - x;
            steps.insert(steps.end(), u.begin_raw(), u.end_raw());
          }
      std::vector<std::int64_t> cells;
      for (std::size_t c = 0; c < M; ++c)
        {
          Point<3> b;
          for (const unsigned int v : mesh.cells[c])
            {
              b += mesh.vertices[v] / 4;
              cells.push_back(v);
            }
          alpha.push_back(phantom.stiffness(b));
          density.push_back(std::max(phantom.hounsfield(b) + 1000, 10.));
          for (std::size_t s = 0; s <= S; ++s)
            {
              hu[s * M + c] = phantom.hounsfield(breaths[s].map(b), breaths[s]);
              mean[c] += hu[s * M + c] / (S + 1);
            }
        }
      arrays["mesh_points"] = NpyArray({N, 3}, points);
      arrays["tetrahedra"]  = NpyArray::integers({M, 4}, cells);
      arrays["labels"] =
        NpyArray::integers({M}, {mesh.labels.begin(), mesh.labels.end()});
      arrays["boundary_nodes"] =
        NpyArray::integers({N}, {surface_vertex.begin(), surface_vertex.end()});
      if (S == 1)
        arrays["displacement_field"] = NpyArray({N, 3}, steps);
      if (S > 1)
        arrays["displacement_steps"] = NpyArray({S, N, 3}, steps);
      arrays["alpha_k"]        = NpyArray({M}, alpha);
      arrays["density"]        = NpyArray({M}, density);
      arrays["hu_tetra_steps"] = NpyArray({S + 1, M, 1}, hu);
      arrays["hu_tetra_mean"]  = NpyArray({M, 1}, mean);
      return arrays;
    }
  } // namespace

  int
  run_phantom(Parameters               &parameters,
              const RunOptions         &options,
              const MPI_Comm           &comm,
              const ConditionalOStream &log)
  {
    Timer                   timer;
    const std::string       directory = parameters.get("Output directory");
    const PhantomParameters p         = read_phantom_parameters(parameters);
    parameters.refuse_unused("phantom");
    if (directory.find(',') != std::string::npos)
      parameters.fail("Output directory",
                      "expected no comma: pack.prm lists the files in it");
    const Image grid = chest_grid(p.voxel_size);
    log << "task phantom: " << p.n_phases << " phase(s) of " << grid.size[0]
        << " x " << grid.size[1] << " x " << grid.size[2] << " voxels"
        << std::endl;
    Outputs::Plan plan;
    plan.series = {"ct_[0-9]*.nii.gz",
                   "from_first_[0-9]*.nii.gz",
                   "chained_[0-9]*.nii.gz",
                   "landmarks_[0-9]*.csv",
                   "fine.npz"};
    plan.names  = plan.series;
    for (const char *name : {"lung_labels.nii.gz",
                             "stiffness.nii.gz",
                             "lung.msh",
                             "truth.npz",
                             "pack.prm",
                             "summary.json",
                             "parameters.prm"})
      plan.names.push_back(name);
    Outputs outputs(parameters, plan, comm, log);
    if (options.dry_run)
      return 0;

    outputs.probe();
    outputs.begin();
    run_on_root(comm, [&]() {
      const LungPhantom                phantom(p.description);
      std::vector<LungPhantom::Breath> breaths;
      for (unsigned int k = 0; k < p.n_phases; ++k)
        breaths.push_back(phantom.phase(k, p.n_phases));
      const auto path = [&](const std::string &name) {
        Interruption::check_here();
        return outputs.folder() + "/" + name;
      };
      // Where it will be.
      const auto named = [&](const std::string &name) {
        return directory + "/" + name;
      };

      std::string images, from_first;
      for (unsigned int k = 0; k < p.n_phases; ++k)
        {
          const std::string ct = "ct_" + two_digits(k) + ".nii.gz";
          write_nifti(
            path(ct),
            scan(phantom, p, grid, breaths[k], 1000 * p.description.seed + k));
          images += (k == 0 ? "" : ", ") + named(ct);
          if (k == 0)
            continue;
          const std::string field = "from_first_" + two_digits(k) + ".nii.gz";
          write_nifti(path(field), motion(grid, breaths[0], breaths[k]));
          write_nifti(path("chained_" + two_digits(k) + ".nii.gz"),
                      motion(grid, breaths[k - 1], breaths[k]));
          from_first += (k == 1 ? "" : ", ") + named(field);
        }
      write_nifti(path("lung_labels.nii.gz"),
                  filled(grid, 1, [&](const double i, double j, double k) {
                    return std::array<double, 1>{
                      {double(phantom.lung(grid.world(i, j, k)))}};
                  }));
      write_nifti(path("stiffness.nii.gz"),
                  filled(grid, 1, [&](const double i, double j, double k) {
                    const Point<3> X = grid.world(i, j, k);
                    return std::array<double, 1>{
                      {phantom.lung(X) > 0 ? phantom.stiffness(X) : 0.}};
                  }));

      CaseData<3> exact;
      exact.source       = named("truth.npz");
      exact.mesh         = phantom.mesh(p.mesh_size);
      const auto quality = check_and_repair(exact, true);
      write_gmsh(path("lung.msh"), exact.mesh, 1e-3);
      write_npz(path("truth.npz"),
                truth(phantom, exact.mesh, quality.surface_vertex, breaths));
      if (p.fine_mesh_size > 0)
        {
          CaseData<3> fine;
          fine.source     = named("fine.npz");
          fine.mesh       = phantom.mesh(p.fine_mesh_size);
          const auto also = check_and_repair(fine, true);
          write_npz(path("fine.npz"),
                    truth(phantom, fine.mesh, also.surface_vertex, breaths));
        }

      const auto marks = phantom.landmarks(p.n_landmarks);
      for (unsigned int k = 1; k < p.n_phases && !marks.empty(); ++k)
        {
          std::ostringstream text;
          text << "x,y,z,x_moved,y_moved,z_moved\n" << std::setprecision(12);
          for (const Point<3> &X : marks)
            {
              const Point<3> x = breaths[k].map(X);
              text << 1e3 * X[0] << "," << 1e3 * X[1] << "," << 1e3 * X[2]
                   << "," << 1e3 * x[0] << "," << 1e3 * x[1] << ","
                   << 1e3 * x[2] << "\n";
            }
          write_file(path("landmarks_" + two_digits(k) + ".csv"), text.str());
        }

      // What turns these images into a case.
      std::ostringstream text;
      text << "set Task             = pack\nset Output directory = "
           << written_value(directory + "/pack")
           << "\n\nsubsection Case\n  set File        = "
           << written_value(named("lung.msh"))
           << "\n  set Length unit = mm\nend\n\nsubsection Images\n  set CT "
              "           = "
           << written_value(images) << "\n";
      if (p.n_phases > 1)
        text << "  set Displacements = " << written_value(from_first) << "\n";
      text << "end\n\nsubsection Pack\n  set Output file = "
           << written_value(directory + "/pack/case.npz") << "\nend\n";
      write_file(path("pack.prm"), text.str());

      nlohmann::json summary;
      summary["task"]        = "phantom";
      summary["stop_reason"] = "written";
      summary["sizes"]       = {{"phases", p.n_phases},
                                {"voxels", grid.n_voxels()},
                                {"vertices", exact.mesh.vertices.size()},
                                {"cells", exact.mesh.cells.size()}};
      summary["volume"]      = quality.volume;
      summary["seconds"]     = {{"elapsed", timer.wall_time()}};
      write_summary(outputs.folder(), parameters, summary, comm);
    });
    outputs.commit();
    log << "4D CT in " << directory << " (" << std::setprecision(3)
        << timer.wall_time() << " s); make its case with\n  palpate "
        << directory << "/pack.prm" << std::endl;
    return 0;
  }
} // namespace Palpate
