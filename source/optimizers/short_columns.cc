#include <palpate/core/clones.h>
#include <palpate/optimizers/short_columns.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace Palpate
{
  namespace
  {
    constexpr std::size_t length = 1024; // of Rows; x stays in nearest cache
    constexpr std::size_t block  = 64;   // of one unit
    constexpr std::size_t blocks = length / block;

    constexpr std::size_t lanes = 8;
    using Floats                = Pack<float, lanes>::type;
    using Shorts                = Pack<std::int16_t, lanes>::type;

    using Rows = ShortColumns::Rows;

    PALPATE_CLONES void
    dots(const std::size_t n_columns,
         const Rows       &rows,
         const float      *x,
         double           *result)
    {
      const std::int16_t *multiples = rows.multiples.data();
      const float        *units     = rows.units.data();
      for (std::size_t j = 0; j < n_columns; ++j)
        {
          Floats sum = {};
          for (std::size_t k = 0; k < blocks; ++k)
            {
              Floats sums[4] = {}; // which do not wait for each other
#pragma GCC unroll 8
              for (std::size_t l = 0; l < block / lanes; ++l)
                {
                  Floats a;
                  Shorts b;
                  std::memcpy(&a, x + k * block + l * lanes, sizeof(a));
                  std::memcpy(&b, multiples + k * block + l * lanes, sizeof(b));
                  sums[l % 4] += a * __builtin_convertvector(b, Floats);
                }
              sum += units[k] * ((sums[0] + sums[1]) + (sums[2] + sums[3]));
            }
          for (std::size_t l = 0; l < lanes; ++l)
            result[j] += sum[l];
          multiples += length;
          units += blocks;
        }
    }

    PALPATE_CLONES void
    axpys(const std::size_t n_columns,
          const Rows       &rows,
          const double     *factors,
          float            *y)
    {
      const std::int16_t *multiples = rows.multiples.data();
      const float        *units     = rows.units.data();
      for (std::size_t j = 0; j < n_columns; ++j)
        {
          for (std::size_t k = 0; k < blocks; ++k)
            {
              const float factor = factors[j] * units[k];
#pragma GCC unroll 8
              for (std::size_t l = 0; l < block / lanes; ++l)
                {
                  Floats a;
                  Shorts b;
                  std::memcpy(&a, y + k * block + l * lanes, sizeof(a));
                  std::memcpy(&b, multiples + k * block + l * lanes, sizeof(b));
                  a += factor * __builtin_convertvector(b, Floats);
                  std::memcpy(y + k * block + l * lanes, &a, sizeof(a));
                }
            }
          multiples += length;
          units += blocks;
        }
    }
  } // namespace

  void
  ShortColumns::push_back(const double factor, const std::vector<double> &x)
  {
    n = x.size();
    rows.resize((n + length - 1) / length);
    std::size_t begin = 0;
    for (auto &[multiples, units] : rows)
      {
        // Twice the room, as vectors grow by themselves, would be much.
        if (n_columns % 16 == 0)
          {
            multiples.reserve((n_columns + 16) * length);
            units.reserve((n_columns + 16) * blocks);
          }
        for (std::size_t k = 0; k < blocks; ++k, begin += block)
          {
            const std::size_t end     = std::min(n, begin + block);
            double            largest = 0;
            for (std::size_t i = begin; i < end; ++i)
              largest = std::max(largest, std::abs(factor * x[i]));
            units.push_back(largest / 32767);
            const double unit = units.back();
            for (std::size_t i = begin; i < begin + block; ++i)
              multiples.push_back(
                i < end && unit > 0
                  ? std::clamp(std::round(factor * x[i] / unit),
                               -32767.,
                               32767.)
                  : 0.);
          }
      }
    ++n_columns;
  }

  void
  ShortColumns::erase(const std::size_t column)
  {
    const auto out_of = [&](auto &values, const std::size_t per_column) {
      const auto first = values.begin() + column * per_column;
      values.erase(first, first + per_column);
    };
    for (auto &[multiples, units] : rows)
      {
        out_of(multiples, length);
        out_of(units, blocks);
      }
    --n_columns;
  }

  std::vector<double>
  ShortColumns::operator[](const std::size_t column) const
  {
    std::vector<double> x(n);
    for (std::size_t i = 0; i < n; ++i)
      {
        const auto &[multiples, units] = rows[i / length];
        const std::size_t row          = i % length;
        x[i] = static_cast<double>(units[column * blocks + row / block]) *
               multiples[column * length + row];
      }
    return x;
  }

  void
  ShortColumns::multiply(const std::vector<double> &x, double *result) const
  {
    std::fill_n(result, n_columns, 0.);
    for (std::size_t begin = 0; begin < n; begin += length)
      {
        const std::size_t end          = std::min(n, begin + length);
        float             part[length] = {};
        std::copy(x.begin() + begin, x.begin() + end, part);
        dots(n_columns, rows[begin / length], part, result);
      }
  }

  void
  ShortColumns::add(const double *factors, std::vector<double> &y) const
  {
    for (std::size_t begin = 0; begin < n; begin += length)
      {
        const std::size_t end          = std::min(n, begin + length);
        float             part[length] = {};
        axpys(n_columns, rows[begin / length], factors, part);
        for (std::size_t i = begin; i < end; ++i)
          y[i] += part[i - begin];
      }
  }
} // namespace Palpate
