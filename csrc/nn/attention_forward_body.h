#pragma once /* part of attention */
// The forward over packed keys. Included after attention_decode_body.h.

template <typename T>
FT_KERNEL void forward_tile(const AttentionArgs& p, std::size_t b, std::size_t h, int q0, const Operand* kt,
                            const Operand* vp, const float* broken) noexcept {
  State t;
  const int left = static_cast<int>(p.Tq) - q0, rows = left < BR ? left : BR;
  const Ranges of = ranges_of(p, b, q0);
  for (int i = 0; i < rows; ++i) begin_row(p, t, i, at<T>(p.q, b, q0 + i, h));
  const Range all = seen(of, rows, 0, static_cast<int>(p.Tk));
  for (int n0 = all.begin / BC * BC; n0 < all.end; n0 += BC) {
    const std::size_t block = static_cast<std::size_t>(n0) * p.D / PER;
    const T* v = broken[n0 / BC] == 0.0f ? nullptr : at<T>(p.v, b, n0, h / (p.H / p.Hkv));
    step(p, t, of, rows, n0, kt + block, vp + block, v);
  }
  for (int i = 0; i < rows; ++i) write_row<T>(p, b, q0 + i, h, t.o + i * p.D, t.top[i], sum_of(t, i));
}

template <typename T>
void forward_as(const AttentionArgs& p) noexcept {
  if (attention_is_decode(p.Tq, p.H, p.Hkv)) return decode<T>(p);
  const std::size_t heads = p.B * p.Hkv, blocks = (p.Tk + BC - 1) / BC, block = BC * p.D / PER, all = blocks * block;
  auto *kt = reinterpret_cast<Operand*>(p.work), *vp = kt + heads * all;
  auto* broken = reinterpret_cast<float*>(vp + heads * all);  // (heads, blocks): 1 where a value is not finite, else 0
  parallel_for(heads * blocks, p.threads, [&](std::size_t item) {
    const std::size_t kv = item / blocks, n0 = item % blocks * BC, left = p.Tk - n0, to = kv * all + n0 * p.D / PER;
    const int keys = static_cast<int>(left < BC ? left : BC);
    broken[item] = pack_keys<T>(p, kv, static_cast<int>(n0), keys, kt + to, vp + to) ? 0.0f : 1.0f;
  });
  const std::size_t tiles = (p.Tq + BR - 1) / BR;
  parallel_for(tiles * p.B * p.H, p.threads,
               [&](std::size_t item) {  // late queries first: a causal mask gives them most
                 const std::size_t tile = tiles - 1 - item / (p.B * p.H), b = item / p.H % p.B, h = item % p.H;
                 const std::size_t kv = b * p.Hkv + h / (p.H / p.Hkv);
                 forward_tile<T>(p, b, h, static_cast<int>(tile) * BR, kt + kv * all, vp + kv * all,
                                 broken + kv * blocks);
               });
}
