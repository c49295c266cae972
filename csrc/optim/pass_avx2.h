#pragma once /* part of the ops of optim */
// Vectors of eight floats; pass_scalar.h says what the names mean.

#define FT_KERNEL FT_AVX2
#define FT_INLINE FT_AVX2 inline __attribute__((always_inline))
using V = __m256;
constexpr std::size_t W = 8;

FT_INLINE V load(const float* p) noexcept { return _mm256_loadu_ps(p); }
FT_INLINE V load(const Bf16* p) noexcept {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
// The upper halves of bits(v) + extra; a NaN stays one, its payload is cut.
FT_INLINE void store_upper(Bf16* p, V v, __m256i extra) noexcept {
  const __m256i u = _mm256_castps_si256(v), nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(0x40));
  const __m256i half = _mm256_blendv_epi8(_mm256_srli_epi32(_mm256_add_epi32(u, extra), 16), quiet, nan);
  const __m128i low = _mm256_castsi256_si128(half), high = _mm256_extracti128_si256(half, 1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packus_epi32(low, high));
}
FT_INLINE void store(float* p, V v) noexcept { _mm256_storeu_ps(p, v); }
FT_INLINE void store(Bf16* p, V v) noexcept {  // to nearest even
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(_mm256_castps_si256(v), 16), _mm256_set1_epi32(1));
  store_upper(p, v, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
}
FT_INLINE void stochastic(Bf16* p, V v, const std::uint32_t* bits, int shift) noexcept {
  const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bits));
  store_upper(p, v, _mm256_and_si256(_mm256_srli_epi32(words, shift), _mm256_set1_epi32(0xffff)));
}
FT_INLINE V set1(float x) noexcept { return _mm256_set1_ps(x); }
FT_INLINE V add(V a, V b) noexcept { return _mm256_add_ps(a, b); }
FT_INLINE V sub(V a, V b) noexcept { return _mm256_sub_ps(a, b); }
FT_INLINE V mul(V a, V b) noexcept { return _mm256_mul_ps(a, b); }
FT_INLINE V div(V a, V b) noexcept { return _mm256_div_ps(a, b); }
FT_INLINE V sqrt(V a) noexcept { return _mm256_sqrt_ps(a); }
FT_INLINE void draw(const PhiloxBlock& counter, std::uint32_t* words) noexcept { philox_block_avx2(counter, words); }
