#pragma once /* part of adamw */
// The pass, written once over vectors of W floats. The including file defines FT_KERNEL, FT_INLINE, V, W, loads and
// stores of fp32 and bf16, arithmetic (each operation rounded once), `stochastic` (a store) and `draw` (a Philox block).

enum class Kind { exact, copied, stochastic };  // fp32; fp32 with a bf16 copy; bf16 alone

template <Kind kind, typename G>
FT_INLINE void values(const AdamwArgs& p, const G* grad, std::size_t i, const std::uint32_t* bits, int shift) noexcept {
  const V g = mul(load(grad + i), set1(p.c.grad_scale)), m_before = load(p.m + i);
  const V m = add(m_before, mul(sub(g, m_before), set1(p.c.one_minus_beta1)));
  const V v = add(mul(load(p.v + i), set1(p.c.beta2)), mul(mul(g, g), set1(p.c.one_minus_beta2)));
  const V root = add(mul(sqrt(v), set1(p.c.v_scale)), set1(p.c.eps));
  const V update = mul(div(m, root), set1(p.c.lr));
  store(p.m + i, m);
  store(p.v + i, v);
  if constexpr (kind == Kind::stochastic) {
    stochastic(p.half + i, sub(mul(load(p.half + i), set1(p.c.keep)), update), bits, shift);
  } else {
    const V param = sub(mul(load(p.param + i), set1(p.c.keep)), update);
    store(p.param + i, param);
    if constexpr (kind == Kind::copied) store(p.half + i, param);
  }
  if (p.zeroed != nullptr) store(static_cast<G*>(p.zeroed) + i, set1(0.0f));
}

template <Kind kind, typename G>
FT_KERNEL void plain_range(const AdamwArgs& p, const G* grad, std::size_t begin, std::size_t end) noexcept {
  std::size_t i = begin;
  for (; i + W <= end; i += W) values<kind>(p, grad, i, nullptr, 0);
  for (; i < end; ++i) adamw_one(p, i, 0);
}

template <typename G>
FT_KERNEL void stochastic_range(const AdamwArgs& p, const G* grad, std::size_t begin, std::size_t end) noexcept {
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
    for (; k + W <= n; k += W) values<Kind::stochastic>(p, grad, i + k, bits + k, shift);
    for (; k < n; ++k) adamw_one(p, i + k, bits[k] >> shift & 0xffffu);
    i += n;
  }
}

template <typename G>
void run_with(const AdamwArgs& p, const G* grad) noexcept {
  parallel_ranges(p.N, adamw_grain, p.threads, [&](std::size_t begin, std::size_t end) {
    if (p.param == nullptr)
      stochastic_range(p, grad, begin, end);
    else if (p.half != nullptr)
      plain_range<Kind::copied>(p, grad, begin, end);
    else
      plain_range<Kind::exact>(p, grad, begin, end);
  });
}

void run(const AdamwArgs& p) noexcept { p.grad != nullptr ? run_with(p, p.grad) : run_with(p, p.grad_half); }
