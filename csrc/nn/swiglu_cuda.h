#pragma once /* part of swiglu */
// SwiGLU's product on the device. Formulas: swiglu.h. Arrays begin on a multiple of 16 bytes; `threads` is not
// read. Returns a cudaError_t (0 = launched) or cuda_absent.

#include <cstddef>

#include "nn/swiglu.h"

namespace fasttrain::nn {

int swiglu_cuda(const SwigluArgs&, void* stream) noexcept;
// Gradients lie side by side: `columns` of dgate, then as many of dup, row by row; dup = dgate + columns.
int swiglu_backward_cuda(const SwigluArgs&, std::size_t columns, void* stream) noexcept;

}  // namespace fasttrain::nn
