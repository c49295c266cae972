// Bound by memory: 16 bytes a value in the momentum pass, 10 (bf16 update) or 12 in the step, 6 for bf16 parameters.

#include "optim/muon.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "core/parallel.h"
#include "core/philox.h"

namespace fasttrain::optim {
namespace {

#include "optim/pass_scalar.h"
#include "optim/stochastic_body.h"
#include "optim/muon_body.h"

}  // namespace

void muon_momentum_one(const MuonArgs& p, std::size_t i) noexcept {
  const float g = p.grad[i] * p.grad_scale;
  const float m = p.m[i] + (g - p.m[i]) * p.one_minus_momentum;
  p.m[i] = m;
  p.grad[i] = m + (g - m) * p.one_minus_momentum;
}

void muon_step_one(const MuonArgs& p, std::size_t i, std::uint32_t random) noexcept {
  const float update = (p.update != nullptr ? p.update[i] : to_float(p.update_half[i])) * p.rate;
  if (p.param == nullptr)
    p.half[i] = rounded_by(to_float(p.half[i]) * p.keep - update, random);
  else
    p.param[i] = p.param[i] * p.keep - update;
}

void muon_momentum_scalar(const MuonArgs& p) noexcept { momentum(p); }
void muon_step_scalar(const MuonArgs& p) noexcept { step(p); }

std::span<const Impl<MuonFn>> muon_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<MuonFn>{"avx512", Isa::avx512, muon_momentum_avx512},
      Impl<MuonFn>{"avx2", Isa::avx2, muon_momentum_avx2},
#endif
      Impl<MuonFn>{"scalar", Isa::any, muon_momentum_scalar},
  };
  return impls;
}

std::span<const Impl<MuonFn>> muon_step_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<MuonFn>{"avx512", Isa::avx512, muon_step_avx512},
      Impl<MuonFn>{"avx2", Isa::avx2, muon_step_avx2},
#endif
      Impl<MuonFn>{"scalar", Isa::any, muon_step_scalar},
  };
  return impls;
}

}  // namespace fasttrain::optim
