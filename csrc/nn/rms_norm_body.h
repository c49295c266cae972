#pragma once /* part of rms_norm */
// The algorithm, written once over the vectors of vector_*.h, for x of type X and a stream of type S.

constexpr std::size_t K = 4;  // independent sums: one chain of additions would wait for each

FT_INLINE V load_n(const float* p, std::size_t n) noexcept { return n < W ? load_part(p, n) : load(p); }
FT_INLINE V load_n(const Bf16* p, std::size_t n) noexcept { return n < W ? load_part(p, n) : load(p); }
FT_INLINE void store_n(float* p, V v, std::size_t n) noexcept { n < W ? store_part(p, v, n) : store(p, v); }
FT_INLINE void store_n(Bf16* p, V v, std::size_t n) noexcept { n < W ? store_part(p, v, n) : store(p, v); }

// r[0:n] = x + residual; returns r as it was rounded.
template <typename X, typename S>
FT_INLINE V sum_into(S* r, const X* x, const S* residual, std::size_t n) noexcept {
  store_n(r, add(load_n(x, n), load_n(residual, n)), n);
  return load_n(static_cast<const S*>(r), n);
}

// Sum of r^2, where r = x + residual is written when there is a residual, and is x otherwise.
template <typename X, typename S>
FT_KERNEL float sum_squares(const X* x, const S* residual, S* r, std::size_t C) noexcept {
  V sums[K] = {zero(), zero(), zero(), zero()};
  std::size_t c = 0;
  for (; c + K * W <= C; c += K * W)
#pragma GCC unroll 4
    for (std::size_t k = 0; k < K; ++k) {
      const std::size_t i = c + k * W;
      const V v = residual ? sum_into(r + i, x + i, residual + i, W) : load(x + i);
      sums[k] = fma(v, v, sums[k]);
    }
  for (; c < C; c += W) {
    const std::size_t n = C - c < W ? C - c : W;
    const V v = residual ? sum_into(r + c, x + c, residual + c, n) : load_n(x + c, n);
    sums[0] = fma(v, v, sums[0]);
  }
  return hsum(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
}

template <typename S>
FT_KERNEL void scale(const S* r, const float* weight, float rstd, S* y, std::size_t C) noexcept {
  const V s = set1(rstd);
  for (std::size_t c = 0; c < C; c += W) {
    const std::size_t n = C - c < W ? C - c : W;
    store_n(y + c, mul(mul(load_n(r + c, n), s), load_n(weight + c, n)), n);
  }
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
      const V product = mul(load(dy + i), load(r + i));
      sums[k] = fma(product, load(weight + i), sums[k]);
      store(dweight + i, fma(product, s, load(dweight + i)));
    }
  for (; c < C; c += W) {
    const std::size_t n = C - c < W ? C - c : W;
    const V product = mul(load_n(dy + c, n), load_n(r + c, n));
    sums[0] = fma(product, load_n(weight + c, n), sums[0]);
    store_n(dweight + c, fma(product, s, load_n(static_cast<const float*>(dweight) + c, n)), n);
  }
  return hsum(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
}

// dresidual = rstd dy weight - k r + dr, and dx the same in its own type.
template <typename X, typename S>
FT_KERNEL void gradient(const S* dy, const S* r, const S* dr, const float* weight, float rstd, float k, S* dresidual,
                        X* dx, std::size_t C) noexcept {
  const V s = set1(rstd), minus_k = set1(-k);
  for (std::size_t c = 0; c < C; c += W) {
    const std::size_t n = C - c < W ? C - c : W;
    const V g = mul(load_n(dy + c, n), load_n(weight + c, n));
    V d = fma(g, s, mul(load_n(r + c, n), minus_k));
    if (dr) d = add(d, load_n(dr + c, n));
    store_n(dresidual + c, d, n);
    if (dx) store_n(dx + c, d, n);
  }
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
      p.rstd[i] = 1.0f / std::sqrt(squares / static_cast<float>(p.C) + p.eps);
      scale(row(stream, i, p.C), p.weight, p.rstd[i], row(static_cast<S*>(p.y), i, p.C), p.C);
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
