#pragma once /* part of attention */
// The forward over packed keys, and a decoding step. Included after attention_body.h or attention_bf16_body.h, which
// define operands, products, and how queries step through a block of keys.

template <typename T>
FT_KERNEL void write_row(const AttentionArgs& p, std::size_t b, std::size_t i, std::size_t h, const float* o, float top,
                         float sum) noexcept {
  const bool none = sum == 0.0f;
  const float inverse = none ? 0.0f : 1.0f / sum;
  write_scaled(o, static_cast<int>(p.D), inverse, at<T>(p.out, b, p.Tq, i, p.H, h, p.D));
  float* stats = p.stats + 2 * ((b * p.H + h) * p.Tq + i);
  stats[0] = none ? 0.0f : top, stats[1] = inverse;
}

template <typename T>
FT_KERNEL void forward_tile(const AttentionArgs& p, std::size_t b, std::size_t h, int q0, const Operand* kt,
                            const Operand* vp) noexcept {
  State t;
  const int left = static_cast<int>(p.Tq) - q0, rows = left < BR ? left : BR;
  const Ranges of = ranges_of(p, b, q0);
  for (int i = 0; i < rows; ++i) begin_row(p, t, i, at<T>(p.q, b, q0 + i, h));
  const Range all = seen(of, rows, 0, static_cast<int>(p.Tk));
  for (int n0 = all.begin / BC * BC; n0 < all.end; n0 += BC) {
    const std::size_t block = static_cast<std::size_t>(n0) * p.D / PER;
    step(p, t, of, rows, n0, kt + block, vp + block);
  }
  for (int i = 0; i < rows; ++i) write_row<T>(p, b, q0 + i, h, t.o + i * p.D, t.top[i], sum_of(t, i));
}

// Few queries of a kv head, R = Tq H / Hkv of them, against many keys: each split of the keys is an item of its own,
// which reads keys and values where they lie, once, and what the splits give is merged in their order.
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
    pack_keys<T>(p, kv, n0, keys, t.kt, t.vp);
    step(p, t.state, its, rows, n0, t.kt, t.vp);
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

template <typename T>
void decode(const AttentionArgs& p) noexcept {
  const std::size_t splits = (p.Tk + attention_split - 1) / attention_split, R = p.Tq * (p.H / p.Hkv);
  const std::size_t size = R * (p.D + 2), heads = p.B * p.Hkv;
  parallel_for(heads * splits, p.threads, [&](std::size_t item) {  // heads inside: their keys share pages
    Decode t;
    const std::size_t split = item / p.Hkv % splits, kv = item / p.Hkv / splits * p.Hkv + item % p.Hkv;
    const std::size_t begin = split * attention_split, left = p.Tk - begin;
    const std::size_t end = begin + (left < attention_split ? left : attention_split);
    decode_split<T>(p, t, kv, static_cast<int>(begin), static_cast<int>(end), p.work + (kv * splits + split) * size);
  });
  parallel_for(heads, p.threads, [&](std::size_t kv) {
    for (std::size_t r = 0; r < R; ++r) merge<T>(p, kv, r, p.work + kv * splits * size, size, splits);
  });
}

template <typename T>
void forward_as(const AttentionArgs& p) noexcept {
  if (attention_is_decode(p.Tq, p.H, p.Hkv)) return decode<T>(p);
  const std::size_t heads = p.B * p.Hkv, blocks = (p.Tk + BC - 1) / BC, block = BC * p.D / PER, all = blocks * block;
  auto *kt = reinterpret_cast<Operand*>(p.work), *vp = kt + heads * all;
  parallel_for(heads * blocks, p.threads, [&](std::size_t item) {
    const std::size_t kv = item / blocks, n0 = item % blocks * BC, left = p.Tk - n0, to = kv * all + n0 * p.D / PER;
    pack_keys<T>(p, kv, static_cast<int>(n0), static_cast<int>(left < BC ? left : BC), kt + to, vp + to);
  });
  const std::size_t tiles = (p.Tq + BR - 1) / BR;
  parallel_for(tiles * p.B * p.H, p.threads,
               [&](std::size_t item) {  // late queries first: a causal mask gives them most
                 const std::size_t tile = tiles - 1 - item / (p.B * p.H), b = item / p.H % p.B, h = item % p.H;
                 const std::size_t kv = b * p.Hkv + h / (p.H / p.Hkv);
                 forward_tile<T>(p, b, h, static_cast<int>(tile) * BR, kt + kv * all, vp + kv * all);
               });
}
