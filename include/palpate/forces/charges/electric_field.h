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
    /// Numbers of their vertices, for messages; may be empty.
    std::vector<unsigned int> vertex;

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

    /// The field at charges first to last - 1 of all charges; 0 at others.
    /// @throw SolverError naming two charges at one place, or one that is not
    /// at a finite place
    virtual void
    compute(const PointCharges &charges,
            FieldAtCharges     &field,
            const std::size_t   first,
            const std::size_t   last) = 0;
    void
    compute(const PointCharges &charges, FieldAtCharges &field)
    {
      compute(charges, field, 0, charges.size());
    }
    /// False if compute() leaves the potential at 0.
    virtual bool
    has_potential() const
    {
      return true;
    }
    /// True if add_vjp() differentiates this law, false if the exact one, of
    /// all pairs.
    virtual bool
    has_derivatives() const
    {
      return false;
    }
    /// True if the field depends on where vertices without charge are.
    virtual bool
    sees_uncharged() const
    {
      return false;
    }

    /**
     * With F_i = q_i e_i, for charges first to last - 1: g_x += (dF/dx)^T w
     * [N/m times w] and, if asked for, g_q_i += w . dF/dq_i.
     * @param w one vector for every charge
     */
    virtual void
    add_vjp(const PointCharges                       &charges,
            const std::array<std::vector<double>, 3> &w,
            std::array<std::vector<double>, 3>       &g_x,
            std::vector<double>                      *g_q,
            const std::size_t                         first,
            const std::size_t                         last) const;
  };

  /// The sum over all pairs, eight at a time on each thread.
  class DirectSum : public ElectricField
  {
  public:
    void
    compute(const PointCharges &charges,
            FieldAtCharges     &field,
            const std::size_t   first,
            const std::size_t   last) override;
    using ElectricField::compute;
    bool
    has_derivatives() const override
    {
      return true;
    }
    void
    add_vjp(const PointCharges                       &charges,
            const std::array<std::vector<double>, 3> &w,
            std::array<std::vector<double>, 3>       &g_x,
            std::vector<double>                      *g_q,
            const std::size_t                         first,
            const std::size_t                         last) const override;
  };

  /**
   * An adaptive octree whose nodes stand for the charges in them by their
   * Cartesian moments. At a leaf that is far from a node, the series of 1/|x|
   * about the way between their centres, up to terms of order `order` of both
   * sides together, makes powers about the leaf's centre, which are evaluated
   * at its charges. With t = (sum of the two radii)/(distance of the centres R)
   * the field of a node's charges q then lacks at most sum |q| / R^2 t^order
   * (order + 1 - order t) / (1 - t)^2. A node is used where that is at most
   * `tolerance` times the sum of |q|/R^2 over the charges away from the leaf,
   * so that the opening angle t follows node by node; else its children are, or
   * at last its charges themselves. Derivatives of 1/|x| by the recurrence of
   * Z.-H. Duan, R. Krasny: An adaptive treecode for computing nonbonded
   * potential energy in classical molecular systems. J. Comput. Chem. 22(2),
   * 2001.
   */
  class OctreeSum : public ElectricField
  {
  public:
    /// @param tolerance in (0, 1)
    /// @param order 1 to 10
    /// @param leaf_size most charges of a leaf
    explicit OctreeSum(const double       tolerance,
                       const unsigned int order     = 8,
                       const unsigned int leaf_size = 96);
    /// With a fixed opening angle: nodes with t <= angle are used.
    static OctreeSum
    with_angle(const double angle, const unsigned int order = 8);

    void
    compute(const PointCharges &charges,
            FieldAtCharges     &field,
            const std::size_t   first,
            const std::size_t   last) override;
    using ElectricField::compute;

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
   * - near only: the near ones of the listing alone, the far field ignored.
   *   Being near is mutual there, so that this law has a potential and, but
   *   where a charge passes from one tetrahedron to another, derivatives, which
   *   are its own.
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

    void
    compute(const PointCharges &charges,
            FieldAtCharges     &field,
            const std::size_t   first,
            const std::size_t   last) override;
    using ElectricField::compute;
    bool
    has_potential() const override
    {
      return variant == Variant::near_only;
    }
    bool
    has_derivatives() const override
    {
      return variant == Variant::near_only;
    }
    /// The box of all vertices makes the grid, so that near sets do not jump
    /// where a charge becomes 0.
    bool
    sees_uncharged() const override
    {
      return variant == Variant::near_only;
    }
    void
    add_vjp(const PointCharges                       &charges,
            const std::array<std::vector<double>, 3> &w,
            std::array<std::vector<double>, 3>       &g_x,
            std::vector<double>                      *g_q,
            const std::size_t                         first,
            const std::size_t                         last) const override;

    /// Near charges of a charge, on average, in the last compute().
    double mean_near = 0;

  private:
    const unsigned int n_points;
    const Variant      variant;
  };
} // namespace Palpate

#endif
