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

#include "nn/vector_avx2.h"

FT_INLINE void draw(const PhiloxBlock& counter, std::uint32_t* bits) noexcept { philox_block_avx2(counter, bits); }
FT_INLINE V kept(V v, const std::uint32_t* bits, std::uint32_t threshold) noexcept {
  const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bits));
  const __m256i t = _mm256_set1_epi32(static_cast<int>(threshold));
  const __m256i keep = _mm256_cmpeq_epi32(_mm256_max_epu32(b, t), b);  // b >= t, unsigned
  return _mm256_and_ps(v, _mm256_castsi256_ps(keep));
}

#include "nn/dropout_body.h"

}  // namespace

void dropout_avx2(const DropoutArgs& p) noexcept { run(p); }

}  // namespace fasttrain::nn
#endif
