#include <palpate/objectives/log_field_objective.h>

namespace Palpate
{
  using namespace dealii;

  /**
   * Log total variation of the stiffness (doc/theory.md 4), two ways:
   * - face jump: sum_f |f| sqrt((log alpha_i - log alpha_j)^2 + eps^2), the
   *   natural form for piecewise constants. Unit m^(dim-1).
   * - vertex gradient: alpha averaged to vertices by volume, then
   *   sum_k V_k sqrt(|grad alpha|^2 / (mean alpha + eps_div/2)^2 + eps^2), as
   *   published; it cannot see a checkerboard. Unit m^dim.
   */
  template <int dim>
  class StiffnessLogTotalVariation : public LogFieldObjective<dim>
  {
  public:
    static void
    declare_parameters(ParameterHandler &prm)
    {
      prm.declare_entry("Epsilon",
                        "1e-2",
                        Patterns::Double(0),
                        "Smoothing: of the jump of log alpha (no unit), or of "
                        "the gradient of log alpha [1/m]; > 0.");
      prm.declare_entry("Discretisation",
                        "face jump",
                        Patterns::Selection("face jump|vertex gradient"),
                        "Jumps over faces, or gradient of vertex averages.");
      prm.declare_entry("Division epsilon",
                        "1e-12",
                        Patterns::Double(0),
                        "Keeps the denominator of the vertex gradient from "
                        "zero [Pa].");
    }

    void
    parse_parameters(Parameters &parameters) override
    {
      epsilon = parameters.get_double("Epsilon");
      if (!(epsilon > 0))
        parameters.fail("Epsilon", "expected a positive value");
      by_vertex = (parameters.get("Discretisation") == "vertex gradient");
      if (by_vertex)
        division = parameters.get_double("Division epsilon");
    }

    std::string
    column_name() const override
    {
      return "stiffness_log_tv";
    }

  protected:
    double
    log_value(const Discretization<dim> &D, const Field &x) const override
    {
      double sum = 0;
      if (by_vertex)
        {
          const Nodal alpha = average(D, exponential(x));
          for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
            sum += D.volume[k] * Cell(*this, D, alpha, k).root;
        }
      else
        for (const auto &face : D.interior_faces)
          if (face.cells[0] < D.n_owned_cells())
            sum += face.area * jump_root(x[face.cells[0]] - x[face.cells[1]]);
      return D.sum(sum);
    }

    void
    log_gradient(const Discretization<dim> &D,
                 const Field               &x,
                 Field                     &g) const override
    {
      if (by_vertex)
        {
          const Field alpha = exponential(x);
          const Nodal nodal = average(D, alpha);
          Nodal       g_nodal(D.node_partitioner());
          for (unsigned int k = 0; k < D.n_cells(); ++k)
            {
              const Cell cell(*this, D, nodal, k);
              for (unsigned int a = 0; a < dim + 1; ++a)
                g_nodal.local_element(node(D, k, a)) +=
                  D.volume[k] * cell.gradient[a];
            }
          transposed_average(D, g_nodal, g);
          for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
            g[k] *= alpha[k];
        }
      else
        for (const auto &face : D.interior_faces)
          {
            const double d    = x[face.cells[0]] - x[face.cells[1]];
            const double flux = face.area * d / jump_root(d);
            g[face.cells[0]] += flux;
            g[face.cells[1]] -= flux;
          }
    }

    void
    log_hessian(const Discretization<dim> &D,
                const Field               &x,
                const Field               &dx,
                const bool                 gauss_newton,
                Field                     &h) const override
    {
      if (!by_vertex)
        {
          for (const auto &face : D.interior_faces)
            {
              const double d  = x[face.cells[0]] - x[face.cells[1]];
              const double dd = dx[face.cells[0]] - dx[face.cells[1]];
              const double s  = jump_root(d);
              const double flux =
                face.area * dd *
                (gauss_newton ? 1. / s : epsilon * epsilon / (s * s * s));
              h[face.cells[0]] += flux;
              h[face.cells[1]] -= flux;
            }
          return;
        }
      const Field alpha  = exponential(x);
      Field       dalpha = alpha;
      for (std::size_t k = 0; k < alpha.values.size(); ++k)
        dalpha[k] *= dx[k];
      const Nodal nodal = average(D, alpha), dnodal = average(D, dalpha);
      Nodal       g_nodal(D.node_partitioner()), h_nodal(D.node_partitioner());
      for (unsigned int k = 0; k < D.n_cells(); ++k)
        {
          const Cell                  cell(*this, D, nodal, k);
          std::array<double, dim + 1> d, hd;
          for (unsigned int a = 0; a < dim + 1; ++a)
            d[a] = dnodal.local_element(node(D, k, a));
          cell.hessian(*this, d, gauss_newton, hd);
          for (unsigned int a = 0; a < dim + 1; ++a)
            {
              g_nodal.local_element(node(D, k, a)) +=
                D.volume[k] * cell.gradient[a];
              h_nodal.local_element(node(D, k, a)) += D.volume[k] * hd[a];
            }
        }
      Field g(x.values.size());
      transposed_average(D, h_nodal, h);
      transposed_average(D, g_nodal, g);
      // From alpha to x = log alpha.
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        h[k] = alpha[k] * (h[k] + (gauss_newton ? 0. : dx[k] * g[k]));
    }

    std::function<void(const Field &dx, Field &hx)>
    positive_log_hessian(const Discretization<dim> &D,
                         const Field               &x) const override
    {
      if (by_vertex)
        return LogFieldObjective<dim>::positive_log_hessian(D, x);
      std::vector<double> weights;
      for (const auto &face : D.interior_faces)
        weights.push_back(face.area /
                          jump_root(x[face.cells[0]] - x[face.cells[1]]));
      return [&D, weights](const Field &dx, Field &hx) {
        for (std::size_t i = 0; i < weights.size(); ++i)
          {
            const auto  &cells = D.interior_faces[i].cells;
            const double flux  = weights[i] * (dx[cells[0]] - dx[cells[1]]);
            hx[cells[0]] += flux;
            hx[cells[1]] -= flux;
          }
      };
    }

  private:
    using Nodal = LinearAlgebra::distributed::Vector<double>;

    double
    jump_root(const double d) const
    {
      return std::sqrt(d * d + epsilon * epsilon);
    }

    static unsigned int
    node(const Discretization<dim> &D, const unsigned int k, const unsigned a)
    {
      return D.cell_nodes[k * D.nodes_per_cell + a];
    }

    static Field
    exponential(const Field &x)
    {
      Field alpha = x;
      for (double &v : alpha.values)
        v = std::exp(v);
      return alpha;
    }

    /// Volume around each vertex, ghosts included.
    static Nodal
    vertex_volumes(const Discretization<dim> &D)
    {
      Nodal v(D.node_partitioner());
      for (unsigned int k = 0; k < D.n_cells(); ++k)
        for (unsigned int a = 0; a < dim + 1; ++a)
          v.local_element(node(D, k, a)) += D.volume[k];
      v.update_ghost_values();
      return v;
    }

    static Nodal
    average(const Discretization<dim> &D, const Field &alpha)
    {
      const Nodal volume = vertex_volumes(D);
      Nodal       v(D.node_partitioner());
      for (unsigned int k = 0; k < D.n_cells(); ++k)
        for (unsigned int a = 0; a < dim + 1; ++a)
          v.local_element(node(D, k, a)) += D.volume[k] * alpha[k];
      for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
        if (volume.local_element(n) > 0) // edge nodes have none
          v.local_element(n) /= volume.local_element(n);
      v.update_ghost_values();
      return v;
    }

    /// Owned cells: g_k += sum_v V_k / V_v g_v
    static void
    transposed_average(const Discretization<dim> &D, Nodal &g_nodal, Field &g)
    {
      const Nodal volume = vertex_volumes(D);
      for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
        if (volume.local_element(n) > 0)
          g_nodal.local_element(n) /= volume.local_element(n);
      g_nodal.update_ghost_values();
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        for (unsigned int a = 0; a < dim + 1; ++a)
          g[k] += D.volume[k] * g_nodal.local_element(node(D, k, a));
    }

    /// s = sqrt(|G|^2 / m^2 + eps^2) of one cell with G = sum_a alpha_a g_a,
    /// m = mean + eps_div / 2, and its derivatives by the vertex values.
    struct Cell
    {
      Cell(const StiffnessLogTotalVariation &term,
           const Discretization<dim>        &D,
           const Nodal                      &alpha,
           const unsigned int                k)
        : g(D.barycentric_gradients(k))
      {
        double mean = 0;
        for (unsigned int a = 0; a < dim + 1; ++a)
          {
            const double v = alpha.local_element(node(D, k, a));
            G += v * g[a];
            mean += v / (dim + 1.);
          }
        m = mean + 0.5 * term.division;
        root =
          std::sqrt(G.norm_square() / (m * m) + term.epsilon * term.epsilon);
        for (unsigned int a = 0; a < dim + 1; ++a)
          gradient[a] = square_gradient(a) / (2 * root);
      }

      /// d(|G|^2/m^2)/d alpha_a
      double
      square_gradient(const unsigned int a) const
      {
        return 2 * (G * g[a]) / (m * m) -
               2 * G.norm_square() / (m * m * m) / (dim + 1.);
      }

      void
      hessian(const StiffnessLogTotalVariation &,
              const std::array<double, dim + 1> &d,
              const bool                         gauss_newton,
              std::array<double, dim + 1>       &result) const
      {
        Tensor<1, dim> dG;
        double         dm = 0, dsquare = 0;
        for (unsigned int a = 0; a < dim + 1; ++a)
          {
            dG += d[a] * g[a];
            dm += d[a] / (dim + 1.);
            dsquare += square_gradient(a) * d[a];
          }
        if (gauss_newton) // lagged diffusivity: weight and mean frozen
          {
            for (unsigned int a = 0; a < dim + 1; ++a)
              result[a] = (dG * g[a]) / (m * m * root);
            return;
          }
        const double G2 = G.norm_square();
        for (unsigned int a = 0; a < dim + 1; ++a)
          {
            const double second = 2 * (dG * g[a]) / (m * m) -
                                  4 * (G * g[a]) / (m * m * m) * dm -
                                  4 * (G * dG) / (m * m * m) / (dim + 1.) +
                                  6 * G2 / (m * m * m * m) * dm / (dim + 1.);
            result[a] = second / (2 * root) -
                        square_gradient(a) * dsquare / (4 * root * root * root);
          }
      }

      std::array<Tensor<1, dim>, dim + 1> g;
      Tensor<1, dim>                      G;
      double                              m, root;
      std::array<double, dim + 1>         gradient;
    };

    double epsilon   = 1e-2;
    double division  = 1e-12;
    bool   by_vertex = false;
  };

  namespace
  {
    const char *stiffness_log_total_variation_description =
      "total variation of the logarithm of stiffness";
    const Registry<Objective<2>>::Entry<StiffnessLogTotalVariation<2>>
      stiffness_log_total_variation_2d(
        "Stiffness log total variation",
        stiffness_log_total_variation_description);
    const Registry<Objective<3>>::Entry<StiffnessLogTotalVariation<3>>
      stiffness_log_total_variation_3d(
        "Stiffness log total variation",
        stiffness_log_total_variation_description);
  } // namespace
} // namespace Palpate
