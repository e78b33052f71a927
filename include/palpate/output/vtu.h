#ifndef palpate_output_vtu_h
#define palpate_output_vtu_h

#include <palpate/geometry/discretization.h>

#include <string>
#include <utility>
#include <vector>

namespace Palpate
{
  /// What is written of one moment; plain vectors and fields with names, which
  /// get their units: see name_with_unit().
  template <int dim>
  struct VtuData
  {
    std::vector<std::pair<std::string, Vector>> nodal; ///< vectors [dim]
    /// Of networks: one number per owned node.
    std::vector<std::pair<std::string, std::vector<double>>> nodal_scalars;
    /// One number per owned cell.
    std::vector<std::pair<std::string, std::vector<double>>> cell;
    /// A vector per local cell.
    std::vector<std::pair<std::string, std::vector<dealii::Tensor<1, dim>>>>
      cell_vectors;
  };

  /**
   * Write directory/name.vtu (one rank) or directory/name.pvtu with a piece per
   * rank: vectors and nodal numbers at the vertices, the rest in the cells; the
   * springs of a network are lines. Collective. @return the file that holds it
   * all.
   */
  template <int dim>
  std::string
  write_vtu(const std::string         &directory,
            const std::string         &name,
            const Discretization<dim> &discretization,
            const VtuData<dim>        &data);

  /// Straight lines with values, for springs.
  template <int dim>
  struct LineData
  {
    std::vector<std::array<dealii::Point<dim>, 2>>     points;        ///< [m]
    std::vector<std::array<dealii::Tensor<1, dim>, 2>> displacements; ///< [m]
    /// One number per line.
    std::vector<std::pair<std::string, std::vector<double>>> values;
  };

  /// Like write_vtu(), the lines as cells. Collective.
  template <int dim>
  std::string
  write_lines(const std::string   &directory,
              const std::string   &name,
              const LineData<dim> &lines,
              const MPI_Comm      &comm);

  /// Like write_vtu(), the vertices of a network as points. Collective.
  template <int dim>
  std::string
  write_points(const std::string         &directory,
               const std::string         &name,
               const Discretization<dim> &discretization,
               const VtuData<dim>        &data);

  /// The files write_vtu() and write_lines() write for a name on this rank.
  std::vector<std::string>
  piece_names(const std::string &name, const MPI_Comm &comm);

  /// Write directory/name.pvd, which ParaView opens as a series. Collective.
  void
  write_pvd(const std::string                                 &directory,
            const std::string                                 &name,
            const std::vector<std::pair<double, std::string>> &times_and_files,
            const MPI_Comm                                    &comm);
} // namespace Palpate

#endif
