#include <deal.II/base/mpi.h>

#include <gtest/gtest.h>

int
main(int argc, char **argv)
{
  dealii::deal_II_exceptions::disable_abort_on_exception();
  dealii::Utilities::MPI::MPI_InitFinalize mpi(argc, argv, 1);
  ::testing::InitGoogleTest(&argc, argv);
  const int failed = RUN_ALL_TESTS();
  // One failing rank fails them all.
  return dealii::Utilities::MPI::max(failed, MPI_COMM_WORLD);
}
