#ifndef palpate_parameterizations_graph_network_h
#define palpate_parameterizations_graph_network_h

#include <palpate/parameterizations/bounds.h>
#include <palpate/parameterizations/parameterization.h>

namespace Palpate
{
  /**
   * Two graph-convolution layers on the face adjacency A of the cells (plain
   * sums over neighbors, no averages) plus a linear map take Hounsfield units h
   * to stiffness (doc/theory.md 7; gcn.md, sections 2 to 4):
   *
   *   x = (h - mean) / (std + 1e-6 HU)                       per case
   *   H = relu(b1 + (A x) W_nei1 + x W_self1)                (cells, width)
   *   s = b2 + (A H) W_nei2 + H W_self2
   *   log alpha = clip(a + b h + s, log lower, log upper)
   *
   * The unknowns, on rank 0, are W_nei1, W_self1, b1, W_nei2, W_self2 (width
   * each), b2, and, where the linear map is learned, its values at the middle
   * and, minus that, at the upper end of the HU range: of the size of log alpha
   * both, which a and b are not.
   */
  template <int dim>
  class GraphNetwork : public Parameterization<dim>
  {
  public:
    using Q = std::vector<double>;

    /// What a network is before it has weights.
    struct Description
    {
      unsigned int    width        = 16;
      std::string     linear_map   = "learned"; ///< learned, fixed or none
      double          weight_scale = 0.01;      ///< of the start
      unsigned int    seed         = 42;
      unsigned int    smoothing    = 0; ///< passes over h before all else
      StiffnessBounds limits;
      /// HU that the linear map starts from; where not known, the case's.
      double hu_low = 0, hu_high = 0;
      bool   hu_known = false;
    };

    static void
    declare_parameters(dealii::ParameterHandler &prm);
    /// The same but for the seed and fixed labels: a network of many cases.
    static void
    declare_network(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters) override;
    void
    parse_network(Parameters &parameters);
    std::vector<std::string>
    input_fields() const override
    {
      return {"hounsfield"};
    }
    void
    bind(const Discretization<dim> &discretization,
         const Fields              &initial) override;

    Description description;

    /// Number of unknowns; known without a mesh.
    unsigned int
    n_unknowns() const
    {
      return 5 * description.width + 1 +
             (description.linear_map == "learned" ? 2 : 0);
    }
    /// The seeded start, on every rank: normal weights, zero biases, the linear
    /// map from the lower bound at hu_low to the upper at hu_high.
    Q
    start() const;
    /// 1 for weights, which may decay; 0 for biases and the linear map.
    std::vector<char>
    decays() const;
    /// a [log Pa] and b [log Pa per HU]; 0 where there is no linear map.
    std::pair<double, double>
    linear_map(const Q &q) const;

    unsigned int
    n_local() const override
    {
      return on_root ? n_unknowns() : 0;
    }
    Q
    initial() const override;
    void
    bounds(Q &lower, Q &upper) const override;
    Q
    weights() const override
    {
      return Q(n_local(), 1.);
    }
    void
    apply(const Q &q, Fields &fields) const override;
    void
    jvp(const Q &q, const Q &dq, Fields &dfields) const override;
    void
    vjp(const Q &q, const FieldDuals &duals, Q &g) const override;
    void
    second_vjp(const Q          &q,
               const Q          &dq,
               const FieldDuals &duals,
               Q                &g) const override;
    void
    make_smooth(Q &q, Q &dq) const override;
    std::vector<NamedValue>
    named_values(const Q &) const override
    {
      return {};
    }
    std::vector<char>
    fixed_cells() const override;
    /// Share of the cells that are clipped.
    double
    share_at_bound(const Q &q) const override;

  private:
    /// Offsets of the parts of q.
    struct Parts
    {
      unsigned int neighbors1, self1, bias1, neighbors2, self2, bias2, linear;
    };
    Parts
    parts() const;
    /// All of q on every rank.
    Q
    whole(const Q &q) const;
    /// Where a cell's log alpha is before the clip.
    enum class Side : char
    {
      fixed,
      beyond,
      on_lower,
      on_upper,
      within
    };
    /// The clip has two derivatives on a bound: 1 for ways that lead inwards
    /// (of log alpha itself, or the descent against a dual), 0 for others.
    static bool
    passes(const Side side, const double way);
    /// What goes through the network at q, and along dq.
    struct Pass
    {
      std::vector<double> H, dH;  ///< (owned cells, width)
      std::vector<double> t, dt;  ///< log alpha before the clip, owned cells
      std::vector<char>   active; ///< H > 0
      std::vector<Side>   side;
    };
    Pass
    pass(const Q &q, const Q *dq) const;
    /// Sum over the neighbors of owned cells of a field given on owned cells.
    std::vector<double>
    neighbor_sum(const std::vector<double> &owned) const;
    /// The derivative by the linear map of what cell k hears.
    void
    add_linear(const double         gt,
               const unsigned int   k,
               std::vector<double> &sums) const;
    void
    to_root(const std::vector<double> &sums, Q &g, const bool add) const;

    const Discretization<dim> *D       = nullptr;
    bool                       on_root = false;
    std::vector<std::size_t>   offsets;
    std::vector<unsigned int>  neighbors; ///< of owned cells
    std::vector<double>        hu, x, ax, start_log;
    std::vector<char>          free_cell;
  };
} // namespace Palpate

#endif
