#pragma once /* part of rope */
// RoPE on the device, with the bits of the CPU's vectors. Formulas, letters and types: rope.h. Arrays begin on a multiple of 16
// bytes; B T < 2^32; `threads` is not read. Returns a cudaError_t (0 = launched) or cuda_absent.

#include "nn/rope.h"

namespace fasttrain::nn {

int rope_cuda(const RopeArgs&, void* stream) noexcept;

}  // namespace fasttrain::nn
