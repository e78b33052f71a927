#include <palpate/optimizers/adam.h>

#include <cmath>

namespace Palpate
{
  using namespace dealii;

  void
  AdamParameters::declare_parameters(ParameterHandler &prm)
  {
    prm.declare_entry("Epochs",
                      "50",
                      Patterns::Integer(1),
                      "Passes over the cohort.");
    prm.declare_entry("Learning rate", "1e-3", Patterns::Double(), "Of Adam.");
    prm.declare_entry(
      "Learning rate schedule",
      "constant",
      Patterns::Selection("constant|cosine|step"),
      "cosine: falls towards 0 after the last epoch; step: times Step "
      "factor every Step epochs.");
    prm.declare_entry("Step epochs", "20", Patterns::Integer(1), "See above.");
    prm.declare_entry("Step factor", "0.5", Patterns::Double(), "See above.");
    prm.declare_entry("Weight decay",
                      "0",
                      Patterns::Double(0),
                      "Decoupled: every update also multiplies the weights by "
                      "1 - learning rate * this.");
    prm.declare_entry("Gradient clip",
                      "0",
                      Patterns::Double(0),
                      "Longer gradients are shortened to this norm; 0: none.");
    prm.declare_entry("Beta 1",
                      "0.9",
                      Patterns::Double(),
                      "Of Adam: what an update leaves of the mean of "
                      "gradients.");
    prm.declare_entry("Beta 2",
                      "0.999",
                      Patterns::Double(),
                      "Of Adam: what an update leaves of the mean of squared "
                      "gradients.");
    prm.declare_entry("Epsilon",
                      "1e-8",
                      Patterns::Double(),
                      "Of Adam: added to the root of the mean square; "
                      "gradients far below it hardly move the weights.");
  }

  void
  AdamParameters::parse_parameters(Parameters &p)
  {
    epochs        = p.get_integer("Epochs");
    learning_rate = p.get_double("Learning rate");
    if (!(learning_rate > 0))
      p.fail("Learning rate", "expected a positive value");
    schedule = p.get("Learning rate schedule");
    if (schedule == "step")
      {
        step_epochs = p.get_integer("Step epochs");
        step_factor = p.get_double("Step factor");
        if (!(step_factor > 0 && step_factor <= 1))
          p.fail("Step factor", "expected a value in (0, 1]");
      }
    weight_decay     = p.get_double("Weight decay");
    gradient_clip    = p.get_double("Gradient clip");
    const auto decay = [&](const std::string &entry) {
      const double beta = p.get_double(entry);
      if (!(beta >= 0 && beta < 1))
        p.fail(entry, "expected a value in [0, 1)");
      return beta;
    };
    beta1   = decay("Beta 1");
    beta2   = decay("Beta 2");
    epsilon = p.get_double("Epsilon");
    if (!(epsilon > 0))
      p.fail("Epsilon", "expected a positive value");
  }

  double
  AdamParameters::rate(const unsigned int epoch) const
  {
    if (schedule == "cosine")
      return learning_rate * 0.5 *
             (1 + std::cos(3.14159265358979323846 * (epoch - 1) / epochs));
    if (schedule == "step")
      return learning_rate * std::pow(step_factor, (epoch - 1) / step_epochs);
    return learning_rate;
  }

  double
  Adam::step(Q &q, Q g, const unsigned int epoch)
  {
    double norm = 0;
    for (const double v : g)
      norm += v * v;
    norm = std::sqrt(norm);
    if (parameters.gradient_clip > 0 && norm > parameters.gradient_clip)
      for (double &v : g)
        v *= parameters.gradient_clip / norm;
    const double beta1 = parameters.beta1, beta2 = parameters.beta2,
                 rate = parameters.rate(epoch);
    ++n_steps;
    const double bias1 = 1 - std::pow(beta1, n_steps),
                 bias2 = 1 - std::pow(beta2, n_steps);
    for (std::size_t i = 0; i < q.size(); ++i)
      {
        first[i]  = beta1 * first[i] + (1 - beta1) * g[i];
        second[i] = beta2 * second[i] + (1 - beta2) * g[i] * g[i];
        q[i] -= rate * (first[i] / bias1 /
                          (std::sqrt(second[i] / bias2) + parameters.epsilon) +
                        (decays[i] ? parameters.weight_decay * q[i] : 0.));
      }
    return norm;
  }
} // namespace Palpate
