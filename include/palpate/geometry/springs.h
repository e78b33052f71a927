#ifndef palpate_geometry_springs_h
#define palpate_geometry_springs_h

#include <palpate/geometry/discretization.h>

namespace Palpate
{
  /// Why a cell's frame is not its principal stretch directions (theory 1).
  struct FrameCounts
  {
    unsigned long registered = 0; ///< principal stretch directions
    unsigned long near_rigid = 0; ///< all |sigma - 1| small: frame kept
    unsigned long inverted   = 0; ///< det F <= 0: along the mean displacement
    unsigned long collapsed  = 0; ///< sigma_2 < 1e-3 sigma_1: likewise
    unsigned long motionless = 0; ///< of those two: no mean displacement
  };

  /**
   * The material frame of one cell from a registered displacement
   * (doc/theory.md section 1): right singular vectors of F = I + H by
   * descending stretch, right-handed by the sign of the last, with the
   * fall-backs counted.
   * @param H displacement gradient of the cell
   * @param mean_displacement of its vertices [m]
   * @param edges of the cell [m]
   * @param previous frame of the previous timestamp (or the coordinate axes)
   */
  template <int dim>
  dealii::Tensor<2, dim>
  registered_frame(const dealii::Tensor<2, dim>              &H,
                   const dealii::Tensor<1, dim>              &mean_displacement,
                   const std::vector<dealii::Tensor<1, dim>> &edges,
                   const dealii::Tensor<2, dim>              &previous,
                   const double                               rigid_tolerance,
                   FrameCounts                               &counts);

  /// Frames of all local cells; the counts are of owned cells of this rank.
  template <int dim>
  std::vector<dealii::Tensor<2, dim>>
  registered_frames(const Discretization<dim>                 &discretization,
                    const Vector                              &displacement,
                    const std::vector<dealii::Tensor<2, dim>> &previous,
                    const double                               rigid_tolerance,
                    FrameCounts                               &counts);

  /**
   * The 2 dim intersection points of the material axes through the barycentre
   * with the faces of one simplex, and the dim springs between them.
   */
  template <int dim>
  struct IntersectionSprings
  {
    /**
     * @param g gradients of the barycentric coordinates [1/m]
     * @param frame columns e_l
     */
    IntersectionSprings(const std::array<dealii::Tensor<1, dim>, dim + 1> &g,
                        const dealii::Tensor<2, dim> &frame);

    /// C[2 l] is the point in direction +e_l, C[2 l + 1] that in direction
    /// -e_l, as weights of the vertices (rows sum to 1, one entry 0).
    std::array<std::array<double, dim + 1>, 2 * dim> C;
    /// Distances t+ and t- of those points from the barycentre [m].
    std::array<std::array<double, 2>, dim> distance;
    /// Rest lengths L0_l = t+ + t- [m].
    std::array<double, dim> rest_length;
    /// s_l[a] = C[l+][a] - C[l-][a] = L0_l g_a . e_l
    std::array<std::array<double, dim + 1>, dim> difference;
  };

  /// The strain rows of theory 2b, each of length dim (dim+1), entry
  /// a * dim + component.
  template <int dim>
  struct SmsRows
  {
    static constexpr unsigned int              n       = dim * (dim + 1);
    static constexpr unsigned int              n_shear = dim * (dim - 1) / 2;
    std::array<std::array<double, n>, dim>     axis;  ///< e_l . eps e_l
    std::array<std::array<double, n>, n_shear> shear; ///< e_l . eps e_m
    std::array<double, n>                      vol;   ///< tr eps

    SmsRows(const std::array<dealii::Tensor<1, dim>, dim + 1> &g,
            const dealii::Tensor<2, dim>                      &frame);
  };

  /**
   * The global operators of the spring model as sparse matrices, for tests and
   * for looking at: B (vertex positions -> intersection points), M (points ->
   * spring vectors), A0 = M B. Rows follow the cells of this rank's owned
   * range. Linear elements only. Collective.
   */
  struct SpringOperators
  {
    dealii::TrilinosWrappers::SparseMatrix B, M, A0;

    template <int dim>
    SpringOperators(const Discretization<dim>                 &discretization,
                    const std::vector<dealii::Tensor<2, dim>> &frames);
  };
} // namespace Palpate

#endif
