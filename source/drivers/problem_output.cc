#include <palpate/core/files.h>
#include <palpate/core/version.h>
#include <palpate/drivers/problem.h>
#include <palpate/output/vtu.h>

#include <cstdio>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// Removes files unless told to keep them.
    class CleanUp
    {
    public:
      void
      add(const std::string &file)
      {
        files.push_back(file);
      }
      void
      keep()
      {
        files.clear();
      }
      ~CleanUp()
      {
        for (const auto &file : files)
          std::remove(file.c_str());
      }

    private:
      std::vector<std::string> files;
    };
  } // namespace

  template <int dim>
  nlohmann::json
  Problem<dim>::objective_json(const std::vector<double> &parts) const
  {
    nlohmann::json result;
    double         total = 0;
    for (unsigned int i = 0; i < terms.size(); ++i)
      {
        result[terms[i].objective->column_name()] = parts[i];
        total += parts[i];
      }
    result["total"] = total;
    return result;
  }

  template <int dim>
  void
  Problem<dim>::write_results(const std::string         &directory,
                              const Field               &alpha,
                              const std::vector<Vector> &adjoints,
                              const Field               *stiffness_gradient,
                              nlohmann::json            &summary,
                              NpzArrays                  arrays)
  {
    const auto &D = *discretization;
    // Whole or not at all: a failure takes back what this call wrote.
    CleanUp           written;
    const std::size_t N = data.mesh.vertices.size(), M = data.mesh.cells.size(),
                      S = snapshots.size();

    // Geometric mean of alpha over every label.
    std::map<int, std::pair<double, double>> labels;
    for (const int label : data.mesh.labels)
      labels[label] = {0., 0.};
    for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
      {
        auto &[volume, sum] = labels[data.mesh.labels[D.cell_id[k]]];
        volume += D.volume[k];
        sum += D.volume[k] * std::log(alpha[k]);
      }

    // Relative and absolute stiffness.
    const double mean   = geometric_mean(D, alpha);
    Field        scaled = alpha, relative = alpha, observable(D.n_cells(), 1.);
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      {
        relative[k] = alpha[k] / mean;
        if (!scale_identified)
          scaled[k] = relative[k] * reference_stiffness;
        bool all = true;
        for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
          all =
            all && constrained[D.cell_nodes[k * D.nodes_per_cell + a] * dim];
        observable[k] = !all;
      }
    for (const auto &[label, sums] : labels)
      summary["alpha_Pa_mean_by_label"][std::to_string(label)] =
        std::exp(D.sum(sums.second) / D.sum(sums.first)) *
        (scale_identified ? 1. : reference_stiffness / mean);
    const auto as_integers = [](const std::vector<double> &v) {
      return std::vector<std::int64_t>(v.begin(), v.end());
    };
    const auto stacked = [&](const auto &vector_of) {
      std::vector<double> all;
      for (std::size_t s = 0; s < S; ++s)
        {
          const auto one = D.gather_vertices(vector_of(s));
          all.insert(all.end(), one.begin(), one.end());
        }
      // A pack with displacement_steps gets (S,N,dim) back, S = 1 included.
      return S > 1 || data.arrays.count("displacement_steps")
               ? NpyArray({S, N, dim}, all)
               : NpyArray({N, dim}, all);
    };
    arrays["displacement"] = stacked(
      [&](const std::size_t s) { return equilibrium->context(s).state.u; });
    if (!adjoints.empty())
      arrays["adjoint"] =
        stacked([&](const std::size_t s) { return adjoints[s]; });
    arrays["alpha_k"]          = NpyArray({M}, D.gather_cells(scaled));
    arrays["alpha_relative"]   = NpyArray({M}, D.gather_cells(relative));
    arrays["scale_identified"] = NpyArray::integers({}, {scale_identified});
    arrays["observable"] =
      NpyArray::integers({M}, as_integers(D.gather_cells(observable)));
    if (stiffness_gradient != nullptr)
      {
        Field g = *stiffness_gradient;
        for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
          g[k] *= alpha[k];
        arrays["gradient"] = NpyArray({M}, D.gather_cells(g));
      }
    if (data.source.compare(0, 9, "generated") == 0)
      {
        // Nobody else has this mesh.
        std::vector<double>       points, labels_of_cells;
        std::vector<std::int64_t> cells;
        for (const auto &v : data.mesh.vertices)
          points.insert(points.end(), v.begin_raw(), v.end_raw());
        for (const auto &cell : data.mesh.cells)
          cells.insert(cells.end(), cell.begin(), cell.end());
        for (const int label : data.mesh.labels)
          labels_of_cells.push_back(label);
        arrays["mesh_points"] = NpyArray({N, dim}, points);
        arrays["tetrahedra"]  = NpyArray::integers({M, dim + 1}, cells);
        arrays["labels"] =
          NpyArray::integers({M}, as_integers(labels_of_cells));
      }
    std::vector<double> norms;
    for (std::size_t s = 0; s < S; ++s)
      norms.push_back(equilibrium->residual_norm(s));
    arrays["residual_norm"] =
      S > 1 ? NpyArray({S}, norms) : NpyArray({}, norms);

    // ParaView.
    const unsigned int n_ranks = Utilities::MPI::n_mpi_processes(comm);
    std::vector<std::pair<double, std::string>> files;
    for (std::size_t s = 0; s < S; ++s)
      {
        VtuData<dim> out;
        const auto  &u = equilibrium->context(s).state.u;
        out.nodal.emplace_back("displacement", u);
        if (snapshots[s].has_observation())
          {
            out.nodal.emplace_back("registered", snapshots[s].observed);
            Vector error = u;
            error.zero_out_ghost_values();
            error -= snapshots[s].observed;
            out.nodal.emplace_back("error", error);
          }
        if (!adjoints.empty())
          out.nodal.emplace_back("adjoint", adjoints[s]);
        const auto add = [&](const std::string &name, const Field &f) {
          out.cell.emplace_back(name,
                                std::vector<double>(f.values.begin(),
                                                    f.values.begin() +
                                                      D.n_owned_cells()));
        };
        add(scale_identified ? "alpha_Pa" : "alpha_Pa_of_stated_reference",
            scaled);
        add("alpha_relative", relative);
        add("observable", observable);
        Field label(D.n_cells());
        for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
          label[k] = data.mesh.labels[D.cell_id[k]];
        add("label", label);
        if (stiffness_gradient != nullptr)
          {
            Field g = *stiffness_gradient;
            for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
              g[k] *= alpha[k];
            add("gradient", g);
          }
        if (fixed_fields.has("density"))
          add("density", fixed_fields["density"]);
        for (unsigned int l = 0; l < dim; ++l)
          {
            std::vector<Tensor<1, dim>> axis(D.n_owned_cells());
            for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
              for (unsigned int d = 0; d < dim; ++d)
                axis[k][d] = snapshots[s].frames[k][d][l];
            out.cell_vectors.emplace_back("axis_" + std::to_string(l + 1),
                                          axis);
          }
        for (const char *end : {".vtu", ".pvtu"})
          written.add(directory + "/solution_" +
                      Utilities::int_to_string(s, 4) + end);
        if (n_ranks > 1)
          written.add(
            directory + "/solution_" + Utilities::int_to_string(s, 4) + "." +
            Utilities::int_to_string(Utilities::MPI::this_mpi_process(comm),
                                     4) +
            ".vtu");
        files.emplace_back(double(s),
                           write_vtu(directory,
                                     "solution_" +
                                       Utilities::int_to_string(s, 4),
                                     D,
                                     out));
      }
    for (const char *name :
         {"solution.pvd", "result.npz", "summary.json", "parameters.prm"})
      written.add(directory + "/" + name);
    write_pvd(directory, "solution", files, comm);

    const auto &counts                = equilibrium->counts;
    summary["version"]                = PALPATE_VERSION;
    summary["case"]                   = data.source;
    summary["ranks"]                  = Utilities::MPI::n_mpi_processes(comm);
    summary["sizes"]                  = {{"vertices", N},
                                         {"cells", M},
                                         {"degrees_of_freedom", D.dof_handler().n_dofs()},
                                         {"degree", degree},
                                         {"constrained_vertices", n_constrained_vertices},
                                         {"free_vertices", n_free_vertices},
                                         {"unobservable_cells", n_unobservable},
                                         {"components", quality.n_components},
                                         {"reordered_cells", quality.n_reordered},
                                         {"snapshots", S}};
    summary["frames"]                 = {{"kind", frames_kind},
                                         {"registered", frame_counts.registered},
                                         {"near_rigid", frame_counts.near_rigid},
                                         {"inverted", frame_counts.inverted},
                                         {"collapsed", frame_counts.collapsed},
                                         {"motionless", frame_counts.motionless}};
    summary["linear_solver"]          = equilibrium->solver_description();
    summary["solves"]                 = {{"forward", counts.forward},
                                         {"adjoint", counts.adjoint},
                                         {"incremental", counts.incremental},
                                         {"set_ups", counts.set_ups},
                                         {"newton_iterations", counts.newton_iterations},
                                         {"linear_iterations", counts.linear_iterations}};
    summary["seconds"]["assembly"]    = counts.seconds_assembly;
    summary["seconds"]["set_up"]      = counts.seconds_setup;
    summary["seconds"]["forward"]     = counts.seconds_forward;
    summary["seconds"]["adjoint"]     = counts.seconds_adjoint;
    summary["seconds"]["incremental"] = counts.seconds_incremental;
    summary["residual_norm"]          = norms;
    summary["scale_identified"]       = scale_identified;
    if (!scale_identified)
      summary["reference_stiffness"] = {
        {"value_Pa", reference_stiffness},
        {"meaning",
         std::string("without loads only relative stiffness can be found; "
                     "alpha_k is alpha_relative times this ") +
           (reference_stated ? "stated" : "assumed (initial)") +
           " value, not a measurement"}};
    if (!strain_statistics.is_null())
      {
        summary["strain"]       = strain_statistics;
        const auto errors       = mean_errors();
        summary["mean_error_m"] = errors.first;
        if (errors.second > 0)
          summary["held_out_mean_error_m"] = errors.second;
      }
    summary["volume"] = quality.volume;
    {
      // Cells the solution turns inside out.
      unsigned long inverted = 0, first = N * M;
      for (std::size_t s = 0; s < S; ++s)
        {
          std::vector<Tensor<1, dim>> u;
          for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
            {
              D.gather(equilibrium->context(s).state.u, k, u);
              bool bad = false;
              for (unsigned int q = 0; q < D.n_q; ++q)
                {
                  Tensor<2, dim> F = D.displacement_gradient(u, k, q);
                  for (unsigned int d = 0; d < dim; ++d)
                    F[d][d] += 1;
                  bad = bad || determinant(F) <= 0;
                }
              if (bad)
                {
                  ++inverted;
                  first = std::min<unsigned long>(first, D.cell_id[k]);
                }
            }
        }
      inverted                  = Utilities::MPI::sum(inverted, comm);
      first                     = Utilities::MPI::min(first, comm);
      summary["inverted_cells"] = inverted;
      if (inverted > 0)
        warn("the solution inverts " + std::to_string(inverted) +
             " cells (det F <= 0), the first is cell " + std::to_string(first));
    }
    // Volume mean of the displacement: a number to compare with others.
    std::vector<double> mean_u(dim, 0.), lowest(dim, 1e300),
      highest(dim, -1e300);
    const auto                 &u0 = equilibrium->context(0).state.u;
    std::vector<Tensor<1, dim>> u;
    for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
      {
        D.gather(u0, k, u);
        for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
          for (unsigned int d = 0; d < dim; ++d)
            {
              mean_u[d] += D.volume[k] * D.mean_shape[a] * u[a][d];
              lowest[d]  = std::min(lowest[d], u[a][d]);
              highest[d] = std::max(highest[d], u[a][d]);
            }
      }
    for (unsigned int d = 0; d < dim; ++d)
      {
        mean_u[d]  = D.sum(mean_u[d]) / quality.volume;
        lowest[d]  = Utilities::MPI::min(lowest[d], comm);
        highest[d] = Utilities::MPI::max(highest[d], comm);
      }
    summary["displacement"] = {{"volume_mean_m", mean_u},
                               {"lowest_m", lowest},
                               {"highest_m", highest}};
    summary["warnings"]     = warnings;
    {
      std::ostringstream text;
      parameters.handler.print_parameters(text, ParameterHandler::ShortJSON);
      summary["parameters"] = nlohmann::json::parse(text.str());
    }

    run_on_root(comm, [&]() { write_npz(directory + "/result.npz", arrays); });
    run_on_root(comm, [&]() {
      write_file(directory + "/summary.json", summary.dump(2) + "\n");
    });
    run_on_root(comm, [&]() {
      std::ostringstream text;
      parameters.handler.print_parameters(text, ParameterHandler::PRM);
      write_file(directory + "/parameters.prm", text.str());
    });
    written.keep();
  }

#define INSTANTIATE(dim)                                                 \
  template nlohmann::json Problem<dim>::objective_json(                  \
    const std::vector<double> &) const;                                  \
  template void Problem<dim>::write_results(const std::string &,         \
                                            const Field &,               \
                                            const std::vector<Vector> &, \
                                            const Field *,               \
                                            nlohmann::json &,            \
                                            NpzArrays);

  INSTANTIATE(2)
  INSTANTIATE(3)
} // namespace Palpate
