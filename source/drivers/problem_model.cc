#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/drivers/observation.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/transposed_axes.h>
#include <palpate/forces/charges/field_at_points.h>
#include <palpate/parameterizations/field_unknowns.h>
#include <palpate/parameterizations/lame_parameters.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <set>

// The model of a Problem: frames, forces, stiffness, objective.
namespace Palpate
{
  using namespace dealii;

  template <int dim>
  void
  Problem<dim>::read_frames()
  {
    const auto               &D    = *discretization;
    const std::string         task = parameters.get("Task");
    const Parameters::Section section(parameters, "Model");
    if (task == "forward" || task == "evaluate" || task == "identify")
      write_operators =
        !D.is_network() && parameters.get_bool("Write operators");
    if (write_operators && degree > 1)
      parameters.fail("Write operators",
                      "expected Model/Degree = 1, as the points of the springs "
                      "are between vertices");
    frames_kind = parameters.get("Frames");
    if (frames_kind == "registered" && time)
      parameters.fail("Frames",
                      "expected coordinate axes or pack for a motion in time");
    if (frames_kind == "default")
      frames_kind =
        registered.empty() || time ? "coordinate axes" : "registered";
    Tensor<2, dim> identity;
    for (unsigned int d = 0; d < dim; ++d)
      identity[d][d] = 1;
    std::vector<Tensor<2, dim>> frames(D.n_cells(), identity);
    if (frames_kind == "registered")
      {
        if (registered.empty())
          parameters.fail("Frames",
                          data.source +
                            " has no displacement_field or displacement_steps, "
                            "expected one");
        const double tolerance = parameters.get_double("Near rigid tolerance");
        for (auto &s : snapshots)
          {
            frames =
              registered_frames(D, s.observed, frames, tolerance, frame_counts);
            s.frames = frames;
          }
        for (unsigned long *c : {&frame_counts.registered,
                                 &frame_counts.near_rigid,
                                 &frame_counts.inverted,
                                 &frame_counts.collapsed,
                                 &frame_counts.motionless})
          *c = Utilities::MPI::sum(*c, comm);
        return;
      }
    if (frames_kind == "pack")
      run_on_all(comm, [&]() {
        for (std::size_t s = 0; s < snapshots.size(); ++s)
          snapshots[s].frames = pack_frames<dim>(data, D, time ? 0 : s);
      });
    if (frames_kind == "pack" && !time)
      refuse_transposed_axes(data.source, D, snapshots);
    if (frames_kind == "coordinate axes")
      for (auto &s : snapshots)
        s.frames = frames;
    if (time)
      moving[0].frames = snapshots[0].frames;
  }

  template <int dim>
  void
  Problem<dim>::read_points_of_field()
  {
    const std::string entry = "Field points", file = parameters.get(entry);
    if (file.empty())
      return;
    if constexpr (dim == 3)
      {
        if (parameters.get("Charge").empty() &&
            parameters.get("Charge density").empty())
          parameters.fail(
            entry, "expected Loads/Charge or Charge density beside them");
        run_on_all(comm, [&]() { field_points = read_field_points(file); });
      }
    else
      parameters.fail(entry, "expected none in 2D");
  }

  template <int dim>
  void
  Problem<dim>::read_forces()
  {
    const auto                              &D = *discretization;
    std::vector<std::unique_ptr<Force<dim>>> forces;
    {
      const Parameters::Section section(parameters, "Model");
      forces.push_back(Registry<Force<dim>>::create(parameters.get("Type")));
      force_names = {parameters.get("Type")};
      forces.back()->parse_parameters(parameters);
      if (degree > forces.back()->maximum_degree())
        parameters.fail("Degree",
                        parameters.get("Type") +
                          " needs linear displacements, expected 1");
      forces.back()->check(D, parameters);
      for (const auto &[name, item] : Registry<Force<dim>>::items())
        if (item.group == "damping")
          {
            auto damping = item.create();
            damping->parse_parameters(parameters);
            if (!damping->is_active())
              continue;
            if (D.is_network())
              throw EntryError("Model",
                               name + " acts in cells, expected none for edge "
                                      "springs");
            forces.push_back(std::move(damping));
            force_names.push_back(name);
          }
    }
    {
      const Parameters::Section section(parameters, "Loads");
      bool                      needs_density = (time != nullptr);
      for (const char *entry : {"Charge", "External charges", "External field"})
        if (dim == 2 && !parameters.get(entry).empty())
          parameters.fail(entry, "expected none in 2D");
      if (dim == 2 && !parameters.get("Charge density").empty())
        parameters.fail("Charge density", "expected none in 2D");
      for (const auto &[name, item] : Registry<Force<dim>>::items())
        {
          if (item.group != "load")
            continue;
          auto load = item.create();
          load->parse_parameters(parameters);
          if (!load->is_active())
            continue;
          if (D.is_network() && !load->works_on_networks())
            throw EntryError("Loads",
                             name +
                               " acts on cells, expected none for a network "
                               "(Model/Type = edge springs)");
          load->check(D, parameters);
          for (const auto &field : load->field_names())
            needs_density = needs_density || field == "density";
          forces.push_back(std::move(load));
          force_names.push_back(name);
        }
      if (time && D.is_network() && terms.empty())
        {
          writes_electric_field = parameters.get_bool("Write electric field");
          if (writes_electric_field && parameters.get("Charge").empty())
            parameters.fail("Write electric field", "expected Loads/Charge");
        }
      if (time && terms.empty())
        read_points_of_field();
      if (needs_density && D.is_network())
        fixed_fields["mass"] = read_masses();
      else if (needs_density)
        {
          const std::string   source = parameters.get("Density");
          const std::size_t   M      = data.mesh.cells.size();
          std::vector<double> rho(M);
          if (source == "pack" && data.arrays.count("density"))
            rho = data.arrays["density"].values;
          else if (source == "pack")
            rho =
              density_from_mass(data.mesh,
                                array("mass", "Loads/Density = pack").values);
          else if (source == "from HU")
            {
              const double floor = parameters.get_double("HU density floor");
              const auto  &hu =
                array("hu_tetra_mean", "Loads/Density = from HU").values;
              for (std::size_t k = 0; k < M; ++k)
                rho[k] = std::max(hu[k] + 1000, floor);
            }
          else
            {
              const double value = parameters.get_double("Density");
              if (!(value > 0))
                parameters.fail("Density", "expected a positive value");
              rho.assign(M, value);
            }
          fixed_fields["density"] = D.scatter_cells(rho);
          D.update_ghosts(fixed_fields["density"]);
        }
    }
    for (unsigned int i = 0; i < forces.size(); ++i)
      if (!time && forces[i]->tangent_depends_on().velocity)
        throw EntryError(force_names[i] == "viscosity"
                           ? "Model/Shear viscosity"
                           : "Loads/Ground friction",
                         force_names[i] +
                           " acts in motions only, expected none in an "
                           "equilibrium (Task = forward, or no "
                           "Time/Integrator)");
    for (unsigned int i = 0; i < forces.size(); ++i)
      if (!(time && !time->uses_equilibrium) && !forces[i]->has_matrix())
        throw EntryError(D.is_network() ? "Loads/Charge"
                                        : "Loads/Charge density",
                         "charges act between all vertices, expected a motion "
                         "with an explicit Time/Integrator (or imex)");
    if (time)
      {
        auto force = std::make_unique<InertiaForce<dim>>(D, time->lumped);
        inertia    = force.get();
        forces.push_back(std::move(force));
      }
    if (time && !time->uses_equilibrium)
      for (const auto &force : forces)
        if (force->adjoint_tangent() != Tangent::consistent)
          {
            const Parameters::Section section(parameters, "Model");
            parameters.fail("Tangent",
                            "expected consistent: explicit steps have no "
                            "tangent to choose");
          }
    bool nonlinear = false;
    for (const auto &force : forces)
      nonlinear = nonlinear || force->tangent_depends_on().state;
    if (nonlinear && !(time && !time->uses_equilibrium))
      {
        const Parameters::Section section(parameters, "Newton");
        newton_parameters.parse_parameters(parameters);
        if (newton_parameters.tangent == Tangent::small_strain &&
            !forces[0]->has_small_strain_tangent())
          parameters.fail("Tangent",
                          "expected consistent: small strain is of springs "
                          "(Model/Type = intersection springs, edge springs)");
        if (time && newton_parameters.load_steps > 1)
          parameters.fail("Load steps",
                          "expected 1: a motion takes its steps in time");
      }
    // A motion reports its steps, not each of Newton's.
    static const ConditionalOStream silent(std::cout, false);
    equilibrium =
      std::make_unique<StaticEquilibrium<dim>>(D,
                                               constrained,
                                               time ? moving : snapshots,
                                               std::move(forces),
                                               solver_parameters,
                                               newton_parameters,
                                               time ? silent : log);
  }

  template <int dim>
  Field
  Problem<dim>::read_masses()
  {
    const auto         &D    = *discretization;
    const std::string   text = parameters.get("Mass");
    std::vector<double> mass(data.mesh.vertices.size());
    if (text == "pack")
      mass = array("mass", "Loads/Mass = pack").values;
    else if (text.find(':') != std::string::npos)
      {
        const auto  of_label = parameters.get_map("Mass", 1);
        const auto &labels   = data.mesh.vertex_labels;
        for (const auto &[label, m] : of_label)
          if (std::find(labels.begin(), labels.end(), label) == labels.end())
            parameters.fail("Mass",
                            "no vertex has label " + std::to_string(label));
        for (std::size_t v = 0; v < mass.size(); ++v)
          {
            const auto it = of_label.find(data.mesh.vertex_labels[v]);
            if (it == of_label.end())
              parameters.fail("Mass",
                              "expected a mass for label " +
                                std::to_string(data.mesh.vertex_labels[v]) +
                                " of vertex " + std::to_string(v));
            mass[v] = it->second[0];
          }
      }
    else
      mass.assign(mass.size(), parameters.get_double("Mass"));
    for (const double m : mass)
      if (!(m > 1e-20 && m < 1e20))
        parameters.fail("Mass", "expected values between 1e-20 and 1e20 kg");
    return D.scatter_vertices(mass);
  }

  template <int dim>
  Field
  Problem<dim>::read_stiffness(const bool from_parameterization)
  {
    const auto               &D = *discretization;
    const Parameters::Section section(parameters,
                                      from_parameterization ? "Parameterization"
                                                            : "Stiffness");
    const std::string entry = from_parameterization ? "Initial value" : "Value";
    std::string       source;
    if (from_parameterization)
      source = (parameters.get(entry) == "pack" ? "pack" : "constant");
    else
      source = parameters.get("Source");
    const std::size_t   M = data.mesh.n_cells();
    std::vector<double> alpha(M);
    const auto          cell = [&](const std::size_t k) {
      return "cell " + std::to_string(data.mesh.cell_number(k));
    };
    if (source == "constant")
      {
        const double value = parameters.get_double(entry);
        if (!(value > 0))
          parameters.fail(entry, "expected a positive stiffness");
        alpha.assign(M, value);
      }
    else if (source == "pack")
      alpha = array(stiffness_key(), "a stiffness from the pack").values;
    else if (source == "per label")
      {
        const auto values = parameters.get_map("Values", 1);
        run_on_all(comm, [&]() {
          for (std::size_t k = 0; k < M; ++k)
            {
              const auto it = values.find(data.mesh.labels[k]);
              if (it == values.end() || !(it->second[0] > 0))
                parameters.fail("Values",
                                "expected a positive stiffness for label " +
                                  std::to_string(data.mesh.labels[k]) + " of " +
                                  cell(k));
              alpha[k] = it->second[0];
            }
        });
      }
    else
      {
        alpha = values_at_barycentres<dim>("Function", parameters, data.mesh);
        run_on_all(comm, [&]() {
          for (std::size_t k = 0; k < M; ++k)
            if (!(alpha[k] > 0) || !std::isfinite(alpha[k]))
              parameters.fail("Function",
                              "is not positive at " + cell(k) +
                                ", expected a stiffness > 0 everywhere");
        });
      }
    run_on_all(comm, [&]() {
      for (std::size_t k = 0; k < M; ++k)
        if (!(alpha[k] > 1e-20 && alpha[k] < 1e20))
          {
            const std::string expected =
              "the stiffness of " + cell(k) +
              " is out of range, expected a value between 1e-20 and 1e20 Pa";
            if (source == "pack")
              throw InputError(data.source,
                               "key '" + stiffness_key() + "': " + expected);
            parameters.fail(source == "constant"    ? entry
                            : source == "per label" ? "Values"
                                                    : "Function",
                            expected);
          }
    });
    return D.scatter_cells(alpha);
  }

  template <int dim>
  void
  Problem<dim>::read_parameterization()
  {
    const bool                network = is_network(parameters);
    const Parameters::Section section(parameters, "Parameterization");
    const std::string         type = parameters.get("Type");
    std::vector<std::unique_ptr<Parameterization<dim>>> parts;
    if (network && type == "per spring")
      parameters.fail("Type",
                      "per spring is for springs in cells, expected per cell: "
                      "the cells of a network are its springs");
    if (type != "none")
      {
        parts.push_back(Registry<Parameterization<dim>>::create(type));
        parts.back()->parse_parameters(parameters);
      }
    for (auto &more : FieldUnknowns<dim>::read(parameters))
      parts.push_back(std::move(more));
    if (parts.empty())
      parameters.fail("Type", "expected More unknowns beside none");
    if (parts.size() == 1)
      parameterization = std::move(parts[0]);
    else
      parameterization = std::make_unique<Combined<dim>>(std::move(parts));
    if (LameParameters<dim>::is_needed(*parameterization))
      {
        for (const auto &name : parameterization->field_names())
          if (name == "stiffness" || name == "poisson_ratio")
            parameters.fail("More unknowns",
                            "lame_lambda and lame_mu stand for the stiffness "
                            "and poisson_ratio, expected Type = none and no "
                            "poisson_ratio beside them");
        parameterization =
          std::make_unique<LameParameters<dim>>(std::move(parameterization));
      }
    const auto unknown = parameterization->field_names();
    for (const char *name : {"mass", "charge", "rest_length"})
      if (!network &&
          std::find(unknown.begin(), unknown.end(), name) != unknown.end())
        parameters.fail("More unknowns",
                        std::string(name) +
                          " is a field of networks, expected Model/Type = edge "
                          "springs");
    if (std::find(unknown.begin(),
                  unknown.end(),
                  network ? "stiffness" : "spring_stiffness") != unknown.end())
      for (const char *bound : {"Lower bound", "Upper bound"})
        if (!parameters.is_set(bound))
          parameters.fail(bound,
                          "the default is one of alpha [Pa], expected a "
                          "stiffness of springs [N/m] for Type = " +
                            type);
  }

  template <int dim>
  void
  Problem<dim>::add_inputs(const Parameterization<dim> &p, Fields &all) const
  {
    for (const auto &name : p.input_fields())
      if (name == "hounsfield" && !all.has(name))
        all[name] = discretization->scatter_cells(
          array("hu_tetra_mean", "the graph network").values);
  }

  template <int dim>
  void
  Problem<dim>::add_fields()
  {
    std::vector<std::string> unknown;
    if (parameterization)
      unknown = parameterization->field_names();
    else if (more_unknowns)
      unknown = more_unknowns->field_names();
    Fields all = initial_fields();
    for (const auto &force : equilibrium->forces)
      force->add_fields(*discretization, snapshots, data, unknown, all);
    if (parameterization)
      add_inputs(*parameterization, all);
    for (const auto &name : unknown)
      if (!all.has(name))
        {
          const Parameters::Section section(parameters, "Parameterization");
          parameters.fail(name.compare(0, 6, "spring") == 0 ? "Type"
                                                            : "More unknowns",
                          "identifies the field " + name +
                            ", which the model does not have, expected "
                            "another one or another Model/Type; friction, "
                            "viscosities and damping_factor start from their "
                            "entries, above 0 (below 1), "
                            "charges from Loads/Charge density (networks: "
                            "Charge), external ones from External charges");
        }
    if (all["stiffness"].values != stiffness.values) // the springs are given
      {
        const Parameters::Section section(parameters,
                                          parameterization ? "Parameterization"
                                                           : "Stiffness");
        for (const char *entry : {"Initial value", "Source", "Value"})
          if ((std::string(entry) == "Initial value") ==
                (parameterization != nullptr) &&
              parameters.is_changed(entry))
            parameters.fail(entry,
                            "has no effect beside Model/Spring stiffness, "
                            "which gives the springs; expected one of the two");
      }
    for (const auto &[name, field] : all)
      if (name == "stiffness")
        stiffness = field;
      else
        fixed_fields[name] = field;
    // A stiffness that no unknown sets is given like any other field.
    if (parameterization &&
        std::find(unknown.begin(), unknown.end(), "stiffness") == unknown.end())
      fixed_fields["stiffness"] = stiffness;
    reference_stiffness = geometric_mean(*discretization, stiffness);
  }

  template <int dim>
  void
  Problem<dim>::parse_objective()
  {
    const Parameters::Section section(parameters, "Objective");
    for (const auto &[name, item] : Registry<Objective<dim>>::items())
      {
        const Parameters::Section term_section(parameters, name);
        WeightedTerm<dim>         term;
        term.objective = item.create();
        term.objective->parse_parameters(parameters);
        term.weight = parameters.get_double("Weight");
        term.name   = name;
        if (term.weight > 0)
          {
            term.power = parameters.get_double("Power");
            if (term.power == 0)
              parameters.fail("Power", "expected a number that is not 0");
            term.is_factor = (parameters.get("Enters as") == "factor");
          }
        if (time && term.objective->depends_on_state())
          term.share = shares_of_snapshots();
        terms.push_back(std::move(term));
      }
  }

  template <int dim>
  std::vector<double>
  Problem<dim>::shares_of_snapshots()
  {
    const std::string   list = parameters.get("Times");
    const std::size_t   S    = snapshot_times.size();
    std::vector<double> share(S, 0.), times;
    if (list == "all")
      share.assign(S, 1. / S);
    else if (list == "sum")
      share.assign(S, 1.);
    else if (list == "final")
      share.back() = 1;
    else
      {
        times = parameters.get_doubles("Times");
        if (times.empty())
          parameters.fail("Times",
                          "expected all, sum, final, or a list of times");
        for (const double t : times)
          {
            std::size_t s = 0;
            while (s < S && std::abs(snapshot_times[s] - t) > 1e-6 * time->step)
              ++s;
            if (s == S)
              parameters.fail("Times", "expected times of Time/Snapshot times");
            share[s] += 1. / times.size();
          }
      }
    return share;
  }

  template <int dim>
  void
  Problem<dim>::check_objective() const
  {
    // The material comes first.
    const auto *law =
      dynamic_cast<const StressLaw<dim> *>(equilibrium->forces[0].get());
    for (const auto &term : terms)
      if (term.weight > 0 && discretization->is_network() &&
          !term.objective->works_on_networks())
        throw EntryError("Objective/" + term.name,
                         "looks at cells, expected Weight = 0 for a network "
                         "(Model/Type = edge springs)");
    for (const auto &term : terms)
      if (term.weight > 0)
        term.objective->use_material(law);
    for (const auto &term : terms)
      if (term.weight > 0 && term.objective->needs_observation() &&
          registered.empty())
        throw InputError(data.source,
                         "has no displacement_field or displacement_steps, "
                         "expected one because of Objective/" +
                           term.name + " (or its Weight = 0)");
    const Fields fields = initial_fields();
    for (const auto &term : terms)
      if (term.weight > 0)
        for (const auto &name : term.objective->field_names())
          if (!fields.has(name))
            throw EntryError("Objective/" + term.name,
                             "needs the field " + name +
                               ", expected a model that has it, such as a "
                               "continuum material");
    // Fails where the observation is zero at all free vertices.
    for (std::size_t s = 0; s < snapshots.size(); ++s)
      for (const auto &term : terms)
        if (term.weight > 0 && term.objective->needs_observation())
          if (!term.objective->depends_on_state() ||
              term.share_of(s, snapshots.size()) != 0)
            term.objective->value(states().context(s));
  }

  template <int dim>
  std::vector<double>
  Problem<dim>::last_of_file(const std::string &entry,
                             const std::string &file,
                             const std::string &key) const
  {
    const NpzArrays   arrays = read_npz(file);
    const std::size_t N      = data.mesh.n_all_vertices();
    const auto        it     = arrays.find(key);
    if (it == arrays.end())
      throw InputError(file,
                       "key '" + key + "' is missing, expected it because of " +
                         entry);
    const auto                    &shape  = it->second.shape;
    const std::vector<std::size_t> wanted = {N, dim};
    if (!(shape == wanted || (shape.size() == 3 && shape[0] > 0 &&
                              shape[1] == wanted[0] && shape[2] == wanted[1])))
      throw InputError(file,
                       "key '" + key + "' (" + entry + "), expected shape (" +
                         std::to_string(wanted[0]) + ", " +
                         std::to_string(dim) +
                         ") or that after a number of times, got " +
                         it->second.shape_string());
    const auto &values = it->second.values;
    const auto  last   = values.end() - N * dim;
    for (std::size_t i = 0; i < N * dim; ++i)
      if (!std::isfinite(last[i]))
        throw InputError(file,
                         "key '" + key + "' (" + entry +
                           ") is not finite at vertex " +
                           std::to_string(i / dim) +
                           ", expected finite values");
    std::vector<double> here;
    for (unsigned int v = 0; v < data.mesh.vertices.size(); ++v)
      {
        const auto at = last + std::size_t(data.mesh.vertex_number(v)) * dim;
        here.insert(here.end(), at, at + dim);
      }
    return here;
  }

  template <int dim>
  Vector
  Problem<dim>::mean_of_labels(const std::string &entry)
  {
    const auto         &D      = *discretization;
    const auto          values = parameters.get_map(entry, dim);
    Vector              sum    = D.make_vector();
    std::vector<double> count(D.n_nodes(), 0.);
    for (const auto &[label, v] : values)
      if (!std::binary_search(D.labels.begin(), D.labels.end(), label))
        parameters.fail(entry, "no cell has label " + std::to_string(label));
    // All cells of an owned node are here.
    for (unsigned int k = 0; k < D.n_cells(); ++k)
      {
        const auto it = values.find(D.label(k));
        for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
          {
            const unsigned int n = D.cell_nodes[k * D.nodes_per_cell + a];
            count[n] += 1;
            for (unsigned int d = 0; d < dim && it != values.end(); ++d)
              sum.local_element(n * dim + d) += it->second[d];
          }
      }
    for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
      for (unsigned int d = 0; d < dim; ++d)
        sum.local_element(n * dim + d) /= count[n];
    sum.update_ghost_values();
    return sum;
  }

  template <int dim>
  void
  Problem<dim>::read_initial_state()
  {
    const auto &D = *discretization;
    for (const std::string name : {"Displacement", "Velocity"})
      {
        const Parameters::Section section(parameters, "Initial state");
        Field                     field(D.n_nodes() * dim);
        field.place             = Place::nodes;
        double            wrong = 0;
        const std::string value = parameters.get(name);
        if (std::filesystem::path(value).extension() == ".npz")
          {
            const Vector u = D.interpolate_vertices(
              last_of_file("Initial state/" + name,
                           value,
                           name == "Velocity" ? "velocity" : "displacement"));
            for (unsigned int i = 0; i < D.n_nodes() * dim; ++i)
              field[i] = u.local_element(i);
          }
        else if (!value.empty())
          {
            const auto formula =
              read_formula<dim>(name, parameters, dim, false);
            for (unsigned int n = 0; n < D.n_nodes(); ++n)
              for (unsigned int d = 0; d < dim; ++d)
                {
                  field[n * dim + d] = formula->value(D.node_position(n), d);
                  wrong += !std::isfinite(field[n * dim + d]);
                }
          }
        if (D.sum(wrong) > 0)
          parameters.fail(name,
                          "is not finite everywhere in the body, expected "
                          "finite values");
        const std::string entry = name + " by label";
        if (!parameters.get(entry).empty())
          {
            const Vector u = mean_of_labels(entry);
            for (unsigned int i = 0; i < D.n_nodes() * dim; ++i)
              field[i] += u.local_element(i);
          }
        fixed_fields[name == "Velocity" ? "initial_velocity"
                                        : "initial_displacement"] = field;
      }
    if (time->is_explicit && time->damping_factor < 1)
      fixed_fields["damping_factor"] = body_field(time->damping_factor);
    else if (time->is_explicit)
      fixed_fields["damping_rate"] = body_field(time->damping_rate);
  }

#define INSTANTIATE(dim)                                                       \
  template void                Problem<dim>::read_frames();                    \
  template void                Problem<dim>::read_initial_state();             \
  template std::vector<double> Problem<dim>::last_of_file(const std::string &, \
                                                          const std::string &, \
                                                          const std::string &) \
    const;                                                                     \
  template Vector Problem<dim>::mean_of_labels(const std::string &);           \
  template Field  Problem<dim>::read_masses();                                 \
  template void   Problem<dim>::read_points_of_field();                        \
  template void   Problem<dim>::read_forces();                                 \
  template Field  Problem<dim>::read_stiffness(const bool);                    \
  template void   Problem<dim>::parse_objective();                             \
  template void   Problem<dim>::read_parameterization();                       \
  template void   Problem<dim>::add_fields();                                  \
  template void   Problem<dim>::add_inputs(const Parameterization<dim> &,      \
                                         Fields &) const;                    \
  template void   Problem<dim>::check_objective() const;

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
