#include <deal.II/dofs/dof_tools.h>
#include <deal.II/lac/solver_cg.h>
#include <deal.II/lac/trilinos_precondition.h>

#include <palpate/core/errors.h>
#include <palpate/equilibrium/linear_solver.h>

#include <Amesos.h>
#include <Epetra_LinearProblem.h>
#include <Epetra_MultiVector.h>
#include <Teuchos_ParameterList.hpp>

#include <sstream>

namespace Palpate
{
  using namespace dealii;

  void
  SolverParameters::declare_parameters(ParameterHandler &prm)
  {
    prm.declare_entry("Type",
                      "cg amg",
                      Patterns::Selection("cg amg|direct"),
                      "Conjugate gradients with algebraic multigrid on the "
                      "rigid-body modes, or a sparse direct factorization.");
    prm.declare_entry("Relative tolerance",
                      "1e-8",
                      Patterns::Double(),
                      "True residual |b - K u| / |b| of every solve.");
    prm.declare_entry("Maximum iterations",
                      "1000",
                      Patterns::Integer(1),
                      "Of conjugate gradients, in one solve.");
    prm.declare_entry("Tolerance follows optimizer",
                      "false",
                      Patterns::Bool(),
                      "identify: start with a tolerance of 1e-5 and tighten it "
                      "to Relative tolerance as the gradient falls.");
  }

  void
  SolverParameters::parse_parameters(Parameters &p)
  {
    direct             = (p.get("Type") == "direct");
    relative_tolerance = p.get_double("Relative tolerance");
    if (!(relative_tolerance > 0 && relative_tolerance < 1))
      p.fail("Relative tolerance", "expected a value between 0 and 1");
    if (!direct)
      maximum_iterations = p.get_integer("Maximum iterations");
  }

  template <int dim>
  struct LinearSolver<dim>::Implementation
  {
    TrilinosWrappers::PreconditionAMG   amg;
    std::unique_ptr<Epetra_MultiVector> modes;

    std::string                        direct_name;
    Epetra_LinearProblem               problem;
    std::unique_ptr<Amesos_BaseSolver> direct;
  };

  template <int dim>
  LinearSolver<dim>::LinearSolver(const SolverParameters &parameters)
    : implementation(std::make_unique<Implementation>())
    , parameters(parameters)
  {
    Amesos factory;
    for (const char *name : {"Amesos_Mumps", "Amesos_Klu"})
      if (implementation->direct_name.empty() && factory.Query(name))
        implementation->direct_name = name;
  }

  template <int dim>
  LinearSolver<dim>::~LinearSolver() = default;

  template <int dim>
  std::string
  LinearSolver<dim>::description() const
  {
    return parameters.direct
             ? "sparse direct (" + implementation->direct_name.substr(7) + ")"
             : "conjugate gradients with AMG on rigid-body modes";
  }

  namespace
  {
    const char *remedy =
      "the matrix is singular or not positive definite; check that enough "
      "vertices are constrained and that the stiffness is positive, or use "
      "Linear solver/Type = direct";

    /// The rigid-body modes of the nodes as columns.
    template <int dim>
    void
    rigid_body_modes(const Discretization<dim> &D, Epetra_MultiVector &modes)
    {
      Point<dim> centre;
      for (const auto &v : D.serial_mesh.vertices)
        centre += v / static_cast<double>(D.serial_mesh.vertices.size());
      modes.PutScalar(0.);
      for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
        {
          const Tensor<1, dim> x = D.node_position(n) - centre;
          for (unsigned int d = 0; d < dim; ++d)
            modes[d][n * dim + d] = 1;
          if constexpr (dim == 2)
            {
              modes[2][n * 2]     = -x[1];
              modes[2][n * 2 + 1] = x[0];
            }
          else
            for (unsigned int d = 0; d < 3; ++d)
              {
                const unsigned int i = (d + 1) % 3, j = (d + 2) % 3;
                modes[3 + d][n * 3 + i] = -x[j];
                modes[3 + d][n * 3 + j] = x[i];
              }
        }
    }
  } // namespace

  template <int dim>
  void
  LinearSolver<dim>::set_up(const TangentMatrix<dim> &matrix)
  {
    K             = &matrix;
    auto       &I = *implementation;
    const auto &A = matrix.matrix();
    if (parameters.direct)
      {
        auto &epetra = const_cast<Epetra_CrsMatrix &>(A.trilinos_matrix());
        I.direct.reset();
        I.problem.SetOperator(&epetra);
        I.direct.reset(Amesos().Create(I.direct_name, I.problem));
        Teuchos::ParameterList list;
        list.set("PrintStatus", false);
        I.direct->SetParameters(list);
        int ierr = I.direct->SymbolicFactorization();
        if (ierr == 0)
          ierr = I.direct->NumericFactorization();
        if (ierr != 0)
          throw SolverError("the sparse factorization failed (code " +
                            std::to_string(ierr) + "): " + remedy);
        return;
      }
    const auto                                       &D = matrix.discretization;
    TrilinosWrappers::PreconditionAMG::AdditionalData data;
    data.elliptic              = true;
    data.higher_order_elements = (D.degree > 1);
    data.smoother_sweeps       = 2;
    data.smoother_type         = "Chebyshev";
    Teuchos::ParameterList              list;
    std::unique_ptr<Epetra_MultiVector> constants;
    data.set_parameters(list, constants, A);
    if (!I.modes)
      {
        I.modes = std::make_unique<Epetra_MultiVector>(
          A.trilinos_matrix().OperatorDomainMap(), dim * (dim + 1) / 2);
        rigid_body_modes(D, *I.modes);
      }
    list.set("null space: type", "pre-computed");
    list.set("null space: dimension", dim * (dim + 1) / 2);
    list.set("null space: vectors", I.modes->Values());
    list.set("PDE equations", dim);
    I.amg.initialize(A, list);
  }

  template <int dim>
  unsigned int
  LinearSolver<dim>::solve(Vector       &x,
                           const Vector &b,
                           const double  tolerance,
                           const bool    transposed)
  {
    auto       &I = *implementation;
    const auto &A = K->matrix();
    x.zero_out_ghost_values();

    Vector     r = b, dx = b;
    const auto residual = [&]() {
      if (transposed)
        A.Tvmult(r, x);
      else
        A.vmult(r, x);
      r.sadd(-1., 1., b);
      return r.l2_norm();
    };
    double norm = residual();
    if (!std::isfinite(norm))
      throw SolverError("a right-hand side is not finite");

    unsigned int iterations = 0;
    for (unsigned int attempt = 0; norm > tolerance; ++attempt)
      {
        const double before = norm;
        dx                  = 0;
        if (parameters.direct)
          {
            const auto   &map = A.trilinos_matrix().OperatorDomainMap();
            Epetra_Vector lhs(View, map, dx.begin()), rhs(View, map, r.begin());
            I.problem.SetLHS(&lhs);
            I.problem.SetRHS(&rhs);
            I.direct->SetUseTranspose(transposed);
            const int ierr = I.direct->Solve();
            if (ierr != 0)
              throw SolverError("the sparse direct solve failed (code " +
                                std::to_string(ierr) + "): " + remedy);
          }
        else
          {
            SolverControl    control(parameters.maximum_iterations, tolerance);
            SolverCG<Vector> cg(control);
            bool             indefinite = false;
            cg.connect_coefficients_slot([&](const double alpha, const double) {
              if (!(alpha > 0))
                indefinite = true;
            });
            try
              {
                cg.solve(A, dx, r, I.amg);
              }
            catch (const SolverControl::NoConvergence &e)
              {
                if (indefinite)
                  throw SolverError(
                    std::string("conjugate gradients broke down: ") + remedy);
                std::ostringstream out;
                out << "conjugate gradients did not converge in " << e.last_step
                    << " iterations (residual " << e.last_residual / b.l2_norm()
                    << " of the right-hand side, wanted "
                    << tolerance / b.l2_norm() << "): raise Linear solver/"
                    << "Maximum iterations or Relative tolerance; or "
                    << remedy;
                throw SolverError(out.str());
              }
            iterations += control.last_step();
            if (indefinite)
              throw SolverError(
                std::string("conjugate gradients met a direction of negative "
                            "energy: ") +
                remedy);
          }
        x += dx;
        norm = residual();
        // One refinement at least; stop where rounding does not let it fall.
        if (norm > tolerance && (attempt >= 3 || !(norm < 0.5 * before)))
          {
            const double limit = 1e-10 * b.l2_norm();
            if (attempt >= 1 && norm < std::max(limit, tolerance))
              break;
            if (attempt >= 3 || !std::isfinite(norm) ||
                norm > 1e-6 * b.l2_norm())
              {
                std::ostringstream out;
                out << "the linear solve left a residual of "
                    << norm / b.l2_norm() << " of the right-hand side, wanted "
                    << tolerance / b.l2_norm() << ": " << remedy;
                throw SolverError(out.str());
              }
          }
      }
    return iterations;
  }

  template class LinearSolver<2>;
  template class LinearSolver<3>;
} // namespace Palpate
