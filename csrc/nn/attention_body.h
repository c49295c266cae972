#pragma once /* part of attention */
// The algorithm, written once over a vector type; included by attention.cpp, attention_avx2.cpp and
// attention_avx512.cpp inside a namespace of their own, after their vectors (vector_*.h) and NV (vectors of an
// accumulator row).
//
// One micro-kernel does every product: C (M x N) (+)= A (M x K) B (K x N), M <= 6 rows of A broadcast value by value
// from any strides, B read by vectors along N. So P^T and dS^T need no transposition; only keys (and, backward, values)
// are packed transposed, in panels of NR columns. Row groups of 6 queries compute only the panels that they see: a
// causal mask wastes at most one panel a group.

constexpr int MR = 6, NR = NV * W;
constexpr int BR = 48, BC = 64;  // queries and keys of a tile: q, dout, P, dS, k^T, v^T, k of 64 floats stay in L2
static_assert(BC % NR == 0 && BR % MR == 0 && BC == attention_pad);

template <int M, int N>
FT_KERNEL void micro(const float* A, std::ptrdiff_t a_row, std::ptrdiff_t a_k, const float* B, std::ptrdiff_t b_row,
                     float* C, std::ptrdiff_t c_row, int K, bool keep) noexcept {
  V c[M][N];
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) c[i][j] = keep ? load(C + i * c_row + j * W) : zero();
  for (int k = 0; k < K; ++k) {
    V b[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) b[j] = load(B + k * b_row + j * W);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
      const V a = set1(A[i * a_row + k * a_k]);
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) c[i][j] = fma(a, b[j], c[i][j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) store(C + i * c_row + j * W, c[i][j]);
}

using MicroFn = void (*)(const float*, std::ptrdiff_t, std::ptrdiff_t, const float*, std::ptrdiff_t, float*,
                         std::ptrdiff_t, int, bool) noexcept;

template <int N>
constexpr MicroFn micro_of(int rows) {
  constexpr MicroFn of[MR] = {micro<1, N>, micro<2, N>, micro<3, N>, micro<4, N>, micro<5, N>, micro<6, N>};
  return of[rows - 1];
}

// C (rows x N) (+)= A B, N a multiple of W; B's panels of NR columns lie b_panel floats apart.
FT_KERNEL void product(int rows, int N, int K, const float* A, std::ptrdiff_t a_row, std::ptrdiff_t a_k, const float* B,
                       std::ptrdiff_t b_row, std::ptrdiff_t b_panel, float* C, std::ptrdiff_t c_row,
                       bool keep) noexcept {
  for (int n = 0; n < N; n += NR, B += b_panel, C += NR) {
    const int vectors = (N - n) / W;
    const MicroFn fn = vectors >= NV            ? micro_of<NV>(rows)
                       : NV > 3 && vectors == 3 ? micro_of<(NV > 3 ? 3 : 1)>(rows)
                       : NV > 2 && vectors == 2 ? micro_of<(NV > 2 ? 2 : 1)>(rows)
                                                : micro_of<1>(rows);
    fn(A, a_row, a_k, B, b_row, C, c_row, K, keep);
  }
}

// Keys [0, Tk) of one (b, kv head), padded with zeros to whole tiles.
struct Head {
  const float* rows;  // (Tk, D) with `stride` floats a row
  std::size_t stride, Tk, Tp, D;
};

inline void pack_rows(const Head& x, float* out) noexcept {  // out (Tp, D)
  for (std::size_t t = 0; t < x.Tk; ++t) std::memcpy(out + t * x.D, x.rows + t * x.stride, x.D * sizeof(float));
  std::memset(out + x.Tk * x.D, 0, (x.Tp - x.Tk) * x.D * sizeof(float));
}

inline void pack_panels(const Head& x, float* out) noexcept {  // out (Tp / NR, D, NR)
  for (std::size_t t = 0; t < x.Tp; ++t) {
    float* column = out + t / NR * NR * x.D + t % NR;
    const float* row = x.rows + t * x.stride;
    for (std::size_t d = 0; d < x.D; ++d) column[d * NR] = t < x.Tk ? row[d] : 0.0f;
  }
}

// What rows [first, first + rows) see: the union of their ranges, cut to [begin, end).
struct Range {
  int begin, end;
};

inline Range seen(const std::int32_t* lo, const std::int32_t* hi, int rows, int begin, int end) noexcept {
  Range r{end, begin};
  for (int i = 0; i < rows; ++i) {
    if (lo[i] >= hi[i]) continue;
    r.begin = lo[i] < r.begin ? lo[i] : r.begin;
    r.end = hi[i] > r.end ? hi[i] : r.end;
  }
  r.begin = r.begin < begin ? begin : r.begin;
  r.end = r.end > end ? end : r.end;
  return r;
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

FT_KERNEL void copy_scaled(const float* x, std::size_t stride, int rows, int D, float scale, float* out) noexcept {
  const V f = set1(scale);
  for (int i = 0; i < rows; ++i)
    for (int d = 0; d < D; d += W) store(out + i * D + d, mul(load(x + i * stride + d), f));
}

FT_KERNEL void forward_tile(const AttentionArgs& p, std::size_t b, std::size_t h, int q0, const float* kt,
                            const float* vp) noexcept {
  alignas(64) float q[BR * attention_max_D], o[BR * attention_max_D], s[MR * BC];
  const int D = static_cast<int>(p.D), left = static_cast<int>(p.Tq) - q0, rows = left < BR ? left : BR;
  const std::size_t q_row = p.H * p.D, first = (b * p.Tq + q0) * q_row + h * p.D;
  const std::size_t mask = (p.Bm == 1 ? 0 : b) * p.Tq + q0;
  const std::int32_t *lo = p.lo + mask, *hi = p.hi + mask;
  float top[BR], sum[BR];
  for (int i = 0; i < rows; ++i) top[i] = -INFINITY, sum[i] = 0.0f;
  std::memset(o, 0, sizeof(float) * rows * D);
  copy_scaled(p.q + first, q_row, rows, D, p.scale, q);
  const Range all = seen(lo, hi, rows, 0, static_cast<int>(p.Tk));
  for (int n0 = all.begin / BC * BC; n0 < all.end; n0 += BC)
    for (int i0 = 0; i0 < rows; i0 += MR) {
      const int m = rows - i0 < MR ? rows - i0 : MR;
      const Range r = seen(lo + i0, hi + i0, m, n0, n0 + BC);
      if (r.begin >= r.end) continue;
      const int begin = (r.begin - n0) / NR * NR, end = (r.end - n0 + NR - 1) / NR * NR;
      product(m, end - begin, D, q + i0 * D, D, 1, kt + static_cast<std::size_t>(n0 + begin) * D, NR, D * NR, s + begin,
              BC, false);
      for (int i = 0; i < m; ++i) {
        const int from = lo[i0 + i] - n0, to = hi[i0 + i] - n0;
        const bool blind = to <= from || to <= begin || from >= end;
        outside(s + i * BC, begin, end, from, to, blind ? 0.0f : -INFINITY);
        if (blind) continue;
        softmax_row(s + i * BC, begin, end, top[i0 + i], sum[i0 + i], o + (i0 + i) * D, D);
      }
      product(m, D, end - begin, s + begin, BC, 1, vp + static_cast<std::size_t>(n0 + begin) * D, D, NR, o + i0 * D, D,
              true);
    }
  for (int i = 0; i < rows; ++i) {
    const bool none = sum[i] == 0.0f;
    const float inverse = none ? 0.0f : 1.0f / sum[i];
    copy_scaled(o + i * D, D, 1, D, inverse, p.out + first + i * q_row);
    float* stats = p.stats + 2 * ((b * p.H + h) * p.Tq + q0 + i);
    stats[0] = none ? 0.0f : top[i], stats[1] = inverse;
  }
}

inline Head head_of(const AttentionArgs& p, const float* x, std::size_t item) noexcept {
  const std::size_t b = item / p.Hkv, h = item % p.Hkv;
  return {x + (b * p.Tk * p.Hkv + h) * p.D, p.Hkv * p.D, p.Tk, (p.Tk + BC - 1) / BC * BC, p.D};
}

inline void forward(const AttentionArgs& p) noexcept {
  const std::size_t heads = p.B * p.Hkv, panel = (p.Tk + BC - 1) / BC * BC * p.D;
  float *kt = p.work, *vp = p.work + heads * panel;
  parallel_for(heads, p.threads, [&](std::size_t i) {
    pack_panels(head_of(p, p.k, i), kt + i * panel);
    pack_rows(head_of(p, p.v, i), vp + i * panel);
  });
  const std::size_t tiles = (p.Tq + BR - 1) / BR;
  parallel_for(tiles * p.B * p.H, p.threads,
               [&](std::size_t item) {  // late queries first: a causal mask gives them most
                 const std::size_t tile = tiles - 1 - item / (p.B * p.H), b = item / p.H % p.B, h = item % p.H;
                 const std::size_t kv = b * p.Hkv + h / (p.H / p.Hkv);
                 forward_tile(p, b, h, static_cast<int>(tile) * BR, kt + kv * panel, vp + kv * panel);
               });
}

// P and dS of one row from its scores and dP; both 0 outside [lo, hi). All four pointers start at key n0.
FT_KERNEL void gradient_row(float* s, float* dp, int begin, int end, int lo, int hi, const float* stats,
                            float delta) noexcept {
  const V minus_top = set1(-stats[0]), inverse = set1(stats[1]), minus_delta = set1(-delta);
  for (int j = begin; j < end; j += W) {
    const V p = mul(exp_nonpositive(add(load(s + j), minus_top)), inverse);
    store(s + j, p);
    store(dp + j, mul(p, add(load(dp + j), minus_delta)));
  }
  outside(s, begin, end, lo, hi, 0.0f);
  outside(dp, begin, end, lo, hi, 0.0f);
}

struct Tile {
  alignas(64) float q[BR * attention_max_D], dout[BR * attention_max_D], p[BR * BC], ds[BR * BC];
  alignas(64) float dk[BC * attention_max_D], dv[BC * attention_max_D];
};

// Adds to t.dk and t.dv (keys n0..n0+BC of one kv head) and to dq what queries q0..q0+BR of head h give.
FT_KERNEL void backward_tile(const AttentionArgs& a, Tile& t, std::size_t b, std::size_t h, int q0, int n0,
                             const float* kt, const float* vt, const float* kp, const float* delta) noexcept {
  const int D = static_cast<int>(a.D), left = static_cast<int>(a.Tq) - q0, rows = left < BR ? left : BR;
  const std::size_t mask = (a.Bm == 1 ? 0 : b) * a.Tq + q0;
  const std::int32_t *lo = a.lo + mask, *hi = a.hi + mask;
  if (const Range all = seen(lo, hi, rows, n0, n0 + BC); all.begin >= all.end) return;
  const std::size_t q_row = a.H * a.D, first = (b * a.Tq + q0) * q_row + h * a.D, line = (b * a.H + h) * a.Tq + q0;
  copy_scaled(a.q + first, q_row, rows, D, a.scale, t.q);
  copy_scaled(a.dout + first, q_row, rows, D, 1.0f, t.dout);
  std::memset(t.p, 0, sizeof(float) * rows * BC);
  std::memset(t.ds, 0, sizeof(float) * rows * BC);
  for (int i0 = 0; i0 < rows; i0 += MR) {
    const int m = rows - i0 < MR ? rows - i0 : MR;
    const Range r = seen(lo + i0, hi + i0, m, n0, n0 + BC);
    if (r.begin >= r.end) continue;
    const int begin = (r.begin - n0) / NR * NR, end = (r.end - n0 + NR - 1) / NR * NR;
    const std::size_t at = static_cast<std::size_t>(n0 + begin) * D;
    float *p = t.p + i0 * BC, *ds = t.ds + i0 * BC;
    product(m, end - begin, D, t.q + i0 * D, D, 1, kt + at, NR, D * NR, p + begin, BC, false);
    product(m, end - begin, D, t.dout + i0 * D, D, 1, vt + at, NR, D * NR, ds + begin, BC, false);
    for (int i = 0; i < m; ++i)
      gradient_row(p + i * BC, ds + i * BC, begin, end, lo[i0 + i] - n0, hi[i0 + i] - n0, a.stats + 2 * (line + i0 + i),
                   delta[line + i0 + i]);
    product(m, D, end - begin, ds + begin, BC, 1, kp + at, D, NR, a.dq + first + i0 * q_row, q_row, true);
  }
  for (int j = 0; j < BC; j += MR) {
    const int m = BC - j < MR ? BC - j : MR;
    int begin = 0, end = rows;  // the queries that see one of these keys
    while (begin < end && (lo[begin] >= n0 + j + m || hi[begin] <= n0 + j)) ++begin;
    while (end > begin && (lo[end - 1] >= n0 + j + m || hi[end - 1] <= n0 + j)) --end;
    if (begin == end) continue;
    product(m, D, end - begin, t.p + begin * BC + j, 1, BC, t.dout + begin * D, D, NR, t.dv + j * D, D, true);
    product(m, D, end - begin, t.ds + begin * BC + j, 1, BC, t.q + begin * D, D, NR, t.dk + j * D, D, true);
  }
}

FT_KERNEL void delta_and_clear(const AttentionArgs& a, std::size_t b, std::size_t h, float* delta) noexcept {
  for (std::size_t i = 0; i < a.Tq; ++i) {
    const std::size_t at = ((b * a.Tq + i) * a.H + h) * a.D;
    V sum = zero();
    for (std::size_t d = 0; d < a.D; d += W) {
      sum = fma(load(a.out + at + d), load(a.dout + at + d), sum);
      store(a.dq + at + d, zero());
    }
    delta[(b * a.H + h) * a.Tq + i] = hsum(sum);
  }
}

// All heads of one group: no two threads share an output, and every sum has one order.
FT_KERNEL void backward_head(const AttentionArgs& a, Tile& t, std::size_t b, std::size_t hkv, const float* kt,
                             const float* vt, const float* kp, float* delta) noexcept {
  const std::size_t group = a.H / a.Hkv, h0 = hkv * group;
  const int D = static_cast<int>(a.D);
  for (std::size_t h = h0; h < h0 + group; ++h) delta_and_clear(a, b, h, delta);
  for (int n0 = 0; n0 < static_cast<int>(a.Tk); n0 += BC) {
    const int left = static_cast<int>(a.Tk) - n0, keys = left < BC ? left : BC;
    std::memset(t.dk, 0, sizeof(float) * BC * D);
    std::memset(t.dv, 0, sizeof(float) * BC * D);
    for (std::size_t h = h0; h < h0 + group; ++h)
      for (int q0 = 0; q0 < static_cast<int>(a.Tq); q0 += BR) backward_tile(a, t, b, h, q0, n0, kt, vt, kp, delta);
    for (int j = 0; j < keys; ++j) {
      const std::size_t at = ((b * a.Tk + n0 + j) * a.Hkv + hkv) * a.D;
      std::memcpy(a.dk + at, t.dk + j * D, sizeof(float) * D);
      std::memcpy(a.dv + at, t.dv + j * D, sizeof(float) * D);
    }
  }
  for (std::size_t h = h0; h < h0 + group; ++h)
    for (std::size_t i = 0; i < a.Tq; ++i) {
      float* dq = a.dq + ((b * a.Tq + i) * a.H + h) * a.D;
      copy_scaled(dq, a.D, 1, D, a.scale, dq);
    }
}

inline void backward(const AttentionArgs& a) noexcept {
  const std::size_t heads = a.B * a.Hkv, panel = (a.Tk + BC - 1) / BC * BC * a.D;
  float *kt = a.work, *vt = kt + heads * panel, *kp = vt + heads * panel, *delta = kp + heads * panel;
  parallel_for(heads, a.threads, [&](std::size_t i) {
    pack_panels(head_of(a, a.k, i), kt + i * panel);
    pack_panels(head_of(a, a.v, i), vt + i * panel);
    pack_rows(head_of(a, a.k, i), kp + i * panel);
    Tile tile;
    backward_head(a, tile, i / a.Hkv, i % a.Hkv, kt + i * panel, vt + i * panel, kp + i * panel, delta);
  });
}
