#include "nn/attention.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#define FT_KERNEL FT_AVX512
#define FT_INLINE FT_AVX512 inline __attribute__((always_inline))
using V = __m512;
constexpr int W = 16, NV = 4;  // 24 accumulators, 4 vectors of B, one broadcast: 29 of 32 registers

FT_INLINE V load(const float* p) noexcept { return _mm512_loadu_ps(p); }
FT_INLINE void store(float* p, V v) noexcept { _mm512_storeu_ps(p, v); }
FT_INLINE V set1(float x) noexcept { return _mm512_set1_ps(x); }
FT_INLINE V zero() noexcept { return _mm512_setzero_ps(); }
FT_INLINE V fma(V a, V b, V c) noexcept { return _mm512_fmadd_ps(a, b, c); }
FT_INLINE V add(V a, V b) noexcept { return _mm512_add_ps(a, b); }
FT_INLINE V mul(V a, V b) noexcept { return _mm512_mul_ps(a, b); }
FT_INLINE V max(V a, V b) noexcept { return _mm512_max_ps(a, b); }
FT_INLINE float hmax(V v) noexcept { return _mm512_reduce_max_ps(v); }
FT_INLINE float hsum(V v) noexcept { return _mm512_reduce_add_ps(v); }

// exp(min(x, 0)) within 2 ulp: 2^n * poly(r), |r| <= ln2 / 2 (Cephes' coefficients); exactly 0 below -87, NaN stays.
FT_INLINE V exp_nonpositive(V x) noexcept {
  x = _mm512_min_ps(zero(), x);  // the second operand is the one that a NaN comes back from
  const __mmask16 alive = _mm512_cmp_ps_mask(x, set1(-87.0f), _CMP_NLT_UQ);
  const V n = _mm512_roundscale_ps(mul(x, set1(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const V r = fma(n, set1(2.12194440e-4f), fma(n, set1(-0.693359375f), x));
  V p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = add(fma(mul(r, r), p, r), set1(1.0f));
  return _mm512_maskz_scalef_ps(alive, p, n);
}

#include "nn/attention_body.h"

}  // namespace

void attention_forward_avx512(const AttentionArgs& p) noexcept { forward(p); }
void attention_backward_avx512(const AttentionArgs& p) noexcept { backward(p); }

}  // namespace fasttrain::nn
#endif
