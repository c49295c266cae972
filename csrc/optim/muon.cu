// One launch over a matrix, a value a thread. Bound by memory: 6 to 12 bytes a value.

#include <cuda_runtime.h>

#include "optim/muon_cuda.h"
#include "optim/stochastic.cuh"

namespace fasttrain::optim {
namespace {

constexpr int threads = 256;

__global__ void __launch_bounds__(threads) muon_step_kernel(MuonArgs p) {
  const std::size_t i = blockIdx.x * static_cast<std::size_t>(threads) + threadIdx.x;
  if (i >= p.N) return;
  auto* const half = reinterpret_cast<std::uint16_t*>(p.half);
  const auto* const update_half = reinterpret_cast<const std::uint16_t*>(p.update_half);
  const float update = p.update ? p.update[i] : widen(update_half[i]);
  const float param = p.param ? p.param[i] : widen(half[i]);
  const float stepped = __fsub_rn(__fmul_rn(param, p.keep), __fmul_rn(update, p.rate));
  if (p.param)
    p.param[i] = stepped;
  else
    half[i] = rounded_by(stepped, random_half(p.place, i));
}

}  // namespace

int muon_step_cuda(const MuonArgs& p, void* stream) noexcept {
  if (p.N == 0) return 0;
  const auto blocks = static_cast<unsigned>((p.N + threads - 1) / threads);
  muon_step_kernel<<<blocks, threads, 0, static_cast<cudaStream_t>(stream)>>>(p);
  return static_cast<int>(cudaGetLastError());
}

}  // namespace fasttrain::optim
