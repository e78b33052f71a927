#ifndef palpate_forces_charges_electric_field_h
#define palpate_forces_charges_electric_field_h

#include <array>
#include <memory>
#include <string>
#include <vector>

namespace Palpate
{
  /// k_c of Coulomb's law [N m^2/C^2].
  constexpr double coulomb_constant = 8.9875517923e9;

  /// Point charges; coordinates and charges each in one piece, for vector
  /// instructions.
  struct PointCharges
  {
    std::array<std::vector<double>, 3> x; ///< [m]
    std::vector<double>                q; ///< [C]

    std::size_t
    size() const
    {
      return q.size();
    }
    void
    add(const double x0, const double x1, const double x2, const double charge)
    {
      x[0].push_back(x0);
      x[1].push_back(x1);
      x[2].push_back(x2);
      q.push_back(charge);
    }
  };

  /// Field [V/m] and potential [V] at every charge, without its own share.
  struct FieldAtCharges
  {
    std::array<std::vector<double>, 3> e;
    std::vector<double>                potential;

    void
    resize(const std::size_t n);
  };

  /**
   * e_i = k_c sum_{j != i} q_j (x_i - x_j)/|x_i - x_j|^3, exactly or nearly
   * (doc/theory.md 13). The force on a charge is q_i e_i.
   */
  class ElectricField
  {
  public:
    virtual ~ElectricField() = default;

    /// @throw SolverError naming two charges at one place, or one that is not
    /// at a finite place
    virtual void
    compute(const PointCharges &charges, FieldAtCharges &field) = 0;
  };

  /// The sum over all pairs, eight at a time on each thread.
  class DirectSum : public ElectricField
  {
  public:
    void
    compute(const PointCharges &charges, FieldAtCharges &field) override;

    /**
     * With F_i = q_i e_i: g_x += (dF/dx)^T w [N/m times w] and, if asked for,
     * g_q_i += w . dF/dq_i.
     * @param w one vector for every charge
     */
    void
    add_vjp(const PointCharges                       &charges,
            const std::array<std::vector<double>, 3> &w,
            std::array<std::vector<double>, 3>       &g_x,
            std::vector<double>                      *g_q) const;
  };

  /**
   * An adaptive octree whose nodes stand for the charges in them by their
   * Cartesian moments of order 0 to `order` about the node's centre, at the
   * leaves they are far from. A node is used where the bound of what its series
   * leaves out,
   *   (order + 2) sum_j |q_j| |x_j - c|^(order + 1) / (R^(order + 3) (1 -
   * t)^2), R the smallest distance from the leaf's charges to its centre c, t =
   * (node's radius)/R, is at most `tolerance` times the sum of |q|/R^2 over all
   * charges: the opening angle t follows from that, node by node. Derivatives
   * of the potential by the recurrence of Z.-H. Duan, R. Krasny: An adaptive
   * treecode for computing nonbonded potential energy in classical molecular
   * systems. J. Comput. Chem. 22(2), 2001.
   */
  class OctreeSum : public ElectricField
  {
  public:
    /// @param tolerance in (0, 1); @param order 0 to 8
    explicit OctreeSum(const double       tolerance,
                       const unsigned int order     = 4,
                       const unsigned int leaf_size = 48);
    /// With a fixed opening angle: nodes of (radius)/R <= angle are used.
    static OctreeSum
    with_angle(const double angle, const unsigned int order = 4);

    void
    compute(const PointCharges &charges, FieldAtCharges &field) override;

    /// Share of all pairs that were summed one by one in the last compute().
    double share_of_pairs = 0;

  private:
    double       tolerance, angle = 0; ///< angle 0: by the tolerance
    unsigned int order, leaf_size;
  };

  /**
   * The domain-discretized electric field: the far field on grid points (Halton
   * points of the charges' box and its corners) in Delaunay tetrahedra,
   * interpolated to the charges; near ones are summed. N_i: the grid points of
   * the tetrahedron of charge i and of its face neighbours. The source's text
   * and listing differ, and neither sums each pair just once:
   * - listing: near are the k with a point of N_k in N_i;
   * - text: near are the k whose N_k has all four points of i's tetrahedron;
   * - consistent: near are the k whose N_k has one of the four; what the others
   *   interpolate of k is taken off again, so that each pair counts once;
   * - near only: the near ones of the listing alone.
   */
  class DiscretizedField : public ElectricField
  {
  public:
    enum class Variant
    {
      listing,
      text,
      consistent,
      near_only
    };
    /// @param n_points of Halton's sequence
    DiscretizedField(const unsigned int n_points, const Variant variant);

    /// No potential: it stays 0.
    void
    compute(const PointCharges &charges, FieldAtCharges &field) override;

    /// Near charges of a charge, on average, in the last compute().
    double mean_near = 0;

  private:
    const unsigned int n_points;
    const Variant      variant;
  };
} // namespace Palpate

#endif
