// One block a set, one thread a hash function. A tile of shingles is staged in shared memory by whole lines and read
// back as broadcasts, so that a set is read from memory once for all K functions.

#include <cuda_runtime.h>

#include "dedup/sketch.h"

namespace fasttrain::dedup {
namespace {

constexpr int threads_per_block = 128;  // K is 112 by default: one round of the loop over k
constexpr int tile = 1024;              // 4 KB of lower halves: enough bytes in flight, many blocks an SM

__global__ void __launch_bounds__(threads_per_block) sketch_kernel(SketchArgs p) {
  __shared__ __align__(16) std::uint32_t x[tile];
  const std::size_t n = blockIdx.x;  // sets on x: grid.y and grid.z stop at 65,535
  const std::int64_t first = p.offsets[n], last = p.offsets[n + 1];
  for (std::size_t k0 = 0; k0 < p.K; k0 += threads_per_block) {
    const std::size_t k = k0 + threadIdx.x;
    const bool mine = k < p.K;
    const std::uint32_t a = mine ? p.a[k] : 1, b = mine ? p.b[k] : 0;
    std::uint32_t best = 0xffffffffu;
    for (std::int64_t at = first; at < last; at += tile) {
      const int count = static_cast<int>(last - at < tile ? last - at : tile);
      __syncthreads();
      for (int i = static_cast<int>(threadIdx.x); i < count; i += threads_per_block)
        x[i] = static_cast<std::uint32_t>(p.shingles[at + i]);
      if (static_cast<int>(threadIdx.x) < (4 - count % 4) % 4)  // the last one again: a minimum does not mind
        x[count + threadIdx.x] = static_cast<std::uint32_t>(p.shingles[at + count - 1]);
      __syncthreads();
      const auto x4 = reinterpret_cast<const uint4*>(x);
      for (int i = 0; i < (count + 3) / 4; ++i) {  // four a load: the loads are as many as the products else
        const uint4 four = x4[i];
        best = min(best, min(min(a * four.x + b, a * four.y + b), min(a * four.z + b, a * four.w + b)));
      }
    }
    if (mine) p.sig[n * p.K + k] = best;
  }
}

}  // namespace

int sketch_cuda(const SketchArgs& p, void* stream) noexcept {
  if (p.N == 0 || p.K == 0) return cudaSuccess;
  sketch_kernel<<<static_cast<unsigned>(p.N), threads_per_block, 0, static_cast<cudaStream_t>(stream)>>>(p);
  return cudaGetLastError();
}

}  // namespace fasttrain::dedup
