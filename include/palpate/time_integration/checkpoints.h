#ifndef palpate_time_integration_checkpoints_h
#define palpate_time_integration_checkpoints_h

#include <functional>
#include <string>

namespace Palpate
{
  /**
   * Which states of a run of n steps are kept for its adjoint (doc/theory.md
   * 12), so that the states before each step are at hand, last step first,
   * with as few steps computed again as the memory allows. The state before
   * step 0 is always there and not counted.
   */
  class CheckpointPlan
  {
  public:
    enum class Kind
    {
      all,     ///< nothing is computed again
      evenly,  ///< every k-th; a segment is computed again as a whole
      binomial ///< the least work for the number of states (revolve)
    };

    /// @param n_slots states that may be kept at a time
    CheckpointPlan(const Kind         kind,
                   const unsigned int n_steps,
                   const unsigned int n_slots);

    /// Slots that a kind needs at least.
    static unsigned int
    n_needed(const Kind kind, const unsigned int n_steps);

    /// Whether the forward run keeps the state before @p step (> 0).
    bool
    keeps(const unsigned int step) const;

    /// What reverse() does with the states before steps; 0 is always kept.
    struct Actions
    {
      /// Compute on from the state kept before @p first to that before @p last
      /// and keep it; if @p all, those in between as well.
      std::function<void(unsigned int first, unsigned int last, bool all)>
                                             advance;
      std::function<void(unsigned int step)> take_back, forget;
    };
    /// Take back all steps after a forward run, last step first.
    void
    reverse(const Actions &actions) const;

    /// Steps that reverse() computes again.
    unsigned long
    n_again() const;
    std::string
    text() const;

    const Kind         kind;
    const unsigned int n_steps, n_slots;

  private:
    /// Where to put a state between that before @p first and step @p last, with
    /// so many free slots.
    unsigned int
    split(const unsigned int first,
          const unsigned int last,
          const unsigned int free) const;
    void
    reverse(const unsigned int first,
            const unsigned int last,
            const unsigned int free,
            const bool         kept,
            const Actions     &actions) const;

    unsigned int every = 1;
  };
} // namespace Palpate

#endif
