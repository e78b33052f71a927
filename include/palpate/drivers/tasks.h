#ifndef palpate_drivers_tasks_h
#define palpate_drivers_tasks_h

#include <deal.II/base/conditional_ostream.h>

#include <palpate/core/parameters.h>

namespace Palpate
{
  /// What the command line adds to the parameter file.
  struct RunOptions
  {
    bool dry_run = false;
    bool resume  = false;
  };

  /// One task each; @return the exit code.
  template <int dim>
  int
  run_forward(Parameters                       &parameters,
              const RunOptions                 &options,
              const MPI_Comm                   &comm,
              const dealii::ConditionalOStream &log);
  /// Compute a motion in time.
  template <int dim>
  int
  run_simulate(Parameters                       &parameters,
               const RunOptions                 &options,
               const MPI_Comm                   &comm,
               const dealii::ConditionalOStream &log);
  template <int dim>
  int
  run_evaluate(Parameters                       &parameters,
               const RunOptions                 &options,
               const MPI_Comm                   &comm,
               const dealii::ConditionalOStream &log);
  template <int dim>
  int
  run_identify(Parameters                       &parameters,
               const RunOptions                 &options,
               const MPI_Comm                   &comm,
               const dealii::ConditionalOStream &log);
  template <int dim>
  int
  run_verify(Parameters                       &parameters,
             const RunOptions                 &options,
             const MPI_Comm                   &comm,
             const dealii::ConditionalOStream &log);

  /// A segmentation becomes tetrahedra with labels (3D). One rank works.
  int
  run_mesh(Parameters                       &parameters,
           const RunOptions                 &options,
           const MPI_Comm                   &comm,
           const dealii::ConditionalOStream &log);

  /// A mesh, CT volumes and registration fields become a case pack (3D). One
  /// rank works, so that the pack does not depend on their number.
  int
  run_pack(Parameters                       &parameters,
           const RunOptions                 &options,
           const MPI_Comm                   &comm,
           const dealii::ConditionalOStream &log);

  /// Cut a case into parts that ranks read alone. On one rank.
  template <int dim>
  int
  run_partition(Parameters                       &parameters,
                const RunOptions                 &options,
                const MPI_Comm                   &comm,
                const dealii::ConditionalOStream &log);

  /// Train the graph network on a cohort (3D).
  int
  run_train(Parameters                       &parameters,
            const RunOptions                 &options,
            const MPI_Comm                   &comm,
            const dealii::ConditionalOStream &log);

  /// The stiffness of a case by a trained network, without any solve (3D).
  int
  run_predict(Parameters                       &parameters,
              const RunOptions                 &options,
              const MPI_Comm                   &comm,
              const dealii::ConditionalOStream &log);

  /// Write a synthetic 4D CT with everything that is known of it exactly.
  int
  run_phantom(Parameters                       &parameters,
              const RunOptions                 &options,
              const MPI_Comm                   &comm,
              const dealii::ConditionalOStream &log);
} // namespace Palpate

#endif
