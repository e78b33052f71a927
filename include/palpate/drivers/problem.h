#ifndef palpate_drivers_problem_h
#define palpate_drivers_problem_h

#include <palpate/equilibrium/static_equilibrium.h>
#include <palpate/geometry/springs.h>
#include <palpate/inverse/reduced_functional.h>
#include <palpate/mesh/quality.h>

#include <nlohmann/json.hpp>

namespace Palpate
{
  /// Declare every entry of the parameter file, terms included.
  void
  declare_parameters(dealii::ParameterHandler &prm);

  /// Space dimension of the case a parameter file describes.
  int
  case_dimension(Parameters &parameters);

  /// A displacement on a whole mesh, quadratic ones with their edge values.
  template <int dim>
  struct SerialDisplacement
  {
    SerialMesh<dim>     mesh;
    std::vector<double> vertices; ///< (N * dim) [m]
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

    /// Mean |u - u_obs| over free observed vertices and snapshots [m]: used in
    /// the misfit, and held out.
    std::pair<double, double>
    mean_errors() const;

    SerialDisplacement<dim>
    serial_displacement() const;

    /// Lines for --dry-run and the log.
    void
    print_plan(const std::string &task) const;

    /**
     * Write solution.pvd, result.npz and the common part of summary.json.
     * @param adjoints may be empty
     * @param stiffness_gradient dJ/dalpha of owned cells, or null
     */
    void
    write_results(const std::string         &directory,
                  const Field               &alpha,
                  const std::vector<Vector> &adjoints,
                  const Field               *stiffness_gradient,
                  nlohmann::json            &summary,
                  NpzArrays                  more_arrays = {});

    /// Weights and values of the terms as JSON, and their sum.
    nlohmann::json
    objective_json(const std::vector<double> &parts) const;

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
    Fields                                  fixed_fields;
    Field                                   stiffness;
    std::vector<WeightedTerm<dim>>          terms;
    bool                                    scale_identified    = true;
    double                                  reference_stiffness = 0;
    bool                                    reference_stated    = false;
    std::vector<std::string>                warnings;
    nlohmann::json                          strain_statistics;

  private:
    void
    read_case();
    void
    read_snapshots(const bool dry_run);
    void
    constrain();
    void
    check_constraints() const;
    void
    read_frames();
    void
    read_forces();
    Field
    read_stiffness(const bool from_parameterization);
    void
    parse_objective();
    void
    check_objective() const;
    void
    check_strain();
    const NpyArray &
    array(const std::string &key, const std::string &wanted_by) const;
    void
    warn(const std::string &text);

    /// Displacements by snapshot in input numbering, empty if none.
    std::vector<std::vector<double>> registered;
    double                           prescribed_scale = 1;
    std::string                      frames_kind;
    FrameCounts                      frame_counts;
    unsigned int                     degree = 1;
    unsigned long n_constrained_vertices = 0, n_free_vertices = 0,
                  n_unobservable = 0;
  };

  /// Geometric mean of a positive field, weighted by volume.
  template <int dim>
  double
  geometric_mean(const Discretization<dim> &discretization, const Field &field);
} // namespace Palpate

#endif
