#include <deal.II/base/timer.h>

#include <palpate/core/declared_parameters.h>
#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/outputs.h>
#include <palpate/core/version.h>
#include <palpate/drivers/network_file.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>
#include <palpate/image/read_image.h>
#include <palpate/sampling/rasterize.h>

#include <cmath>
#include <iomanip>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  int
  run_predict(Parameters               &parameters,
              const RunOptions         &options,
              const MPI_Comm           &comm,
              const ConditionalOStream &log)
  {
    Timer       timer;
    NetworkFile network;
    {
      const Parameters::Section section(parameters, "Network");
      const std::string         file = parameters.get("File");
      if (file.empty())
        parameters.fail("File",
                        "expected network.json or network.npz of a training");
      network = read_network(file);
    }
    std::unique_ptr<Image> grid;
    double                 background = 0;
    {
      const Parameters::Section section(parameters, "Images");
      if (!parameters.get("Rasterise like").empty())
        {
          grid = std::make_unique<Image>(
            read_image(parameters.get("Rasterise like"), 1));
          background = parameters.get_double("Rasterise background");
        }
    }
    QualityReport<3>  quality;
    const CaseData<3> data = load_case<3>(parameters, comm, log, quality);
    refuse_parts(data, "predict");
    parameters.refuse_unused("predict");
    const auto hu = data.arrays.find("hu_tetra_mean");
    if (hu == data.arrays.end())
      throw InputError(data.source,
                       "key 'hu_tetra_mean' is missing, expected it because of "
                       "Task = predict");
    log << "task predict on " << data.source << std::endl
        << describe(quality) << std::endl;
    auto names = names_of_results();
    names.push_back("case.npz");
    Outputs outputs(parameters, {names}, comm, log);
    if (options.dry_run)
      return 0;
    outputs.probe();

    const Discretization<3> D(data.mesh, 1, comm);
    Fields                  inputs;
    inputs["stiffness"]  = Field(D.n_cells(), 1.);
    inputs["hounsfield"] = D.scatter_cells(hu->second.values);
    GraphNetwork<3> map;
    map.description = network.description;
    map.bind(D, inputs);
    const std::vector<double> q =
      map.n_local() > 0 ? network.q : std::vector<double>();
    Fields fields;
    map.apply(q, fields);
    Field       &alpha   = fields["stiffness"];
    const double clipped = map.share_at_bound(q);
    double       outside = 0;
    for (const double h : hu->second.values)
      outside +=
        (h < network.description.hu_low || h > network.description.hu_high) /
        double(hu->second.values.size());
    std::vector<std::string> warnings;
    if (outside > 0.05)
      warnings.push_back(
        "more than 5 % of the cells have HU the network was not trained on; "
        "was the CT sampled as those of the cohort were?");
    if (clipped > 0.05)
      warnings.push_back("more than 5 % of the cells are clipped to the "
                         "network's bounds");
    const double mean = geometric_mean(D, alpha);
    Field        relative(D.n_cells());
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      {
        relative[k] = alpha[k] / mean;
        alpha[k] *= network.factor;
      }
    const std::string name =
      network.scale_identified ? "alpha_Pa" : "alpha_Pa_of_stated_reference";
    const auto        alpha_all    = D.gather_cells(alpha);
    const auto        relative_all = D.gather_cells(relative);
    const std::size_t M            = alpha_all.size();

    outputs.begin();
    const std::string &directory = outputs.folder();
    run_on_root(comm, [&]() {
      NpzArrays arrays;
      arrays["alpha_k"]        = NpyArray({M}, alpha_all);
      arrays["alpha_relative"] = NpyArray({M}, relative_all);
      arrays["scale_identified"] =
        NpyArray::integers({}, {network.scale_identified});
      write_npz(directory + "/result.npz", arrays);

      // The case with its stiffness, in metres.
      NpzArrays                 pack = data.arrays;
      std::vector<double>       points;
      std::vector<std::int64_t> cells;
      for (const auto &x : data.mesh.vertices)
        points.insert(points.end(), x.begin_raw(), x.end_raw());
      for (const auto &c : data.mesh.cells)
        cells.insert(cells.end(), c.begin(), c.end());
      pack["mesh_points"] = NpyArray({data.mesh.vertices.size(), 3}, points);
      pack["tetrahedra"]  = NpyArray::integers({M, 4}, cells);
      pack["labels"] =
        NpyArray::integers({M},
                           {data.mesh.labels.begin(), data.mesh.labels.end()});
      pack["alpha_k"] = NpyArray({M}, alpha_all);
      write_npz(directory + "/case.npz", pack);
      if (grid)
        {
          const auto of_voxel = rasterize_cells(data.mesh, *grid);
          write_nifti(directory + "/" + name + ".nii.gz",
                      rasterize(of_voxel, alpha_all, *grid, background));
          write_nifti(directory + "/alpha_relative.nii.gz",
                      rasterize(of_voxel, relative_all, *grid, background));
        }
    });
    VtuData<3> out;
    const auto add = [&](const std::string &title, const Field &f) {
      out.cell.emplace_back(title,
                            std::vector<double>(f.values.begin(),
                                                f.values.begin() +
                                                  D.n_owned_cells()));
    };
    add(name, alpha);
    add("alpha_relative", relative);
    add("HU", inputs["hounsfield"]);
    write_pvd(directory,
              "solution",
              {{0., write_vtu(directory, "solution_0000", D, out)}},
              comm);

    nlohmann::json summary;
    summary["task"]        = "predict";
    summary["stop_reason"] = "predicted";
    summary["version"]     = PALPATE_VERSION;
    summary["case"]        = data.source;
    summary["sizes"] = {{"vertices", data.mesh.vertices.size()}, {"cells", M}};
    summary["clipped_share"]          = clipped;
    summary["outside_HU_range_share"] = outside;
    summary["warnings"]               = warnings;
    summary["scale_identified"]       = network.scale_identified;
    if (!network.scale_identified)
      summary["meaning"] =
        "the network was trained on displacements only: alpha_k is relative, "
        "times the reference stiffness its training stated or assumed, not a "
        "measurement";
    summary["network"] = network.training;
    summary["seconds"] = {{"elapsed", timer.wall_time()}};
    run_on_root(comm, [&]() {
      write_file(directory + "/summary.json", summary.dump(2) + "\n");
      std::ostringstream text;
      write_parameters(text, parameters.handler);
      write_file(directory + "/parameters.prm", text.str());
    });
    outputs.commit();
    log << "  " << std::setprecision(3) << 100 * clipped
        << " % of the cells are clipped to the bounds, " << 100 * outside
        << " % have HU outside those of the training" << std::endl;
    for (const std::string &text : warnings)
      log << "  warning: " << text << std::endl;
    if (!network.scale_identified)
      log << "  trained on displacements only: alpha_k is relative times a "
             "reference stiffness, not a measurement"
          << std::endl;
    log << "results in " << outputs.directory() << " (" << timer.wall_time()
        << " s)" << std::endl;
    return 0;
  }
} // namespace Palpate
