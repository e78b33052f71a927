#ifndef palpate_forces_springs_edge_springs_h
#define palpate_forces_springs_edge_springs_h

#include <palpate/forces/force.h>

#include <cmath>

namespace Palpate
{
  /**
   * One linear spring between two points, d = x_i - x_j apart (doc/theory.md
   * 14): E = k/2 (|d| - l)^2 [J], k [N/m], l [m]. Derivatives by d.
   */
  template <int dim>
  struct EdgeSpring
  {
    using T1 = dealii::Tensor<1, dim>;

    EdgeSpring(const double k, const double l, const T1 &d)
      : k(k)
      , l(l)
      , length(d.norm())
      , n(length > 0 ? d / length : T1())
      , slack(l > 0 ? l / length : 0.)
    {}

    /// False where it has no direction, and needs one.
    bool
    is_valid() const
    {
      return l == 0 || length > 1e-9 * l;
    }
    double
    energy() const
    {
      return 0.5 * k * (length - l) * (length - l);
    }
    /// dE/dd: on the first point, from the second.
    T1
    force() const
    {
      return k * (length - l) * n;
    }
    /// d force/dd [v] = k (n n^T + (1 - l/|d|) (I - n n^T)) v
    T1
    tangent(const T1 &v) const
    {
      return k * (v - slack * across(v));
    }
    /// Without what a compressed spring lacks across.
    T1
    positive_tangent(const T1 &v) const
    {
      return k * (v - std::min(slack, 1.) * across(v));
    }
    /// d tangent(v)/dd [w]
    T1
    second(const T1 &v, const T1 &w) const
    {
      if (l == 0)
        return T1();
      return k * slack / length *
             ((n * w) * across(v) + (n * v) * across(w) + (across(v) * w) * n);
    }
    /// (I - n n^T) v
    T1
    across(const T1 &v) const
    {
      return v - (n * v) * n;
    }

    const double k, l, length;
    const T1     n;
    const double slack; ///< l/|d|
  };

  /**
   * Springs along the edges of a network: the fields "stiffness" [N/m] and
   * "rest_length" [m] have a value per spring.
   */
  template <int dim>
  class EdgeSprings : public Force<dim>
  {
  public:
    static constexpr const char *rest_length_name = "rest_length";

    static void
    declare_parameters(dealii::ParameterHandler &prm);
    void
    parse_parameters(Parameters &parameters) override;
    double
    energy(const Context<dim> &context) const override;
    /// @throw SolverError for a spring of length 0
    void
    residual(const Context<dim> &context, Vector &h) const override;
    void
    add_tangent(const Context<dim> &context,
                const Tangent       kind,
                TangentMatrix<dim> &K) const override;
    void
    apply_tangent(const Context<dim> &context,
                  const Vector       &du,
                  Vector             &dh) const override;
    void
    field_jvp(const Context<dim> &context,
              const Fields       &direction,
              Vector             &dh) const override;
    void
    field_vjp(const Context<dim> &context,
              const Vector       &lambda,
              FieldDuals         &g) const override;
    void
    second_vjp(const Context<dim> &context,
               const Vector       &lambda,
               const Vector       &du,
               const Fields       &dfields,
               Vector             &g_state,
               FieldDuals         &g_fields) const override;
    /// The rest lengths: the pack's, or the lengths of the network.
    void
    add_fields(const Discretization<dim> &discretization,
               const std::vector<Snapshot<dim>> &,
               const CaseData<dim> &data,
               const std::vector<std::string> &,
               Fields &fields) const override;
    bool
    works_on_networks() const override
    {
      return true;
    }
    Depends
    tangent_depends_on() const override
    {
      Depends d;
      d.state = true;
      return d;
    }
    bool
    has_small_strain_tangent() const override
    {
      return true;
    }
    bool
    scales_with_stiffness() const override
    {
      return true;
    }
    std::string
    stiffness_key() const override
    {
      return "spring_constant";
    }
    std::vector<std::string>
    field_names() const override
    {
      return {"stiffness", rest_length_name};
    }
    unsigned int
    maximum_degree() const override
    {
      return 1;
    }
    double rest_length_ratio = 1;

  private:
    using T1 = dealii::Tensor<1, dim>;
    /// Spring k of the network as it is.
    EdgeSpring<dim>
    spring(const Context<dim> &context, const unsigned int k) const;
    /// The difference of a nodal vector between its two ends.
    static T1
    difference(const Discretization<dim> &D,
               const Vector              &v,
               const unsigned int         k);
    /// h += f on the first end of a spring, -f on the second; owned nodes.
    static void
    add(const Discretization<dim> &D,
        const unsigned int         k,
        const T1                  &f,
        Vector                    &h);
  };
} // namespace Palpate

#endif
