#pragma once /* part of the ops of optim */
// Vectors of sixteen floats; pass_scalar.h says what the names mean.

#define FT_KERNEL FT_AVX512
#define FT_INLINE FT_AVX512 inline __attribute__((always_inline))
using V = __m512;
constexpr std::size_t W = 16;

FT_INLINE V load(const float* p) noexcept { return _mm512_loadu_ps(p); }
FT_INLINE V load(const Bf16* p) noexcept {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
// The upper halves of bits(v) + extra; a NaN stays one, its payload is cut.
FT_INLINE void store_upper(Bf16* p, V v, __m512i extra) noexcept {
  const __m512i u = _mm512_castps_si512(v), quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000));
  const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  const __m512i half = _mm512_srli_epi32(_mm512_mask_mov_epi32(_mm512_add_epi32(u, extra), nan, quiet), 16);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(half));
}
FT_INLINE void store(float* p, V v) noexcept { _mm512_storeu_ps(p, v); }
FT_INLINE void store(Bf16* p, V v) noexcept {  // to nearest even
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(_mm512_castps_si512(v), 16), _mm512_set1_epi32(1));
  store_upper(p, v, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
}
FT_INLINE void stochastic(Bf16* p, V v, const std::uint32_t* bits, int shift) noexcept {
  const __m512i words = _mm512_srli_epi32(_mm512_loadu_si512(bits), static_cast<unsigned>(shift));
  store_upper(p, v, _mm512_and_si512(words, _mm512_set1_epi32(0xffff)));
}
FT_INLINE V set1(float x) noexcept { return _mm512_set1_ps(x); }
FT_INLINE V add(V a, V b) noexcept { return _mm512_add_ps(a, b); }
FT_INLINE V sub(V a, V b) noexcept { return _mm512_sub_ps(a, b); }
FT_INLINE V mul(V a, V b) noexcept { return _mm512_mul_ps(a, b); }
FT_INLINE V div(V a, V b) noexcept { return _mm512_div_ps(a, b); }
FT_INLINE V sqrt(V a) noexcept { return _mm512_sqrt_ps(a); }
FT_INLINE void draw(const PhiloxBlock& counter, std::uint32_t* words) noexcept { philox_block_avx512(counter, words); }
