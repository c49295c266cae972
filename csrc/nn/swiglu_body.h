#pragma once /* part of swiglu */
// The algorithm, written once over the vectors of vector_*.h, for values of type T.

#include "nn/vector_part.h"
#include "nn/vector_sigmoid.h"

constexpr std::size_t grain = 16384;  // a multiple of W: only the last range has a tail

template <bool whole, typename T>
FT_INLINE void forward_step(const T* gate, const T* up, T* out, std::size_t n) noexcept {
  const V g = load_n<whole>(gate, n);
  store_n<whole>(out, mul(mul(g, sigmoid(g)), load_n<whole>(up, n)), n);
}

template <typename T>
FT_KERNEL void forward_range(const T* gate, const T* up, T* out, std::size_t n) noexcept {
  std::size_t i = 0;
  for (; i + W <= n; i += W) forward_step<true>(gate + i, up + i, out + i, W);
  if (i < n) forward_step<false>(gate + i, up + i, out + i, n - i);
}

template <bool whole, typename T>
FT_INLINE void backward_step(const T* gate, const T* up, const T* dout, T* dgate, T* dup, std::size_t n) noexcept {
  const V g = load_n<whole>(gate, n), d = load_n<whole>(dout, n), s = sigmoid(g), one = set1(1.0f);
  const V slope = mul(s, fma(g, sub(one, s), one));
  store_n<whole>(dgate, mul(mul(d, load_n<whole>(up, n)), slope), n);
  store_n<whole>(dup, mul(d, mul(g, s)), n);
}

template <typename T>
FT_KERNEL void backward_range(const T* gate, const T* up, const T* dout, T* dgate, T* dup, std::size_t n) noexcept {
  std::size_t i = 0;
  for (; i + W <= n; i += W) backward_step<true>(gate + i, up + i, dout + i, dgate + i, dup + i, W);
  if (i < n) backward_step<false>(gate + i, up + i, dout + i, dgate + i, dup + i, n - i);
}

template <typename T>
void forward_as(const SwigluArgs& p) noexcept {
  const auto *gate = static_cast<const T*>(p.gate), *up = static_cast<const T*>(p.up);
  auto* out = static_cast<T*>(p.out);
  parallel_ranges(p.N, grain, p.threads, [&](std::size_t begin, std::size_t end) {
    forward_range(gate + begin, up + begin, out + begin, end - begin);
  });
}

template <typename T>
void backward_as(const SwigluArgs& p) noexcept {
  const auto *gate = static_cast<const T*>(p.gate), *up = static_cast<const T*>(p.up);
  const auto* dout = static_cast<const T*>(p.dout);
  auto *dgate = static_cast<T*>(p.dgate), *dup = static_cast<T*>(p.dup);
  parallel_ranges(p.N, grain, p.threads, [&](std::size_t begin, std::size_t end) {
    backward_range(gate + begin, up + begin, dout + begin, dgate + begin, dup + begin, end - begin);
  });
}

void forward(const SwigluArgs& p) noexcept { p.bf16 ? forward_as<Bf16>(p) : forward_as<float>(p); }
void backward(const SwigluArgs& p) noexcept { p.bf16 ? backward_as<Bf16>(p) : backward_as<float>(p); }
