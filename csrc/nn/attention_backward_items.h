#pragma once /* part of attention */
// What the backward hands out. Included before attention_backward_body.h or attention_bf16_backward_body.h, which
// define backward_block.
//
// dk and dv of a block of keys add up over all queries of a kv head's query heads, dq of a tile of queries over blocks
// of keys, in their order. Where kv heads divide among the threads, one thread has all blocks of one; else blocks run
// beside each other, a block one tile of queries or more behind the one before (core/ordered.h). The bits are the same.

template <typename T>
FT_KERNEL void backward_block(const AttentionArgs& a, std::size_t b, std::size_t hkv, int n0, Turn& turn) noexcept;

struct Head {  // of queries
  std::size_t b, h;
  float* delta;   // (Tq,)
  float* dq;      // (Tq, D), rows dq_row floats apart
  float* broken;  // (tiles,): 1 where q or dout of a tile of queries is not finite, else 0
  std::size_t dq_row;
};

inline std::size_t tiles_of(const AttentionArgs& a) noexcept { return (a.Tq + BR - 1) / BR; }

template <typename T>
Head head_of(const AttentionArgs& a, std::size_t b, std::size_t h) noexcept {
  constexpr bool in_place = sizeof(T) == sizeof(float);
  const std::size_t line = b * a.H + h, lines = a.B * a.H;
  float *sums = a.work + lines * a.Tq, *broken = sums + (in_place ? 0 : lines * a.Tq * a.D);
  Head of{b, h, a.work + line * a.Tq, sums + line * a.Tq * a.D, broken + line * tiles_of(a), a.D};
  if constexpr (in_place) of.dq = at<float>(a.dq, b, a.Tq, 0, a.H, h, a.D), of.dq_row = a.H * a.D;
  return of;
}

// What the tiles [begin, end) of a head need first: delta, sums at 0, whether they are finite.
template <typename T>
FT_KERNEL void begin_tiles(const AttentionArgs& a, const Head& of, std::size_t begin, std::size_t end) noexcept {
  const int D = static_cast<int>(a.D);
  for (std::size_t tile = begin; tile < end; ++tile) {
    const std::size_t q0 = tile * BR, q1 = q0 + BR < a.Tq ? q0 + BR : a.Tq;
    bool finite = true;
    for (std::size_t i = q0; i < q1; ++i) {
      const T *out = at<T>(a.out, of.b, a.Tq, i, a.H, of.h, a.D), *dout = at<T>(a.dout, of.b, i, of.h);
      const T* q = at<T>(a.q, of.b, i, of.h);
      V sum = zero(), zeros = zero();
      for (int d = 0; d < D; d += W) {
        const V g = load(dout + d);
        sum = fma(load(out + d), g, sum);
        zeros = fma(g, zero(), fma(load(q + d), zero(), zeros));
        store(of.dq + i * of.dq_row + d, zero());
      }
      of.delta[i] = hsum(sum);
      finite = finite && hsum(zeros) == 0.0f;
    }
    of.broken[tile] = finite ? 0.0f : 1.0f;
  }
}

// Ask for the sums of a tile that another thread has just written, while its scores are made.
inline void fetch_tile(const AttentionArgs& a, const Head& of, std::size_t q0) noexcept {
  const std::size_t last = q0 + BR < a.Tq ? q0 + BR : a.Tq;
  for (std::size_t i = q0; i < last; ++i)
    for (std::size_t d = 0; d < a.D; d += 16) __builtin_prefetch(of.dq + i * of.dq_row + d, 1);
}

template <typename T>
FT_KERNEL void end_tiles(const AttentionArgs& a, const Head& of, std::size_t begin, std::size_t end) noexcept {
  const std::size_t last = end * BR < a.Tq ? end * BR : a.Tq;
  for (std::size_t i = begin * BR; i < last; ++i)
    write_scaled(of.dq + i * of.dq_row, static_cast<int>(a.D), a.scale, at<T>(a.dq, of.b, a.Tq, i, a.H, of.h, a.D));
}

template <typename T>
void backward_as(const AttentionArgs& a) noexcept {
  const std::size_t heads = a.B * a.Hkv, group = a.H / a.Hkv, tiles = tiles_of(a), blocks = (a.Tk + BC - 1) / BC;
  const auto threads = static_cast<std::size_t>(a.threads);
  const std::size_t rounds = (heads + threads - 1) / threads;
  if (blocks < 2 || heads * 10 > rounds * threads * 9) {  // at most a tenth of the threads' time is lost
    parallel_for(heads, a.threads, [&](std::size_t item) {
      const std::size_t b = item / a.Hkv, hkv = item % a.Hkv;
      for (std::size_t h = hkv * group; h < (hkv + 1) * group; ++h) begin_tiles<T>(a, head_of<T>(a, b, h), 0, tiles);
      Turn alone;
      for (std::size_t n = 0; n < blocks; ++n) backward_block<T>(a, b, hkv, static_cast<int>(n) * BC, alone);
      for (std::size_t h = hkv * group; h < (hkv + 1) * group; ++h) end_tiles<T>(a, head_of<T>(a, b, h), 0, tiles);
    });
    return;
  }
  constexpr std::size_t few = 8;  // tiles of an item
  const std::size_t parts = (tiles + few - 1) / few;
  const auto each = [&](auto&& body) {
    parallel_for(a.B * a.H * parts, a.threads, [&](std::size_t item) {
      const std::size_t line = item / parts, begin = item % parts * few, end = begin + few;
      body(head_of<T>(a, line / a.H, line % a.H), begin, end < tiles ? end : tiles);
    });
  };
  each([&](const Head& of, std::size_t begin, std::size_t end) { begin_tiles<T>(a, of, begin, end); });
  auto* progress = reinterpret_cast<std::int32_t*>(head_of<T>(a, 0, 0).broken + a.B * a.H * tiles);
  ordered_for(heads, blocks, a.threads, progress, [&](std::size_t item, std::size_t n, Turn& turn) {
    backward_block<T>(a, item / a.Hkv, item % a.Hkv, static_cast<int>(n) * BC, turn);
  });
  each([&](const Head& of, std::size_t begin, std::size_t end) { end_tiles<T>(a, of, begin, end); });
}
