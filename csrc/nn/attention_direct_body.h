#pragma once /* part of attention */
// A split of a decoding step for up to attention_direct queries a kv head: memory bound, so nothing is packed. Keys are
// read four at a time, all heads of an item before the next four: where heads lie side by side that is one stream for
// the CPU's prefetcher. Online softmax over blocks of keys, sums in fp32. Included after attention_body.h or
// attention_bf16_body.h.

constexpr int direct_block = 128;  // keys
constexpr int direct_ahead = 16;   // rows between what is read and what is asked for

struct Direct {  // R queries of each kv head
  alignas(64) float q[attention_few * attention_max_D], s[attention_few * direct_block];
};

// Rows of keys or values of one kv head in a block, and what is read after the block.
template <typename T>
struct Rows {
  const T *x, *after;
  std::size_t stride, after_stride;
  int n;
};

// Four of them, from row j on; of those behind the last one, the last one again. `soon`: the row to ask memory for.
template <typename T>
struct Four {
  static constexpr int line = 64 / sizeof(T);  // of the CPU's cache
  const T *row[4], *soon[4];
  Four(const Rows<T>& of, int j) noexcept {
    for (int i = 0; i < 4; ++i) {
      const int far = j + i + direct_ahead;
      row[i] = of.x + (j + i < of.n ? j + i : of.n - 1) * of.stride;
      soon[i] = far < of.n ? of.x + far * of.stride : of.after + (far - of.n) * of.after_stride;
    }
  }
};

// s[r][0 .. 3] = q[r] . keys, for R rows.
template <int R, typename T>
FT_KERNEL void dot_four(const Four<T>& keys, const float* q, int D, float* s) noexcept {
  V sum[R][4];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) sum[r][j] = zero();
  for (int d = 0; d < D; d += W) {
    V k[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) k[j] = load(keys.row[j] + d);
    if (d % keys.line == 0)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) __builtin_prefetch(keys.soon[j] + d);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const V x = load(q + r * D + d);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) sum[r][j] = fma(x, k[j], sum[r][j]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) hsum4(sum[r], s + r * direct_block);
}

// o[r] += p[r][0 .. 3] of the values, for R rows.
template <int R, typename T>
FT_KERNEL void add_four(const Four<T>& values, const float* p, int D, float* o) noexcept {
  V weight[R][4];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) weight[r][j] = set1(p[r * direct_block + j]);
  for (int d = 0; d < D; d += W) {
    V v[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) v[j] = load(values.row[j] + d);
    if (d % values.line == 0)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) __builtin_prefetch(values.soon[j] + d);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      V x = load(o + r * D + d);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) x = fma(weight[r][j], v[j], x);
      store(o + r * D + d, x);
    }
  }
}

// o += p[i] of the values i among j .. j + 3 that lie in [from, to) and before n.
template <typename T>
FT_KERNEL void add_seen(const float* p, const T* v, std::size_t stride, int from, int to, int j, int n, int D,
                        float* o) noexcept {
  to = to < n ? to : n;
  for (int i = from > j ? from : j; i < to && i < j + 4; ++i)
    for (int d = 0; d < D; d += W) store(o + d, fma(set1(p[i]), load(v + i * stride + d), load(o + d)));
}

template <typename T>
auto dot_of(int R) noexcept {
  constexpr decltype(&dot_four<1, T>) of[attention_direct] = {dot_four<1, T>, dot_four<2, T>, dot_four<3, T>,
                                                              dot_four<4, T>};
  return of[R - 1];
}
template <typename T>
auto add_of(int R) noexcept {
  constexpr decltype(&add_four<1, T>) of[attention_direct] = {add_four<1, T>, add_four<2, T>, add_four<3, T>,
                                                              add_four<4, T>};
  return of[R - 1];
}

// One row's step of the online softmax over s[0, n), of which it sees [from, to): s becomes P, 0 where nothing is seen
// and up to the next whole vector; top and sum move on, o is rescaled.
FT_KERNEL void direct_softmax(float* s, int n, int from, int to, float cap, float& top, float& sum, float* o,
                              int D) noexcept {
  const int end = (n + W - 1) / W * W;
  from = from < 0 ? 0 : from, to = to > n ? n : to;
  if (from >= to) {
    std::memset(s, 0, sizeof(float) * end);
    return;
  }
  if (cap > 0.0f)
    for (int j = 0; j < end; j += W) store(s + j, softcapped(load(s + j), cap));
  for (int j = 0; j < from; ++j) s[j] = -INFINITY;
  for (int j = to; j < end; ++j) s[j] = -INFINITY;
  V most = load(s), total = zero();
  for (int j = W; j < end; j += W) most = max(most, load(s + j));
  const float now = hmax(most), next = now > top ? now : top;
  for (int j = 0; j < end; j += W) {
    const V p = exp_nonpositive(add(load(s + j), set1(-next)));
    store(s + j, p);
    total = add(total, p);
  }
  if (next != top && sum != 0.0f) {
    const float factor = std::exp(top - next);
    for (int d = 0; d < D; d += W) store(o + d, mul(load(o + d), set1(factor)));
    sum *= factor;
  }
  top = next;
  sum += hsum(total);
}

// What the queries of `heads` kv heads from `first` on make of the keys [begin, end): `part`, the heads `apart` floats
// from each other, is o (R, D), top (R), sum (R).
template <typename T>
FT_KERNEL void direct_split(const AttentionArgs& p, std::size_t b, std::size_t first, int heads, int begin, int end,
                            float* part, std::size_t apart) noexcept {
  Direct t;
  const int group = static_cast<int>(p.H / p.Hkv), R = static_cast<int>(p.Tq) * group, D = static_cast<int>(p.D);
  const Ranges of = ranges_of(p, b, 0);
  for (int h = 0; h < heads; ++h) {
    float* o = part + h * apart;
    std::memset(o, 0, sizeof(float) * R * D);
    for (int r = 0; r < R; ++r) {
      const T* q = at<T>(p.q, b, r / group, (first + h) * group + r % group);
      for (int d = 0; d < D; d += W) store(t.q + (h * R + r) * D + d, mul(load(q + d), set1(p.scale)));
      o[R * D + r] = -INFINITY, o[R * (D + 1) + r] = 0.0f;
    }
  }
  const Range all = seen(of, static_cast<int>(p.Tq), begin, end);
  const int past = seen(of, static_cast<int>(p.Tq), 0, static_cast<int>(p.Tk)).end;
  const Range every = seen_by_all(of, static_cast<int>(p.Tq), all);
  const auto dot = dot_of<T>(R);
  const auto gather = add_of<T>(R);
  for (int n0 = all.begin; n0 < all.end; n0 += direct_block) {
    const int n = all.end - n0 < direct_block ? all.end - n0 : direct_block;
    for (int j = 0; j < n; j += 4)
      for (int h = 0; h < heads; ++h) {
        const T *k = at<T>(p.k, b, n0, first + h), *v = at<T>(p.v, b, n0, first + h);
        const Four<T> keys(Rows<T>{k, v, p.k.t, p.v.t, n}, j);
        dot(keys, t.q + h * R * D, D, t.s + h * R * direct_block + j);
      }
    for (int h = 0; h < heads; ++h)
      for (int r = 0; r < R; ++r) {
        float* o = part + h * apart;
        direct_softmax(t.s + (h * R + r) * direct_block, n, of.lo[r / group] - n0, of.hi[r / group] - n0, p.softcap,
                       o[R * D + r], o[R * (D + 1) + r], o + r * D, D);
      }
    for (int j = 0; j < n; j += 4)
      for (int h = 0; h < heads; ++h) {
        const T* v = at<T>(p.v, b, n0, first + h);
        if (n0 + j < every.begin || n0 + j + 4 > every.end) {  // a weight of 0 would carry a NaN to who does not see it
          for (int r = 0; r < R; ++r)
            add_seen(t.s + (h * R + r) * direct_block, v, p.v.t, of.lo[r / group] - n0, of.hi[r / group] - n0, j, n, D,
                     part + h * apart + r * D);
          continue;
        }
        const bool last = n0 + n >= past;
        const T* after = last ? v : at<T>(p.k, b, n0 + n, first + h);  // what nobody reads is not asked for
        const Four<T> values(Rows<T>{v, after, p.v.t, last ? 0 : p.k.t, n}, j);
        gather(values, t.s + h * R * direct_block + j, D, part + h * apart);
      }
  }
}
