#ifndef palpate_optimizers_adam_h
#define palpate_optimizers_adam_h

#include <palpate/core/parameters.h>

#include <string>
#include <vector>

namespace Palpate
{
  struct AdamParameters
  {
    double       learning_rate = 1e-3;
    std::string  schedule      = "constant"; ///< constant, cosine or step
    unsigned int epochs        = 50;         ///< at the end cosine is 0
    unsigned int step_epochs   = 20;
    double       step_factor   = 0.5;
    double       weight_decay  = 0;          ///< decoupled
    double       gradient_clip = 0;          ///< largest norm; 0: none
    double       beta1 = 0.9, beta2 = 0.999; ///< decays of the moments
    double       epsilon = 1e-8; ///< beside the root of the second moment

    static void
    declare_parameters(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters);

    /// Learning rate of an epoch, counted from 1.
    double
    rate(const unsigned int epoch) const;
  };

  /**
   * Adam with bias-corrected moments (Kingma and Ba, 2015) and decoupled weight
   * decay (Loshchilov and Hutter, 2019). All ranks hold all unknowns.
   */
  class Adam
  {
  public:
    using Q = std::vector<double>;

    /// @param decays 1 for unknowns that weight decay acts on
    Adam(const AdamParameters &parameters, const std::vector<char> &decays)
      : first(decays.size(), 0.)
      , second(decays.size(), 0.)
      , parameters(parameters)
      , decays(decays)
    {}

    /// q moves against g. @return the norm of g before it is clipped
    double
    step(Q &q, Q g, const unsigned int epoch);

    /// The moments and the number of steps: what a restart needs.
    Q             first, second;
    unsigned long n_steps = 0;

  private:
    const AdamParameters   &parameters;
    const std::vector<char> decays;
  };
} // namespace Palpate

#endif
