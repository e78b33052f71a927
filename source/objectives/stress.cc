#include <palpate/core/errors.h>
#include <palpate/objectives/objective.h>

#include <cmath>

namespace Palpate
{
  using namespace dealii;

  /**
   * Functions of Cauchy's stress sigma = P F^T / det F (of P, for materials of
   * small strain): (integral of phi(|sigma|))^(1/root) over the undeformed body
   * (doc/theory.md 12), |.| Frobenius' norm; in 2D of the stresses in the
   * plane.
   */
  template <int dim>
  class Stress : public Objective<dim>
  {
  public:
    using T1 = Tensor<1, dim>;
    using T2 = Tensor<2, dim>;

    void
    use_material(const StressLaw<dim> *material) override
    {
      law = material;
      if (law == nullptr)
        throw EntryError("Objective/" + term_name(),
                         "expected a Model/Type with a stress, such as a "
                         "continuum material");
    }

    double
    value(const Context<dim> &c) const override
    {
      return std::pow(integral(c), 1 / root());
    }

    void
    state_gradient(const Context<dim> &c,
                   const double        factor,
                   Vector             &g) const override
    {
      add_state(c, factor * outer(integral(c)), g);
    }

    void
    field_gradient(const Context<dim> &c,
                   const double        factor,
                   FieldDuals         &g) const override
    {
      add_fields(c, factor * outer(integral(c)), g);
    }

    void
    hessian(const Context<dim> &c,
            const double        factor,
            const Vector       &du,
            const Fields       &dfields,
            const bool          gauss_newton,
            Vector             &g_state,
            FieldDuals         &g_fields) const override
    {
      const auto     &D = c.discretization;
      const double    I = integral(c), by_I = factor * outer(I);
      double          dI = 0;
      std::vector<T1> u, d, out(D.nodes_per_cell);
      for (unsigned int k = 0; k < D.n_cells(); ++k)
        {
          D.gather(c.state.u, k, u);
          D.gather(du, k, d);
          std::fill(out.begin(), out.end(), T1());
          for (unsigned int q = 0; q < D.n_q; ++q)
            {
              const T2 H  = D.displacement_gradient(u, k, q),
                       dH = D.displacement_gradient(d, k, q);
              const Point p(*this, c, k, H);
              const T2    by_H = law->stress_by_gradient(c, k, H, dH),
                       by_q    = law->stress_by_fields(c, k, H, dfields);
              const Change change(p, by_H + by_q, dH, gauss_newton);
              T2 G = law->stress_by_gradient(c, k, H, change.W) + change.B;
              if (!gauss_newton)
                G += law->second_by_gradient(c, k, H, p.W, dH, dfields);
              const T2 weighted = by_I * D.JxW(k, q) * G;
              for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
                out[a] += weighted * D.gradients(k, q)[a];
              if (k >= D.n_owned_cells())
                continue;
              dI += D.JxW(k, q) * scalar_product(p.N, change.sigma);
              const double f = by_I * D.JxW(k, q);
              law->add_stress_vjp(c, k, H, f * change.W, g_fields);
              if (!gauss_newton)
                law->add_second_by_fields(
                  c, k, H, f * p.W, dH, dfields, g_fields);
            }
          D.scatter(out, k, g_state);
        }
      const double more = factor * outer_slope(I) * D.sum(dI);
      if (more != 0)
        {
          add_state(c, more, g_state);
          add_fields(c, more, g_fields);
        }
    }

    bool
    depends_on_state() const override
    {
      return true;
    }
    std::vector<std::string>
    field_names() const override
    {
      return law != nullptr ? law->stress_fields() : std::vector<std::string>();
    }

  protected:
    virtual std::string
    term_name() const = 0;
    virtual double
    root() const
    {
      return 1;
    }
    /// phi(s) and, with alpha = phi'/s, alpha and alpha'/s.
    struct Phi
    {
      double value, alpha, bend;
    };
    virtual Phi
    phi(const double s) const = 0;

  private:
    /// Stress at a point, N = d phi/d sigma, and the derivatives of phi by P
    /// (W) and, at fixed P, by H (B).
    struct Point
    {
      Point(const Stress<dim>  &term,
            const Context<dim> &c,
            const unsigned int  k,
            const T2           &H)
        : P(term.law->stress(c, k, H))
        , F(H)
        , small(term.law->is_for_small_strain())
      {
        for (unsigned int d = 0; d < dim; ++d)
          F[d][d] += 1;
        J       = small ? 1 : determinant(F);
        inverse = small ? T2() : invert(F);
        sigma   = small ? P : P * transpose(F) / J;
        phi     = term.phi(sigma.norm());
        N       = phi.alpha * sigma;
        W       = small ? N : N * F / J;
        if (!small)
          B = transpose(N) * P / J -
              scalar_product(N, sigma) * transpose(inverse);
      }
      T2     P, F;
      bool   small;
      double J;
      T2     inverse, sigma, N, W, B;
      Phi    phi;
    };

    /// What changes of P and H change; positive: by the curvature of phi alone.
    struct Change
    {
      Change(const Point &p, const T2 &dP, const T2 &dH, const bool positive)
      {
        const double t = p.small ? 0. : trace(p.inverse * dH);
        sigma          = p.small ? dP
                                 : (dP * transpose(p.F) + p.P * transpose(dH)) / p.J -
                            t * p.sigma;
        const T2 dN    = p.phi.alpha * sigma +
                      p.phi.bend * scalar_product(p.sigma, sigma) * p.sigma;
        if (p.small)
          {
            W = dN;
            return;
          }
        const T2 Ft = transpose(p.inverse);
        W           = dN * p.F / p.J;
        B = transpose(dN) * p.P / p.J - scalar_product(dN, p.sigma) * Ft;
        if (positive)
          return;
        W += p.N * dH / p.J - t * p.W;
        B += transpose(p.N) * dP / p.J - t / p.J * (transpose(p.N) * p.P) -
             scalar_product(p.N, sigma) * Ft +
             scalar_product(p.N, p.sigma) * (Ft * transpose(dH) * Ft);
      }
      T2 sigma, W, B;
    };

    double
    integral(const Context<dim> &c) const
    {
      const auto     &D   = c.discretization;
      double          sum = 0;
      std::vector<T1> u;
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          D.gather(c.state.u, k, u);
          for (unsigned int q = 0; q < D.n_q; ++q)
            sum +=
              D.JxW(k, q) *
              Point(*this, c, k, D.displacement_gradient(u, k, q)).phi.value;
        }
      return D.sum(sum);
    }
    /// Derivative of I^(1/root), 0 where there is no stress; and its slope.
    double
    outer(const double I) const
    {
      const double r = 1 / root();
      return I > 0 ? r * std::pow(I, r - 1) : 0.;
    }
    double
    outer_slope(const double I) const
    {
      const double r = 1 / root();
      return I > 0 && r != 1 ? r * (r - 1) * std::pow(I, r - 2) : 0.;
    }

    void
    add_state(const Context<dim> &c, const double factor, Vector &g) const
    {
      const auto     &D = c.discretization;
      std::vector<T1> u, out(D.nodes_per_cell);
      for (unsigned int k = 0; k < D.n_cells(); ++k)
        {
          D.gather(c.state.u, k, u);
          std::fill(out.begin(), out.end(), T1());
          for (unsigned int q = 0; q < D.n_q; ++q)
            {
              const T2    H = D.displacement_gradient(u, k, q);
              const Point p(*this, c, k, H);
              const T2    G = factor * D.JxW(k, q) *
                           (law->stress_by_gradient(c, k, H, p.W) + p.B);
              for (unsigned int a = 0; a < D.nodes_per_cell; ++a)
                out[a] += G * D.gradients(k, q)[a];
            }
          D.scatter(out, k, g);
        }
    }

    void
    add_fields(const Context<dim> &c, const double factor, FieldDuals &g) const
    {
      const auto     &D = c.discretization;
      std::vector<T1> u;
      for (unsigned int k = 0; k < D.n_owned_cells(); ++k)
        {
          D.gather(c.state.u, k, u);
          for (unsigned int q = 0; q < D.n_q; ++q)
            {
              const T2 H = D.displacement_gradient(u, k, q);
              law->add_stress_vjp(
                c, k, H, factor * D.JxW(k, q) * Point(*this, c, k, H).W, g);
            }
        }
    }

    const StressLaw<dim> *law = nullptr;
  };

  namespace
  {
    /// (integral of |sigma|^p)^(1/p): near the largest stress for large p.
    template <int dim>
    class StressNorm : public Stress<dim>
    {
    public:
      static void
      declare_parameters(ParameterHandler &prm)
      {
        prm.declare_entry(
          "Exponent",
          "2",
          Patterns::Double(),
          "p of (integral of |sigma|^p)^(1/p), at least 2; the unit is "
          "Pa m^(dim/p). 2D: stresses in the plane.");
      }
      void
      parse_parameters(Parameters &parameters) override
      {
        p = parameters.get_double("Exponent");
        if (!(p >= 2 && p <= 100))
          parameters.fail("Exponent", "expected a value between 2 and 100");
      }
      std::string
      column_name() const override
      {
        return "stress_norm";
      }

    protected:
      std::string
      term_name() const override
      {
        return "Stress norm";
      }
      double
      root() const override
      {
        return p;
      }
      typename Stress<dim>::Phi
      phi(const double s) const override
      {
        return {std::pow(s, p),
                p * std::pow(s, p - 2),
                s > 0 ? p * (p - 2) * std::pow(s, p - 4) : 0.};
      }

    private:
      double p = 2;
    };

    /// Integral of max(|sigma| - bound, 0)^2.
    template <int dim>
    class StressBound : public Stress<dim>
    {
    public:
      static void
      declare_parameters(ParameterHandler &prm)
      {
        prm.declare_entry("Bound",
                          "1000",
                          Patterns::Double(),
                          "Stress [Pa] above which it counts.");
      }
      void
      parse_parameters(Parameters &parameters) override
      {
        bound = parameters.get_double("Bound");
        if (!(bound > 0))
          parameters.fail("Bound", "expected a positive stress");
      }
      std::string
      column_name() const override
      {
        return "stress_bound";
      }

    protected:
      std::string
      term_name() const override
      {
        return "Stress bound";
      }
      typename Stress<dim>::Phi
      phi(const double s) const override
      {
        if (!(s > bound))
          return {0, 0, 0};
        return {(s - bound) * (s - bound),
                2 * (1 - bound / s),
                2 * bound / (s * s * s)};
      }

    private:
      double bound = 1000;
    };

    const char *norm_description = "p-norm of Cauchy's stress";
    const char *bound_description =
      "squared excess of Cauchy's stress over a bound";
    const Registry<Objective<2>>::Entry<StressNorm<2>>
      stress_norm_2d("Stress norm", norm_description);
    const Registry<Objective<3>>::Entry<StressNorm<3>>
      stress_norm_3d("Stress norm", norm_description);
    const Registry<Objective<2>>::Entry<StressBound<2>>
      stress_bound_2d("Stress bound", bound_description);
    const Registry<Objective<3>>::Entry<StressBound<3>>
      stress_bound_3d("Stress bound", bound_description);
  } // namespace
} // namespace Palpate
