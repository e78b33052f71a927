#ifndef palpate_drivers_network_file_h
#define palpate_drivers_network_file_h

#include <palpate/parameterizations/graph_network.h>

#include <nlohmann/json.hpp>

namespace Palpate
{
  /// A trained network as it is kept in a file.
  struct NetworkFile
  {
    GraphNetwork<3>::Description description;
    std::vector<double>          q;
    /// alpha [Pa] = factor times what the network says. Without loads in the
    /// training (scale_identified false) the scale is a convention.
    double         factor           = 1;
    bool           scale_identified = false;
    nlohmann::json training; ///< where it comes from
  };

  /**
   * Write NAME.json and NAME.npz; the latter with the source's names W_nei1,
   * W_self1 (1, width), b1, W_nei2, W_self2 (width), b2, a, b. Each appears
   * whole or not at all. @throw ComputationError
   */
  void
  write_network(const std::string &name, const NetworkFile &network);

  /// @throw InputError if it cannot be read, has another version, or its
  /// weights do not fit its sizes.
  NetworkFile
  read_network(const std::string &filename);
} // namespace Palpate

#endif
