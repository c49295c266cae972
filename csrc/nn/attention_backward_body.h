#pragma once /* part of attention */
// The backward in fp32, for arrays of fp32 and bf16. Included after attention_backward_items.h.
//
// A block of keys goes through tiles of queries; dq adds up in fp32 over the blocks, in place where it is fp32.

struct Tile {
  alignas(64) float q[BR * attention_max_D], dout[BR * attention_max_D], p[BR * BC], ds[BR * BC];
  alignas(64) float kt[BC * attention_max_D], vt[BC * attention_max_D], k[BC * attention_max_D];
  alignas(64) float dk[BC * attention_max_D], dv[BC * attention_max_D];
  bool k_finite, alone;  // alone: no other thread writes dq
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

// Adds to t.dk and t.dv (keys n0..n0+BC) and to dq what queries q0..q0+BR of one head give.
template <typename T>
FT_KERNEL void backward_tile(const AttentionArgs& a, Tile& t, const Head& of, int q0, int n0) noexcept {
  const int D = static_cast<int>(a.D), left = static_cast<int>(a.Tq) - q0, rows = left < BR ? left : BR;
  const Ranges see = ranges_of(a, of.b, q0);
  if (const Range all = seen(see, rows, n0, n0 + BC); all.begin >= all.end) return;
  if (!t.alone) fetch_tile(a, of, static_cast<std::size_t>(q0));
  const T *q = at<T>(a.q, of.b, q0, of.h), *dout = at<T>(a.dout, of.b, q0, of.h);
  pack_rows(q, a.q.t, rows, rows, D, a.scale, t.q);
  pack_rows(dout, a.dout.t, rows, rows, D, 1.0f, t.dout);
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
    for (int i = 0; i < m && !t.k_finite; ++i) {
      const Range keys = seen_of_block(see, i0 + i, n0, BC);
      gather_not_finite(ds + i * BC, at<T>(a.k, of.b, n0, of.h / (a.H / a.Hkv)), a.k.t, keys.begin, keys.end, D,
                        of.dq + (q0 + i0 + i) * of.dq_row);
    }
  }
  const bool broken = of.broken[q0 / BR] != 0.0f;
  if (broken) clear_not_finite(t.q, rows * D), clear_not_finite(t.dout, rows * D);
  for (int j = 0; j < BC; j += MR) {
    const int m = BC - j < MR ? BC - j : MR;
    const Range r = seeing(see, rows, n0 + j, n0 + j + m);
    if (r.begin >= r.end) continue;
    const int queries = r.end - r.begin;
    product(m, D, queries, t.p + r.begin * BC + j, 1, BC, t.dout + r.begin * D, D, NR, t.dv + j * D, D, true);
    product(m, D, queries, t.ds + r.begin * BC + j, 1, BC, t.q + r.begin * D, D, NR, t.dk + j * D, D, true);
  }
  for (int i = 0; i < rows && broken; ++i) {
    const Range keys = seen_of_block(see, i, n0, BC);
    spread_not_finite(t.p + i * BC, 1, 1.0f, dout + i * a.dout.t, keys.begin, keys.end, D, t.dv);
    spread_not_finite(t.ds + i * BC, 1, a.scale, q + i * a.q.t, keys.begin, keys.end, D, t.dk);
  }
}

template <typename T>
FT_KERNEL void backward_block(const AttentionArgs& a, std::size_t b, std::size_t hkv, int n0, Turn& turn) noexcept {
  Tile t;
  const int D = static_cast<int>(a.D), left = static_cast<int>(a.Tk) - n0, keys = left < BC ? left : BC;
  const int group = static_cast<int>(a.H / a.Hkv), tiles = static_cast<int>(tiles_of(a));
  const T *k = at<T>(a.k, b, n0, hkv), *v = at<T>(a.v, b, n0, hkv);
  pack_panels(k, a.k.t, keys, BC, D, t.kt);
  pack_panels(v, a.v.t, keys, BC, D, t.vt);
  pack_rows(k, a.k.t, keys, BC, D, 1.0f, t.k);
  t.k_finite = is_finite(t.k, keys * D);
  if (!t.k_finite) clear_not_finite(t.k, keys * D);
  std::memset(t.dk, 0, sizeof(float) * BC * D);
  std::memset(t.dv, 0, sizeof(float) * BC * D);
  t.alone = turn.is_alone();
  for (int step = 0; step < group * tiles; ++step) {
    const Head of = head_of<T>(a, b, hkv * group + step / tiles);
    turn.wait_for(step);
    backward_tile<T>(a, t, of, step % tiles * BR, n0);
    turn.done(step);
  }
  for (int j = 0; j < keys; ++j) {
    write_scaled(t.dk + j * D, D, 1.0f, at<T>(a.dk, b, a.Tk, n0 + j, a.Hkv, hkv, a.D));
    write_scaled(t.dv + j * D, D, 1.0f, at<T>(a.dv, b, a.Tk, n0 + j, a.Hkv, hkv, a.D));
  }
}
