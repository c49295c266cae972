#pragma once /* part of rms_norm */
// The algorithm, written once over the vectors of vector_*.h, for x of type X and a stream of type S.

#include "nn/vector_part.h"

constexpr std::size_t K = 4;  // independent sums: one chain of additions would wait for each

// r[0:n] = x + residual when there is a residual, and x otherwise; returns r as it was rounded.
template <bool whole, typename X, typename S>
FT_INLINE V sum_into(S* r, const X* x, const S* residual, std::size_t n) noexcept {
  const V v = load_n<whole>(x, n);
  if (!residual) return v;
  store_n<whole>(r, add(v, load_n<whole>(residual, n)), n);
  return load_n<whole>(static_cast<const S*>(r), n);
}

template <typename T>
FT_INLINE T* at(T* p, std::size_t i) noexcept {
  return p ? p + i : nullptr;
}

// Sum of r^2.
template <typename X, typename S>
FT_KERNEL float sum_squares(const X* x, const S* residual, S* r, std::size_t C) noexcept {
  V sums[K] = {zero(), zero(), zero(), zero()};
  std::size_t c = 0;
  for (; c + K * W <= C; c += K * W)
#pragma GCC unroll 4
    for (std::size_t k = 0; k < K; ++k) {
      const V v = sum_into<true>(at(r, c + k * W), x + c + k * W, at(residual, c + k * W), W);
      sums[k] = fma(v, v, sums[k]);
    }
  for (; c + W <= C; c += W) {
    const V v = sum_into<true>(at(r, c), x + c, at(residual, c), W);
    sums[0] = fma(v, v, sums[0]);
  }
  if (c < C) {
    const V v = sum_into<false>(at(r, c), x + c, at(residual, c), C - c);
    sums[1] = fma(v, v, sums[1]);
  }
  return hsum(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
}

template <bool whole, typename S>
FT_INLINE void scale_step(const S* r, const float* weight, V rstd, S* y, std::size_t n) noexcept {
  store_n<whole>(y, mul(mul(load_n<whole>(r, n), rstd), load_n<whole>(weight, n)), n);
}

template <typename S>
FT_KERNEL void scale(const S* r, const float* weight, float rstd, S* y, std::size_t C) noexcept {
  const V s = set1(rstd);
  std::size_t c = 0;
  for (; c + W <= C; c += W) scale_step<true>(r + c, weight + c, s, y + c, W);
  if (c < C) scale_step<false>(r + c, weight + c, s, y + c, C - c);
}

// Returns sum + dy weight r; dweight += dy r rstd.
template <bool whole, typename S>
FT_INLINE V product_step(const S* dy, const S* r, const float* weight, V rstd, float* dweight, V sum,
                         std::size_t n) noexcept {
  const V product = mul(load_n<whole>(dy, n), load_n<whole>(r, n));
  store_n<whole>(dweight, fma(product, rstd, load_n<whole>(static_cast<const float*>(dweight), n)), n);
  return fma(product, load_n<whole>(weight, n), sum);
}

// Sum of dy weight r; dweight += dy r rstd.
template <typename S>
FT_KERNEL float sum_products(const S* dy, const S* r, const float* weight, float rstd, float* dweight,
                             std::size_t C) noexcept {
  V sums[K] = {zero(), zero(), zero(), zero()};
  const V s = set1(rstd);
  std::size_t c = 0;
  for (; c + K * W <= C; c += K * W)
#pragma GCC unroll 4
    for (std::size_t k = 0; k < K; ++k) {
      const std::size_t i = c + k * W;
      sums[k] = product_step<true>(dy + i, r + i, weight + i, s, dweight + i, sums[k], W);
    }
  for (; c + W <= C; c += W) sums[0] = product_step<true>(dy + c, r + c, weight + c, s, dweight + c, sums[0], W);
  if (c < C) sums[1] = product_step<false>(dy + c, r + c, weight + c, s, dweight + c, sums[1], C - c);
  return hsum(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
}

template <bool whole, typename X, typename S>
FT_INLINE void gradient_step(const S* dy, const S* r, const S* dr, const float* weight, V rstd, V minus_k, S* dresidual,
                             X* dx, std::size_t n) noexcept {
  const V g = mul(load_n<whole>(dy, n), load_n<whole>(weight, n));
  V d = fma(g, rstd, mul(load_n<whole>(r, n), minus_k));
  if (dr) d = add(d, load_n<whole>(dr, n));
  store_n<whole>(dresidual, d, n);
  if (dx) store_n<whole>(dx, d, n);
}

// dresidual = rstd dy weight - k r + dr, and dx the same in its own type.
template <typename X, typename S>
FT_KERNEL void gradient(const S* dy, const S* r, const S* dr, const float* weight, float rstd, float k, S* dresidual,
                        X* dx, std::size_t C) noexcept {
  const V s = set1(rstd), minus_k = set1(-k);
  std::size_t c = 0;
  for (; c + W <= C; c += W)
    gradient_step<true>(dy + c, r + c, at(dr, c), weight + c, s, minus_k, dresidual + c, at(dx, c), W);
  if (c < C)
    gradient_step<false>(dy + c, r + c, at(dr, c), weight + c, s, minus_k, dresidual + c, at(dx, c), C - c);
}

template <typename T>
T* row(T* x, std::size_t i, std::size_t C) noexcept {
  return x ? x + i * C : nullptr;
}

template <typename X, typename S>
void forward_as(const RmsNormArgs& p) noexcept {
  const auto* residual = static_cast<const S*>(p.residual);
  // Without a residual x is the stream: the types are the same.
  const auto* stream = static_cast<const S*>(residual ? p.r : p.x);
  parallel_ranges(p.N, rms_norm_block, p.threads, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const float squares = sum_squares(row(static_cast<const X*>(p.x), i, p.C), row(residual, i, p.C),
                                        row(static_cast<S*>(p.r), i, p.C), p.C);
      const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(p.C) + p.eps);
      if (p.rstd != nullptr) p.rstd[i] = rstd;
      scale(row(stream, i, p.C), p.weight, rstd, row(static_cast<S*>(p.y), i, p.C), p.C);
    }
  });
}

template <typename X, typename S>
void backward_as(const RmsNormArgs& p) noexcept {
  const auto* dy = static_cast<const S*>(p.dy);
  const auto* r = static_cast<const S*>(p.r);
  parallel_ranges(p.N, rms_norm_block, p.threads, [&](std::size_t begin, std::size_t end) {
    float* part = p.parts + begin / rms_norm_block * p.C;
    std::memset(part, 0, p.C * sizeof(float));
    for (std::size_t i = begin; i < end; ++i) {
      const float s = p.rstd[i];
      const float products = sum_products(row(dy, i, p.C), row(r, i, p.C), p.weight, s, part, p.C);
      gradient(row(dy, i, p.C), row(r, i, p.C), row(static_cast<const S*>(p.dr), i, p.C), p.weight, s,
               s * s * s * (products / static_cast<float>(p.C)), row(static_cast<S*>(p.dresidual), i, p.C),
               row(static_cast<X*>(p.dx), i, p.C), p.C);
    }
  });
  rms_norm_sum_parts(p);
}

void forward(const RmsNormArgs& p) noexcept {
  if (p.r_bf16) return forward_as<Bf16, Bf16>(p);
  p.x_bf16 ? forward_as<Bf16, float>(p) : forward_as<float, float>(p);
}

void backward(const RmsNormArgs& p) noexcept {
  if (p.r_bf16) return backward_as<Bf16, Bf16>(p);
  p.x_bf16 ? backward_as<Bf16, float>(p) : backward_as<float, float>(p);
}
