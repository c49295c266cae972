#pragma once /* part of attention */
// What is not finite must not reach those who do not see it: 0 NaN is NaN, so a weight of 0 is no mask. Products take
// rows whose NaNs and infinities are 0; blocks that had any, and only they, then add weight times those values to
// whoever sees them. Finding out costs a pass over what has just been packed. Included after vector_*.h.

// v where it is finite, else 0.
FT_INLINE V finite_or_zero(V v) noexcept {
  const V size = max(sub(zero(), v), v);
  return if_negative(sub(size, set1(INFINITY)), v, zero());  // inf - inf is NaN, which is not negative
}

// Whether x[0, n) is finite; n % W = 0.
template <typename T>
FT_KERNEL bool is_finite(const T* x, int n) noexcept {
  V a = zero(), b = zero();
  int i = 0;
  for (; i + W < n; i += 2 * W) {
    a = fma(load(x + i), zero(), a);
    b = fma(load(x + i + W), zero(), b);
  }
  if (i < n) a = fma(load(x + i), zero(), a);
  return hsum(add(a, b)) == 0.0f;
}

template <typename T>
FT_KERNEL void clear_not_finite(T* x, int n) noexcept {
  for (int i = 0; i < n; i += W) store(x + i, finite_or_zero(load(x + i)));
}

// o += sum over the rows j in [from, to) of w[j] x[j], of x only what is not finite.
template <typename S, typename T>
FT_KERNEL void gather_not_finite(const S* w, const T* x, std::size_t stride, int from, int to, int D,
                                 float* o) noexcept {
  for (int j = from; j < to; ++j) {
    const T* row = x + static_cast<std::size_t>(j) * stride;
    if (is_finite(row, D)) continue;
    const V weight = set1(to_float(w[j]));
    for (int d = 0; d < D; d += W) {
      const V v = load(row + d);
      store(o + d, fma(weight, sub(v, finite_or_zero(v)), load(o + d)));
    }
  }
}

// o[j] += scale w[j w_step] x for the rows j in [from, to) of o, of x only what is not finite.
template <typename S, typename T>
FT_KERNEL void spread_not_finite(const S* w, int w_step, float scale, const T* x, int from, int to, int D,
                                 float* o) noexcept {
  if (is_finite(x, D)) return;
  for (int j = from; j < to; ++j) {
    const V weight = set1(scale * to_float(w[j * w_step]));
    for (int d = 0; d < D; d += W) {
      const V v = load(x + d);
      store(o + j * D + d, fma(weight, sub(v, finite_or_zero(v)), load(o + j * D + d)));
    }
  }
}

// The keys of a block of BC from n0 on that query i sees, counted from n0.
inline Range seen_of_block(const Ranges& of, int i, int n0, int keys) noexcept {
  const int from = of.lo[i] - n0, to = of.hi[i] - n0;
  return {from < 0 ? 0 : from, to > keys ? keys : to};
}
