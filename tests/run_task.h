#ifndef palpate_tests_run_task_h
#define palpate_tests_run_task_h

// Tasks run in this process, on all its ranks, as main() would run them.

#include <deal.II/base/conditional_ostream.h>

#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/npz.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>
#include <palpate/mesh/distributed_mesh.h>
#include <palpate/mesh/generate.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <iostream>

namespace Palpate
{
  using Entries = std::map<std::string, std::string>;

  /// More entries; empty values take entries away.
  inline Entries
  with(Entries entries, const Entries &more)
  {
    for (const auto &[name, value] : more)
      if (value.empty())
        entries.erase(name);
      else
        entries[name] = value;
    return entries;
  }

  /// A folder for one test program, the same on all ranks.
  inline std::string
  work_folder(const std::string &name)
  {
    const std::string folder =
      (std::filesystem::temp_directory_path() /
       ("palpate_" + name + "_" +
        std::to_string(dealii::Utilities::MPI::broadcast(
          MPI_COMM_WORLD, static_cast<int>(getpid()), 0))))
        .string();
    if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
      std::filesystem::create_directories(folder);
    MPI_Barrier(MPI_COMM_WORLD);
    return folder;
  }

  template <int dim>
  int
  run_task_of(const std::string                &task,
              Parameters                       &p,
              const MPI_Comm                   &comm,
              const dealii::ConditionalOStream &log)
  {
    if (task == "forward")
      return run_forward<dim>(p, {}, comm, log);
    if (task == "simulate")
      return run_simulate<dim>(p, {}, comm, log);
    if (task == "evaluate")
      return run_evaluate<dim>(p, {}, comm, log);
    if (task == "identify")
      return run_identify<dim>(p, {}, comm, log);
    if (task == "partition")
      return run_partition<dim>(p, {}, comm, log);
    if (task == "verify")
      return run_verify<dim>(p, {}, comm, log);
    throw InputError("run_task", "no task " + task);
  }

  /// Run the task that the entries describe, "Section/Name" to value; output
  /// goes to folder/run. @return summary.json, null if there is none
  inline nlohmann::json
  run_task(const Entries     &entries,
           const std::string &folder,
           const MPI_Comm    &comm = MPI_COMM_WORLD)
  {
    const std::string file = folder + "/case.prm", output = folder + "/run";
    run_on_root(comm, [&]() {
      std::filesystem::create_directories(folder);
      std::filesystem::remove_all(output);
      std::ofstream(file) << "\n";
    });
    std::vector<std::string> overrides = {"Output directory=" + output};
    for (const auto &[name, value] : entries)
      overrides.push_back(name + "=" + value);
    Parameters parameters;
    declare_parameters(parameters.handler);
    parameters.parse(file, overrides);
    parameters.get("Additional shared libraries");
    parameters.get("Verbosity");
    parameters.get("Output directory");
    const std::string                task = parameters.get("Task");
    const dealii::ConditionalOStream log(std::cout, false);
    const int                        code = case_dimension(parameters) == 2
                                              ? run_task_of<2>(task, parameters, comm, log)
                                              : run_task_of<3>(task, parameters, comm, log);
    if (code != 0)
      throw ComputationError(task + " failed");
    MPI_Barrier(comm);
    std::ifstream summary(output + "/summary.json");
    return summary ? nlohmann::json::parse(summary) : nlohmann::json();
  }

  /// Boxes of 0.1 m side by side (0.2 m from one to the next) with labels 1, 2,
  /// ..., standing on their constrained lowest vertices.
  /// @param density of each [kg/m^3]
  inline void
  write_boxes(const std::string         &file,
              const unsigned int         n,
              const std::vector<double> &density)
  {
    ShapeDescription d;
    d.type         = "box";
    d.upper        = {{0.1, 0.1, 0.1}};
    d.subdivisions = {{n, n, n}};
    run_on_root(MPI_COMM_WORLD, [&]() {
      const SerialMesh<3> box = generate_shape<3>(d);
      NpyArray            points, cells, labels, boundary, densities;
      for (std::size_t b = 0; b < density.size(); ++b)
        {
          const std::size_t first = points.values.size() / 3;
          for (const auto &x : box.vertices)
            {
              points.values.insert(points.values.end(),
                                   {x[0] + 0.2 * b, x[1], x[2]});
              boundary.values.push_back(x[2] < 1e-6);
            }
          for (const auto &cell : box.cells)
            {
              for (const auto v : cell)
                cells.values.push_back(first + v);
              labels.values.push_back(b + 1);
              densities.values.push_back(density[b]);
            }
        }
      const std::size_t N = boundary.values.size(), M = labels.values.size();
      points.shape     = {N, 3};
      boundary.shape   = {N};
      cells.shape      = {M, 4};
      labels.shape     = {M};
      densities.shape  = {M};
      cells.is_integer = labels.is_integer = boundary.is_integer = true;
      write_npz(file,
                {{"mesh_points", points},
                 {"tetrahedra", cells},
                 {"labels", labels},
                 {"boundary_nodes", boundary},
                 {"density", densities}});
    });
  }
} // namespace Palpate

#endif
