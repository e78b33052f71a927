#ifndef palpate_optimizers_weighted_vector_h
#define palpate_optimizers_weighted_vector_h

#include <deal.II/base/mpi.h>

#include <ROL_Vector.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

namespace Palpate
{
  /// result_j = columns_j . x, of this rank. @tparam Number double or float
  template <typename Number>
  void
  multiply_columns(const std::size_t                  n,
                   const std::vector<const Number *> &columns,
                   const double                      *x,
                   double                            *result);
  /// y += sum_j factors_j columns_j
  template <typename Number>
  void
  add_columns(const std::size_t                  n,
              const std::vector<const Number *> &columns,
              const double                      *factors,
              double                            *y);

  /// What all vectors of one problem share.
  struct VectorSpace
  {
    std::vector<double> weights;
    MPI_Comm            comm;
    int                 dimension;
  };

  /// A primal vector, or a dual one whose inner product has weights 1/w.
  class WeightedVector : public ROL::Vector<double>
  {
  public:
    WeightedVector(const std::shared_ptr<const VectorSpace> &space,
                   const bool                                dual)
      : data(space->weights.size(), 0.)
      , space(space)
      , is_dual(dual)
    {}

    static const std::vector<double> &
    of(const ROL::Vector<double> &x)
    {
      return dynamic_cast<const WeightedVector &>(x).data;
    }
    static std::vector<double> &
    of(ROL::Vector<double> &x)
    {
      return dynamic_cast<WeightedVector &>(x).data;
    }

    void
    plus(const ROL::Vector<double> &x) override
    {
      axpy(1., x);
    }
    void
    scale(const double a) override
    {
      for (double &v : data)
        v *= a;
    }
    void
    axpy(const double a, const ROL::Vector<double> &x) override
    {
      const auto &y = of(x);
      for (std::size_t i = 0; i < data.size(); ++i)
        data[i] += a * y[i];
    }
    double
    dot(const ROL::Vector<double> &x) const override
    {
      const auto &y   = of(x);
      double      sum = 0;
      for (std::size_t i = 0; i < data.size(); ++i)
        sum += data[i] * y[i] *
               (is_dual ? 1. / space->weights[i] : space->weights[i]);
      return dealii::Utilities::MPI::sum(sum, space->comm);
    }
    double
    apply(const ROL::Vector<double> &x) const override
    {
      const double *y   = of(x).data();
      double        sum = 0;
      multiply_columns<double>(data.size(), {y}, data.data(), &sum);
      return dealii::Utilities::MPI::sum(sum, space->comm);
    }
    double
    norm() const override
    {
      return std::sqrt(dot(*this));
    }
    ROL::Ptr<ROL::Vector<double>>
    clone() const override
    {
      return ROL::makePtr<WeightedVector>(space, is_dual);
    }
    void
    set(const ROL::Vector<double> &x) override
    {
      data = of(x);
    }
    void
    zero() override
    {
      setScalar(0.);
    }
    void
    setScalar(const double c) override
    {
      std::fill(data.begin(), data.end(), c);
    }
    int
    dimension() const override
    {
      return space->dimension;
    }
    const ROL::Vector<double> &
    dual() const override
    {
      if (!dual_vector)
        dual_vector = ROL::makePtr<WeightedVector>(space, !is_dual);
      for (std::size_t i = 0; i < data.size(); ++i)
        dual_vector->data[i] =
          data[i] * (is_dual ? 1. / space->weights[i] : space->weights[i]);
      return *dual_vector;
    }
    void
    applyUnary(const ROL::Elementwise::UnaryFunction<double> &f) override
    {
      for (double &v : data)
        v = f.apply(v);
    }
    void
    applyBinary(const ROL::Elementwise::BinaryFunction<double> &f,
                const ROL::Vector<double>                      &x) override
    {
      const auto &y = of(x);
      for (std::size_t i = 0; i < data.size(); ++i)
        data[i] = f.apply(data[i], y[i]);
    }
    double
    reduce(const ROL::Elementwise::ReductionOp<double> &r) const override
    {
      double result = r.initialValue();
      for (const double v : data)
        r.reduce(v, result);
      const std::vector<double> all =
        dealii::Utilities::MPI::all_gather(space->comm, result);
      result = r.initialValue();
      for (const double v : all)
        r.reduce(v, result);
      return result;
    }

    std::vector<double> data;

  private:
    std::shared_ptr<const VectorSpace> space;
    bool                               is_dual;
    mutable ROL::Ptr<WeightedVector>   dual_vector;
  };
} // namespace Palpate

#endif
