#pragma once /* part of adamw */
// The pass, written once over the vectors of pass_*.h, which come before it, as does stochastic_body.h.

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
struct AtRandom {
  const AdamwArgs& p;
  const G* grad;
  FT_INLINE void vector(std::size_t i, const std::uint32_t* bits, int shift) const noexcept {
    values<Kind::stochastic>(p, grad, i, bits, shift);
  }
  void one(std::size_t i, std::uint32_t random) const noexcept { adamw_one(p, i, random); }
};

template <typename G>
void run_with(const AdamwArgs& p, const G* grad) noexcept {
  parallel_ranges(p.N, adamw_grain, p.threads, [&](std::size_t begin, std::size_t end) {
    if (p.param == nullptr)
      stochastic_range(p.place, AtRandom<G>{p, grad}, begin, end);
    else if (p.half != nullptr)
      plain_range<Kind::copied>(p, grad, begin, end);
    else
      plain_range<Kind::exact>(p, grad, begin, end);
  });
}

void run(const AdamwArgs& p) noexcept { p.grad != nullptr ? run_with(p, p.grad) : run_with(p, p.grad_half); }
