#ifndef palpate_phantom_lung_phantom_h
#define palpate_phantom_lung_phantom_h

#include <deal.II/base/point.h>
#include <deal.II/base/tensor.h>

#include <palpate/mesh/serial_mesh.h>

#include <array>
#include <vector>

namespace Palpate
{
  /**
   * Two lungs in a chest, given by formulas: shape, Hounsfield units, stiffness
   * and a breathing motion with a closed inverse, all exact at every point and
   * at any resolution. World coordinates are RAS [m]. The seed varies size,
   * vessels, texture and low-density patches.
   */
  class LungPhantom
  {
  public:
    struct Description
    {
      unsigned int seed = 1;
      /// Downward motion of the diaphragm, and relative growth of the chest
      /// there from left to right, at full breath [m], [1].
      double diaphragm_motion = 0.02, chest_expansion = 0.04;
      /// Standard deviation of the parenchyma's texture [HU].
      double texture = 40;
      /// Change of log alpha per 100 HU of the point itself, and per 100 HU of
      /// the mean over the point and twelve around it (radius [m]);
      /// alpha [Pa] at -850 HU, and the factor at which it saturates, up and
      /// down (s -> log r tanh(s / log r)).
      double stiffness_slope = 0.2, neighborhood_slope = 0.8,
             neighborhood_radius = 0.01, stiffness = 2236,
             stiffness_range = 4.472;
    };

    explicit LungPhantom(const Description &description);

    /// Label of a point at phase 0: 0 outside, 1 left lung (x < 0), 2 right.
    unsigned int
    lung(const dealii::Point<3> &X) const;

    /// HU at phase 0: lungs, else the soft tissue of the chest, else air.
    double
    hounsfield(const dealii::Point<3> &X) const;

    /// alpha [Pa] of lung tissue, whose place is X at phase 0.
    double
    stiffness(const dealii::Point<3> &X) const;

    /**
     * Where a breath of the given amplitudes moves a point (map) and where it
     * came from (inverse). Depth d below the lungs' top goes to
     * d + vertical (d/H)^2, x and y are stretched from the spine by 1 + e and
     * 1 + 1.5 e, e = lateral (d'/H)^2.
     */
    struct Breath
    {
      double vertical = 0, lateral = 0; ///< [m], [1]

      dealii::Point<3>
      map(const dealii::Point<3> &X) const;
      dealii::Point<3>
      inverse(const dealii::Point<3> &x) const;
      /// det F of map at X.
      double
      jacobian(const dealii::Point<3> &X) const;
    };

    /// Phase k of n: sin^2(pi k/n), the chest a twentieth of a period late.
    Breath
    phase(const unsigned int k, const unsigned int n) const;

    /// HU of the breathing chest at a place x; mass is conserved in the lungs.
    double
    hounsfield(const dealii::Point<3> &x, const Breath &breath) const;

    /// Both lungs with cells of this size [m], vertices of the surface on the
    /// exact shape.
    SerialMesh<3>
    mesh(const double cell_size) const;

    /// A seeded choice of points at least a twentieth of the size inside.
    std::vector<dealii::Point<3>>
    landmarks(const unsigned int n) const;

    /// Corners of a box that holds the chest at every phase [m].
    static constexpr std::array<double, 3> lower = {{-0.21, -0.145, -0.19}},
                                           upper = {{0.21, 0.145, 0.2}};

  private:
    struct Lung
    {
      double side, offset, scale, heart;
    };
    struct Wave
    {
      dealii::Tensor<1, 3> k;
      double               amplitude, phase;
    };
    struct Vessel
    {
      dealii::Point<3>     start;
      dealii::Tensor<1, 3> along;
      double               radius;
    };
    struct Patch
    {
      dealii::Point<3> center;
      double           radius, depth;
    };

    /// Coordinates in which a lung is the unit ball, and back.
    dealii::Tensor<1, 3>
    to_ball(const Lung &lung, const dealii::Point<3> &X) const;
    dealii::Point<3>
    from_ball(const Lung &lung, const dealii::Tensor<1, 3> &q) const;
    double
    parenchyma(const dealii::Point<3> &X) const;
    /// The bin of a point, of a grid of 1 cm bins over the chest.
    std::size_t
    bin(const dealii::Point<3> &X) const;

    Description           description;
    std::array<double, 3> semi_axes;
    std::array<Lung, 2>   lungs;
    std::vector<Wave>     waves;
    std::vector<Vessel>   vessels;
    std::vector<Patch>    patches;
    /// Vessels that reach into a bin.
    std::vector<std::vector<unsigned int>> vessels_of_bin;
  };
} // namespace Palpate

#endif
