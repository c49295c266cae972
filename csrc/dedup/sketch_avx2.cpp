// Sixteen hash functions (two vectors) at a time with a, b and the minima in registers, the shingles streamed past.

#include "dedup/sketch.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace fasttrain::dedup {
namespace {

constexpr std::size_t lanes = 8;

template <int G>  // G vectors: 3 G registers and one for x; G = 4 leaves three of the sixteen free
FT_AVX2 void update_group(const std::uint64_t* shingles, std::size_t count, const std::uint32_t* a,
                          const std::uint32_t* b, std::uint32_t* sig) noexcept {
  __m256i va[G], vb[G], best[G];
  for (int g = 0; g < G; ++g) {
    va[g] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + g * lanes));
    vb[g] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + g * lanes));
    best[g] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sig + g * lanes));
  }
  for (std::size_t s = 0; s < count; ++s) {
    const __m256i x = _mm256_set1_epi32(static_cast<int>(shingles[s]));
    for (int g = 0; g < G; ++g)
      best[g] = _mm256_min_epu32(best[g], _mm256_add_epi32(_mm256_mullo_epi32(va[g], x), vb[g]));
  }
  for (int g = 0; g < G; ++g) _mm256_storeu_si256(reinterpret_cast<__m256i*>(sig + g * lanes), best[g]);
}

}  // namespace

FT_AVX2 void sketch_update_avx2(const std::uint64_t* shingles, std::size_t count, const std::uint32_t* a,
                                const std::uint32_t* b, std::size_t K, std::uint32_t* sig) noexcept {
  std::size_t k = 0;
  for (; k + 4 * lanes <= K; k += 4 * lanes) update_group<4>(shingles, count, a + k, b + k, sig + k);
  for (; k + lanes <= K; k += lanes) update_group<1>(shingles, count, a + k, b + k, sig + k);
  if (k < K) sketch_update_scalar(shingles, count, a + k, b + k, K - k, sig + k);
}

void sketch_avx2(const SketchArgs& p) noexcept { sketch_with(sketch_update_avx2, p); }

}  // namespace fasttrain::dedup
#else
namespace fasttrain::dedup {
void sketch_update_avx2(const std::uint64_t* s, std::size_t count, const std::uint32_t* a, const std::uint32_t* b,
                        std::size_t K, std::uint32_t* sig) noexcept {
  sketch_update_scalar(s, count, a, b, K, sig);
}
void sketch_avx2(const SketchArgs& p) noexcept { sketch_scalar(p); }
}  // namespace fasttrain::dedup
#endif
