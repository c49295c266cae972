#pragma once /* part of gelu */
// GELU on the device. Formulas: gelu.h. Arrays begin on a multiple of 16 bytes; `threads` is not read.
// Returns a cudaError_t (0 = launched) or cuda_absent.

#include "nn/gelu.h"

namespace fasttrain::nn {

int gelu_cuda(const GeluArgs&, void* stream) noexcept;
int gelu_backward_cuda(const GeluArgs&, void* stream) noexcept;

}  // namespace fasttrain::nn
