#if defined(__x86_64__)
#include <immintrin.h>

#include "core/parallel.h"
#include "optim/adamw.h"

namespace fasttrain::optim {
namespace {

FT_AVX512 void range(const AdamwArgs& p, std::size_t begin, std::size_t end) noexcept {
  const __m512 grad_scale = _mm512_set1_ps(p.c.grad_scale), m_rate = _mm512_set1_ps(p.c.one_minus_beta1);
  const __m512 beta2 = _mm512_set1_ps(p.c.beta2), v_rate = _mm512_set1_ps(p.c.one_minus_beta2);
  const __m512 keep = _mm512_set1_ps(p.c.keep), v_scale = _mm512_set1_ps(p.c.v_scale);
  const __m512 eps = _mm512_set1_ps(p.c.eps), lr = _mm512_set1_ps(p.c.lr);
  std::size_t i = begin;
  for (; i + 16 <= end; i += 16) {
    const __m512 g = _mm512_mul_ps(_mm512_loadu_ps(p.grad + i), grad_scale);
    __m512 m = _mm512_loadu_ps(p.m + i), v = _mm512_loadu_ps(p.v + i);
    m = _mm512_add_ps(m, _mm512_mul_ps(_mm512_sub_ps(g, m), m_rate));
    v = _mm512_add_ps(_mm512_mul_ps(v, beta2), _mm512_mul_ps(_mm512_mul_ps(g, g), v_rate));
    const __m512 root = _mm512_add_ps(_mm512_mul_ps(_mm512_sqrt_ps(v), v_scale), eps);
    const __m512 update = _mm512_mul_ps(_mm512_div_ps(m, root), lr);
    _mm512_storeu_ps(p.m + i, m);
    _mm512_storeu_ps(p.v + i, v);
    _mm512_storeu_ps(p.param + i, _mm512_sub_ps(_mm512_mul_ps(_mm512_loadu_ps(p.param + i), keep), update));
  }
  adamw_range(p, i, end);
}

}  // namespace

void adamw_avx512(const AdamwArgs& p) noexcept {
  parallel_ranges(p.N, adamw_grain, p.threads, [&](std::size_t begin, std::size_t end) { range(p, begin, end); });
}

}  // namespace fasttrain::optim
#endif
