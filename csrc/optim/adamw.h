#pragma once
// One AdamW step over flat arrays, in place, in one pass over memory.            N values.
//
//   g = c.grad_scale * grad;  m += (g - m) c.one_minus_beta1;  v = c.beta2 v + g g c.one_minus_beta2
//   param = param c.keep - m / (sqrt(v) c.v_scale + c.eps) c.lr
//
// fp32 parameters may leave a bf16 copy (rounded to nearest) behind. bf16 parameters alone are rounded stochastically,
// by the random bits of their place in the whole parameter (place.h). There is no AVX512-BF16 form: its conversion takes
// denormals for zeros, which would be other bits, and the pass waits for memory.
//
// keep = 1 - lr wd, v_scale = 1 / sqrt(1 - beta2^t), lr = lr / (1 - beta1^t): computed once, in double, by the caller.
// Every implementation does these operations in this order, each rounded once (no fused multiply-add: memory sets the
// speed), so all give the same bits, for any number of threads.
// Source: Loshchilov & Hutter 2019. Reference: fasttrain/optim/adamw_ref.py. The caller has checked every shape.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/bf16.h"
#include "core/impl.h"
#include "optim/place.h"

namespace fasttrain::optim {

struct AdamwCoefficients {
  float grad_scale, one_minus_beta1, beta2, one_minus_beta2, keep, v_scale, eps, lr;
};

struct AdamwArgs {
  float* param;       // (N,)  in, out
  const float* grad;  // (N,)
  float* m;           // (N,)  in, out
  float* v;           // (N,)  in, out
  std::size_t N;
  AdamwCoefficients c;
  int threads;

  const Bf16* grad_half = nullptr;  // (N,)  the gradient, where `grad` is null
  void* zeroed = nullptr;           // (N,)  the gradient's memory, to be set to 0 after it is read; or null
  Bf16* half = nullptr;             // (N,)  out: the copy; in, out: the parameters, where `param` is null
  Place place{};                    // of the first parameter, where `param` is null
};

using AdamwFn = void (*)(const AdamwArgs&) noexcept;

void adamw_scalar(const AdamwArgs&) noexcept;
void adamw_avx2(const AdamwArgs&) noexcept;
void adamw_avx512(const AdamwArgs&) noexcept;

// Value i, with the random bits of stochastic rounding; what the vector implementations do with their tail.
void adamw_one(const AdamwArgs&, std::size_t i, std::uint32_t random) noexcept;

std::span<const Impl<AdamwFn>> adamw_impls();  // best first

constexpr std::size_t adamw_grain = 1 << 15;  // 4 x 128 KB: long enough to hide the hand-out, short enough to balance

}  // namespace fasttrain::optim
