#pragma once /* part of muon */
// The passes, written once over the vectors of pass_*.h, which come before them, as does stochastic_body.h.

FT_KERNEL void momentum_range(const MuonArgs& p, std::size_t begin, std::size_t end) noexcept {
  const V scale = set1(p.grad_scale), c = set1(p.one_minus_momentum);
  std::size_t i = begin;
  for (; i + W <= end; i += W) {
    const V g = mul(load(p.grad + i), scale), before = load(p.m + i);
    const V m = add(before, mul(sub(g, before), c));
    store(p.m + i, m);
    store(p.grad + i, add(m, mul(sub(g, m), c)));
  }
  for (; i < end; ++i) muon_momentum_one(p, i);
}

template <typename P, typename U>
FT_INLINE V stepped(const MuonArgs& p, const P* param, const U* update, std::size_t i) noexcept {
  return sub(mul(load(param + i), set1(p.keep)), mul(load(update + i), set1(p.rate)));
}

template <typename U>
FT_KERNEL void exact_range(const MuonArgs& p, const U* update, std::size_t begin, std::size_t end) noexcept {
  std::size_t i = begin;
  for (; i + W <= end; i += W) store(p.param + i, stepped(p, p.param, update, i));
  for (; i < end; ++i) muon_step_one(p, i, 0);
}

template <typename U>
struct AtRandom {
  const MuonArgs& p;
  const U* update;
  FT_INLINE void vector(std::size_t i, const std::uint32_t* bits, int shift) const noexcept {
    stochastic(p.half + i, stepped(p, p.half, update, i), bits, shift);
  }
  void one(std::size_t i, std::uint32_t random) const noexcept { muon_step_one(p, i, random); }
};

template <typename U>
void step_with(const MuonArgs& p, const U* update) noexcept {
  parallel_ranges(p.N, muon_grain, p.threads, [&](std::size_t begin, std::size_t end) {
    if (p.param == nullptr)
      stochastic_range(p.place, AtRandom<U>{p, update}, begin, end);
    else
      exact_range(p, update, begin, end);
  });
}

void momentum(const MuonArgs& p) noexcept {
  parallel_ranges(p.N, muon_grain, p.threads,
                  [&](std::size_t begin, std::size_t end) { momentum_range(p, begin, end); });
}

void step(const MuonArgs& p) noexcept { p.update != nullptr ? step_with(p, p.update) : step_with(p, p.update_half); }
