#include "nn/dropout.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/parallel.h"
#include "core/philox.h"

namespace fasttrain::nn {
namespace {

#include "nn/vector_avx512.h"

FT_INLINE void draw(const PhiloxBlock& counter, std::uint32_t* bits) noexcept { philox_block_avx512(counter, bits); }
FT_INLINE V kept(V v, const std::uint32_t* bits, std::uint32_t threshold) noexcept {
  const __m512i t = _mm512_set1_epi32(static_cast<int>(threshold));
  return _mm512_maskz_mov_ps(_mm512_cmpge_epu32_mask(_mm512_loadu_si512(bits), t), v);
}

#include "nn/dropout_body.h"

}  // namespace

void dropout_avx512(const DropoutArgs& p) noexcept { run(p); }

}  // namespace fasttrain::nn
#endif
