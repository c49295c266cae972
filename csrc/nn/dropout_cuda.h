#pragma once /* part of dropout */
// Dropout on the device, with the bits of the CPU's. Formula: dropout.h. `rows` lies on the device too; `threads` is not
// read. Returns a cudaError_t (0 = launched) or cuda_absent.

#include "nn/dropout.h"

namespace fasttrain::nn {

int dropout_cuda(const DropoutArgs&, void* stream) noexcept;

}  // namespace fasttrain::nn
