#pragma once /* part of gelu */
// The algorithm, written once over the vectors of vector_*.h, for values of type T.

#include "nn/vector_part.h"
#include "nn/vector_sigmoid.h"

constexpr std::size_t grain = 16384;     // a multiple of W: only the last range has a tail
constexpr float linear = 1.595769122f;   // 2 sqrt(2/pi)
constexpr float cubic = 0.07135481283f;  // 0.044715 of it
// From |x| = 10 on, |2 u| > 87 and sigmoid(2 u) is 0 or 1 to 1e-37 whatever x^2 is: it stays small, so that no
// infinity meets a 0. A NaN stays, as min's second operand.
constexpr float most = 100.0f;

FT_INLINE V square(V x) noexcept { return min(set1(most), mul(x, x)); }
FT_INLINE V twice_u(V x, V x2) noexcept { return mul(x, fma(set1(cubic), x2, set1(linear))); }

template <bool whole, typename T>
FT_INLINE void forward_step(const T* x, T* out, std::size_t n) noexcept {
  const V v = load_n<whole>(x, n);
  store_n<whole>(out, mul(v, sigmoid(twice_u(v, square(v)))), n);
}

template <typename T>
FT_KERNEL void forward_range(const T* x, T* out, std::size_t n) noexcept {
  std::size_t i = 0;
  for (; i + W <= n; i += W) forward_step<true>(x + i, out + i, W);
  if (i < n) forward_step<false>(x + i, out + i, n - i);
}

template <bool whole, typename T>
FT_INLINE void backward_step(const T* x, const T* dout, T* dx, std::size_t n) noexcept {
  const V v = load_n<whole>(x, n), x2 = square(v), y = twice_u(v, x2), one = set1(1.0f);
  const V e = exp_minus_abs(y), r = div(one, add(one, e)), er = mul(e, r);  // sigmoid(|y|) and sigmoid(-|y|)
  const V inner = fma(set1(3.0f * cubic), x2, set1(linear));                // 2 u'
  // s (1 - s) as a product, since 1 - s would cancel; x times it first, since far out it is 0.
  const V slope = fma(mul(v, mul(er, r)), inner, if_negative(y, er, r));
  store_n<whole>(dx, mul(load_n<whole>(dout, n), slope), n);
}

template <typename T>
FT_KERNEL void backward_range(const T* x, const T* dout, T* dx, std::size_t n) noexcept {
  std::size_t i = 0;
  for (; i + W <= n; i += W) backward_step<true>(x + i, dout + i, dx + i, W);
  if (i < n) backward_step<false>(x + i, dout + i, dx + i, n - i);
}

template <typename T>
void forward_as(const GeluArgs& p) noexcept {
  const auto* x = static_cast<const T*>(p.x);
  auto* out = static_cast<T*>(p.out);
  parallel_ranges(p.N, grain, p.threads,
                  [&](std::size_t begin, std::size_t end) { forward_range(x + begin, out + begin, end - begin); });
}

template <typename T>
void backward_as(const GeluArgs& p) noexcept {
  const auto *x = static_cast<const T*>(p.x), *dout = static_cast<const T*>(p.dout);
  auto* dx = static_cast<T*>(p.dx);
  parallel_ranges(p.N, grain, p.threads, [&](std::size_t begin, std::size_t end) {
    backward_range(x + begin, dout + begin, dx + begin, end - begin);
  });
}

void forward(const GeluArgs& p) noexcept { p.bf16 ? forward_as<Bf16>(p) : forward_as<float>(p); }
void backward(const GeluArgs& p) noexcept { p.bf16 ? backward_as<Bf16>(p) : backward_as<float>(p); }
