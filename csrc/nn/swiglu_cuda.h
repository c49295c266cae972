#pragma once /* part of swiglu */
// SwiGLU's product on the device. Formulas: swiglu.h. Arrays begin on a multiple of 16 bytes.
// Returns a cudaError_t (0 = launched) or cuda_absent.

#include <cstddef>

namespace fasttrain::nn {

struct SwigluCudaArgs {
  const void* gate;  // (N,)
  const void* up;    // (N,)
  void* out;         // (N,)  out, forward only
  const void* dout;  // (N,)  backward only, as all below
  void* dgate;       // (N,)  out
  void* dup;         // (N,)  out
  std::size_t N;
  bool bf16;
};

int swiglu_cuda(const SwigluCudaArgs&, void* stream) noexcept;
int swiglu_backward_cuda(const SwigluCudaArgs&, void* stream) noexcept;

}  // namespace fasttrain::nn
