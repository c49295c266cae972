#pragma once
// One AdamW step over flat fp32 arrays, in place.            N values.
//
//   g = c.grad_scale * grad;  m += (g - m) c.one_minus_beta1;  v = c.beta2 v + g g c.one_minus_beta2
//   param = param c.keep - m / (sqrt(v) c.v_scale + c.eps) c.lr
//
// keep = 1 - lr wd, v_scale = 1 / sqrt(1 - beta2^t), lr = lr / (1 - beta1^t): computed once, in double, by the caller.
// Every implementation does these operations in this order, each rounded once (no fused multiply-add: memory sets the
// speed), so all give the same bits, for any number of threads.
// Source: Loshchilov & Hutter 2019. Reference: fasttrain/optim/adamw_ref.py. The caller has checked every shape.

#include <cstddef>
#include <span>

#include "core/impl.h"

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
};

using AdamwFn = void (*)(const AdamwArgs&) noexcept;

void adamw_scalar(const AdamwArgs&) noexcept;
void adamw_avx2(const AdamwArgs&) noexcept;
void adamw_avx512(const AdamwArgs&) noexcept;

// Values [begin, end); what the vector implementations do with their tail.
void adamw_range(const AdamwArgs&, std::size_t begin, std::size_t end) noexcept;

// Pointers on the device; returns a cudaError_t (0 = launched) or cuda_absent.
int adamw_cuda(const AdamwArgs&, void* stream) noexcept;

std::span<const Impl<AdamwFn>> adamw_impls();  // best first

constexpr std::size_t adamw_grain = 1 << 15;  // 4 x 128 KB: long enough to hide the hand-out, short enough to balance

}  // namespace fasttrain::optim
