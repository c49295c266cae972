#pragma once /* part of the ops of nn */
// Vectors of sixteen floats; vector_scalar.h says what the names mean. With FT_HAS_BF16 defined before, the CPU's own
// conversion to bf16 is used (it gives 0 for what is below the least normal number, 1.2e-38).

#ifdef FT_HAS_BF16
#define FT_KERNEL FT_AVX512BF16
#define FT_INLINE FT_AVX512BF16 inline __attribute__((always_inline))
#else
#define FT_KERNEL FT_AVX512
#define FT_INLINE FT_AVX512 inline __attribute__((always_inline))
#endif
using V = __m512;
constexpr int W = 16;

FT_INLINE V widen(__m256i half) noexcept {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
FT_INLINE __m256i narrow(V v) noexcept {
#ifdef FT_HAS_BF16
  return (__m256i)_mm512_cvtneps_pbh(v);
#else  // from_float<Bf16> of each
  const __m512i u = _mm512_castps_si512(v), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  const __m512i half = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd), 16);
  const __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(0x40));
  return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(half, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), quiet));
#endif
}
FT_INLINE V load(const float* p) noexcept { return _mm512_loadu_ps(p); }
FT_INLINE V load(const Bf16* p) noexcept { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
FT_INLINE void store(float* p, V v) noexcept { _mm512_storeu_ps(p, v); }
FT_INLINE void store(Bf16* p, V v) noexcept { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(v)); }
FT_INLINE __mmask16 first(std::size_t n) noexcept { return static_cast<__mmask16>((1u << n) - 1u); }
FT_INLINE V load_part(const float* p, std::size_t n) noexcept { return _mm512_maskz_loadu_ps(first(n), p); }
FT_INLINE V load_part(const Bf16* p, std::size_t n) noexcept { return widen(_mm256_maskz_loadu_epi16(first(n), p)); }
FT_INLINE void store_part(float* p, V v, std::size_t n) noexcept { _mm512_mask_storeu_ps(p, first(n), v); }
FT_INLINE void store_part(Bf16* p, V v, std::size_t n) noexcept { _mm256_mask_storeu_epi16(p, first(n), narrow(v)); }
FT_INLINE V set1(float x) noexcept { return _mm512_set1_ps(x); }
FT_INLINE V zero() noexcept { return _mm512_setzero_ps(); }
FT_INLINE V fma(V a, V b, V c) noexcept { return _mm512_fmadd_ps(a, b, c); }
FT_INLINE V add(V a, V b) noexcept { return _mm512_add_ps(a, b); }
FT_INLINE V sub(V a, V b) noexcept { return _mm512_sub_ps(a, b); }
FT_INLINE V mul(V a, V b) noexcept { return _mm512_mul_ps(a, b); }
FT_INLINE V div(V a, V b) noexcept { return _mm512_div_ps(a, b); }
FT_INLINE V max(V a, V b) noexcept { return _mm512_max_ps(a, b); }
FT_INLINE V min(V a, V b) noexcept { return _mm512_min_ps(a, b); }
FT_INLINE V if_negative(V x, V yes, V no) noexcept {
  return _mm512_mask_mov_ps(no, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), yes);
}
FT_INLINE float hmax(V v) noexcept { return _mm512_reduce_max_ps(v); }
FT_INLINE float hsum(V v) noexcept { return _mm512_reduce_add_ps(v); }
FT_INLINE void hsum4(const V* x, float* out) noexcept {
  const V a = add(_mm512_unpacklo_ps(x[0], x[1]), _mm512_unpackhi_ps(x[0], x[1]));
  const V b = add(_mm512_unpacklo_ps(x[2], x[3]), _mm512_unpackhi_ps(x[2], x[3]));
  const __m512d c = _mm512_castps_pd(a), d = _mm512_castps_pd(b);
  const V s = add(_mm512_castpd_ps(_mm512_unpacklo_pd(c, d)), _mm512_castpd_ps(_mm512_unpackhi_pd(c, d)));
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

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

FT_INLINE void transpose(V* x) noexcept {
  __m512i t[W], u[W];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const __m512i a = _mm512_castps_si512(x[2 * i]), b = _mm512_castps_si512(x[2 * i + 1]);
    t[2 * i] = _mm512_unpacklo_epi32(a, b), t[2 * i + 1] = _mm512_unpackhi_epi32(a, b);
  }
#pragma GCC unroll 8
  for (int i = 0; i < W; i += 4) {
    u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]), u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]), u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 8
  for (int c = 0; c < 4; ++c) {  // u[4 i + c]: rows 4 i to 4 i + 3 of columns c, c + 4, c + 8, c + 12
    const __m512i even0 = _mm512_shuffle_i32x4(u[c], u[4 + c], 0x88);
    const __m512i even1 = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0x88);
    const __m512i odd0 = _mm512_shuffle_i32x4(u[c], u[4 + c], 0xdd);
    const __m512i odd1 = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0xdd);
    x[c] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(even0, even1, 0x88));
    x[4 + c] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(odd0, odd1, 0x88));
    x[8 + c] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(even0, even1, 0xdd));
    x[12 + c] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(odd0, odd1, 0xdd));
  }
}
