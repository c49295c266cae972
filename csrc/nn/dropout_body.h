#pragma once /* part of dropout */
// The algorithm, written once over the vectors of vector_*.h, for values of type T. The including file defines
// `draw` (a Philox block) and `kept` (a vector where bits >= threshold, else 0).

#include "nn/vector_part.h"

constexpr std::size_t block_values = philox_words;
constexpr std::size_t grain = 256;  // blocks of a range

template <typename T>
FT_KERNEL void block(const T* x, T* out, std::size_t n, const PhiloxBlock& counter, std::uint32_t threshold,
                     float scale) noexcept {
  alignas(64) std::uint32_t bits[philox_words];
  draw(counter, bits);
  const V factor = set1(scale);
  std::size_t i = 0;
  for (; i + W <= n; i += W) store(out + i, kept(mul(load(x + i), factor), bits + i, threshold));
  if (i < n) store_part(out + i, kept(mul(load_part(x + i, n - i), factor), bits + i, threshold), n - i);
}

template <typename T>
void run_as(const DropoutArgs& p) noexcept {
  const auto* x = static_cast<const T*>(p.x);
  auto* out = static_cast<T*>(p.out);
  const std::size_t blocks = (p.E + block_values - 1) / block_values;
  parallel_ranges(p.B * blocks, grain, p.threads, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t row = i / blocks, first = i % blocks * block_values, place = row * p.E + first;
      const PhiloxBlock counter{static_cast<std::uint32_t>(16 * (i % blocks)), static_cast<std::uint32_t>(p.rows[row]),
                                p.step, p.site, p.seed};
      const std::size_t n = p.E - first < block_values ? p.E - first : block_values;
      block(x + place, out + place, n, counter, p.threshold, p.scale);
    }
  });
}

void run(const DropoutArgs& p) noexcept { p.bf16 ? run_as<Bf16>(p) : run_as<float>(p); }
