#pragma once
// The device side of an op is `int <op>_cuda(const Args&, void* stream) noexcept`: every pointer is on the device, the
// stream is a cudaStream_t, the result is a cudaError_t (0 = launched). no_cuda.cpp returns `cuda_absent`.

namespace fasttrain {

constexpr int cuda_absent = -1;

bool cuda_built() noexcept;

}  // namespace fasttrain
