#pragma once /* part of embedding */
// The algorithm, written once over the vectors of vector_*.h, for values of type T.

#include "nn/vector_part.h"

constexpr std::size_t grain = 128;  // words of a range: frequent ones lie close together, so ranges differ a lot

template <int R, bool whole, typename T>
FT_INLINE void columns(const T* dout, const std::int64_t* order, std::size_t count, T* dweight, std::size_t C,
                       std::size_t n) noexcept {
  V sum[R];
  for (int r = 0; r < R; ++r) sum[r] = load_n<whole>(dout + static_cast<std::size_t>(order[0]) * C + r * W, n);
  for (std::size_t i = 1; i < count; ++i) {
    const T* row = dout + static_cast<std::size_t>(order[i]) * C;
    for (int r = 0; r < R; ++r) sum[r] = add(sum[r], load_n<whole>(row + r * W, n));
  }
  for (int r = 0; r < R; ++r) store_n<whole>(dweight + r * W, sum[r], n);
}

template <typename T>
FT_KERNEL void word(const T* dout, const std::int64_t* order, std::size_t count, T* dweight, std::size_t C) noexcept {
  constexpr int R = 4;  // vectors at once: as many sums in flight as an addition takes cycles
  std::size_t c = 0;
  for (; c + R * W <= C; c += R * W) columns<R, true>(dout + c, order, count, dweight + c, C, W);
  for (; c + W <= C; c += W) columns<1, true>(dout + c, order, count, dweight + c, C, W);
  if (c < C) columns<1, false>(dout + c, order, count, dweight + c, C, C - c);
}

template <typename T>
void run_as(const EmbeddingArgs& p) noexcept {
  const auto* dout = static_cast<const T*>(p.dout);
  auto* dweight = static_cast<T*>(p.dweight);
  embedding_order(p);
  parallel_ranges(p.V, grain, p.threads, [&](std::size_t begin, std::size_t end) {
    for (std::size_t v = begin; v < end;) {
      const auto first = static_cast<std::size_t>(p.starts[v]);
      std::size_t next = v;  // words without a token come in runs: one long memset is faster than one a word
      while (next < end && static_cast<std::size_t>(p.starts[next + 1]) == first) ++next;
      if (next > v && !p.is_zeroed) std::memset(static_cast<void*>(dweight + v * p.C), 0, (next - v) * p.C * sizeof(T));
      v = next;
      if (v == end) return;
      word(dout, p.order + first, static_cast<std::size_t>(p.starts[v + 1]) - first, dweight + v * p.C, p.C);
      ++v;
    }
  });
}

void run(const EmbeddingArgs& p) noexcept { p.bf16 ? run_as<Bf16>(p) : run_as<float>(p); }
