// A thread draws one counter of a block, four words, for the four values that they decide: 16 apart, so that a half warp
// reads and writes 16 neighbours.

#include "core/device.cuh"
#include "core/philox.cuh"
#include "nn/dropout_cuda.h"

namespace fasttrain::nn {
namespace {

constexpr unsigned threads = 256, lanes = 16, words = 4;

template <typename T>
__global__ void __launch_bounds__(threads) dropout_kernel(DropoutArgs p, std::size_t counters) {
  const std::size_t i = blockIdx.x * static_cast<std::size_t>(threads) + threadIdx.x;
  const std::size_t b = i / counters, counter = i % counters;
  if (b >= p.B) return;
  std::uint32_t bits[words];
  const auto block = static_cast<std::uint32_t>(counter / lanes), lane = static_cast<std::uint32_t>(counter % lanes);
  philox_counter({lanes * block, static_cast<std::uint32_t>(p.rows[b]), p.step, p.site, p.seed}, lane, bits);
#pragma unroll
  for (unsigned w = 0; w < words; ++w) {
    const std::size_t e = std::size_t{philox_words} * block + lanes * w + lane;
    if (e >= p.E) return;
    const float x = to_float(static_cast<const T*>(p.x)[b * p.E + e]);
    write(static_cast<T*>(p.out) + b * p.E + e, bits[w] >= p.threshold ? __fmul_rn(x, p.scale) : 0.0f);
  }
}

}  // namespace

int dropout_cuda(const DropoutArgs& p, void* stream) noexcept {
  if (p.B == 0 || p.E == 0) return 0;
  const std::size_t counters = (p.E + philox_words - 1) / philox_words * lanes;
  const auto blocks = static_cast<unsigned>((p.B * counters + threads - 1) / threads);
  const auto kernel = p.bf16 ? dropout_kernel<__nv_bfloat16> : dropout_kernel<float>;
  kernel<<<blocks, threads, 0, static_cast<cudaStream_t>(stream)>>>(p, counters);
  return static_cast<int>(cudaGetLastError());
}

}  // namespace fasttrain::nn
