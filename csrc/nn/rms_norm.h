#pragma once
// RMSNorm of a sum, forward and backward.                                            N rows, C channels.
//
//   r = x + residual (rounded to its type), rstd = 1 / sqrt(mean(r^2) + eps), y = r rstd weight
//   g = dy weight, dresidual = rstd (g - r rstd^2 mean(g r)) + dr, dx = dresidual, dweight = sum over rows of dy r rstd
//
// x is fp32 or bf16; residual, r, y and their gradients have one type, fp32 or bf16 (then x is bf16 too): under mixed
// precision a branch is bf16 and the residual stream fp32. Arithmetic is fp32. dweight adds blocks of rms_norm_block
// rows in fp32 and the blocks in fp64, in an order that does not depend on the number of threads.
//
// Source: Zhang & Sennrich 2019 (arXiv:1910.07467). Reference: fasttrain/nn/rms_norm_ref.py.
// The face has checked shapes and types.

#include <cstddef>
#include <span>

#include "core/impl.h"

namespace fasttrain::nn {

constexpr std::size_t rms_norm_block = 64;

struct RmsNormArgs {
  const void* x;         // (N, C)
  const void* residual;  // (N, C)  nullptr: r = x, which is not written again
  const float* weight;   // (C,)
  void* r;               // (N, C)  out when there is a residual; in the backward an input
  void* y;               // (N, C)  out
  float* rstd;           // (N,)    out, null where no backward follows; in the backward an input
  const void* dy;        // (N, C)  backward only, as all below
  const void* dr;        // (N, C)  nullptr: 0
  void* dresidual;       // (N, C)  out
  void* dx;              // (N, C)  out, in x's type; nullptr when that is the type of dresidual
  float* dweight;        // (C,)    out
  float* parts;          // rms_norm_parts(N, C) floats of scratch
  std::size_t N, C;
  float eps;
  bool x_bf16, r_bf16;
  int threads;
};

using RmsNormFn = void (*)(const RmsNormArgs&) noexcept;

constexpr std::size_t rms_norm_parts(std::size_t N, std::size_t C) {
  return (N + rms_norm_block - 1) / rms_norm_block * C;
}

void rms_norm_forward_scalar(const RmsNormArgs&) noexcept;
void rms_norm_forward_avx2(const RmsNormArgs&) noexcept;
void rms_norm_forward_avx512(const RmsNormArgs&) noexcept;
void rms_norm_forward_avx512bf16(const RmsNormArgs&) noexcept;
void rms_norm_backward_scalar(const RmsNormArgs&) noexcept;
void rms_norm_backward_avx2(const RmsNormArgs&) noexcept;
void rms_norm_backward_avx512(const RmsNormArgs&) noexcept;
void rms_norm_backward_avx512bf16(const RmsNormArgs&) noexcept;

// dweight from the parts of all blocks.
void rms_norm_sum_parts(const RmsNormArgs&) noexcept;

std::span<const Impl<RmsNormFn>> rms_norm_impls();           // best first
std::span<const Impl<RmsNormFn>> rms_norm_backward_impls();  // the same names

}  // namespace fasttrain::nn
