#pragma once /* part of attention */
// bf16 by vdpbf16ps: the backward. Included after attention_backward_items.h.
//
// A block of keys, whose k^T, v^T, k (as pairs) and dk, dv (fp32) stay in L2, goes through tiles of queries; dq adds up
// in fp32 over the blocks. P and dS are made two rows at a time, since dv = P^T dout and dk = dS^T q add pairs of
// queries.

struct Tile {
  alignas(64) Bf16 q[BR * attention_max_D], dout[BR * attention_max_D], ds[BR * BC];
  alignas(64) Pair q2[BR / 2 * attention_max_D], dout2[BR / 2 * attention_max_D], p2[BR / 2 * BC], ds2[BR / 2 * BC];
  alignas(64) Pair kt[BC / 2 * attention_max_D], vt[BC / 2 * attention_max_D], k2[BC / 2 * attention_max_D];
  alignas(64) float dk[BC * attention_max_D], dv[BC * attention_max_D];
  alignas(64) float s[MR * BC], dp[MR * BC];
  bool k_finite, alone;  // alone: no other thread writes dq
};

struct Row {  // what turns a row's scores and dP into P and dS
  int from, to;
  float shift, inverse, delta;
};

// P and dS of sixteen scores; both 0 in the lanes that are not seen.
FT_INLINE void gradient(const Scores& c, const Row& row, int j, V s, V dp, V& p, V& ds) noexcept {
  const V x = _mm512_min_ps(zero(), fma(s, set1(c.to_log2), set1(row.shift)));  // a NaN comes back from the second
  const __mmask16 seen = lanes(j, row.from, row.to);
  p = _mm512_maskz_mul_ps(seen, exp2_of(x), set1(row.inverse));
  ds = _mm512_maskz_mul_ps(seen, p, sub(dp, set1(row.delta)));
  if (c.cap > 0.0f) ds = _mm512_maskz_mul_ps(seen, ds, softcap_slope(s, c.cap));
}

// Rows a and b of a pair, BC floats apart in s and dp: P and dS as pairs of rows, dS also as two rows of bf16.
FT_KERNEL void gradient_rows(const Scores& c, const float* s, const float* dp, const Row& a, const Row& b, int begin,
                             int end, Pair* p2, Pair* ds2, Bf16* ds) noexcept {
  for (int j = begin; j < end; j += W) {
    V pa, pb, da, db;
    gradient(c, a, j, load(s + j), load(dp + j), pa, da);
    gradient(c, b, j, load(s + BC + j), load(dp + BC + j), pb, db);
    const __m512i p = (__m512i)_mm512_cvtne2ps_pbh(pb, pa), d = (__m512i)_mm512_cvtne2ps_pbh(db, da);
    _mm512_storeu_si512(p2 + j, interleave(p));
    _mm512_storeu_si512(ds2 + j, interleave(d));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(ds + j), _mm512_castsi512_si256(d));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(ds + BC + j), _mm512_extracti64x4_epi64(d, 1));
  }
}

// Adds to t.dk and t.dv (keys n0..n0+BC) and to dq what queries q0..q0+BR of one head give.
FT_KERNEL void backward_tile(const AttentionArgs& a, const Scores& c, Tile& t, const Head& of, int q0,
                             int n0) noexcept {
  const int D = static_cast<int>(a.D), left = static_cast<int>(a.Tq) - q0, rows = left < BR ? left : BR;
  const int rows_2 = (rows + 1) / 2 * 2;
  const Ranges see = ranges_of(a, of.b, q0);
  if (const Range all = seen(see, rows, n0, n0 + BC); all.begin >= all.end) return;
  if (!t.alone) fetch_tile(a, of, static_cast<std::size_t>(q0));
  const Bf16 *q = at<Bf16>(a.q, of.b, q0, of.h), *dout = at<Bf16>(a.dout, of.b, q0, of.h);
  for (int i = 0; i < rows; ++i) {
    std::memcpy(t.q + i * D, q + i * a.q.t, sizeof(Bf16) * a.D);
    std::memcpy(t.dout + i * D, dout + i * a.dout.t, sizeof(Bf16) * a.D);
  }
  pack_rows(t.q, a.D, rows, D, t.q2);
  pack_rows(t.dout, a.D, rows, D, t.dout2);
  const bool broken = of.broken[q0 / BR] != 0.0f;
  if (broken) clear_not_finite(values(t.q2), rows_2 * D), clear_not_finite(values(t.dout2), rows_2 * D);
  std::memset(t.p2, 0, sizeof(t.p2));
  std::memset(t.ds2, 0, sizeof(t.ds2));
  const float* stats = a.stats + 2 * ((of.b * a.H + of.h) * a.Tq + q0);
  for (int i0 = 0; i0 < rows; i0 += MR) {
    const int m = rows - i0 < MR ? rows - i0 : MR;
    const Range r = seen({see.lo + i0, see.hi + i0}, m, n0, n0 + BC);
    if (r.begin >= r.end) continue;
    const int begin = (r.begin - n0) / NR * NR, end = (r.end - n0 + W - 1) / W * W, pair = D / 2;
    product(m, end - begin, pair, pairs(t.q + i0 * D), pair, 1, t.kt + begin * pair, NR, pair * NR, t.s + begin, BC,
            false);
    product(m, end - begin, pair, pairs(t.dout + i0 * D), pair, 1, t.vt + begin * pair, NR, pair * NR, t.dp + begin, BC,
            false);
    for (int i = 0; i < m; i += 2) {
      Row row[2] = {};
      for (int k = 0; k < 2 && i + k < m; ++k) {
        const int at = i0 + i + k;
        row[k] = {see.lo[at] - n0, see.hi[at] - n0, -stats[2 * at] * log2_e, stats[2 * at + 1], of.delta[q0 + at]};
        if (!c.plain) prepare(c, t.s + (i + k) * BC, begin, end);
      }
      const int line = (i0 + i) / 2 * BC;
      gradient_rows(c, t.s + i * BC, t.dp + i * BC, row[0], row[1], begin, end, t.p2 + line, t.ds2 + line,
                    t.ds + (i0 + i) * BC);
    }
    product(m, D, (end - begin) / 2, pairs(t.ds + i0 * BC + begin), BC / 2, 1, t.k2 + begin * pair, D, NR,
            of.dq + static_cast<std::size_t>(q0 + i0) * a.D, D, true);
    for (int i = 0; i < m && !t.k_finite; ++i) {
      const Range keys = seen_of_block(see, i0 + i, n0, BC);
      gather_not_finite(t.ds + (i0 + i) * BC, at<Bf16>(a.k, of.b, n0, of.h / (a.H / a.Hkv)), a.k.t, keys.begin,
                        keys.end, D, of.dq + static_cast<std::size_t>(q0 + i0 + i) * a.D);
    }
  }
  for (int j = 0; j < BC; j += MR) {
    const int m = BC - j < MR ? BC - j : MR;
    const Range r = seeing(see, rows, n0 + j, n0 + j + m);
    if (r.begin >= r.end) continue;
    const int begin = r.begin / 2, end = (r.end + 1) / 2;
    product(m, D, end - begin, t.p2 + begin * BC + j, 1, BC, t.dout2 + begin * D, D, NR, t.dv + j * D, D, true);
    product(m, D, end - begin, t.ds2 + begin * BC + j, 1, BC, t.q2 + begin * D, D, NR, t.dk + j * D, D, true);
  }
  for (int i = 0; i < rows && broken; ++i) {
    const Range keys = seen_of_block(see, i, n0, BC);
    const Bf16* p = values(t.p2 + i / 2 * BC) + i % 2;  // of this row in its pair
    spread_not_finite(p, 2, 1.0f, dout + i * a.dout.t, keys.begin, keys.end, D, t.dv);
    spread_not_finite(t.ds + i * BC, 1, 1.0f, q + i * a.q.t, keys.begin, keys.end, D, t.dk);
  }
}

template <typename T>
FT_KERNEL void backward_block(const AttentionArgs& a, std::size_t b, std::size_t hkv, int n0, Turn& turn) noexcept {
  Tile t;
  const Scores c(a);
  const int D = static_cast<int>(a.D), left = static_cast<int>(a.Tk) - n0, keys = left < BC ? left : BC;
  const int group = static_cast<int>(a.H / a.Hkv), tiles = static_cast<int>(tiles_of(a)), packed = (keys + 1) / 2 * D;
  const T *k = at<T>(a.k, b, n0, hkv), *v = at<T>(a.v, b, n0, hkv);
  pack_panels(k, a.k.t, keys, BC, D, t.kt);
  pack_panels(v, a.v.t, keys, BC, D, t.vt);
  pack_rows(k, a.k.t, keys, D, t.k2);
  t.k_finite = is_finite(values(t.k2), 2 * packed);
  if (!t.k_finite) clear_not_finite(values(t.k2), 2 * packed);
  std::memset(t.k2 + packed, 0, sizeof(Pair) * (BC / 2 * D - packed));
  std::memset(t.dk, 0, sizeof(float) * BC * D);
  std::memset(t.dv, 0, sizeof(float) * BC * D);
  t.alone = turn.is_alone();
  for (int step = 0; step < group * tiles; ++step) {
    const Head of = head_of<T>(a, b, hkv * group + step / tiles);
    turn.wait_for(step);
    backward_tile(a, c, t, of, step % tiles * BR, n0);
    turn.done(step);
  }
  for (int j = 0; j < keys; ++j) {
    write_scaled(t.dk + j * D, D, a.scale, at<T>(a.dk, b, a.Tk, n0 + j, a.Hkv, hkv, a.D));
    write_scaled(t.dv + j * D, D, 1.0f, at<T>(a.dv, b, a.Tk, n0 + j, a.Hkv, hkv, a.D));
  }
}
