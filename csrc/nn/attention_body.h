#pragma once /* part of attention */
// The algorithm in fp32, written once over a vector type, for arrays of fp32 and bf16: the product, packing, and how
// queries step through a block of keys. Included by attention.cpp, attention_avx2.cpp and attention_avx512.cpp inside a
// namespace of their own, after their vectors (vector_*.h) and NV (vectors of an accumulator row).
//
// One micro-kernel does every product: C (M x N) (+)= A (M x K) B (K x N), M <= 6 rows of A broadcast value by value
// from any strides, B read by vectors along N. So P^T and dS^T need no transposition; only keys (and, backward, values)
// are packed transposed, in panels of NR columns. Row groups of 6 queries compute only the panels that they see: a
// causal mask wastes at most one panel a group.

using Operand = float;
constexpr int PER = 1;  // values of an operand

using Operands = V;
FT_INLINE V operands(const float* p) noexcept { return load(p); }
FT_INLINE V broadcast(float x) noexcept { return set1(x); }
FT_INLINE V multiply_add(V a, V b, V c) noexcept { return fma(a, b, c); }

#include "nn/attention_product.h"

constexpr int BR = 48, BC = 64;  // queries and keys of a tile: q, dout, P, dS, k^T, v^T, k of 64 floats stay in L2
static_assert(BC % NR == 0 && BR % MR == 0 && attention_pad % BC == 0);
static_assert(BR == attention_tile && BC >= attention_block);

// Rows [0, rows) of x, and zeros up to `padded`: out (padded, D).
template <typename T>
FT_KERNEL void pack_rows(const T* x, std::size_t stride, int rows, int padded, int D, float scale,
                         float* out) noexcept {
  const V f = set1(scale);
  for (int i = 0; i < rows; ++i)
    for (int d = 0; d < D; d += W) {
      __builtin_prefetch(x + (i + BC) * stride + d);
      store(out + i * D + d, mul(load(x + i * stride + d), f));
    }
  std::memset(out + rows * D, 0, sizeof(float) * (padded - rows) * D);
}

// The same transposed: out (padded / NR, D, NR).
template <typename T>
FT_KERNEL void pack_panels(const T* x, std::size_t stride, int rows, int padded, int D, float* out) noexcept {
  for (int t = 0; t < padded; t += W) {
    float* panel = out + t / NR * NR * D + t % NR;
    for (int d = 0; d < D; d += W) {
      V r[W];
      for (int i = 0; i < W; ++i) __builtin_prefetch(x + (t + i + BC) * stride + d);
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) r[i] = t + i < rows ? load(x + (t + i) * stride + d) : zero();
      transpose(r);
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) store(panel + (d + i) * NR, r[i]);
    }
  }
}

// Set s[j] outside [lo, hi) to `value`; j runs over [begin, end).
inline void outside(float* s, int begin, int end, int lo, int hi, float value) noexcept {
  for (int j = begin; j < end && j < lo; ++j) s[j] = value;
  for (int j = hi > begin ? hi : begin; j < end; ++j) s[j] = value;
}

// One row's step of the online softmax over s[begin, end), of which it sees at least one: s becomes P, top and sum move
// on, o is rescaled. Vector maxima may lose a NaN; the sum does not.
FT_KERNEL void softmax_row(float* s, int begin, int end, float& top, float& sum, float* o, int D) noexcept {
  V most = load(s + begin);
  for (int j = begin + W; j < end; j += W) most = max(most, load(s + j));
  const float now = hmax(most), next = now > top ? now : top;
  const V shift = set1(-next);
  V total = zero();
  for (int j = begin; j < end; j += W) {
    const V p = exp_nonpositive(add(load(s + j), shift));
    store(s + j, p);
    total = add(total, p);
  }
  if (next != top) {
    const float factor = std::exp(top - next);
    const V f = set1(factor);
    for (int d = 0; d < D; d += W) store(o + d, mul(load(o + d), f));
    sum *= factor;
    top = next;
  }
  sum += hsum(total);
}

FT_KERNEL void softcap_row(float* s, int begin, int end, float cap) noexcept {
  for (int j = begin; j < end; j += W) store(s + j, softcapped(load(s + j), cap));
}

template <typename T>
FT_KERNEL void write_scaled(const float* x, int D, float scale, T* out) noexcept {
  for (int d = 0; d < D; d += W) store(out + d, mul(load(x + d), set1(scale)));
}

struct State {  // of up to BR queries on their way through the keys
  alignas(64) float q[BR * attention_max_D], o[BR * attention_max_D], s[MR * BC];
  float top[BR], sum[BR];
};

template <typename T>
FT_KERNEL void begin_row(const AttentionArgs& p, State& t, int i, const T* q) noexcept {
  const int D = static_cast<int>(p.D);
  t.top[i] = -INFINITY, t.sum[i] = 0.0f;
  std::memset(t.o + i * D, 0, sizeof(float) * D);
  pack_rows(q, 0, 1, 1, D, p.scale, t.q + i * D);
}

inline float sum_of(const State& t, int i) noexcept { return t.sum[i]; }

// Takes `rows` queries through the keys n0 .. n0 + BC, packed in kt and vp; `v`: their values where they lie, if one is
// not finite, else null.
template <typename T>
FT_KERNEL void step(const AttentionArgs& p, State& t, const Ranges& of, int rows, int n0, const float* kt,
                    const float* vp, const T* v) noexcept {
  const int D = static_cast<int>(p.D);
  for (int i0 = 0; i0 < rows; i0 += MR) {
    const int m = rows - i0 < MR ? rows - i0 : MR;
    const Range r = seen({of.lo + i0, of.hi + i0}, m, n0, n0 + BC);
    if (r.begin >= r.end) continue;
    const int begin = (r.begin - n0) / NR * NR, end = (r.end - n0 + NR - 1) / NR * NR;
    product(m, end - begin, D, t.q + i0 * D, D, 1, kt + begin * D, NR, D * NR, t.s + begin, BC, false);
    for (int i = 0; i < m; ++i) {
      const int from = of.lo[i0 + i] - n0, to = of.hi[i0 + i] - n0;
      const bool blind = to <= from || to <= begin || from >= end;
      if (p.softcap > 0.0f) softcap_row(t.s + i * BC, begin, end, p.softcap);
      outside(t.s + i * BC, begin, end, from, to, blind ? 0.0f : -INFINITY);
      if (blind) continue;
      softmax_row(t.s + i * BC, begin, end, t.top[i0 + i], t.sum[i0 + i], t.o + (i0 + i) * D, D);
    }
    product(m, D, end - begin, t.s + begin, BC, 1, vp + begin * D, D, NR, t.o + i0 * D, D, true);
    for (int i = 0; i < m && v != nullptr; ++i) {
      const Range keys = seen_of_block(of, i0 + i, n0, BC);
      gather_not_finite(t.s + i * BC, v, p.v.t, keys.begin, keys.end, D, t.o + (i0 + i) * D);
    }
  }
}

// Returns whether the values are finite; those that are not are packed as 0.
template <typename T>
FT_KERNEL bool pack_keys(const AttentionArgs& p, std::size_t kv, int n0, int keys, float* kt, float* vp) noexcept {
  const int D = static_cast<int>(p.D);
  pack_panels(at<T>(p.k, kv / p.Hkv, n0, kv % p.Hkv), p.k.t, keys, BC, D, kt);
  pack_rows(at<T>(p.v, kv / p.Hkv, n0, kv % p.Hkv), p.v.t, keys, BC, D, 1.0f, vp);
  const bool finite = is_finite(vp, keys * D);
  if (!finite) clear_not_finite(vp, keys * D);
  return finite;
}
