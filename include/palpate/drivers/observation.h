#ifndef palpate_drivers_observation_h
#define palpate_drivers_observation_h

#include <palpate/core/formula.h>
#include <palpate/drivers/problem.h>
#include <palpate/geometry/point_location.h>

namespace Palpate
{
  /**
   * Run the problem of another parameter file (forward, or simulate with steps
   * at the given times) and interpolate its displacements (with its own degree)
   * to the vertices of this rank's mesh, (N * dim) [m] each. Those outside the
   * other mesh take the value of its nearest point; see PlacesInMesh.
   * @param times of a motion [s]; empty: a static problem
   * @param largest_share_outside of the vertices
   * @param dry_run build and check that problem, but return a stand-in (a small
   * uniform stretch) instead of solving it.
   */
  template <int dim>
  std::vector<std::vector<double>>
  computed_displacements(const std::string         &parameter_file,
                         const SerialMesh<dim>     &mesh,
                         const std::vector<double> &times,
                         const double               largest_share_outside,
                         const MPI_Comm            &comm,
                         const dealii::ConditionalOStream &log,
                         const bool                        dry_run);

  /**
   * Where the vertices of this rank's part of a mesh are in the whole of
   * another one. A vertex counts as outside where the nearest point of the
   * other mesh is farther than a quarter of the mean edge of the cell there:
   * more than two meshes of one curved surface differ by. Collective.
   */
  template <int dim>
  class PlacesInMesh
  {
  public:
    static constexpr double tolerance = 0.25; ///< in edges of the nearest cell

    PlacesInMesh(const SerialMesh<dim> &mesh,
                 const SerialMesh<dim> &other,
                 const MPI_Comm        &comm);

    /// Of the vertices of this rank's part.
    std::vector<typename PointLocation<dim>::Result> places;
    std::size_t n         = 0; ///< vertices of the whole mesh
    std::size_t n_outside = 0; ///< of them
    double      farthest  = 0; ///< of those outside [m]

    double
    share_outside() const
    {
      return double(n_outside) / n;
    }
    /// "12 of 40 vertices (30 %), up to 0.1 m, ..."
    std::string
    text() const;
  };

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
