#pragma once /* part of attention */
// A decoding step: few queries of a kv head, R = Tq H / Hkv of them, against many keys. Each split of the keys is an
// item of its own, which reads keys and values where they lie, once, and what the splits give is merged in their order.
// Included after attention_direct_body.h and attention_body.h or attention_bf16_body.h.

template <typename T>
FT_KERNEL void write_row(const AttentionArgs& p, std::size_t b, std::size_t i, std::size_t h, const float* o, float top,
                         float sum) noexcept {
  const bool none = sum == 0.0f;
  const float inverse = none ? 0.0f : 1.0f / sum;
  write_scaled(o, static_cast<int>(p.D), inverse, at<T>(p.out, b, p.Tq, i, p.H, h, p.D));
  if (p.stats == nullptr) return;
  float* stats = p.stats + 2 * ((b * p.H + h) * p.Tq + i);
  stats[0] = none ? 0.0f : top, stats[1] = inverse;
}

struct Decode {
  State state;
  alignas(64) Operand kt[BC * attention_max_D / PER], vp[BC * attention_max_D / PER];
  std::int32_t lo[attention_few], hi[attention_few];
};
static_assert(attention_few <= BR && attention_split % BC == 0);

// What the queries make of the keys [begin, end): `part` is o (R, D), top (R), sum (R).
template <typename T>
FT_KERNEL void decode_split(const AttentionArgs& p, Decode& t, std::size_t kv, int begin, int end,
                            float* part) noexcept {
  const std::size_t b = kv / p.Hkv, h0 = kv % p.Hkv * (p.H / p.Hkv), group = p.H / p.Hkv, R = p.Tq * group;
  const int rows = static_cast<int>(R);
  const Ranges of = ranges_of(p, b, 0), its{t.lo, t.hi};
  for (int r = 0; r < rows; ++r) {
    t.lo[r] = of.lo[r / group], t.hi[r] = of.hi[r / group];
    begin_row(p, t.state, r, at<T>(p.q, b, r / group, h0 + r % group));
  }
  const Range all = seen(of, static_cast<int>(p.Tq), begin, end);
  for (int n0 = all.begin / BC * BC; n0 < all.end; n0 += BC) {
    const int keys = all.end - n0 < BC ? all.end - n0 : BC;
    const bool finite = pack_keys<T>(p, kv, n0, keys, t.kt, t.vp);
    step(p, t.state, its, rows, n0, t.kt, t.vp, finite ? nullptr : at<T>(p.v, b, n0, kv % p.Hkv));
  }
  std::memcpy(part, t.state.o, sizeof(float) * R * p.D);
  for (int r = 0; r < rows; ++r) part[R * p.D + r] = t.state.top[r], part[R * (p.D + 1) + r] = sum_of(t.state, r);
}

// Query r of a kv head from the parts of all splits, `size` floats each.
template <typename T>
FT_KERNEL void merge(const AttentionArgs& p, std::size_t kv, std::size_t r, const float* part, std::size_t size,
                     std::size_t splits) noexcept {
  const std::size_t group = p.H / p.Hkv, R = p.Tq * group;
  float top = -INFINITY, sum = 0.0f;
  alignas(64) float o[attention_max_D] = {};
  for (std::size_t i = 0; i < splits; ++i) top = std::fmax(top, part[i * size + R * p.D + r]);
  for (std::size_t i = 0; i < splits; ++i) {
    const float *from = part + i * size, its = from[R * (p.D + 1) + r];
    if (its == 0.0f) continue;  // saw nothing; a NaN goes on
    const float f = std::exp(from[R * p.D + r] - top);
    sum += its * f;
    for (std::size_t d = 0; d < p.D; d += W) store(o + d, fma(load(from + r * p.D + d), set1(f), load(o + d)));
  }
  write_row<T>(p, kv / p.Hkv, r / group, kv % p.Hkv * group + r % group, o, top, sum);
}

// Up to attention_direct queries a kv head: an item is a split of some kv heads, all of them where that makes items
// enough. What a head gives does not depend on the heads beside it.
template <typename T>
void decode_direct(const AttentionArgs& p, std::size_t splits, std::size_t size) noexcept {
  if (p.B * p.H * p.Tq * p.Tk == 0) return;
  const std::size_t most = attention_few / (p.Tq * (p.H / p.Hkv)), items = p.B * splits;
  const std::size_t wanted = p.threads > 1 ? (4 * static_cast<std::size_t>(p.threads) + items - 1) / items : 1;
  std::size_t heads = p.k.t < p.k.h ? 1 : (p.Hkv + wanted - 1) / wanted;
  heads = heads < most ? heads : most;
  const std::size_t groups = (p.Hkv + heads - 1) / heads;
  parallel_for(items * groups, p.threads, [&](std::size_t item) {
    const std::size_t b = item / groups / splits, split = item / groups % splits, first = item % groups * heads;
    const std::size_t begin = split * attention_split, left = p.Tk - begin, its = p.Hkv - first;
    const std::size_t end = begin + (left < attention_split ? left : attention_split);
    direct_split<T>(p, b, first, static_cast<int>(its < heads ? its : heads), static_cast<int>(begin),
                    static_cast<int>(end), p.work + ((b * p.Hkv + first) * splits + split) * size, splits * size);
  });
}

template <typename T>
void decode_packed(const AttentionArgs& p, std::size_t splits, std::size_t size) noexcept {
  parallel_for(p.B * p.Hkv * splits, p.threads, [&](std::size_t item) {  // heads inside: their keys share pages
    Decode t;
    const std::size_t split = item / p.Hkv % splits, kv = item / p.Hkv / splits * p.Hkv + item % p.Hkv;
    const std::size_t begin = split * attention_split, left = p.Tk - begin;
    const std::size_t end = begin + (left < attention_split ? left : attention_split);
    decode_split<T>(p, t, kv, static_cast<int>(begin), static_cast<int>(end), p.work + (kv * splits + split) * size);
  });
}

template <typename T>
void decode(const AttentionArgs& p) noexcept {
  const std::size_t splits = (p.Tk + attention_split - 1) / attention_split, R = p.Tq * (p.H / p.Hkv);
  const std::size_t size = R * (p.D + 2), heads = p.B * p.Hkv;
  if (R <= attention_direct)
    decode_direct<T>(p, splits, size);
  else
    decode_packed<T>(p, splits, size);
  const bool small = heads * splits * size < 65536;  // waking threads takes longer
  parallel_for(heads, small ? 1 : p.threads, [&](std::size_t kv) {
    for (std::size_t r = 0; r < R; ++r) merge<T>(p, kv, r, p.work + kv * splits * size, size, splits);
  });
}
