#pragma once /* part of the ops of optim */
// Goes over the bf16 values [begin, end) of an array with the random bits of each. values.vector(i, bits, shift) does
// W values from i on, as `stochastic` of the vectors wants its bits; values.one(i, random) does one.

template <typename Values>
FT_KERNEL void stochastic_range(const Place& p, const Values& values, std::size_t begin, std::size_t end) noexcept {
  alignas(64) std::uint32_t words[philox_words];
  std::uint64_t drawn = ~std::uint64_t{0};
  for (std::size_t i = begin; i < end;) {
    const std::size_t column = i % p.width;
    const std::uint64_t q = p.offset + i / p.width * p.pitch + column, j = q % (2 * philox_words);
    if (q / (2 * philox_words) != drawn) {
      drawn = q / (2 * philox_words);
      draw({static_cast<std::uint32_t>(16 * drawn), p.stream, p.step, ~std::uint32_t{0}, p.seed}, words);
    }
    const int shift = j < philox_words ? 0 : 16;
    const std::uint32_t* bits = words + j % philox_words;
    const std::size_t n = std::min({philox_words - j % philox_words, end - i, p.width - column});
    std::size_t k = 0;
    for (; k + W <= n; k += W) values.vector(i + k, bits + k, shift);
    for (; k < n; ++k) values.one(i + k, bits[k] >> shift & 0xffffu);
    i += n;
  }
}
