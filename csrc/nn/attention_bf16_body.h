#pragma once /* part of attention */
// bf16 by vdpbf16ps: the product, packing, and how queries step through a block of keys. Included by
// attention_avx512bf16.cpp inside a namespace of its own, after vector_avx512.h.
//
// vdpbf16ps adds two products at a time, a0 b0 + a1 b1, to each fp32 sum: operands are pairs along the summed index.
// C (M x N) (+)= A (M x 2K) B (2K x N): a pair of A is broadcast, which rows of bf16 have by nature (q, dout, P, dS);
// B holds the pairs of one k side by side: keys transposed (D / 2, keys) for S and dP, values interleaved two rows at a
// time (keys / 2, D) for out, and so on. Row groups of 6 queries compute only the vectors of keys that they see.

using Pair = std::uint32_t __attribute__((may_alias, aligned(2)));  // two bf16, the earlier one in the low half
using Operand = Pair;
constexpr int PER = 2;  // values of an operand

constexpr int NV = 4;  // with MR = 6: 24 sums, 4 vectors of B, one broadcast, 29 of 32 registers

using Operands = __m512bh;
FT_INLINE Operands operands(const Pair* p) noexcept { return (__m512bh)_mm512_loadu_si512(p); }
FT_INLINE Operands broadcast(Pair p) noexcept { return (__m512bh)_mm512_set1_epi32(static_cast<int>(p)); }
FT_INLINE V multiply_add(Operands a, Operands b, V c) noexcept { return _mm512_dpbf16_ps(c, a, b); }

#include "nn/attention_product.h"

constexpr int BR = 48, BC = static_cast<int>(attention_pad);
static_assert(BC % NR == 0 && BR % MR == 0 && MR % 2 == 0);
static_assert(BR == attention_tile && BC >= attention_block);

inline const Pair* pairs(const Bf16* x) noexcept { return reinterpret_cast<const Pair*>(x); }
inline Pair* pairs(Bf16* x) noexcept { return reinterpret_cast<Pair*>(x); }
inline Bf16* values(Pair* x) noexcept { return reinterpret_cast<Bf16*>(x); }

// The sixteen pairs (a[i], b[i]) of 32 bf16 that hold a, then b.
FT_INLINE __m512i interleave(__m512i ab) noexcept {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, ab);
}

// out (T / 2, D) pairs of rows 2 t and 2 t + 1 of x; row `rows` is 0 when rows is odd.
FT_KERNEL void pack_rows(const Bf16* x, std::size_t stride, int rows, int D, Pair* out) noexcept {
  for (int t = 0; t < rows; t += 2, out += D)
    for (int d = 0; d < D; d += W) {
      __builtin_prefetch(x + (t + (d / W & 1) + BC) * stride + d);
      const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + t * stride + d));
      const __m256i b = t + 1 < rows ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + (t + 1) * stride + d))
                                     : _mm256_setzero_si256();
      _mm512_storeu_si512(out + d, interleave(_mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1)));
    }
}

// out (keys / NR, D / 2, NR): pairs along D, keys side by side; `rows` keys, then zeros up to `padded`, % W = 0.
// What lies a block further is asked for meanwhile: a cache's rows of one head are far apart.
FT_KERNEL void pack_panels(const Bf16* x, std::size_t stride, int rows, int padded, int D, Pair* out) noexcept {
  for (int t = 0; t < padded; t += W) {
    Pair* panel = out + t / NR * NR * (D / 2) + t % NR;
    for (int d = 0; d < D; d += 2 * W) {
      const auto half = static_cast<__mmask16>(D - d >= 2 * W ? 0xffff : 0xff);
      V r[W];  // pairs, moved as they are
      for (int i = 0; i < W; ++i) __builtin_prefetch(x + (t + i + BC) * stride + d);
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i)
        r[i] = t + i < rows ? _mm512_maskz_loadu_ps(half, x + (t + i) * stride + d) : zero();
      transpose(r);
      for (int i = 0; i < (half == 0xff ? 8 : W); ++i) _mm512_storeu_ps(panel + (d / 2 + i) * NR, r[i]);
    }
  }
}

constexpr float log2_e = 1.44269504f;

// 2^x for x <= 0 (about): within 3e-6, a thousandth of a rounding to bf16; 0 below -149, NaN stays.
FT_INLINE V exp2_of(V x) noexcept {
  x = _mm512_max_ps(set1(-200.0f), x);  // the second operand is the one that a NaN comes back from
  const V n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), f = sub(x, n);
  V p = set1(9.582853e-3f);
  p = fma(p, f, set1(5.5906426e-2f));
  p = fma(p, f, set1(2.4024099e-1f));
  p = fma(p, f, set1(6.9312418e-1f));
  p = fma(p, f, set1(1.0f));
  return _mm512_scalef_ps(p, n);
}

// How a product q k becomes an exponent of 2: x = s, or scale s (softcapped) where that is not one factor; then
// P = 2^(x to_log2 - top log2(e)) / sum.
struct Scores {
  float scale, cap, unit, to_log2;
  bool plain;
  explicit Scores(const AttentionArgs& p) noexcept
      : scale(p.scale), cap(p.softcap), unit(p.scale), to_log2(p.scale * log2_e), plain(cap == 0.0f && scale > 0.0f) {
    if (!plain) unit = 1.0f, to_log2 = log2_e;
  }
};

FT_KERNEL void prepare(const Scores& c, float* s, int begin, int end) noexcept {
  for (int j = begin; j < end; j += W) {
    const V x = mul(load(s + j), set1(c.scale));
    store(s + j, c.cap > 0.0f ? softcapped(x, c.cap) : x);
  }
}

// The lanes among j .. j + 15 that lie in [from, to).
FT_INLINE __mmask16 lanes(int j, int from, int to) noexcept {
  const int a = from - j < 0 ? 0 : from - j > W ? W : from - j, b = to - j < 0 ? 0 : to - j > W ? W : to - j;
  return static_cast<__mmask16>(((1u << b) - 1u) & ~((1u << a) - 1u));
}

// One row's step of the online softmax over s[begin, end), of which it sees [from, to): p becomes P, top and sums move
// on, o is rescaled.
FT_KERNEL void softmax_row(const Scores& c, float* s, Bf16* p, int begin, int end, int from, int to, float& top,
                           float* sums, float* o, int D) noexcept {
  if (!c.plain) prepare(c, s, begin, end);
  V most = set1(-INFINITY);
  if (from > begin || to < end)
    for (int j = begin; j < end; j += W) {
      const V x = _mm512_mask_mov_ps(set1(-INFINITY), lanes(j, from, to), load(s + j));
      store(s + j, x);
      most = max(most, x);
    }
  else
    for (int j = begin; j < end; j += W) most = max(most, load(s + j));
  const float now = hmax(most) * c.unit, next = now > top ? now : top;
  const V shift = set1(-next * log2_e), factor = set1(c.to_log2);
  V total = zero();
  for (int j = begin; j < end; j += W) {
    const V e = exp2_of(fma(load(s + j), factor, shift));
    store(p + j, e);
    total = add(total, e);
  }
  if (next != top) {
    const V f = set1(std::exp2((top - next) * log2_e));
    for (int d = 0; d < D; d += W) store(o + d, mul(load(o + d), f));
    total = fma(load(sums), f, total);
    top = next;
  } else {
    total = add(total, load(sums));
  }
  store(sums, total);
}

// x scaled, as T.
template <typename T>
FT_KERNEL void write_scaled(const float* x, int D, float scale, T* out) noexcept {
  for (int d = 0; d < D; d += W) store(out + d, mul(load(x + d), set1(scale)));
}

struct State {  // of up to BR queries on their way through the keys
  alignas(64) Bf16 q[BR * attention_max_D], w[MR * BC];
  alignas(64) float o[BR * attention_max_D], s[MR * BC], sums[BR * W];
  float top[BR];
};

template <typename T>
FT_KERNEL void begin_row(const AttentionArgs& p, State& t, int i, const T* q) noexcept {
  t.top[i] = -INFINITY;
  store(t.sums + i * W, zero());
  std::memset(t.o + i * p.D, 0, sizeof(float) * p.D);
  std::memcpy(t.q + i * p.D, q, sizeof(Bf16) * p.D);
}

FT_KERNEL float sum_of(const State& t, int i) noexcept { return hsum(load(t.sums + i * W)); }

// Takes `rows` queries through the keys n0 .. n0 + BC, packed in kt and vp; `v`: their values where they lie, if one is
// not finite, else null.
template <typename T>
FT_KERNEL void step(const AttentionArgs& p, State& t, const Ranges& of, int rows, int n0, const Pair* kt,
                    const Pair* vp, const T* v) noexcept {
  const int D = static_cast<int>(p.D), pair = D / 2;
  const Scores c(p);
  for (int i0 = 0; i0 < rows; i0 += MR) {
    const int m = rows - i0 < MR ? rows - i0 : MR;
    const Range r = seen({of.lo + i0, of.hi + i0}, m, n0, n0 + BC);
    if (r.begin >= r.end) continue;
    const int begin = (r.begin - n0) / NR * NR, end = (r.end - n0 + W - 1) / W * W;
    product(m, end - begin, pair, pairs(t.q + i0 * D), pair, 1, kt + begin * pair, NR, pair * NR, t.s + begin, BC,
            false);
    for (int i = 0; i < m; ++i) {
      const int from = of.lo[i0 + i] - n0, to = of.hi[i0 + i] - n0;
      if (to <= from || to <= begin || from >= end)
        std::memset(t.w + i * BC + begin, 0, sizeof(Bf16) * (end - begin));
      else
        softmax_row(c, t.s + i * BC, t.w + i * BC, begin, end, from, to, t.top[i0 + i], t.sums + (i0 + i) * W,
                    t.o + (i0 + i) * D, D);
    }
    product(m, D, (end - begin) / 2, pairs(t.w + begin), BC / 2, 1, vp + begin * pair, D, NR, t.o + i0 * D, D, true);
    for (int i = 0; i < m && v != nullptr; ++i) {
      const Range keys = seen_of_block(of, i0 + i, n0, BC);
      gather_not_finite(t.w + i * BC, v, p.v.t, keys.begin, keys.end, D, t.o + (i0 + i) * D);
    }
  }
}

// Returns whether the values are finite; those that are not are packed as 0.
template <typename T>
FT_KERNEL bool pack_keys(const AttentionArgs& p, std::size_t kv, int n0, int keys, Pair* kt, Pair* vp) noexcept {
  const int D = static_cast<int>(p.D), packed = (keys + 1) / 2 * D;
  pack_panels(at<T>(p.k, kv / p.Hkv, n0, kv % p.Hkv), p.k.t, keys, BC, D, kt);
  pack_rows(at<T>(p.v, kv / p.Hkv, n0, kv % p.Hkv), p.v.t, keys, D, vp);
  std::memset(vp + packed, 0, sizeof(Pair) * (BC / 2 * D - packed));
  const bool finite = is_finite(values(vp), 2 * packed);
  if (!finite) clear_not_finite(values(vp), 2 * packed);
  return finite;
}
