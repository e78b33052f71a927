#ifndef palpate_core_outputs_h
#define palpate_core_outputs_h

#include <deal.II/base/conditional_ostream.h>
#include <deal.II/base/mpi.h>

#include <palpate/core/parameters.h>

#include <time.h>

#include <map>
#include <string>
#include <vector>

namespace Palpate
{
  /// Names (patterns as of a shell) of pictures for ParaView, of NIfTI maps and
  /// of all that evaluations of a case write.
  std::vector<std::string>
  names_of_results();

  /**
   * What a run writes. No output replaces an input; the results appear together
   * when the run is done, or the folder stays as it was.
   *
   * The constructor compares what may be written with every file read so far
   * (same device and inode: links are followed, and it does not matter how a
   * name is spelt). A file by the name of a result that the program did not
   * write is kept beside, as NAME.kept. begin() makes a place in the output
   * folder (folder()) where all ranks write; commit() moves everything from
   * there. Without a commit the destructor takes all back. Runs that can be
   * resumed write below `checkpoint/`, so that a kill leaves what a resumed run
   * goes on with; the `checkpoint/` and `history.csv` of an earlier run are put
   * aside until the commit. A lock keeps two runs out of one folder. All calls
   * are collective unless they say so.
   */
  class Outputs
  {
  public:
    /// How a task writes.
    struct Plan
    {
      /// Patterns, relative to the folder.
      std::vector<std::string> names;
      /// Files elsewhere: the entry that names them, and their name.
      std::map<std::string, std::string> files = {};
      /// Whether there are checkpoint/ and history.csv.
      bool has_checkpoint = false;
      /// Patterns of files whose number varies: of an earlier run's, those that
      /// this one does not write are removed (pictures always are).
      std::vector<std::string> series = {};
    };

    /// @throw InputError if an output is an input, or two outputs are one file.
    Outputs(Parameters                       &parameters,
            const Plan                       &plan,
            const MPI_Comm                   &comm,
            const dealii::ConditionalOStream &log);
    ~Outputs();
    Outputs(const Outputs &) = delete;
    Outputs &
    operator=(const Outputs &) = delete;

    /**
     * See that the output folder can be written to, without leaving anything,
     * and say what will be replaced. For runs that call begin() late.
     * @throw InputError
     */
    void
    probe(const bool resume = false);

    /**
     * Make the place for the results.
     * @param resume go on in the checkpoint that is there
     * @throw InputError if the folder cannot be written to, another run writes
     * there, or there is nothing to resume
     */
    void
    begin(const bool resume = false);

    /// Where to write until the commit; on every rank.
    const std::string &
    folder() const
    {
      return staging;
    }
    /// Where a file that an entry names is written until then.
    const std::string &
    staged_file(const std::string &entry) const
    {
      return staged_files.at(entry);
    }
    /// Where the results will be.
    const std::string &
    directory() const
    {
      return target;
    }
    std::string
    checkpoint() const
    {
      return target + "/checkpoint";
    }
    /// Where a file of the run that is resumed is; not collective.
    std::string
    existing(const std::string &name) const;
    /// Whether results of an earlier run (or of one that is resumed) are there.
    bool
    holds_results() const
    {
      return !replaced.empty() || resumed;
    }

    /// Replace a file that grows during the run; on the root only.
    void
    grow(const std::string &name, const std::string &content) const;

    /// The results appear. @throw Interrupted, ComputationError; then nothing
    /// has changed
    void
    commit();

  private:
    struct Move;
    void
    check_names() const;
    void
    check_input(const std::string &file, const std::string &expected) const;
    void
    check_staged() const;
    void
    say_what_is_replaced() const;
    void
    make_folder(const std::string &folder,
                const std::string &what,
                const std::string &name);
    void
    make_place();
    void
    put_aside();
    void
    take_back();
    void
    give_back_others() const;
    void
    list_files(const std::vector<std::string> &names) const;
    std::vector<std::string>
    move_into_place();
    void
    remove_older(const std::vector<std::string> &names,
                 std::vector<Move>              &moves,
                 std::vector<std::string>       &left) const;

    const Parameters                  &parameters;
    const Plan                         plan;
    const MPI_Comm                     comm;
    const dealii::ConditionalOStream  &log;
    const bool                         is_root;
    const std::string                  target, hidden;
    std::string                        staging;
    std::map<std::string, std::string> staged_files;
    std::vector<std::string>           replaced; ///< earlier results
    std::vector<std::string>           kept; ///< others' files by such names

    /// On the root: folders made (the innermost first), names in the folder
    /// that are this run's until the commit, the number of the folder with
    /// those of before, when the folder was changed before this run.
    std::vector<std::string> made_folders, own_names;
    unsigned int             n_aside = 0;
    timespec                 changed_at{0, 0};
    int                      lock  = -1;
    bool                     begun = false, resumed = false;
    bool                     has_own_history = false; ///< what was put aside
  };
} // namespace Palpate

#endif
