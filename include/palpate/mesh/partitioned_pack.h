#ifndef palpate_mesh_partitioned_pack_h
#define palpate_mesh_partitioned_pack_h

#include <palpate/mesh/quality.h>

namespace Palpate
{
  /// True for the index file of a partitioned pack (.json).
  bool
  is_partitioned(const std::string &filename);

  /// Space dimension of a partitioned pack. @throw InputError
  int
  partitioned_dimension(const std::string &filename);

  /**
   * A checked and repaired case in parts, so that no rank that reads it needs
   * all of it: part_0000.npz and so on, packs of the cells of a part and of
   * those that share a vertex with them, in metres, with their numbers in the
   * whole; and case.json, written last, which names them. To be called on one
   * rank.
   * @return cells of every part, without and with those that touch it
   * @throw ComputationError if the disk is full
   */
  template <int dim>
  std::vector<std::array<std::size_t, 2>>
  write_partitioned_pack(const std::string        &directory,
                         const CaseData<dim>      &data,
                         const QualityReport<dim> &quality,
                         const unsigned int        n_parts);

  /**
   * This rank's parts, joined: with P parts and n ranks, parts r P / n up to
   * (r + 1) P / n. Collective.
   * @param quality as of the whole case, but component_of_cell and
   * surface_vertex of the vertices and cells that are here
   * @throw InputError for more ranks than parts, files that are missing,
   * damaged or of another partition
   */
  template <int dim>
  CaseData<dim>
  read_partitioned_pack(const std::string  &filename,
                        QualityReport<dim> &quality,
                        const MPI_Comm     &comm);
} // namespace Palpate

#endif
