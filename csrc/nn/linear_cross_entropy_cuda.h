#pragma once /* part of linear_cross_entropy */
// What linear_cross_entropy does between its matrix products, on the device. Formulas, letters and types:
// linear_cross_entropy.h. `pitch`: values from one row of logits to the next, a multiple of 8; logits begin on a multiple
// of 16 bytes, and what lies between V and the next 8 values of a row is overwritten. `threads` is not read. The bits
// depend on nothing but the row.
// Returns a cudaError_t (0 = launched) or cuda_absent.

#include <cstddef>

#include "nn/linear_cross_entropy.h"

namespace fasttrain::nn {

int linear_cross_entropy_cuda(const LinearCrossEntropyArgs&, std::size_t pitch, void* stream) noexcept;

}  // namespace fasttrain::nn
