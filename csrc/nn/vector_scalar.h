#pragma once /* part of the ops of nn */
// Vectors of four floats that every compiler lowers to what its target has (SSE2, NEON). Like its sisters it is
// included inside an anonymous namespace of fasttrain::nn, and defines the same names: FT_KERNEL (the target of a
// function), V, W (floats of a V), loads and stores of fp32 and bf16, whole or of the first n < W (the rest reads as
// 0), arithmetic, hsum4 (the sums of four vectors), and transpose (of W vectors, as a square).

#define FT_KERNEL
#define FT_INLINE inline __attribute__((always_inline))
typedef float V __attribute__((vector_size(16)));
typedef std::int32_t I __attribute__((vector_size(16)));
constexpr int W = 4;

template <typename T>
FT_INLINE V load_part(const T* p, std::size_t n) noexcept {
  V v{};
  for (std::size_t i = 0; i < n; ++i) v[i] = to_float(p[i]);
  return v;
}
template <typename T>
FT_INLINE void store_part(T* p, V v, std::size_t n) noexcept {
  for (std::size_t i = 0; i < n; ++i) p[i] = from_float<T>(v[i]);
}
FT_INLINE V load(const float* p) noexcept {
  V v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
FT_INLINE V load(const Bf16* p) noexcept { return load_part(p, W); }
FT_INLINE void store(float* p, V v) noexcept { std::memcpy(p, &v, sizeof(v)); }
FT_INLINE void store(Bf16* p, V v) noexcept { store_part(p, v, W); }
FT_INLINE V set1(float x) noexcept { return V{x, x, x, x}; }
FT_INLINE V zero() noexcept { return V{}; }
FT_INLINE V fma(V a, V b, V c) noexcept { return a * b + c; }
FT_INLINE V add(V a, V b) noexcept { return a + b; }
FT_INLINE V sub(V a, V b) noexcept { return a - b; }
FT_INLINE V mul(V a, V b) noexcept { return a * b; }
FT_INLINE V div(V a, V b) noexcept { return a / b; }
FT_INLINE V max(V a, V b) noexcept { return a > b ? a : b; }
FT_INLINE V min(V a, V b) noexcept { return a < b ? a : b; }
FT_INLINE V if_negative(V x, V yes, V no) noexcept { return x < 0.0f ? yes : no; }
FT_INLINE float hmax(V v) noexcept {
  const float a = v[0] > v[1] ? v[0] : v[1], b = v[2] > v[3] ? v[2] : v[3];
  return a > b ? a : b;
}
FT_INLINE float hsum(V v) noexcept { return (v[0] + v[1]) + (v[2] + v[3]); }
FT_INLINE void hsum4(const V* x, float* out) noexcept {
  for (int i = 0; i < 4; ++i) out[i] = hsum(x[i]);
}
FT_INLINE V exp_nonpositive(V x) noexcept {  // libm: correctness over speed where nothing else runs
  for (int i = 0; i < W; ++i) x[i] = std::exp(x[i] > 0.0f ? 0.0f : x[i]);
  return x;
}
FT_INLINE void transpose(V* x) noexcept {
  for (int i = 0; i < W; ++i)
    for (int j = 0; j < i; ++j) {
      const float y = x[i][j];
      x[i][j] = x[j][i], x[j][i] = y;
    }
}
