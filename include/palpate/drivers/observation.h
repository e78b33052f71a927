#ifndef palpate_drivers_observation_h
#define palpate_drivers_observation_h

#include <palpate/core/formula.h>
#include <palpate/drivers/problem.h>

namespace Palpate
{
  /**
   * Run the problem of another parameter file (forward, or simulate with steps
   * at the given times) and interpolate its displacements (with its own degree)
   * to the vertices of this rank's mesh, (N * dim) [m] each. Those outside the
   * other mesh take the value of its nearest point.
   * @param times of a motion [s]; empty: a static problem
   * @param dry_run build and check that problem, but return a stand-in (a small
   * uniform stretch) instead of solving it.
   */
  template <int dim>
  std::vector<std::vector<double>>
  computed_displacements(const std::string                &parameter_file,
                         const SerialMesh<dim>            &mesh,
                         const std::vector<double>        &times,
                         const MPI_Comm                   &comm,
                         const dealii::ConditionalOStream &log,
                         const bool                        dry_run);

  /**
   * Add independent Gaussian noise to every component: standard deviation
   * fraction * (root-mean-square displacement magnitude) / sqrt(dim). The same
   * on every machine and rank count (but for the rounding of the sum).
   * @param displacements at the vertices of D.mesh
   */
  template <int dim>
  void
  add_noise(std::vector<std::vector<double>> &displacements,
            const double                      fraction,
            const unsigned int                seed,
            const Discretization<dim>        &D);

  /// A seeded random choice of about fraction * n of the n vertices of the
  /// whole mesh: 1 for those of this mesh that are chosen.
  template <int dim>
  std::vector<char>
  choose_vertices(const SerialMesh<dim> &mesh,
                  const double           fraction,
                  const unsigned int     seed);

  /// An entry of the current section as an expression of x, y, z [m], at the
  /// barycentres of all cells. @throw InputError if it cannot be understood.
  template <int dim>
  std::vector<double>
  values_at_barycentres(const std::string     &entry,
                        Parameters            &parameters,
                        const SerialMesh<dim> &mesh);

  /// Frames of snapshot s from the pack: anisotropy_axes, else the r_axis rows
  /// (checked against each other where both are there). Fails on the ranks that
  /// see what is wrong.
  template <int dim>
  std::vector<dealii::Tensor<2, dim>>
  pack_frames(const CaseData<dim>       &data,
              const Discretization<dim> &discretization,
              const std::size_t          snapshot);

  /// Density per cell [kg/m^3] from lumped vertex masses [kg]: the mean over
  /// its vertices of mass / lumped volume; of a part of a mesh, the cells of
  /// other ranks lack theirs.
  template <int dim>
  std::vector<double>
  density_from_mass(const SerialMesh<dim>     &mesh,
                    const std::vector<double> &mass);
} // namespace Palpate

#endif
