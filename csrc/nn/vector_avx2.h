#pragma once /* part of the ops of nn */
// Vectors of eight floats; vector_scalar.h says what the names mean.

#define FT_KERNEL FT_AVX2
#define FT_INLINE FT_AVX2 inline __attribute__((always_inline))
using V = __m256;
constexpr int W = 8;

FT_INLINE V load(const float* p) noexcept { return _mm256_loadu_ps(p); }
FT_INLINE V load(const Bf16* p) noexcept {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
FT_INLINE void store(float* p, V v) noexcept { _mm256_storeu_ps(p, v); }
FT_INLINE void store(Bf16* p, V v) noexcept {  // from_float<Bf16> of each
  const __m256i u = _mm256_castps_si256(v), odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
  __m256i half = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd), 16);
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  half = _mm256_blendv_epi8(half, _mm256_or_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(0x40)), nan);
  const __m128i low = _mm256_castsi256_si128(half), high = _mm256_extracti128_si256(half, 1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packus_epi32(low, high));
}
template <typename T>
FT_INLINE V load_part(const T* p, std::size_t n) noexcept {
  T whole[W] = {};
  std::memcpy(whole, p, n * sizeof(T));
  return load(whole);
}
template <typename T>
FT_INLINE void store_part(T* p, V v, std::size_t n) noexcept {
  T whole[W];
  store(whole, v);
  std::memcpy(p, whole, n * sizeof(T));
}
FT_INLINE V set1(float x) noexcept { return _mm256_set1_ps(x); }
FT_INLINE V zero() noexcept { return _mm256_setzero_ps(); }
FT_INLINE V fma(V a, V b, V c) noexcept { return _mm256_fmadd_ps(a, b, c); }
FT_INLINE V add(V a, V b) noexcept { return _mm256_add_ps(a, b); }
FT_INLINE V sub(V a, V b) noexcept { return _mm256_sub_ps(a, b); }
FT_INLINE V mul(V a, V b) noexcept { return _mm256_mul_ps(a, b); }
FT_INLINE V div(V a, V b) noexcept { return _mm256_div_ps(a, b); }
FT_INLINE V max(V a, V b) noexcept { return _mm256_max_ps(a, b); }
FT_INLINE V min(V a, V b) noexcept { return _mm256_min_ps(a, b); }
FT_INLINE V if_negative(V x, V yes, V no) noexcept {
  return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ));
}
FT_INLINE float hmax(V v) noexcept {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}
FT_INLINE float hsum(V v) noexcept {
  __m128 m = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_add_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_add_ss(m, _mm_movehdup_ps(m)));
}
FT_INLINE void hsum4(const V* x, float* out) noexcept {
  const V s = _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}

// exp(min(x, 0)) within 2 ulp: 2^n * poly(r), |r| <= ln2 / 2 (Cephes' coefficients); exactly 0 below -87, NaN stays.
FT_INLINE V exp_nonpositive(V x) noexcept {
  x = _mm256_min_ps(zero(), x);  // the second operand is the one that a NaN comes back from
  const V alive = _mm256_cmp_ps(x, set1(-87.0f), _CMP_NLT_UQ);
  const V n = _mm256_round_ps(mul(x, set1(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const V r = fma(n, set1(2.12194440e-4f), fma(n, set1(-0.693359375f), x));
  V p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = add(fma(mul(r, r), p, r), set1(1.0f));
  const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_and_ps(alive, mul(p, _mm256_castsi256_ps(power)));
}

FT_INLINE void transpose(V* x) noexcept {
  V t[W], u[W];
#pragma GCC unroll 4
  for (int i = 0; i < W; i += 2) {
    t[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < W; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44), u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44), u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {  // u[4 i + c]: rows 4 i to 4 i + 3 of columns c and c + 4
    x[c] = _mm256_permute2f128_ps(u[c], u[4 + c], 0x20);
    x[4 + c] = _mm256_permute2f128_ps(u[c], u[4 + c], 0x31);
  }
}
