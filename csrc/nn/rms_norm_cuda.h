#pragma once /* part of rms_norm */
// RMSNorm of a sum on the device. Formulas, letters and types: rms_norm.h. C % 8 = 0, C <= 8192, 16-byte aligned rows.
// dweight: each of rms_norm_cuda_parts blocks of threads adds its rows in fp32, then the blocks are added in order.
// Returns a cudaError_t (0 = launched) or cuda_absent.

#include <cstddef>

namespace fasttrain::nn {

constexpr std::size_t rms_norm_cuda_max_C = 8192;
constexpr std::size_t rms_norm_cuda_parts = 264;  // two blocks on each of 132 SMs; the same on every card, as the bits are

struct RmsNormCudaArgs {
  const void* x;         // (N, C)
  const void* residual;  // (N, C)  nullptr: r = x, which is not written again
  const float* weight;   // (C,)
  void* r;               // (N, C)  out when there is a residual; in the backward an input
  void* y;               // (N, C)  out
  float* rstd;           // (N,)    out; in the backward an input
  const void* dy;        // (N, C)  backward only, as all below
  const void* dr;        // (N, C)  nullptr: 0
  void* dresidual;       // (N, C)  out
  void* dx;              // (N, C)  out, in x's type; nullptr when that is the type of dresidual
  float* dweight;        // (C,)    out
  float* parts;          // (rms_norm_cuda_parts, C)  scratch
  std::size_t N, C;
  float eps;
  bool x_bf16, r_bf16;
};

int rms_norm_cuda(const RmsNormCudaArgs&, void* stream) noexcept;
int rms_norm_backward_cuda(const RmsNormCudaArgs&, void* stream) noexcept;

}  // namespace fasttrain::nn
