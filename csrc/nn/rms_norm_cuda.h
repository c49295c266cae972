#pragma once /* part of rms_norm */
// RMSNorm of a sum on the device. Formulas, letters and types: rms_norm.h. C % 8 = 0, C <= 8192, 16-byte aligned rows.
// y and dy may be bf16 where r is fp32 (`y_bf16`; it is set where r is bf16): what a product takes, in one pass.
// dweight: each of rms_norm_cuda_parts blocks of threads adds its rows in fp32, then the blocks are added in order;
// `parts` is (rms_norm_cuda_parts, C) here. `threads` is not read.
// Returns a cudaError_t (0 = launched) or cuda_absent.

#include <cstddef>

#include "nn/rms_norm.h"

namespace fasttrain::nn {

constexpr std::size_t rms_norm_cuda_max_C = 8192;
constexpr std::size_t rms_norm_cuda_parts = 264;  // two blocks on each of 132 SMs; the same on every card, as the bits are

int rms_norm_cuda(const RmsNormArgs&, bool y_bf16, void* stream) noexcept;
int rms_norm_backward_cuda(const RmsNormArgs&, bool y_bf16, void* stream) noexcept;

}  // namespace fasttrain::nn
