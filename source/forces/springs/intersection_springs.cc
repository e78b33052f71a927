#include <palpate/forces/deformation.h>
#include <palpate/forces/springs/intersection_springs.h>

#include <algorithm>
#include <optional>

namespace Palpate
{
  using namespace dealii;

  template <int dim>
  CellSprings<dim>::CellSprings(const std::array<Tensor<1, dim>, dim + 1> &g,
                                const Tensor<2, dim> &frame,
                                const double          shear_ratio)
  {
    const IntersectionSprings<dim> points(g, frame);
    // From the barycentre to the end s (0: +, 1: -) of axis l.
    const auto arm = [&](const unsigned int l, const unsigned int s) {
      Tensor<1, dim> x;
      for (unsigned int d = 0; d < dim; ++d)
        x[d] = (s == 0 ? 1 : -1) * points.distance[l][s] * frame[d][l];
      return x;
    };
    for (unsigned int l = 0; l < dim; ++l)
      {
        vector[l]      = arm(l, 0) - arm(l, 1);
        coefficient[l] = points.difference[l];
        length[l]      = points.rest_length[l];
        weight[l].fill(0.);
        weight[l][l] = 1;
      }
    if (shear_ratio > 0)
      for (unsigned int l = 0; l < dim; ++l)
        for (unsigned int m = l + 1; m < dim; ++m)
          for (unsigned int s = 0; s < 2; ++s)
            for (unsigned int t = 0; t < 2; ++t, ++n)
              {
                vector[n] = arm(l, s) - arm(m, t);
                length[n] = vector[n].norm();
                for (unsigned int a = 0; a < dim + 1; ++a)
                  coefficient[n][a] =
                    points.C[2 * l + s][a] - points.C[2 * m + t][a];
                weight[n].fill(0.);
                for (const unsigned int axis : {l, m})
                  weight[n][axis] = shear_ratio / 8 * length[axis] *
                                    length[axis] / (length[n] * length[n]);
              }
  }

  template <int dim>
  Field
  spring_stiffness(const Discretization<dim>         &D,
                   const std::vector<Tensor<2, dim>> &frames,
                   const Field                       &alpha)
  {
    Field k(D.n_cells(), 0., dim);
    for (unsigned int c = 0; c < D.n_cells(); ++c)
      {
        const IntersectionSprings<dim> springs(D.barycentric_gradients(c),
                                               frames[c]);
        for (unsigned int l = 0; l < dim; ++l)
          k[c * dim + l] = 4 * alpha[c] * D.volume[c] /
                           (springs.rest_length[l] * springs.rest_length[l]);
      }
    return k;
  }

  template <int dim>
  Field
  alpha_of_springs(const Discretization<dim>         &D,
                   const std::vector<Tensor<2, dim>> &frames,
                   const Field                       &stiffness)
  {
    const Field unit = spring_stiffness(D, frames, Field(D.n_cells(), 1.));
    Field       alpha(D.n_cells());
    for (unsigned int c = 0; c < D.n_cells(); ++c)
      {
        double sum = 0;
        for (unsigned int l = 0; l < dim; ++l)
          sum += std::log(stiffness[c * dim + l] / unit[c * dim + l]);
        alpha[c] = std::exp(sum / dim);
      }
    return alpha;
  }

  template <int dim>
  void
  IntersectionSpringsForce<dim>::declare_parameters(ParameterHandler &prm)
  {
    SmsRatios::declare_parameters(prm);
    prm.declare_entry("Shear springs",
                      "false",
                      Patterns::Bool(),
                      "intersection springs: also four springs between the "
                      "ends of every two axes, of Shear ratio. Axial springs "
                      "alone are often singular or buckle.");
    prm.declare_entry("Volume term",
                      "false",
                      Patterns::Bool(),
                      "intersection springs: also kappa/2 (det F - 1)^2, of "
                      "Poisson ratio or Volume ratio.");
    prm.declare_entry("Spring stiffness",
                      "from alpha",
                      Patterns::Selection("from alpha|constant|pack"),
                      "intersection springs: k = 4 alpha V / L0^2, Spring "
                      "constant, or the pack's spring_stiffness (M,dim) "
                      "[N/m]. The start where springs are identified.");
    prm.declare_entry("Spring constant",
                      "1",
                      Patterns::Double(),
                      "k of all axial springs [N/m].");
    prm.declare_entry("Rest lengths",
                      "geometric",
                      Patterns::Selection("geometric|pack"),
                      "intersection springs: the distances of the "
                      "intersection points, or the pack's rest_length "
                      "(M,dim) [m], which may prestress the body.");
    prm.declare_entry("Tangent",
                      "consistent",
                      Patterns::Selection("consistent|small strain"),
                      "intersection springs: matrix of the adjoint. "
                      "consistent gives exact gradients; small strain, as "
                      "published, is right only where no spring is stretched.");
  }

  template <int dim>
  void
  IntersectionSpringsForce<dim>::parse_parameters(Parameters &parameters)
  {
    SmsRatios ratios;
    shear_ratio = volume_ratio = 0;
    if (parameters.get_bool("Shear springs"))
      {
        ratios.parse_shear(parameters);
        shear_ratio = ratios.shear;
      }
    if (parameters.get_bool("Volume term"))
      {
        ratios.parse_volume(parameters);
        volume_ratio = ratios.volume;
        if (!(volume_ratio > 0))
          parameters.fail("Volume term",
                          "the Poisson ratio makes it zero, expected false or "
                          "a Poisson ratio above 0");
      }
    const std::string from = parameters.get("Spring stiffness");
    source                 = (from == "constant" ? Source::constant
                              : from == "pack"   ? Source::pack
                                                 : Source::from_alpha);
    if (source == Source::constant)
      {
        constant = parameters.get_double("Spring constant");
        if (!(constant > 0 && constant < 1e20))
          parameters.fail("Spring constant", "expected a positive value [N/m]");
      }
    rest_lengths = (parameters.get("Rest lengths") == "pack");
    adjoint =
      (parameters.get("Tangent") == "consistent" ? Tangent::consistent
                                                 : Tangent::small_strain);
  }

  template <int dim>
  void
  IntersectionSpringsForce<dim>::add_fields(
    const Discretization<dim>        &D,
    const std::vector<Snapshot<dim>> &snapshots,
    const CaseData<dim>              &data,
    const std::vector<std::string>   &unknown,
    Fields                           &fields) const
  {
    const auto is_unknown = [&](const std::string &name) {
      return std::find(unknown.begin(), unknown.end(), name) != unknown.end();
    };
    const bool springs = is_unknown("spring_stiffness");
    if (source != Source::from_alpha && is_unknown("stiffness") && !springs)
      throw EntryError("Model/Spring stiffness",
                       "alpha is to be identified (Parameterization/Type), "
                       "expected from alpha, or the type per spring");
    if (source != Source::from_alpha || springs || rest_lengths)
      {
        std::size_t turned = D.n_global_cells(); // the first cell that turns
        for (std::size_t s = 1; s < snapshots.size(); ++s)
          for (unsigned int c = 0; c < D.n_owned_cells(); ++c)
            if ((snapshots[s].frames[c] - snapshots[0].frames[c]).norm() >
                1e-12)
              turned = std::min<std::size_t>(turned, D.cell_id[c]);
        turned = Utilities::MPI::min(turned, D.comm);
        if (turned < D.n_global_cells())
          throw EntryError("Model/Frames",
                           "the frame of cell " + std::to_string(turned) +
                             " changes with the snapshot, expected one frame "
                             "per cell (coordinate axes or a pack's) for "
                             "values that belong to a spring");
      }
    const auto pack_array = [&](const std::string &key,
                                const std::string &wanted_by) {
      const auto it = data.arrays.find(key);
      if (it == data.arrays.end())
        throw InputError(data.source,
                         "key '" + key +
                           "' is missing, expected it because of " + wanted_by);
      return D.scatter_cells(it->second.values, dim);
    };
    if (rest_lengths && !fields.has("rest_length"))
      fields["rest_length"] = pack_array("rest_length", "Rest lengths = pack");
    if ((source == Source::from_alpha && !springs) ||
        fields.has("spring_stiffness"))
      return;
    const auto &frames = snapshots[0].frames;
    fields["spring_stiffness"] =
      source == Source::pack
        ? pack_array("spring_stiffness", "Spring stiffness = pack")
      : source == Source::constant
        ? Field(D.n_cells(), constant, dim)
        : Palpate::spring_stiffness(D, frames, fields["stiffness"]);
    if (source != Source::from_alpha)
      fields["stiffness"] =
        alpha_of_springs(D, frames, fields["spring_stiffness"]);
  }

  /**
   * Springs, stiffness and motion of one cell after another. Shared shorthands:
   * s numbers springs, l axes, a vertices; H, dH, L are displacement gradients
   * of the state and of directions.
   */
  template <int dim>
  class IntersectionSpringsForce<dim>::Cell
  {
  public:
    Cell(const IntersectionSpringsForce &force, const Context<dim> &c)
      : force(force)
      , c(c)
      , D(c.discretization)
      , stiffness(c.fields.has("spring_stiffness")
                    ? c.fields["spring_stiffness"]
                    : c.fields["stiffness"])
      , per_spring(c.fields.has("spring_stiffness"))
      , rest_length(c.fields.has("rest_length") ? &c.fields["rest_length"]
                                                : nullptr)
    {}

    void
    load(const unsigned int cell)
    {
      k = cell;
      g = D.barycentric_gradients(k);
      springs.emplace(g, c.snapshot.frames[k], force.shear_ratio);
      H     = gradient(c.state.u);
      F     = Deformation::plus_identity(H);
      axial = axial_values(stiffness, per_spring);
    }

    /// Displacement gradient of a nodal vector.
    T2
    gradient(const Vector &u)
    {
      D.gather(u, k, nodal);
      return D.displacement_gradient(nodal, k, 0);
    }

    unsigned int
    n() const
    {
      return springs->n;
    }
    double
    length_at_rest(const unsigned int s) const
    {
      return (rest_length && s < dim) ? (*rest_length)[k * dim + s]
                                      : springs->length[s];
    }
    /// A collapsed spring has an energy, but no direction.
    double
    energy(const unsigned int s) const
    {
      const double extension =
        (F * springs->vector[s]).norm() - length_at_rest(s);
      return 0.5 * extension * extension;
    }
    Spring<dim>
    spring(const unsigned int s) const
    {
      const Spring<dim> result(F * springs->vector[s], length_at_rest(s));
      if (!(result.r > 1e-10 * springs->length[s]))
        throw SolverError("spring " + std::to_string(s) + " of cell " +
                          std::to_string(D.cell_id[k]) +
                          " has collapsed to a point (length " +
                          std::to_string(result.r / springs->length[s]) +
                          " of that at rest): its direction is lost");
      return result;
    }
    /// Delta of a direction.
    T1
    delta(const T2 &dH, const unsigned int s) const
    {
      return dH * springs->vector[s];
    }

    /// Stiffness of spring s [N/m] from values per axis.
    double
    of_spring(const std::array<double, dim> &values, const unsigned int s) const
    {
      double sum = 0;
      for (unsigned int l = 0; l < dim; ++l)
        sum += springs->weight[s][l] * values[l];
      return sum;
    }
    /// kappa V = volume_ratio sum_l k_l length_l^2 / (4 dim) [N m]
    double
    of_volume(const std::array<double, dim> &values) const
    {
      double sum = 0;
      for (unsigned int l = 0; l < dim; ++l)
        sum += volume_weight(l) * values[l];
      return sum;
    }
    double
    volume_weight(const unsigned int l) const
    {
      return force.volume_ratio * springs->length[l] * springs->length[l] /
             (4 * dim);
    }

    /// k_l (or its change) of the axes from a field (or a direction).
    std::array<double, dim>
    axial_values(const Field &field, const bool is_per_spring) const
    {
      std::array<double, dim> values;
      for (unsigned int l = 0; l < dim; ++l)
        values[l] = is_per_spring ? field[k * dim + l] : by_alpha(l) * field[k];
      return values;
    }
    /// dk_l / dalpha
    double
    by_alpha(const unsigned int l) const
    {
      return 4 * D.volume[k] / (springs->length[l] * springs->length[l]);
    }

    /// Change of the axes' k_l along a direction of the fields.
    std::array<double, dim>
    axial_change(const Fields &direction) const
    {
      const std::string name = per_spring ? "spring_stiffness" : "stiffness";
      if (direction.has(name))
        return axial_values(direction[name], per_spring);
      return std::array<double, dim>{};
    }
    double
    rest_length_change(const Fields &direction, const unsigned int s) const
    {
      return rest_length && s < dim && direction.has("rest_length")
               ? direction["rest_length"][k * dim + s]
               : 0.;
    }

    /// Add derivatives by k_l and by rest lengths.
    void
    add_to(FieldDuals                    &duals,
           const std::array<double, dim> &by_k,
           const std::array<double, dim> &by_length) const
    {
      if (per_spring && duals.has("spring_stiffness"))
        for (unsigned int l = 0; l < dim; ++l)
          duals["spring_stiffness"][k * dim + l] += by_k[l];
      if (!per_spring && duals.has("stiffness"))
        for (unsigned int l = 0; l < dim; ++l)
          duals["stiffness"][k] += by_alpha(l) * by_k[l];
      if (rest_length && duals.has("rest_length"))
        for (unsigned int l = 0; l < dim; ++l)
          duals["rest_length"][k * dim + l] += by_length[l];
    }

    /// Add S g_a to the vertices, S = sum of force (x) rest vector.
    void
    scatter(const T2 &S, Vector &result)
    {
      nodal.resize(dim + 1);
      for (unsigned int a = 0; a < dim + 1; ++a)
        nodal[a] = S * g[a];
      D.scatter(nodal, k, result);
    }
    void
    add(T2 &S, const double factor, const T1 &f, const unsigned int s) const
    {
      S += factor * outer_product(f, springs->vector[s]);
    }

    using Springs = CellSprings<dim>;

    const IntersectionSpringsForce     &force;
    const Context<dim>                 &c;
    const Discretization<dim>          &D;
    const Field                        &stiffness;
    const bool                          per_spring;
    const Field *const                  rest_length;
    unsigned int                        k = 0;
    std::array<Tensor<1, dim>, dim + 1> g;
    std::optional<Springs>              springs;
    T2                                  H, F;
    std::array<double, dim>             axial; ///< k_l [N/m]
    std::vector<Tensor<1, dim>>         nodal;
  };

  template <int dim>
  double
  IntersectionSpringsForce<dim>::energy(const Context<dim> &c) const
  {
    Cell   cell(*this, c);
    double sum = 0;
    for (unsigned int k = 0; k < c.discretization.n_owned_cells(); ++k)
      {
        cell.load(k);
        for (unsigned int s = 0; s < cell.n(); ++s)
          sum += cell.of_spring(cell.axial, s) * cell.energy(s);
        if (volume_ratio > 0)
          sum += cell.of_volume(cell.axial) *
                 Deformation::VolumeEnergy<dim>(cell.H).energy();
      }
    return sum;
  }

  template <int dim>
  void
  IntersectionSpringsForce<dim>::residual(const Context<dim> &c,
                                          Vector             &h) const
  {
    Cell cell(*this, c);
    for (unsigned int k = 0; k < c.discretization.n_cells(); ++k)
      {
        cell.load(k);
        T2 S;
        for (unsigned int s = 0; s < cell.n(); ++s)
          cell.add(S, cell.of_spring(cell.axial, s), cell.spring(s).force(), s);
        if (volume_ratio > 0)
          S += cell.of_volume(cell.axial) *
               Deformation::VolumeEnergy<dim>(cell.H).stress();
        cell.scatter(S, h);
      }
  }

  template <int dim>
  void
  IntersectionSpringsForce<dim>::add_tangent(const Context<dim> &c,
                                             const Tangent       kind,
                                             TangentMatrix<dim> &K) const
  {
    Cell cell(*this, c);
    for (unsigned int k = 0; k < c.discretization.n_cells(); ++k)
      {
        cell.load(k);
        const auto                           &springs = *cell.springs;
        std::array<T2, (dim + 1) * (dim + 1)> blocks;
        // A0^T blkdiag(k_s [n n^T + ext/r (I - n n^T)]) A0
        for (unsigned int s = 0; s < cell.n(); ++s)
          {
            const T2 W =
              cell.of_spring(cell.axial, s) * cell.spring(s).tangent(kind);
            for (unsigned int a = 0; a < dim + 1; ++a)
              for (unsigned int b = 0; b <= a; ++b)
                blocks[a * (dim + 1) + b] +=
                  springs.coefficient[s][a] * springs.coefficient[s][b] * W;
          }
        if (volume_ratio > 0)
          {
            const Deformation::VolumeEnergy<dim> volume(cell.H);
            const double kappa = cell.of_volume(cell.axial);
            for (unsigned int b = 0; b < dim + 1; ++b)
              for (unsigned int j = 0; j < dim; ++j)
                {
                  T2 dH;
                  dH[j]       = cell.g[b];
                  const T2 dP = kind == Tangent::consistent
                                  ? volume.derivative(dH)
                                  : volume.positive_derivative(dH);
                  for (unsigned int a = b; a < dim + 1; ++a)
                    {
                      const T1 f = kappa * (dP * cell.g[a]);
                      for (unsigned int i = 0; i < dim; ++i)
                        blocks[a * (dim + 1) + b][i][j] += f[i];
                    }
                }
          }
        for (unsigned int a = 0; a < dim + 1; ++a)
          for (unsigned int b = 0; b <= a; ++b)
            {
              const T2 &block = blocks[a * (dim + 1) + b];
              K.add_block(k, a, b, block);
              if (a != b)
                K.add_block(k, b, a, transpose(block));
            }
      }
  }

  template <int dim>
  void
  IntersectionSpringsForce<dim>::apply_tangent(const Context<dim> &c,
                                               const Vector       &du,
                                               Vector             &dh) const
  {
    Cell cell(*this, c);
    for (unsigned int k = 0; k < c.discretization.n_cells(); ++k)
      {
        cell.load(k);
        const T2 dH = cell.gradient(du);
        T2       S;
        for (unsigned int s = 0; s < cell.n(); ++s)
          cell.add(S,
                   cell.of_spring(cell.axial, s),
                   cell.spring(s).derivative(cell.delta(dH, s)),
                   s);
        if (volume_ratio > 0)
          S += cell.of_volume(cell.axial) *
               Deformation::VolumeEnergy<dim>(cell.H).derivative(dH);
        cell.scatter(S, dh);
      }
  }

  template <int dim>
  void
  IntersectionSpringsForce<dim>::field_jvp(const Context<dim> &c,
                                           const Fields       &direction,
                                           Vector             &dh) const
  {
    Cell cell(*this, c);
    for (unsigned int k = 0; k < c.discretization.n_cells(); ++k)
      {
        cell.load(k);
        const auto dk = cell.axial_change(direction);
        T2         S;
        for (unsigned int s = 0; s < cell.n(); ++s)
          {
            const auto   spring = cell.spring(s);
            const double dL     = cell.rest_length_change(direction, s);
            cell.add(S, cell.of_spring(dk, s), spring.force(), s);
            cell.add(S, -dL * cell.of_spring(cell.axial, s), spring.n, s);
          }
        if (volume_ratio > 0)
          S += cell.of_volume(dk) *
               Deformation::VolumeEnergy<dim>(cell.H).stress();
        cell.scatter(S, dh);
      }
  }

  template <int dim>
  void
  IntersectionSpringsForce<dim>::field_vjp(const Context<dim> &c,
                                           const Vector       &lambda,
                                           FieldDuals         &g) const
  {
    Cell cell(*this, c);
    for (unsigned int k = 0; k < c.discretization.n_owned_cells(); ++k)
      {
        cell.load(k);
        const T2                L = cell.gradient(lambda);
        std::array<double, dim> by_k{}, by_length{};
        // (A0 lambda)_s . dforce_s
        for (unsigned int s = 0; s < cell.n(); ++s)
          {
            const auto spring = cell.spring(s);
            const T1   l      = cell.delta(L, s);
            for (unsigned int axis = 0; axis < dim; ++axis)
              by_k[axis] +=
                cell.springs->weight[s][axis] * (spring.force() * l);
            if (s < dim)
              by_length[s] -= cell.of_spring(cell.axial, s) * (spring.n * l);
          }
        if (volume_ratio > 0)
          {
            const double by_volume =
              scalar_product(Deformation::VolumeEnergy<dim>(cell.H).stress(),
                             L);
            for (unsigned int axis = 0; axis < dim; ++axis)
              by_k[axis] += cell.volume_weight(axis) * by_volume;
          }
        cell.add_to(g, by_k, by_length);
      }
  }

  template <int dim>
  void
  IntersectionSpringsForce<dim>::second_vjp(const Context<dim> &c,
                                            const Vector       &lambda,
                                            const Vector       &du,
                                            const Fields       &dfields,
                                            Vector             &g_state,
                                            FieldDuals         &g_fields) const
  {
    Cell cell(*this, c);
    for (unsigned int k = 0; k < c.discretization.n_cells(); ++k)
      {
        cell.load(k);
        const T2   L = cell.gradient(lambda), dH = cell.gradient(du);
        const auto dk = cell.axial_change(dfields);
        std::array<double, dim> by_k{}, by_length{};
        T2                      S;
        for (unsigned int s = 0; s < cell.n(); ++s)
          {
            const auto   spring = cell.spring(s);
            const T1     l = cell.delta(L, s), d = cell.delta(dH, s);
            const double dL   = cell.rest_length_change(dfields, s);
            const double k_s  = cell.of_spring(cell.axial, s),
                         dk_s = cell.of_spring(dk, s);
            cell.add(S, k_s, spring.second_derivative(l, d), s);
            cell.add(S, dk_s, spring.derivative(l), s);
            cell.add(S, k_s * dL, spring.derivative_by_rest_length(l), s);
            const double change =
              spring.derivative(d) * l - dL * (spring.n * l);
            for (unsigned int axis = 0; axis < dim; ++axis)
              by_k[axis] += cell.springs->weight[s][axis] * change;
            if (s < dim)
              by_length[s] += k_s * (spring.derivative_by_rest_length(d) * l) -
                              dk_s * (spring.n * l);
          }
        if (volume_ratio > 0)
          {
            const Deformation::VolumeEnergy<dim> volume(cell.H);
            S += cell.of_volume(cell.axial) * volume.second_derivative(L, dH) +
                 cell.of_volume(dk) * volume.derivative(L);
            const double change = scalar_product(volume.derivative(dH), L);
            for (unsigned int axis = 0; axis < dim; ++axis)
              by_k[axis] += cell.volume_weight(axis) * change;
          }
        cell.scatter(S, g_state);
        if (k < c.discretization.n_owned_cells())
          cell.add_to(g_fields, by_k, by_length);
      }
  }

#define INSTANTIATE(dim)                                               \
  template struct CellSprings<dim>;                                    \
  template class IntersectionSpringsForce<dim>;                        \
  template Field spring_stiffness(const Discretization<dim> &,         \
                                  const std::vector<Tensor<2, dim>> &, \
                                  const Field &);                      \
  template Field alpha_of_springs(const Discretization<dim> &,         \
                                  const std::vector<Tensor<2, dim>> &, \
                                  const Field &);                      \
  namespace                                                            \
  {                                                                    \
    const Registry<Force<dim>>::Entry<IntersectionSpringsForce<dim>>   \
      intersection_springs_##dim(                                      \
        "intersection springs",                                        \
        "nonlinear springs between the intersection points, "          \
        "optional shear springs and volume term");                     \
  }

  INSTANTIATE(2)
  INSTANTIATE(3)
#undef INSTANTIATE
} // namespace Palpate
