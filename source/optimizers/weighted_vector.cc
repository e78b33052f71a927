#include <palpate/core/clones.h>
#include <palpate/optimizers/weighted_vector.h>

#include <cstring>

namespace Palpate
{
  namespace
  {
    // Wider vectors would go through memory on processors without them.
    using Numbers               = Pack<double, 4>::type;
    constexpr std::size_t wide  = 4;
    constexpr std::size_t step  = 16;
    constexpr std::size_t chunk = 1024; // stays in the nearest cache

    template <typename Number>
    PALPATE_INLINE void
    dots(const std::size_t    n,
         const std::size_t    n_columns,
         const Number *const *columns,
         const double        *x,
         double              *result)
    {
      using Entries = typename Pack<Number, wide>::type;
      for (std::size_t j = 0; j < n_columns; ++j)
        result[j] = 0;
      for (std::size_t begin = 0; begin < n; begin += chunk)
        {
          const std::size_t end = std::min(n, begin + chunk);
          for (std::size_t j = 0; j < n_columns; ++j)
            {
              const Number *column            = columns[j];
              Numbers       sums[step / wide] = {};
              std::size_t   i                 = begin;
              for (; i + step <= end; i += step)
#pragma GCC unroll 4
                for (std::size_t k = 0; k < step / wide; ++k)
                  {
                    Numbers a;
                    Entries b;
                    std::memcpy(&a, x + i + k * wide, sizeof(Numbers));
                    std::memcpy(&b, column + i + k * wide, sizeof(Entries));
                    sums[k] += a * __builtin_convertvector(b, Numbers);
                  }
              double sum = 0;
              for (; i < end; ++i)
                sum += x[i] * column[i];
              const Numbers all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
              for (std::size_t k = 0; k < wide; ++k)
                sum += all[k];
              result[j] += sum;
            }
        }
    }

    // A template has no clones.
    PALPATE_CLONES void
    dots_of(const std::size_t    n,
            const std::size_t    n_columns,
            const double *const *columns,
            const double        *x,
            double              *result)
    {
      dots(n, n_columns, columns, x, result);
    }

    PALPATE_CLONES void
    dots_of(const std::size_t   n,
            const std::size_t   n_columns,
            const float *const *columns,
            const double       *x,
            double             *result)
    {
      dots(n, n_columns, columns, x, result);
    }

    template <typename Number>
    PALPATE_INLINE void
    axpys(const std::size_t    n,
          const std::size_t    n_columns,
          const Number *const *columns,
          const double        *factors,
          double *__restrict y)
    {
      for (std::size_t begin = 0; begin < n; begin += chunk)
        {
          const std::size_t end = std::min(n, begin + chunk);
          for (std::size_t j = 0; j < n_columns; ++j)
            {
              const Number *column = columns[j];
              const double  factor = factors[j];
              std::size_t   i      = begin;
              for (; i + wide <= end; i += wide)
                {
                  Numbers                           a;
                  typename Pack<Number, wide>::type b;
                  std::memcpy(&a, y + i, sizeof(a));
                  std::memcpy(&b, column + i, sizeof(b));
                  a += factor * __builtin_convertvector(b, Numbers);
                  std::memcpy(y + i, &a, sizeof(a));
                }
              for (; i < end; ++i)
                y[i] += factor * column[i];
            }
        }
    }

    PALPATE_CLONES void
    axpys_of(const std::size_t    n,
             const std::size_t    n_columns,
             const double *const *columns,
             const double        *factors,
             double              *y)
    {
      axpys(n, n_columns, columns, factors, y);
    }

    PALPATE_CLONES void
    axpys_of(const std::size_t   n,
             const std::size_t   n_columns,
             const float *const *columns,
             const double       *factors,
             double             *y)
    {
      axpys(n, n_columns, columns, factors, y);
    }
  } // namespace

  template <typename Number>
  void
  multiply_columns(const std::size_t                  n,
                   const std::vector<const Number *> &columns,
                   const double                      *x,
                   double                            *result)
  {
    dots_of(n, columns.size(), columns.data(), x, result);
  }
  template void
  multiply_columns(std::size_t,
                   const std::vector<const double *> &,
                   const double *,
                   double *);
  template void
  multiply_columns(std::size_t,
                   const std::vector<const float *> &,
                   const double *,
                   double *);

  template <typename Number>
  void
  add_columns(const std::size_t                  n,
              const std::vector<const Number *> &columns,
              const double                      *factors,
              double                            *y)
  {
    axpys_of(n, columns.size(), columns.data(), factors, y);
  }
  template void
  add_columns(std::size_t,
              const std::vector<const double *> &,
              const double *,
              double *);
  template void
  add_columns(std::size_t,
              const std::vector<const float *> &,
              const double *,
              double *);
} // namespace Palpate
