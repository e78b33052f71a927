#include <deal.II/base/timer.h>

#include <palpate/core/declared_parameters.h>
#include <palpate/core/files.h>
#include <palpate/core/version.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/result_fields.h>
#include <palpate/forces/springs/edge_springs.h>
#include <palpate/geometry/stretch.h>
#include <palpate/mesh/distributed_mesh.h>
#include <palpate/mesh/faces.h>
#include <palpate/output/operators.h>
#include <palpate/output/vtu.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
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
    for (unsigned int i = 0; i < terms.size(); ++i)
      result[terms[i].objective->column_name()] = parts[i];
    result["total"] = OuterFunction<dim>(terms).value(parts);
    return result;
  }

  template <int dim>
  typename Problem<dim>::Springs
  Problem<dim>::springs_of(const ReducedFunctional<dim> *J) const
  {
    const auto &D = *discretization;
    Springs     result;
    if (trajectory) // gradients are not made of adjoint states
      {
        const std::string name = "spring_stiffness";
        const Fields     &all  = states().context(0).fields;
        if (!all.has(name))
          return result;
        result.exist     = true;
        result.stiffness = all[name];
        result.gradient  = Field(D.n_cells(), 0., dim);
        if (J && J->field_gradient().has(name))
          for (unsigned int i = 0; i < D.n_owned_cells() * dim; ++i)
            result.gradient[i] =
              result.stiffness[i] * J->field_gradient()[name][i];
        return result;
      }
    // As if springs were unknown: alpha becomes a stiffness of every spring.
    Fields all = states().context(0).fields;
    try
      {
        for (const auto &force : equilibrium->forces)
          force->add_fields(D, snapshots, data, {"spring_stiffness"}, all);
      }
    catch (const EntryError &)
      {
        log << "note: the springs turn with the snapshots: not written"
            << std::endl;
        return result;
      }
    if (!all.has("spring_stiffness"))
      return result;
    result.exist     = true;
    result.stiffness = all["spring_stiffness"];
    result.gradient  = Field(D.n_cells(), 0., dim);
    if (!J)
      return result;
    Fields springs_only;
    springs_only["spring_stiffness"] = result.stiffness;
    FieldDuals g(springs_only);
    for (unsigned int s = 0; s < snapshots.size(); ++s)
      {
        const auto         now = states().context(s);
        const Context<dim> c{D, now.state, all, now.snapshot, now.constrained};
        for (const auto &force : equilibrium->forces)
          force->field_vjp(c, J->adjoints()[s], g);
      }
    // The terms that see k or alpha directly.
    const auto &direct = J->direct_field_gradient();
    for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
      for (unsigned int i = k * dim; i < (k + 1) * dim; ++i)
        {
          result.gradient[i] =
            (direct.has("stiffness")
               ? J->fields()["stiffness"][k] / dim * direct["stiffness"][k]
               : 0.) -
            result.stiffness[i] * g["spring_stiffness"][i];
          if (direct.has("spring_stiffness"))
            result.gradient[i] +=
              result.stiffness[i] * direct["spring_stiffness"][i];
        }
    return result;
  }

  template <int dim>
  LineData<dim>
  Problem<dim>::lines_of(const Springs &springs, const unsigned int s) const
  {
    const auto                 &D = *discretization;
    const auto                 &u = states().context(s).state.u;
    LineData<dim>               lines;
    std::vector<double>         k, extension, gradient, axis, cell;
    std::vector<Tensor<1, dim>> values;
    for (unsigned int c = 0; c < D.n_owned_cells(); ++c)
      {
        const IntersectionSprings<dim> points(D.barycentric_gradients(c),
                                              snapshots[s].frames[c]);
        const auto                    &vertices = D.mesh.cells[D.cell_place[c]];
        D.gather(u, c, values);
        for (unsigned int l = 0; l < dim; ++l)
          {
            std::array<Point<dim>, 2>     x;
            std::array<Tensor<1, dim>, 2> moved;
            for (unsigned int end = 0; end < 2; ++end)
              for (unsigned int a = 0; a < dim + 1; ++a)
                {
                  const double w = points.C[2 * l + end][a];
                  x[end] += w * D.mesh.vertices[vertices[a]];
                  moved[end] += w * values[a];
                }
            lines.points.push_back(x);
            lines.displacements.push_back(moved);
            const double at_rest = fixed_fields.has("rest_length")
                                     ? fixed_fields["rest_length"][c * dim + l]
                                     : points.rest_length[l];
            k.push_back(springs.stiffness[c * dim + l]);
            extension.push_back(
              ((x[0] + moved[0]) - (x[1] + moved[1])).norm() / at_rest - 1);
            gradient.push_back(springs.gradient[c * dim + l]);
            axis.push_back(l + 1);
            cell.push_back(D.cell_id[c]);
          }
      }
    lines.values = {{"spring_stiffness", k},
                    {"relative_extension", extension},
                    {"gradient_spring", gradient},
                    {"axis", axis},
                    {"cell", cell}};
    return lines;
  }

  template <int dim>
  double
  Problem<dim>::stiffness_scale(const Field &alpha) const
  {
    return reference_stiffness / geometric_mean(*discretization, alpha);
  }

  void
  write_summary(const std::string &directory,
                const Parameters  &parameters,
                nlohmann::json    &summary,
                const MPI_Comm    &comm)
  {
    summary["version"] = PALPATE_VERSION;
    summary["ranks"]   = Utilities::MPI::n_mpi_processes(comm);
    summary["parameters"] =
      parameters_as_json(parameters.handler, ParameterHandler::ShortJSON);
    write_file(directory + "/summary.json", summary.dump(2) + "\n");
    std::ostringstream prm;
    write_parameters(prm, parameters.handler);
    write_file(directory + "/parameters.prm", prm.str());
  }

  template <int dim>
  nlohmann::json
  Problem<dim>::landmark_errors() const
  {
    nlohmann::json result;
    if constexpr (dim == 3)
      {
        const auto whole =
          std::make_shared<const SerialMesh<3>>(whole_mesh(data.mesh, comm));
        const PointLocation<3> locator(*whole);
        for (const Landmarks &marks : landmarks)
          {
            const unsigned int s = marks.timestamp;
            const auto         simulated =
              serial_displacement(states().context(s).state.u, whole);
            SerialDisplacement<3> input;
            input.mesh = whole;
            if (!registered.empty())
              input.vertices = discretization->gather_vertices(
                discretization->interpolate_vertices(registered[s]));
            std::vector<Tensor<1, 3>> of_input, of_simulation;
            for (const Point<3> &x : marks.points)
              {
                const auto where = locator.locate(x);
                of_simulation.push_back(simulated.value(where));
                if (!registered.empty())
                  of_input.push_back(input.value(where));
              }
            std::vector<std::pair<std::string, std::vector<Tensor<1, 3>>>>
              motions;
            if (!registered.empty())
              motions.emplace_back("input_field", of_input);
            motions.emplace_back("simulated", of_simulation);
            result.push_back(registration_errors(marks, motions, log));
          }
      }
    return result;
  }

  template <int dim>
  unsigned long
  Problem<dim>::check_inverted_cells()
  {
    const auto   &D        = *discretization;
    unsigned long inverted = 0, first = D.n_global_cells();
    for (unsigned int s = 0; s < snapshots.size(); ++s)
      {
        std::vector<Tensor<1, dim>> u;
        for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
          {
            D.gather(states().context(s).state.u, k, u);
            bool bad = false;
            for (unsigned int q = 0; q < D.n_q; ++q)
              bad = bad || determinant(D.deformation_gradient(u, k, q)) <= 0;
            if (bad)
              {
                ++inverted;
                first = std::min<unsigned long>(first, D.cell_id[k]);
              }
          }
      }
    inverted = Utilities::MPI::sum(inverted, comm);
    first    = Utilities::MPI::min(first, comm);
    if (inverted > 0)
      {
        const std::string text =
          "the solution inverts " + std::to_string(inverted) +
          " cells (det F <= 0), the first is cell " + std::to_string(first);
        if (refuse_inverted)
          throw SolverError(text +
                            "; expected none (Model/Inverted cells = refuse)");
        warn(text);
      }
    return inverted;
  }

  template <int dim>
  long
  Problem<dim>::check_stability()
  {
    if (equilibrium->is_linear() || trajectory)
      return -1;
    long negative = 0;
    try
      {
        for (unsigned int s = 0; s < snapshots.size(); ++s)
          negative += equilibrium->n_negative_modes(s);
      }
    catch (const SolverError &e)
      {
        warn(std::string("the stability of the equilibrium is not known: ") +
             e.what());
        return -1;
      }
    if (negative > 0)
      warn("the equilibrium is unstable: its tangent has " +
           std::to_string(negative) +
           " negative modes (derivatives are exact all the same)");
    return negative;
  }

  template <int dim>
  void
  Problem<dim>::check_zero_energy_modes(const std::string &directory)
  {
    if (!equilibrium->may_have_zero_energy_modes())
      return;
    const auto &D = *discretization;
    for (unsigned int s = 0; s < snapshots.size(); ++s)
      {
        // The same frames give the same matrix.
        double turned = 0;
        for (unsigned int k = 0; s > 0 && k < D.n_owned_cells(); ++k)
          turned = std::max(
            turned,
            (snapshots[s].frames[k] - snapshots[s - 1].frames[k]).norm());
        if (s > 0 && Utilities::MPI::max(turned, comm) == 0)
          continue;
        const auto lowest = equilibrium->lowest_modes(initial_fields(), s, 10);
        const unsigned int n_zero = lowest.n_zero();
        std::ostringstream text;
        text.precision(2);
        if (n_zero == 0)
          {
            log << "  no zero-energy mode: the lowest eigenvalue is "
                << lowest.eigenvalues[0] << " of the largest" << std::endl;
            continue;
          }
        VtuData<dim> out;
        for (unsigned int m = 0; m < n_zero; ++m)
          out.nodal.emplace_back("mode_" + std::to_string(m + 1),
                                 lowest.modes[m]);
        std::string file; // without a directory nothing is written
        if (!directory.empty())
          {
            // Results come later, and then together.
            run_on_root(comm, [&]() {
              std::filesystem::create_directories(directory);
            });
            // What the program did not write stays.
            std::string name = "zero_energy_modes";
            run_on_root(comm, [&]() {
              const auto is_free = [&](const std::string &file) {
                return !std::filesystem::exists(file) ||
                       read_file(file, false)
                           .substr(0, 400)
                           .find("generated by the deal.II library") !=
                         std::string::npos;
              };
              for (unsigned int i = 2;
                   !is_free(directory + "/" + name + ".vtu") ||
                   !is_free(directory + "/" + name + ".pvtu");
                   ++i)
                name = "zero_energy_modes_" + std::to_string(i);
            });
            name = Utilities::MPI::broadcast(comm, name, 0);
            file =
              ", see " + directory + "/" + write_vtu(directory, name, D, out);
          }
        text << "the model has " << (n_zero == 10 ? "at least " : "") << n_zero
             << " zero-energy mode(s), motions that stretch no spring "
                "(eigenvalues "
             << lowest.eigenvalues[0] << " to "
             << lowest.eigenvalues[n_zero - 1] << " of the largest); vertices ";
        // Those that move most in one of the modes.
        std::vector<std::pair<double, unsigned int>> moves(
          data.mesh.n_all_vertices());
        for (unsigned int m = 0; m < n_zero; ++m)
          {
            const auto values = D.gather_vertices(lowest.modes[m]);
            for (unsigned int v = 0; v < moves.size(); ++v)
              for (unsigned int d = 0; d < dim; ++d)
                {
                  moves[v].first += std::pow(values[v * dim + d], 2);
                  moves[v].second = v;
                }
          }
        std::sort(moves.rbegin(), moves.rend());
        for (unsigned int i = 0; i < std::min<std::size_t>(3, moves.size());
             ++i)
          text << (i ? ", " : "") << moves[i].second;
        text << " move most" << file
             << "; expected Model/Shear springs = true, Frames = registered, "
                "or more constrained vertices";
        throw SolverError(text.str());
      }
  }

  template <int dim>
  void
  Problem<dim>::add_generated_mesh(NpzArrays &arrays) const
  {
    if (!data.has_own_numbers)
      return;
    if (data.mesh.is_network())
      {
        const auto               &m = data.mesh;
        std::vector<double>       points;
        std::vector<std::int64_t> springs;
        for (const auto &v : m.vertices)
          points.insert(points.end(), v.begin_raw(), v.end_raw());
        for (const auto &s : m.springs)
          springs.insert(springs.end(), s.begin(), s.end());
        arrays["mesh_points"] = NpyArray({m.vertices.size(), dim}, points);
        arrays["springs"] = NpyArray::integers({m.springs.size(), 2}, springs);
        arrays["labels"] =
          NpyArray::integers({m.springs.size()},
                             {m.labels.begin(), m.labels.end()});
        return;
      }
    // Rank 0, which writes it, gets it.
    const SerialMesh<dim>     whole = whole_mesh(data.mesh, comm, true);
    const std::size_t         N = whole.vertices.size(), M = whole.cells.size();
    std::vector<double>       points;
    std::vector<std::int64_t> cells;
    for (const auto &v : whole.vertices)
      points.insert(points.end(), v.begin_raw(), v.end_raw());
    for (const auto &cell : whole.cells)
      cells.insert(cells.end(), cell.begin(), cell.end());
    arrays["mesh_points"] = NpyArray({N, dim}, points);
    arrays["tetrahedra"]  = NpyArray::integers({M, dim + 1}, cells);
    arrays["labels"] =
      NpyArray::integers({M}, {whole.labels.begin(), whole.labels.end()});
  }

  template <int dim>
  void
  Problem<dim>::add_network_fields(const Fields &fields,
                                   VtuData<dim> &out) const
  {
    const auto &D = *discretization;
    if (!D.is_network())
      return;
    for (const auto &fields_of : {fixed_fields, fields})
      for (const auto &[name, field] : fields_of)
        {
          auto &list =
            field.place == Place::vertices ? out.nodal_scalars : out.cell;
          const bool here = field.place == Place::vertices ||
                            (name == EdgeSprings<dim>::rest_length_name);
          if (!here)
            continue;
          const std::vector<double> values(field.values.begin(),
                                           field.values.begin() +
                                             D.n_owned_values(field));
          const auto                known =
            std::find_if(list.begin(), list.end(), [&](const auto &item) {
              return item.first == name;
            });
          if (known == list.end())
            list.emplace_back(name, values);
          else
            known->second = values;
        }
    // What the springs do now: the first nodal vector is the displacement.
    std::vector<double> strain(D.n_owned_cells());
    const Vector        u = ghosted_copy(out.nodal.front().second);
    const Field        &l = fields.has(EdgeSprings<dim>::rest_length_name)
                              ? fields[EdgeSprings<dim>::rest_length_name]
                              : fixed_fields[EdgeSprings<dim>::rest_length_name];
    for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
      {
        const unsigned int *n = &D.cell_nodes[2 * k];
        Tensor<1, dim>      d = D.node_position(n[0]) - D.node_position(n[1]);
        for (unsigned int i = 0; i < dim; ++i)
          d[i] +=
            u.local_element(n[0] * dim + i) - u.local_element(n[1] * dim + i);
        strain[k] = l[k] > 0 ? d.norm() / l[k] - 1 : d.norm();
      }
    out.cell.emplace_back("spring_strain", strain);
  }

  template <int dim>
  void
  Problem<dim>::write_results(const std::string            &directory,
                              const ReducedFunctional<dim> *J,
                              nlohmann::json               &summary,
                              NpzArrays                     arrays)
  {
    Timer       timer;
    const auto  matrices_before = states().counts;
    const auto &D               = *discretization;
    const Field alpha =
      J && J->fields().has("stiffness") ? J->fields()["stiffness"] : stiffness;
    const std::vector<Vector> adjoints =
      J && !trajectory ? J->adjoints() : std::vector<Vector>();
    Springs springs = springs_of(J);
    if (J)
      find_free_directions(*J);
    const double scale = to_reference ? stiffness_scale(alpha) : 1.;
    // dJ/dlog alpha; where springs have a stiffness of their own, that of a
    // common factor of the cell's springs.
    Field gradient(D.n_cells());
    for (unsigned int k = 0; J && k < D.n_owned_cells(); ++k)
      if (!springs.exist)
        gradient[k] = J->field_gradient().has("stiffness")
                        ? alpha[k] * J->field_gradient()["stiffness"][k]
                        : 0.;
      else
        for (unsigned int l = 0; l < dim; ++l)
          gradient[k] += springs.gradient[k * dim + l];
    const unsigned long n_inverted = check_inverted_cells();
    const long          n_negative = check_stability();
    // Whole or not at all: a failure takes back what this call wrote.
    CleanUp           written;
    const std::size_t N = data.mesh.n_all_vertices(), M = D.n_global_cells(),
                      S = snapshots.size();

    // Relative and absolute stiffness.
    const double mean   = geometric_mean(D, alpha);
    Field        scaled = alpha, relative = alpha;
    for (double &v : springs.stiffness.values)
      v *= scale;
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      {
        relative[k] = alpha[k] / mean;
        scaled[k] *= scale;
      }
    add_mean_by_label(D, scaled, stiffness_title(), summary);
    // Rank 0, which writes them, gets their values.
    const auto root     = Discretization<dim>::To::root;
    const auto of_cells = [&](const Field                    &field,
                              const std::vector<std::size_t> &shape) {
      NpyArray array;
      array.shape  = shape;
      array.values = D.gather_cells(field, root);
      return array;
    };
    const auto stacked = [&](const auto &vector_of) {
      NpyArray all;
      // A pack with displacement_steps gets (S,N,dim) back, S = 1 included.
      all.shape = {N, dim};
      if (S > 1 || data.arrays.count("displacement_steps"))
        all.shape.insert(all.shape.begin(), S);
      for (std::size_t s = 0; s < S; ++s)
        {
          const auto one = D.gather_vertices(vector_of(s), root);
          all.values.insert(all.values.end(), one.begin(), one.end());
        }
      return all;
    };
    arrays["displacement"] =
      stacked([&](const std::size_t s) { return states().context(s).state.u; });
    if (!adjoints.empty())
      arrays["adjoint"] =
        stacked([&](const std::size_t s) { return adjoints[s]; });
    arrays[stiffness_key()] = of_cells(scaled, {M});
    Field young =
      stiffness_key() == "youngs_modulus" ? alpha : youngs_modulus();
    for (double &E : young.values)
      E *= scale;
    // (A rank without cells has no values of its own.)
    const bool has_young = D.sum(double(young.values.size())) > 0;
    if (has_young)
      {
        arrays["youngs_modulus"] = of_cells(young, {M});
        add_mean_by_label(D, young, "youngs_modulus_Pa", summary);
      }
    arrays["alpha_relative"]   = of_cells(relative, {M});
    arrays["scale_identified"] = NpyArray::integers({}, {scale_identified});
    arrays["observable"]       = of_cells(observable, {M});
    arrays["observable"].is_integer = true;
    if (J)
      arrays["gradient"] = of_cells(gradient, {M});
    if (springs.exist)
      {
        arrays["spring_stiffness"] = of_cells(springs.stiffness, {M, dim});
        if (J)
          arrays["gradient_spring"] = of_cells(springs.gradient, {M, dim});
      }
    add_generated_mesh(arrays);
    std::vector<double> norms;
    for (std::size_t s = 0; s < S && !trajectory; ++s)
      norms.push_back(equilibrium->residual_norm(s));
    if (trajectory)
      arrays["time"] = NpyArray({S}, snapshot_times);
    else
      arrays["residual_norm"] =
        S > 1 ? NpyArray({S}, norms) : NpyArray({}, norms);
    if (J)
      add_other_fields(D, *J, arrays, summary);

    // ParaView.
    std::vector<std::pair<double, std::string>> files;
    for (std::size_t s = 0; s < S; ++s)
      {
        VtuData<dim> out;
        const auto  &u = states().context(s).state.u;
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
        add(stiffness_name(), scaled);
        if (has_young && stiffness_key() != "youngs_modulus")
          add(with_unit("youngs_modulus"), young);
        add("alpha_relative", relative);
        add("observable", observable);
        Field label(D.n_cells());
        for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
          label[k] = D.label(k);
        add("label", label);
        if (J)
          add("gradient", gradient);
        for (const char *name : {"density", "poisson_ratio"})
          if (J && J->fields().has(name))
            add(name, J->fields()[name]);
          else if (fixed_fields.has(name))
            add(name, fixed_fields[name]);
        if (data.arrays.count("hu_tetra_mean"))
          add("HU", D.scatter_cells(data.arrays["hu_tetra_mean"].values));
        add_network_fields(J ? J->fields() : initial_fields(), out);
        for (unsigned int l = 0; l < dim && !D.is_network(); ++l)
          {
            std::vector<Tensor<1, dim>> axis(D.n_owned_cells());
            for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
              for (unsigned int d = 0; d < dim; ++d)
                axis[k][d] = snapshots[s].frames[k][d][l];
            out.cell_vectors.emplace_back("axis_" + std::to_string(l + 1),
                                          axis);
          }
        const std::string name = "solution_" + Utilities::int_to_string(s, 4);
        for (const auto &file : piece_names(name, comm))
          written.add(directory + "/" + file);
        files.emplace_back(trajectory ? snapshot_times[s] : double(s),
                           write_vtu(directory, name, D, out));
      }
    for (const char *name : {"solution.pvd",
                             "springs.pvd",
                             "result.npz",
                             "summary.json",
                             "parameters.prm"})
      written.add(directory + "/" + name);
    write_pvd(directory, "solution", files, comm);
    if (springs.exist)
      {
        for (std::size_t s = 0; s < S; ++s)
          {
            const std::string name =
              "springs_" + Utilities::int_to_string(s, 4);
            for (const auto &file : piece_names(name, comm))
              written.add(directory + "/" + file);
            files[s].second =
              write_lines(directory, name, lines_of(springs, s), comm);
          }
        write_pvd(directory, "springs", files, comm);
      }

    for (std::size_t s = 0; s < S && write_operators; ++s)
      {
        const std::string name =
          directory + "/operators" +
          (S > 1 ? "_" + Utilities::int_to_string(s, 4) : "") + ".npz";
        written.add(name);
        const auto operators =
          spring_operators<dim>(D,
                                snapshots[s].frames,
                                fixed_fields.has("rest_length")
                                  ? &fixed_fields["rest_length"]
                                  : nullptr);
        run_on_root(comm, [&]() { write_npz(name, operators); });
      }
    if (raster_grid)
      {
        std::vector<std::pair<std::string, Field>> maps = {
          {stiffness_name(), scaled},
          {"observable", observable},
          {"alpha_relative", relative}};
        if (has_young && stiffness_key() != "youngs_modulus")
          maps.emplace_back(with_unit("youngs_modulus"), young);
        for (const auto &file : image_files(maps))
          written.add(directory + "/" + file);
        write_images(directory, maps);
      }
    if (!landmarks.empty())
      summary["landmarks"] = landmark_errors();

    const auto &counts                = states().counts;
    summary["case"]                   = data.source;
    summary["sizes"]                  = {{"vertices", N},
                                         {"cells", M},
                                         {"degrees_of_freedom", D.n_dofs()},
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
    if (trajectory)
      summary["motion"] = {{"integrator", time->integrator},
                           {"steps", time->n_steps()},
                           {"substeps", time->substeps},
                           {"snapshot_times_s", snapshot_times},
                           {"checkpoints", trajectory->description()},
                           {"note", trajectory->note()}};
    else
      summary["residual_norm"] = norms;
    summary["scale_identified"] = scale_identified;
    if (J)
      summary["free_directions"] = free_directions;
    if (to_reference)
      summary["reference_stiffness"] = {
        {"value_Pa", reference_stiffness},
        {"meaning",
         "only relative stiffness can be found; " + stiffness_key() +
           " is alpha_relative times this " +
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
    if (!D.is_network())
      summary["volume"] = quality.volume;
    summary["inverted_cells"] = n_inverted;
    if (n_negative >= 0)
      summary["negative_modes"] = n_negative;
    summary["timestamps"]   = timestamps_json();
    summary["displacement"] = summary["timestamps"][0]["displacement"];
    summary["warnings"]     = warnings;
    run_on_root(comm, [&]() { write_npz(directory + "/result.npz", arrays); });
    // All but this file itself; a check of stability assembles.
    const double seconds = timer.wall_time();
    summary["seconds"]["output"] =
      seconds - (counts.seconds_assembly - matrices_before.seconds_assembly) -
      (counts.seconds_setup - matrices_before.seconds_setup);
    if (summary["seconds"].contains("elapsed"))
      summary["seconds"]["elapsed"] =
        summary["seconds"]["elapsed"].get<double>() + seconds;
    run_on_root(comm,
                [&]() { write_summary(directory, parameters, summary, comm); });
    written.keep();
  }

#define INSTANTIATE(dim)                                                    \
  template nlohmann::json Problem<dim>::objective_json(                     \
    const std::vector<double> &) const;                                     \
  template void Problem<dim>::write_results(const std::string &,            \
                                            const ReducedFunctional<dim> *, \
                                            nlohmann::json &,               \
                                            NpzArrays);                     \
  template void Problem<dim>::add_network_fields(const Fields &,            \
                                                 VtuData<dim> &) const;     \
  template void Problem<dim>::check_zero_energy_modes(const std::string &); \
  template void Problem<dim>::add_generated_mesh(NpzArrays &) const;

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
