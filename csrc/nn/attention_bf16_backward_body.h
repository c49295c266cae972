#pragma once /* part of attention */
// bf16 by vdpbf16ps: the backward. Included after attention_bf16_body.h.
//
// One thread has all query heads of a kv head: no two threads share an output, and every sum has one order. Outside run
// blocks of keys, whose k^T, v^T, k (as pairs) and dk, dv (fp32) stay in L2; inside tiles of queries; dq adds up in
// fp32 over the blocks. P and dS are made two rows at a time, since dv = P^T dout and dk = dS^T q add pairs of queries.

struct Tile {
  alignas(64) Bf16 q[BR * attention_max_D], dout[BR * attention_max_D], ds[BR * BC];
  alignas(64) Pair q2[BR / 2 * attention_max_D], dout2[BR / 2 * attention_max_D], p2[BR / 2 * BC], ds2[BR / 2 * BC];
  alignas(64) Pair kt[BC / 2 * attention_max_D], vt[BC / 2 * attention_max_D], k2[BC / 2 * attention_max_D];
  alignas(64) float dk[BC * attention_max_D], dv[BC * attention_max_D];
  alignas(64) float s[MR * BC], dp[MR * BC];
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

struct Head {  // of queries
  std::size_t b, h;
  const float* delta;  // (Tq,)
  float* dq;           // (Tq, D)
};

// Adds to t.dk and t.dv (keys n0..n0+BC) and to dq what queries q0..q0+BR of one head give.
FT_KERNEL void backward_tile(const AttentionArgs& a, const Scores& c, Tile& t, const Head& of, int q0,
                             int n0) noexcept {
  const int D = static_cast<int>(a.D), left = static_cast<int>(a.Tq) - q0, rows = left < BR ? left : BR;
  const Ranges see = ranges_of(a, of.b, q0);
  if (const Range all = seen(see, rows, n0, n0 + BC); all.begin >= all.end) return;
  const Bf16 *q = at<Bf16>(a.q, of.b, q0, of.h), *dout = at<Bf16>(a.dout, of.b, q0, of.h);
  for (int i = 0; i < rows; ++i) {
    std::memcpy(t.q + i * D, q + i * a.q.t, sizeof(Bf16) * a.D);
    std::memcpy(t.dout + i * D, dout + i * a.dout.t, sizeof(Bf16) * a.D);
  }
  pack_rows(t.q, a.D, rows, D, t.q2);
  pack_rows(t.dout, a.D, rows, D, t.dout2);
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
  }
  for (int j = 0; j < BC; j += MR) {
    const int m = BC - j < MR ? BC - j : MR;
    const Range r = seeing(see, rows, n0 + j, n0 + j + m);
    if (r.begin >= r.end) continue;
    const int begin = r.begin / 2, end = (r.end + 1) / 2;
    product(m, D, end - begin, t.p2 + begin * BC + j, 1, BC, t.dout2 + begin * D, D, NR, t.dv + j * D, D, true);
    product(m, D, end - begin, t.ds2 + begin * BC + j, 1, BC, t.q2 + begin * D, D, NR, t.dk + j * D, D, true);
  }
}

FT_KERNEL void clear_and_delta(const AttentionArgs& a, std::size_t b, std::size_t h, float* delta, float* dq) noexcept {
  std::memset(dq, 0, sizeof(float) * a.Tq * a.D);
  for (std::size_t i = 0; i < a.Tq; ++i) {
    const Bf16 *out = at<Bf16>(a.out, b, a.Tq, i, a.H, h, a.D), *dout = at<Bf16>(a.dout, b, i, h);
    V sum = zero();
    for (std::size_t d = 0; d < a.D; d += W) sum = fma(load(out + d), load(dout + d), sum);
    delta[i] = hsum(sum);
  }
}

FT_KERNEL void backward_head(const AttentionArgs& a, Tile& t, std::size_t b, std::size_t hkv) noexcept {
  const std::size_t group = a.H / a.Hkv, h0 = hkv * group;
  const int D = static_cast<int>(a.D), Tk = static_cast<int>(a.Tk), Tq = static_cast<int>(a.Tq);
  const Scores c(a);
  float *delta = a.work + (b * a.H + h0) * a.Tq, *dq = a.work + a.B * a.H * a.Tq + (b * a.H + h0) * a.Tq * a.D;
  for (std::size_t g = 0; g < group; ++g) clear_and_delta(a, b, h0 + g, delta + g * a.Tq, dq + g * a.Tq * a.D);
  for (int n0 = 0; n0 < Tk; n0 += BC) {
    const int keys = Tk - n0 < BC ? Tk - n0 : BC;
    const Bf16 *k = at<Bf16>(a.k, b, n0, hkv), *v = at<Bf16>(a.v, b, n0, hkv);
    pack_panels(k, a.k.t, keys, BC, D, t.kt);
    pack_panels(v, a.v.t, keys, BC, D, t.vt);
    pack_rows(k, a.k.t, keys, D, t.k2);
    std::memset(t.k2 + (keys + 1) / 2 * D, 0, sizeof(Pair) * (BC / 2 - (keys + 1) / 2) * D);
    std::memset(t.dk, 0, sizeof(float) * BC * D);
    std::memset(t.dv, 0, sizeof(float) * BC * D);
    for (std::size_t g = 0; g < group; ++g)
      for (int q0 = 0; q0 < Tq; q0 += BR)
        backward_tile(a, c, t, {b, h0 + g, delta + g * a.Tq, dq + g * a.Tq * a.D}, q0, n0);
    for (int j = 0; j < keys; ++j) {
      write_scaled(t.dk + j * D, D, a.scale, at<Bf16>(a.dk, b, a.Tk, n0 + j, a.Hkv, hkv, a.D));
      write_scaled(t.dv + j * D, D, 1.0f, at<Bf16>(a.dv, b, a.Tk, n0 + j, a.Hkv, hkv, a.D));
    }
  }
  for (std::size_t g = 0; g < group; ++g)
    for (std::size_t i = 0; i < a.Tq; ++i)
      write_scaled(dq + (g * a.Tq + i) * a.D, D, a.scale, at<Bf16>(a.dq, b, a.Tq, i, a.H, h0 + g, a.D));
}

inline void backward(const AttentionArgs& a) noexcept {
  parallel_for(a.B * a.Hkv, a.threads, [&](std::size_t i) {
    Tile tile;
    backward_head(a, tile, i / a.Hkv, i % a.Hkv);
  });
}
