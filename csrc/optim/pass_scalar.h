#pragma once /* part of the ops of optim */
// Vectors of one float. Like its sisters it is included inside an anonymous namespace of fasttrain::optim, and defines
// the same names: FT_KERNEL (the target of a function), V, W (floats of a V), loads and stores of fp32 and bf16 (to
// nearest even), arithmetic (each operation rounded once), `stochastic` (a store: place.h; the random bits of a value
// are those of its word from `shift` on) and `draw` (a Philox block).

inline Bf16 rounded_by(float x, std::uint32_t random) noexcept {
  const auto u = std::bit_cast<std::uint32_t>(x);
  return std::isnan(x) ? from_float<Bf16>(x) : Bf16{static_cast<std::uint16_t>((u + random) >> 16)};
}

#define FT_KERNEL
#define FT_INLINE inline __attribute__((always_inline))
using V = float;
constexpr std::size_t W = 1;

FT_INLINE V load(const float* p) noexcept { return *p; }
FT_INLINE V load(const Bf16* p) noexcept { return to_float(*p); }
FT_INLINE void store(float* p, V v) noexcept { *p = v; }
FT_INLINE void store(Bf16* p, V v) noexcept { *p = from_float<Bf16>(v); }
FT_INLINE void stochastic(Bf16* p, V v, const std::uint32_t* bits, int shift) noexcept {
  *p = rounded_by(v, *bits >> shift & 0xffffu);
}
FT_INLINE V set1(float x) noexcept { return x; }
FT_INLINE V add(V a, V b) noexcept { return a + b; }
FT_INLINE V sub(V a, V b) noexcept { return a - b; }
FT_INLINE V mul(V a, V b) noexcept { return a * b; }
FT_INLINE V div(V a, V b) noexcept { return a / b; }
FT_INLINE V sqrt(V a) noexcept { return std::sqrt(a); }
inline void draw(const PhiloxBlock& counter, std::uint32_t* words) noexcept { philox_block_scalar(counter, words); }
