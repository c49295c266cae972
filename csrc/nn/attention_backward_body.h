#pragma once /* part of attention */
// The backward in fp32, for arrays of fp32 and bf16. Included after attention_body.h.
//
// One thread has all query heads of a kv head: no two threads share an output, and every sum has one order. Outside run
// blocks of keys, inside tiles of queries; dq adds up in fp32 over the blocks, in place where it is fp32.

struct Tile {
  alignas(64) float q[BR * attention_max_D], dout[BR * attention_max_D], p[BR * BC], ds[BR * BC];
  alignas(64) float kt[BC * attention_max_D], vt[BC * attention_max_D], k[BC * attention_max_D];
  alignas(64) float dk[BC * attention_max_D], dv[BC * attention_max_D];
};

// P and dS of one row from its scores and dP; both 0 outside [lo, hi). All four pointers start at key n0.
FT_KERNEL void gradient_row(float* s, float* dp, int begin, int end, int lo, int hi, const float* stats, float delta,
                            float cap) noexcept {
  const V minus_top = set1(-stats[0]), inverse = set1(stats[1]), minus_delta = set1(-delta);
  if (cap > 0.0f)
    for (int j = begin; j < end; j += W) {
      const V x = softcapped(load(s + j), cap), p = mul(exp_nonpositive(add(x, minus_top)), inverse);
      store(s + j, p);
      store(dp + j, mul(mul(p, add(load(dp + j), minus_delta)), softcap_slope(x, cap)));
    }
  else
    for (int j = begin; j < end; j += W) {
      const V p = mul(exp_nonpositive(add(load(s + j), minus_top)), inverse);
      store(s + j, p);
      store(dp + j, mul(p, add(load(dp + j), minus_delta)));
    }
  outside(s, begin, end, lo, hi, 0.0f);
  outside(dp, begin, end, lo, hi, 0.0f);
}

struct Head {  // of queries
  std::size_t b, h;
  const float* delta;  // (Tq,)
  float* dq;           // (Tq, D), rows dq_row floats apart
  std::size_t dq_row;
};

// Adds to t.dk and t.dv (keys n0..n0+BC) and to dq what queries q0..q0+BR of one head give.
template <typename T>
FT_KERNEL void backward_tile(const AttentionArgs& a, Tile& t, const Head& of, int q0, int n0) noexcept {
  const int D = static_cast<int>(a.D), left = static_cast<int>(a.Tq) - q0, rows = left < BR ? left : BR;
  const Ranges see = ranges_of(a, of.b, q0);
  if (const Range all = seen(see, rows, n0, n0 + BC); all.begin >= all.end) return;
  pack_rows(at<T>(a.q, of.b, q0, of.h), a.q.t, rows, rows, D, a.scale, t.q);
  pack_rows(at<T>(a.dout, of.b, q0, of.h), a.dout.t, rows, rows, D, 1.0f, t.dout);
  std::memset(t.p, 0, sizeof(float) * rows * BC);
  std::memset(t.ds, 0, sizeof(float) * rows * BC);
  const float* stats = a.stats + 2 * ((of.b * a.H + of.h) * a.Tq + q0);
  for (int i0 = 0; i0 < rows; i0 += MR) {
    const int m = rows - i0 < MR ? rows - i0 : MR;
    const Range r = seen({see.lo + i0, see.hi + i0}, m, n0, n0 + BC);
    if (r.begin >= r.end) continue;
    const int begin = (r.begin - n0) / NR * NR, end = (r.end - n0 + NR - 1) / NR * NR;
    float *p = t.p + i0 * BC, *ds = t.ds + i0 * BC;
    product(m, end - begin, D, t.q + i0 * D, D, 1, t.kt + begin * D, NR, D * NR, p + begin, BC, false);
    product(m, end - begin, D, t.dout + i0 * D, D, 1, t.vt + begin * D, NR, D * NR, ds + begin, BC, false);
    for (int i = 0; i < m; ++i)
      gradient_row(p + i * BC, ds + i * BC, begin, end, see.lo[i0 + i] - n0, see.hi[i0 + i] - n0, stats + 2 * (i0 + i),
                   of.delta[q0 + i0 + i], a.softcap);
    product(m, D, end - begin, ds + begin, BC, 1, t.k + begin * D, D, NR, of.dq + (q0 + i0) * of.dq_row,
            static_cast<std::ptrdiff_t>(of.dq_row), true);
  }
  for (int j = 0; j < BC; j += MR) {
    const int m = BC - j < MR ? BC - j : MR;
    const Range r = seeing(see, rows, n0 + j, n0 + j + m);
    if (r.begin >= r.end) continue;
    const int queries = r.end - r.begin;
    product(m, D, queries, t.p + r.begin * BC + j, 1, BC, t.dout + r.begin * D, D, NR, t.dv + j * D, D, true);
    product(m, D, queries, t.ds + r.begin * BC + j, 1, BC, t.q + r.begin * D, D, NR, t.dk + j * D, D, true);
  }
}

template <typename T>
FT_KERNEL void clear_and_delta(const AttentionArgs& a, const Head& of, float* delta) noexcept {
  for (std::size_t i = 0; i < a.Tq; ++i) {
    const T *out = at<T>(a.out, of.b, a.Tq, i, a.H, of.h, a.D), *dout = at<T>(a.dout, of.b, i, of.h);
    V sum = zero();
    for (std::size_t d = 0; d < a.D; d += W) {
      sum = fma(load(out + d), load(dout + d), sum);
      store(of.dq + i * of.dq_row + d, zero());
    }
    delta[i] = hsum(sum);
  }
}

template <typename T>
Head head_of(const AttentionArgs& a, std::size_t b, std::size_t h) noexcept {
  const std::size_t line = (b * a.H + h) * a.Tq;
  Head of{b, h, a.work + line, a.work + a.B * a.H * a.Tq + line * a.D, a.D};
  if constexpr (sizeof(T) == sizeof(float)) of.dq = at<float>(a.dq, b, a.Tq, 0, a.H, h, a.D), of.dq_row = a.H * a.D;
  return of;
}

template <typename T>
FT_KERNEL void backward_head(const AttentionArgs& a, Tile& t, std::size_t b, std::size_t hkv) noexcept {
  const std::size_t group = a.H / a.Hkv, h0 = hkv * group;
  const int D = static_cast<int>(a.D), Tk = static_cast<int>(a.Tk), Tq = static_cast<int>(a.Tq);
  for (std::size_t h = h0; h < h0 + group; ++h)
    clear_and_delta<T>(a, head_of<T>(a, b, h), a.work + (b * a.H + h) * a.Tq);
  for (int n0 = 0; n0 < Tk; n0 += BC) {
    const int keys = Tk - n0 < BC ? Tk - n0 : BC;
    const T *k = at<T>(a.k, b, n0, hkv), *v = at<T>(a.v, b, n0, hkv);
    pack_panels(k, a.k.t, keys, BC, D, t.kt);
    pack_panels(v, a.v.t, keys, BC, D, t.vt);
    pack_rows(k, a.k.t, keys, BC, D, 1.0f, t.k);
    std::memset(t.dk, 0, sizeof(float) * BC * D);
    std::memset(t.dv, 0, sizeof(float) * BC * D);
    for (std::size_t h = h0; h < h0 + group; ++h)
      for (int q0 = 0; q0 < Tq; q0 += BR) backward_tile<T>(a, t, head_of<T>(a, b, h), q0, n0);
    for (int j = 0; j < keys; ++j) {
      write_scaled(t.dk + j * D, D, 1.0f, at<T>(a.dk, b, a.Tk, n0 + j, a.Hkv, hkv, a.D));
      write_scaled(t.dv + j * D, D, 1.0f, at<T>(a.dv, b, a.Tk, n0 + j, a.Hkv, hkv, a.D));
    }
  }
  for (std::size_t h = h0; h < h0 + group; ++h) {
    const Head of = head_of<T>(a, b, h);
    for (std::size_t i = 0; i < a.Tq; ++i)
      write_scaled(of.dq + i * of.dq_row, D, a.scale, at<T>(a.dq, b, a.Tq, i, a.H, h, a.D));
  }
}

template <typename T>
void backward_as(const AttentionArgs& a) noexcept {
  parallel_for(a.B * a.Hkv, a.threads, [&](std::size_t i) {
    Tile tile;
    backward_head<T>(a, tile, i / a.Hkv, i % a.Hkv);
  });
}
