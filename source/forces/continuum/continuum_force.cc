#include <deal.II/base/symmetric_tensor.h>

#include <palpate/forces/continuum/continuum_force.h>
#include <palpate/forces/continuum/materials.h>

#include <algorithm>

namespace Palpate
{
  using namespace dealii;

  template <int dim, template <typename> class Volume>
  template <typename Number>
  const typename NeoHookean<dim, Volume>::template Point<Number>::Spectrum &
  NeoHookean<dim, Volume>::Point<Number>::spectrum(const Lame<> &p) const
  {
    if (known && known->p.lambda == p.lambda && known->p.mu == p.mu)
      return *known;
    known.emplace();
    Spectrum &s = *known;
    s.p         = p;
    // F^T F = V diag(sigma^2) V^T.
    const T2   F = Deformation::plus_identity(H);
    const auto C = eigenvectors(symmetrize(transpose(F) * F),
                                SymmetricTensorEigenvectorMethod::jacobi);
    for (unsigned int i = 0; i < dim; ++i)
      {
        s.sigma[i]             = std::sqrt(std::max(1e-300, C[i].first));
        const Tensor<1, dim> u = F * C[i].second / s.sigma[i];
        for (unsigned int d = 0; d < dim; ++d)
          {
            s.V[d][i] = C[i].second[d];
            s.U[d][i] = u[d];
          }
      }
    const double            c = p.lambda * W.first - p.mu;
    SymmetricTensor<2, dim> A;
    for (unsigned int i = 0; i < dim; ++i)
      for (unsigned int j = 0; j <= i; ++j)
        A[i][j] = p.lambda * W.second / (s.sigma[i] * s.sigma[j]) +
                  (i == j ? p.mu - c / (s.sigma[i] * s.sigma[i]) : 0.);
    s.diagonal = eigenvectors(A, SymmetricTensorEigenvectorMethod::jacobi);
    return s;
  }

  template <int dim, template <typename> class Volume>
  template <typename Number>
  Tensor<2, dim, Number>
  NeoHookean<dim, Volume>::Point<Number>::positive_derivative(
    const Tensor2      &dH,
    const Lame<Number> &p) const
  {
    static_assert(std::is_same_v<Number, double>);
    const Spectrum &s = spectrum(p);
    const T2        D = transpose(s.U) * dH * s.V;
    const double    c = p.lambda * W.first - p.mu;
    T2              P;
    for (const auto &[value, e] : s.diagonal)
      {
        double along = 0;
        for (unsigned int i = 0; i < dim; ++i)
          along += e[i] * D[i][i];
        for (unsigned int i = 0; i < dim; ++i)
          P[i][i] += std::max(0., value) * along * e[i];
      }
    for (unsigned int i = 0; i < dim; ++i)
      for (unsigned int j = 0; j < i; ++j)
        {
          const double r = c / (s.sigma[i] * s.sigma[j]);
          const double even =
            0.5 * std::max(0., p.mu - r) * (D[i][j] + D[j][i]);
          const double odd = 0.5 * std::max(0., p.mu + r) * (D[i][j] - D[j][i]);
          P[i][j] += even + odd;
          P[j][i] += even - odd;
        }
    return s.U * P * transpose(s.V);
  }

  template <int dim, typename Material>
  void
  ContinuumForce<dim, Material>::declare_parameters(ParameterHandler &prm)
  {
    declare_poisson_ratio(prm);
    prm.declare_entry("Poisson ratios",
                      "",
                      Patterns::Anything(),
                      "Continuum materials: nu by label, \"1: 0.3; 2: 0.45\", "
                      "or pack (its poisson_ratio); empty: Poisson ratio "
                      "everywhere.");
  }

  template <int dim, typename Material>
  void
  ContinuumForce<dim, Material>::parse_parameters(Parameters &parameters)
  {
    const std::string expected = "expected a value between -1 and 0.5";
    const auto        check = [&](const std::string &entry, const double nu) {
      if (!(nu > -1 && nu < 0.5))
        parameters.fail(entry, expected);
    };
    const std::string list = parameters.get("Poisson ratios");
    from_pack              = (list == "pack");
    if (list.empty())
      {
        ratio = parameters.get_double("Poisson ratio");
        check("Poisson ratio", ratio);
      }
    else if (!from_pack)
      for (const auto &[label, values] :
           parameters.get_map("Poisson ratios", 1))
        {
          check("Poisson ratios", values[0]);
          ratio_of_label[label] = values[0];
        }
  }

  template <int dim, typename Material>
  void
  ContinuumForce<dim, Material>::check(const Discretization<dim> &D,
                                       const Parameters &parameters) const
  {
    if (!ratio_of_label.empty())
      for (const int label : D.labels)
        if (ratio_of_label.count(label) == 0)
          parameters.fail("Poisson ratios",
                          "expected a value for label " +
                            std::to_string(label) + " of cell " +
                            std::to_string(D.first_cell_of(label)));
  }

  template <int dim, typename Material>
  void
  ContinuumForce<dim, Material>::add_fields(const Discretization<dim> &D,
                                            const std::vector<Snapshot<dim>> &,
                                            const CaseData<dim> &data,
                                            const std::vector<std::string> &,
                                            Fields &fields) const
  {
    Field &nu = fields["poisson_ratio"];
    if (from_pack)
      {
        const auto it = data.arrays.find("poisson_ratio");
        if (it == data.arrays.end())
          throw InputError(data.source,
                           "key 'poisson_ratio' is missing, expected it "
                           "because of Model/Poisson ratios = pack");
        nu = D.scatter_cells(it->second.values);
        return;
      }
    nu = Field(D.n_cells(), ratio);
    if (!ratio_of_label.empty())
      for (unsigned int k = 0; k < D.n_cells(); ++k)
        nu[k] = ratio_of_label.at(D.label(k));
  }

  namespace
  {
    template <int dim>
    using LinearForce = ContinuumForce<dim, LinearElastic<dim>>;
    template <int dim>
    using NeoHookeanForce =
      ContinuumForce<dim, NeoHookean<dim, LogarithmicVolume>>;
    template <int dim>
    using StableForce = ContinuumForce<dim, NeoHookean<dim, QuadraticVolume>>;

    const char *linear_description =
      "linear elasticity by Young's modulus and Poisson "
      "ratio (2D: plane strain)";
    const char *neo_hookean_description =
      "mu/2 (|F|^2 - dim) - mu log J + lambda/2 (log J)^2";
    const char *stable_description =
      "mu/2 (|F|^2 - dim) - mu log J + lambda/2 (J - 1)^2";

    const Registry<Force<2>>::Entry<LinearForce<2>>
      linear_elastic_2d("linear elastic", linear_description);
    const Registry<Force<3>>::Entry<LinearForce<3>>
      linear_elastic_3d("linear elastic", linear_description);
    const Registry<Force<2>>::Entry<NeoHookeanForce<2>>
      neo_hookean_2d("neo-hookean", neo_hookean_description);
    const Registry<Force<3>>::Entry<NeoHookeanForce<3>>
      neo_hookean_3d("neo-hookean", neo_hookean_description);
    const Registry<Force<2>>::Entry<StableForce<2>>
      stable_neo_hookean_2d("stable neo-hookean", stable_description);
    const Registry<Force<3>>::Entry<StableForce<3>>
      stable_neo_hookean_3d("stable neo-hookean", stable_description);
  } // namespace
} // namespace Palpate
