#ifndef palpate_core_clones_h
#define palpate_core_clones_h

// Kernels are compiled for plain x86-64 and for processors with AVX2; the
// loader picks. What they call must be inlined into them.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#  define PALPATE_CLONES \
    __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#  define PALPATE_CLONES
#endif
#define PALPATE_INLINE __attribute__((always_inline)) inline

namespace Palpate
{
  /// A vector of n numbers, 1, 2, 4 or 8.
  template <typename Number, int n>
  struct Pack
  {
    typedef Number type __attribute__((vector_size(n * sizeof(Number))));
  };
} // namespace Palpate

#endif
