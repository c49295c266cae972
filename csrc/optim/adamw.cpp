// Bound by memory: 28 bytes a value, 38 GB/s a core seen on Zen 4; wider vectors only matter while the arrays are in
// L2.

#include "optim/adamw.h"

#include <array>
#include <cmath>

#include "core/parallel.h"

namespace fasttrain::optim {

void adamw_range(const AdamwArgs& p, std::size_t begin, std::size_t end) noexcept {
  const AdamwCoefficients c = p.c;
  for (std::size_t i = begin; i < end; ++i) {
    const float g = p.grad[i] * c.grad_scale;
    const float m = p.m[i] + (g - p.m[i]) * c.one_minus_beta1;
    const float v = p.v[i] * c.beta2 + g * g * c.one_minus_beta2;
    p.m[i] = m;
    p.v[i] = v;
    p.param[i] = p.param[i] * c.keep - m / (std::sqrt(v) * c.v_scale + c.eps) * c.lr;
  }
}

void adamw_scalar(const AdamwArgs& p) noexcept {
  parallel_ranges(p.N, adamw_grain, p.threads, [&](std::size_t begin, std::size_t end) { adamw_range(p, begin, end); });
}

std::span<const Impl<AdamwFn>> adamw_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<AdamwFn>{"avx512", Isa::avx512, adamw_avx512},
      Impl<AdamwFn>{"avx2", Isa::avx2, adamw_avx2},
#endif
      Impl<AdamwFn>{"scalar", Isa::any, adamw_scalar},
  };
  return impls;
}

}  // namespace fasttrain::optim
