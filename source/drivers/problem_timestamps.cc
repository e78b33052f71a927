#include <palpate/drivers/problem.h>
#include <palpate/forces/stress_law.h>
#include <palpate/geometry/stretch.h>

#include <algorithm>
#include <cmath>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// Volume means and extremes of one moment, of owned cells, and of all
    /// after collect().
    template <int dim>
    struct MotionStatistics
    {
      double size = 0; ///< volume; of a network the number of springs
      std::vector<double> mean    = std::vector<double>(dim, 0.),
                          lowest  = std::vector<double>(dim, 1e300),
                          highest = std::vector<double>(dim, -1e300);
      double mean_strain = 0, highest_strain = 0, lowest_jacobian = 1e300,
             highest_jacobian = -1e300;

      MotionStatistics(const Discretization<dim> &D, const Vector &u)
      {
        std::vector<Tensor<1, dim>> values;
        for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
          {
            D.gather(u, k, values);
            size += D.volume[k];
            for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
              for (unsigned int d = 0; d < dim; ++d)
                {
                  mean[d] += D.volume[k] * D.mean_shape[a] * values[a][d];
                  lowest[d]  = std::min(lowest[d], values[a][d]);
                  highest[d] = std::max(highest[d], values[a][d]);
                }
            if (D.is_network())
              continue;
            const Tensor<2, dim> F = D.deformation_gradient(values, k, 0);
            const double strain = largest_strain<dim>(principal_stretches(F));
            mean_strain += D.volume[k] * strain;
            highest_strain   = std::max(highest_strain, strain);
            lowest_jacobian  = std::min(lowest_jacobian, determinant(F));
            highest_jacobian = std::max(highest_jacobian, determinant(F));
          }
        size = D.sum(size);
        for (unsigned int d = 0; d < dim; ++d)
          {
            mean[d]    = D.sum(mean[d]) / size;
            lowest[d]  = Utilities::MPI::min(lowest[d], D.comm);
            highest[d] = Utilities::MPI::max(highest[d], D.comm);
          }
        mean_strain      = D.sum(mean_strain) / size;
        highest_strain   = Utilities::MPI::max(highest_strain, D.comm);
        lowest_jacobian  = Utilities::MPI::min(lowest_jacobian, D.comm);
        highest_jacobian = Utilities::MPI::max(highest_jacobian, D.comm);
      }
    };
  } // namespace

  template <int dim>
  nlohmann::json
  Problem<dim>::timestamps_json() const
  {
    nlohmann::json result = nlohmann::json::array();
    const auto    &D      = *discretization;
    for (std::size_t s = 0; s < snapshots.size(); ++s)
      {
        const MotionStatistics<dim> now(D, states().context(s).state.u);
        nlohmann::json              entry;
        entry["displacement"] = {{"volume_mean_m", now.mean},
                                 {"lowest_m", now.lowest},
                                 {"highest_m", now.highest}};
        if (!D.is_network())
          {
            entry["largest_principal_strain"] = {
              {"volume_mean", now.mean_strain},
              {"highest", now.highest_strain}};
            entry["jacobian"] = {{"lowest", now.lowest_jacobian},
                                 {"highest", now.highest_jacobian}};
          }
        if (trajectory)
          entry["time_s"] = snapshot_times[s];
        if (snapshots[s].has_observation())
          entry["mean_error_m"] = mean_errors(s, s + 1).first;
        result.push_back(entry);
      }
    return result;
  }

  template <int dim>
  Field
  Problem<dim>::youngs_modulus() const
  {
    // The material comes first.
    const auto *law =
      dynamic_cast<const StressLaw<dim> *>(equilibrium->forces[0].get());
    if (!law)
      return Field();
    const auto        &D = *discretization;
    const Context<dim> c = states().context(0);
    Field              result(D.n_cells());
    double             differ = 0;
    // dP of all strains e_i e_i and e_i e_j is lambda tr(dH) I + 2 mu dH
    // exactly if the material is isotropic.
    for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
      {
        double lambda = 0, mu = 0, error = 0;
        for (unsigned int i = 0; i < dim; ++i)
          for (unsigned int j = i; j < dim; ++j)
            {
              Tensor<2, dim> H, dH;
              dH[i][j] += 0.5;
              dH[j][i] += 0.5;
              const Tensor<2, dim> dP = law->stress_by_gradient(c, k, H, dH);
              if (i == 0 && j == 0)
                {
                  lambda = dP[1][1];
                  mu     = (dP[0][0] - lambda) / 2;
                }
              for (unsigned int a = 0; a < dim; ++a)
                for (unsigned int b = 0; b < dim; ++b)
                  error = std::max(error,
                                   std::abs(dP[a][b] - 2 * mu * dH[a][b] -
                                            (i == j && a == b ? lambda : 0.)));
            }
        differ += !(error <= 1e-9 * (std::abs(lambda) + std::abs(mu)));
        result[k] = mu * (3 * lambda + 2 * mu) / (lambda + mu);
      }
    if (D.sum(differ) > 0)
      return Field();
    D.update_ghosts(result);
    return result;
  }

#define INSTANTIATE(dim)                                         \
  template nlohmann::json Problem<dim>::timestamps_json() const; \
  template Field          Problem<dim>::youngs_modulus() const;

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
