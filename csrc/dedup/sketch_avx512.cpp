// Seven vectors of sixteen are all 112 hash functions of the default: 21 registers, each shingle read once.

#include "dedup/sketch.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace fasttrain::dedup {
namespace {

constexpr std::size_t lanes = 16;

template <int G>
FT_AVX512 void update_group(const std::uint64_t* shingles, std::size_t count, const std::uint32_t* a,
                            const std::uint32_t* b, std::uint32_t* sig, __mmask16 last) noexcept {
  __m512i va[G], vb[G], best[G];
  for (int g = 0; g < G; ++g) {
    const __mmask16 mask = g + 1 == G ? last : static_cast<__mmask16>(0xffff);
    va[g] = _mm512_maskz_loadu_epi32(mask, a + g * lanes);
    vb[g] = _mm512_maskz_loadu_epi32(mask, b + g * lanes);
    best[g] = _mm512_maskz_loadu_epi32(mask, sig + g * lanes);
  }
  for (std::size_t s = 0; s < count; ++s) {
    const __m512i x = _mm512_set1_epi32(static_cast<int>(shingles[s]));
    for (int g = 0; g < G; ++g)
      best[g] = _mm512_min_epu32(best[g], _mm512_add_epi32(_mm512_mullo_epi32(va[g], x), vb[g]));
  }
  for (int g = 0; g < G; ++g)
    _mm512_mask_storeu_epi32(sig + g * lanes, g + 1 == G ? last : static_cast<__mmask16>(0xffff), best[g]);
}

}  // namespace

FT_AVX512 void sketch_update_avx512(const std::uint64_t* shingles, std::size_t count, const std::uint32_t* a,
                                    const std::uint32_t* b, std::size_t K, std::uint32_t* sig) noexcept {
  constexpr __mmask16 all = 0xffff;
  std::size_t k = 0;
  for (; k + 7 * lanes <= K; k += 7 * lanes) update_group<7>(shingles, count, a + k, b + k, sig + k, all);
  for (; k + 4 * lanes <= K; k += 4 * lanes) update_group<4>(shingles, count, a + k, b + k, sig + k, all);
  for (; k < K; k += lanes) {
    const std::size_t left = K - k;
    const auto mask = static_cast<__mmask16>(left >= lanes ? 0xffffu : (1u << left) - 1u);
    update_group<1>(shingles, count, a + k, b + k, sig + k, mask);
  }
}

void sketch_avx512(const SketchArgs& p) noexcept { sketch_with(sketch_update_avx512, p); }

}  // namespace fasttrain::dedup
#else
namespace fasttrain::dedup {
void sketch_update_avx512(const std::uint64_t* s, std::size_t count, const std::uint32_t* a, const std::uint32_t* b,
                          std::size_t K, std::uint32_t* sig) noexcept {
  sketch_update_scalar(s, count, a, b, K, sig);
}
void sketch_avx512(const SketchArgs& p) noexcept { sketch_scalar(p); }
}  // namespace fasttrain::dedup
#endif
