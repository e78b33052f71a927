#ifndef palpate_drivers_problem_h
#define palpate_drivers_problem_h

#include <palpate/drivers/landmarks.h>
#include <palpate/equilibrium/static_equilibrium.h>
#include <palpate/geometry/point_location.h>
#include <palpate/geometry/springs.h>
#include <palpate/image/image.h>
#include <palpate/inverse/free_directions.h>
#include <palpate/inverse/reduced_functional.h>
#include <palpate/mesh/quality.h>
#include <palpate/output/vtu.h>
#include <palpate/time_integration/trajectory.h>

#include <nlohmann/json.hpp>

namespace Palpate
{
  /// Declare every entry of the parameter file, terms included.
  void
  declare_parameters(dealii::ParameterHandler &prm);

  /// Whether the model is one of springs on the edges of a network. No section
  /// must be entered.
  bool
  is_network(const Parameters &parameters);

  /// Space dimension of the case a parameter file describes.
  int
  case_dimension(Parameters &parameters);

  /// Read or generate the mesh and arrays that Case describes, check and repair
  /// them: the whole case on every rank or, of a partitioned pack, this rank's
  /// part. Collective. @throw InputError
  template <int dim>
  CaseData<dim>
  load_case(Parameters                       &parameters,
            const MPI_Comm                   &comm,
            const dealii::ConditionalOStream &log,
            QualityReport<dim>               &quality);

  /// @throw InputError if the case is one of parts, for tasks that need all of
  /// it
  template <int dim>
  void
  refuse_parts(const CaseData<dim> &data, const std::string &task);

  /// Write summary.json, with version, ranks and parameters, and
  /// parameters.prm. To be called on one rank.
  void
  write_summary(const std::string &directory,
                const Parameters  &parameters,
                nlohmann::json    &summary,
                const MPI_Comm    &comm);

  /// A displacement on a whole mesh, quadratic ones with their edge values.
  template <int dim>
  struct SerialDisplacement
  {
    /// At a place that PointLocation found in the mesh [m].
    dealii::Tensor<1, dim>
    value(const typename PointLocation<dim>::Result &where) const;

    std::shared_ptr<const SerialMesh<dim>> mesh;
    std::vector<double>                    vertices; ///< (N * dim) [m]
    /// By the two vertices of an edge; empty for linear elements.
    std::map<std::array<unsigned int, 2>, dealii::Tensor<1, dim>> edges;
  };

  /**
   * Everything a task needs, built from the parameters and checked: the case
   * and its snapshots, the forces and their equilibrium, the stiffness to start
   * from, and, where asked for, the objective.
   */
  template <int dim>
  class Problem
  {
  public:
    /**
     * @param needs_objective read the Objective section (evaluate, identify)
     * @param stiffness_from_parameterization the stiffness starts from
     * Parameterization/Initial value instead of the Stiffness section
     * @param dry_run only checks are wanted: an observation that must be
     * computed is replaced by a stand-in
     */
    Problem(Parameters                       &parameters,
            const MPI_Comm                   &comm,
            const dealii::ConditionalOStream &log,
            const bool                        needs_objective,
            const bool                        stiffness_from_parameterization,
            const bool                        dry_run = false);

    /// Fields of the forces with the stiffness to start from.
    Fields
    initial_fields() const
    {
      Fields all       = fixed_fields;
      all["stiffness"] = stiffness;
      return all;
    }

    /// Equilibrium or trajectory.
    StateProblem<dim> &
    states() const
    {
      if (trajectory)
        return *trajectory;
      return *equilibrium;
    }

    /// Steps of given times. @throw InputError if one is none
    std::vector<unsigned int>
    steps_of(const std::vector<double> &times) const;

    /// Name of the stiffness in packs and results.
    std::string
    stiffness_key() const
    {
      for (const auto &force : equilibrium->forces)
        if (force->scales_with_stiffness())
          return force->stiffness_key();
      return "alpha_k";
    }

    /// Name of a stiffness with its unit in summaries and tables.
    std::string
    stiffness_title() const
    {
      return data.mesh.is_network() ? "spring_constant_N_per_m" : "alpha_Pa";
    }
    std::string
    stiffness_unit() const
    {
      return data.mesh.is_network() ? "N/m" : "Pa";
    }

    /// Add the fields of the case that a parameterization reads.
    /// @throw InputError if the pack has not got them
    void
    add_inputs(const Parameterization<dim> &p, Fields &all) const;

    /// Mean |u - u_obs| over free observed vertices and snapshots (from first
    /// to before last) [m]: used in the misfit, and held out.
    std::pair<double, double>
    mean_errors(const std::size_t first, const std::size_t last) const;
    std::pair<double, double>
    mean_errors() const
    {
      return mean_errors(0, snapshots.size());
    }

    /// A nodal vector on the whole mesh, which is given, on every rank.
    /// Collective.
    SerialDisplacement<dim>
    serial_displacement(
      const Vector                                 &u,
      const std::shared_ptr<const SerialMesh<dim>> &whole) const;

    /// Set the constrained entries of a ghosted displacement to what is
    /// prescribed at a time [s].
    void
    prescribe(const double time, Vector &u) const;

    /**
     * Ask the balance of forces at the states of J's point which changes of its
     * unknowns change nothing: sets scale_identified and what follows, with a
     * warning for each. Once: later calls do nothing. Collective.
     */
    void
    find_free_directions(const ReducedFunctional<dim> &J);

    /// Lines for --dry-run and the log.
    void
    print_plan(const std::string &task) const;

    /**
     * Write solution.pvd, result.npz and the common part of summary.json.
     * @param J after gradient() at the result, for adjoints and derivatives;
     * null: a forward solution
     */
    void
    write_results(const std::string            &directory,
                  const ReducedFunctional<dim> *J,
                  nlohmann::json               &summary,
                  NpzArrays                     more_arrays = {});

    /// mesh_points, tetrahedra and labels, if the program made the mesh.
    /// Collective.
    void
    add_generated_mesh(NpzArrays &arrays) const;

    /// Masses, charges, rest lengths, and the strain of the springs (elongation
    /// by rest length) under the first of the nodal vectors; of a network.
    void
    add_network_fields(const Fields &fields, VtuData<dim> &out) const;

    /**
     * Models whose springs may not hold the body are checked before the first
     * solve. @throw SolverError if there are zero-energy modes, which are
     * written to directory/zero_energy_modes.vtu (not if it is empty).
     */
    void
    check_zero_energy_modes(const std::string &directory);

    /// Weighted values of the terms as JSON, and what they make together.
    nlohmann::json
    objective_json(const std::vector<double> &parts) const;

    /// A checksum of the case and of all parameters but where output goes and
    /// these, "Section/Entry": a checkpoint with another one is of another run.
    nlohmann::json
    fingerprint(const std::vector<std::string> &but) const;

    Parameters                             &parameters;
    const MPI_Comm                          comm;
    const dealii::ConditionalOStream       &log;
    CaseData<dim>                           data;
    QualityReport<dim>                      quality;
    std::unique_ptr<Discretization<dim>>    discretization;
    std::vector<char>                       constrained;
    std::vector<Snapshot<dim>>              snapshots;
    SolverParameters                        solver_parameters;
    NewtonParameters                        newton_parameters;
    std::unique_ptr<StaticEquilibrium<dim>> equilibrium;
    /// Motions only: the steps, the inertia among the forces, the body with the
    /// snapshot that moves on with it.
    std::unique_ptr<TimeParameters> time;
    InertiaForce<dim>              *inertia = nullptr;
    std::vector<Snapshot<dim>>      moving;
    std::vector<std::string>        force_names; ///< of the equilibrium
    bool writes_electric_field = false;          ///< simulate, networks
    /// simulate in 3D: where the field of the charges goes into result.npz [m].
    std::vector<dealii::Point<3>> field_points;
    /// True if something from outside may give energy to a motion.
    bool
    is_driven() const;
    /// Warn where the energy of a motion rose though it is not driven, and
    /// where friction chatters. @param chatter Integrator::chatter of this rank
    void
    warn_of_motion(const EnergyWatch &energy, const double chatter);
    /// The same of the motion that the objective looks at, which is computed
    /// once more; nothing without one. Collective.
    void
                                     watch_motion();
    std::unique_ptr<MovingBody<dim>> body;
    /// Of an objective; snapshots are states at these times [s].
    std::unique_ptr<Trajectory<dim>> trajectory;
    std::vector<double>              snapshot_times;
    /// Of constrained nodes, a formula of place and time; null: fixed ones.
    std::shared_ptr<dealii::Function<dim>> prescribed_motion;
    Fields                                 fixed_fields;
    Field                                  stiffness;
    std::vector<WeightedTerm<dim>>         terms;
    /// Where the stiffness comes from one; not bound yet.
    std::unique_ptr<Parameterization<dim>> parameterization;
    /// evaluate: other fields to derive by, null if there are none; not bound
    /// yet.
    std::unique_ptr<Parameterization<dim>> more_unknowns;
    /// 1 for local cells with a free node: only their stiffness can be seen.
    Field observable;
    /// At first: there is a load at rest. After find_free_directions(): no
    /// factor of any stiffness is free.
    bool scale_identified = true;
    /// No load at rest, but forces that may come with the motion (contact).
    bool scale_open = false;
    /// A factor common to all stiffness is free: results are given the
    /// reference as their mean.
    bool                     to_reference        = false;
    double                   reference_stiffness = 0;
    bool                     reference_stated    = false;
    std::vector<std::string> warnings;
    nlohmann::json           strain_statistics;
    nlohmann::json           free_directions; ///< null: nobody has asked

  private:
    /// An array (N, dim) of a file, or the last of (T, N, dim).
    std::vector<double>
    last_of_file(const std::string &entry,
                 const std::string &file,
                 const std::string &key) const;
    /// At every node the mean over its cells of what an entry
    /// "label: a, b, c; ..." says, 0 for other labels.
    Vector
    mean_of_labels(const std::string &entry);
    void
    read_snapshots(const bool dry_run);
    std::vector<std::vector<double>>
    displacements_of_formula();
    void
    constrain();
    void
    check_constraints() const;
    void
    read_snapshot_times();
    void
    read_initial_state();
    void
    read_frames();
    void
    read_points_of_field();
    void
    read_forces();
    /// Of a network [kg].
    Field
    read_masses();
    Field
    read_stiffness(const bool from_parameterization);
    void
    parse_objective();
    /// Of a term whose section is entered: its weights of the snapshots.
    std::vector<double>
    shares_of_snapshots();
    void
    read_parameterization();
    /// Add the fields that only forces know.
    void
    add_fields();
    void
    check_objective() const;
    void
    check_strain();
    /// Name of the stiffness with its unit in pictures and images.
    std::string
    stiffness_name() const
    {
      const std::string name =
        stiffness_key() == "alpha_k" ? "alpha" : stiffness_key();
      return with_unit(name);
    }
    /// Number of cells the solution turns inside out: a warning or an error.
    unsigned long
    check_inverted_cells();
    /// Negative modes of the solution (a warning); -1: linear, or not known.
    long
    check_stability();
    /// Stiffness, and per snapshot the motion, its largest principal strain and
    /// det F, as images on the raster grid, if there is one. @param stiffnesses
    /// fields with the names of their files
    void
    write_images(const std::string                                &directory,
                 const std::vector<std::pair<std::string, Field>> &stiffnesses);
    /// The files of write_images().
    std::vector<std::string>
    image_files(
      const std::vector<std::pair<std::string, Field>> &stiffnesses) const;
    /// Of every snapshot: motion, strain, det F and error.
    nlohmann::json
    timestamps_json() const;
    /// Young's modulus [Pa] of the law at small strain; empty if the material
    /// has none, or is not isotropic. Collective.
    Field
    youngs_modulus() const;
    /// Name of a modulus with its unit in pictures and images.
    std::string
    with_unit(const std::string &name) const
    {
      const std::string unit = data.mesh.is_network() ? "_N_per_m" : "_Pa";
      return name + unit +
             (to_reference       ? "_of_stated_reference"
              : scale_identified ? ""
                                 : "_not_identified");
    }
    /// Errors of the registered and the simulated motion at the landmarks.
    nlohmann::json
    landmark_errors() const;
    /// Axial springs of all local cells, dim per cell.
    struct Springs
    {
      /// Whether the model has any: the same on all ranks, those without cells
      /// included.
      bool  exist = false;
      Field stiffness; ///< k [N/m]
      Field gradient;  ///< dJ/dlog k of owned cells
    };
    Springs
    springs_of(const ReducedFunctional<dim> *J) const;
    /// The springs of a snapshot as they are drawn.
    LineData<dim>
    lines_of(const Springs &springs, const unsigned int s) const;
    /// What alpha is multiplied by to have the reference as its mean.
    double
    stiffness_scale(const Field &alpha) const;
    const NpyArray &
    array(const std::string &key, const std::string &wanted_by) const;
    void
    warn(const std::string &text);

    /// Displacements by snapshot in input numbering, empty if none.
    std::vector<std::vector<double>> registered;
    std::vector<char>                vertex_constrained; ///< input numbering
    double                           prescribed_scale     = 1;
    bool                             prescribe_registered = false;
    std::string                      frames_kind;
    FrameCounts                      frame_counts;
    unsigned int                     degree          = 1;
    bool                             write_operators = false;
    bool                             refuse_inverted = false;
    std::shared_ptr<Image>           raster_grid; ///< null: no images
    std::vector<Landmarks>           landmarks;
    double                           raster_background = 0;
    bool          raster_lps = false; ///< components of displacement images
    unsigned long n_constrained_vertices = 0, n_free_vertices = 0,
                  n_unobservable = 0;
  };

  /// Geometric mean of a positive field, weighted by volume.
  template <int dim>
  double
  geometric_mean(const Discretization<dim> &discretization, const Field &field);
} // namespace Palpate

#endif
