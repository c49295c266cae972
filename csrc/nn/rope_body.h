#pragma once /* part of rope */
// The algorithm, written once over the vectors of vector_*.h, for values of type T.

#include "nn/vector_part.h"

constexpr std::size_t grain_values = 16384;  // of a range: long enough to hide the hand-out

template <bool whole, typename T>
FT_INLINE void turn(const T* x, V c, V s, T* out, std::size_t half, std::size_t n) noexcept {
  const V a = load_n<whole>(x, n), b = load_n<whole>(x + half, n);
  store_n<whole>(out, sub(mul(a, c), mul(b, s)), n);
  store_n<whole>(out + half, fma(b, c, mul(a, s)), n);
}

// All heads of one token: the angles are loaded once for them.
template <typename T>
FT_KERNEL void token(const T* x, const float* cos, const float* sin, T* out, std::size_t H, std::size_t D,
                     bool inverse) noexcept {
  const std::size_t half = D / 2;
  std::size_t d = 0;
  for (; d + W <= half; d += W) {
    const V c = load(cos + d), s = inverse ? sub(zero(), load(sin + d)) : load(sin + d);
    for (std::size_t h = 0; h < H; ++h) turn<true>(x + h * D + d, c, s, out + h * D + d, half, W);
  }
  if (d == half) return;
  const std::size_t n = half - d;
  const V c = load_part(cos + d, n), s = inverse ? sub(zero(), load_part(sin + d, n)) : load_part(sin + d, n);
  for (std::size_t h = 0; h < H; ++h) turn<false>(x + h * D + d, c, s, out + h * D + d, half, n);
}

template <typename T>
void turn_as(const RopeArgs& p) noexcept {
  const auto* x = static_cast<const T*>(p.x);
  auto* out = static_cast<T*>(p.out);
  const std::size_t width = p.H * p.D, grain = width < grain_values ? grain_values / (width ? width : 1) : 1;
  parallel_ranges(p.B * p.T, grain, p.threads, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t angle = (p.Bt == 1 ? i % p.T : i) * p.D;
      token(x + i * width, p.cos + angle, p.sin + angle, out + i * width, p.H, p.D, p.inverse);
    }
  });
}

void run(const RopeArgs& p) noexcept { p.bf16 ? turn_as<Bf16>(p) : turn_as<float>(p); }
