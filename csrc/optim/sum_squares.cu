// A warp a block of values, a lane a sum: the additions of the CPU's in the CPU's order. A lane has sixteen loads on
// their way before it adds, for a card holds few such warps.

#include <cuda_runtime.h>

#include "optim/adamw_cuda.h"
#include "optim/sum_squares.h"

namespace fasttrain::optim {
namespace {

constexpr int warps = 4, lanes = static_cast<int>(sum_squares_lanes), ahead = 16;
static_assert(lanes == 32);

__global__ void __launch_bounds__(warps * 32) sum_squares_kernel(const float* x, double* out, std::size_t N,
                                                                 std::size_t P) {
  const std::size_t block = blockIdx.x * static_cast<std::size_t>(warps) + threadIdx.x / 32;
  if (block >= P) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::size_t begin = block * sum_squares_block;
  const std::size_t end = begin + sum_squares_block < N ? begin + sum_squares_block : N;
  double sum = 0.0;
  std::size_t i = begin + lane;
  for (; i + (ahead - 1) * lanes < end; i += ahead * lanes) {
    float values[ahead];
#pragma unroll
    for (int n = 0; n < ahead; ++n) values[n] = x[i + n * lanes];
#pragma unroll
    for (int n = 0; n < ahead; ++n) sum = __dadd_rn(sum, __dmul_rn(values[n], values[n]));
  }
  for (; i < end; i += lanes) sum = __dadd_rn(sum, __dmul_rn(x[i], x[i]));
  double total = 0.0;
  for (int n = 0; n < lanes; ++n) total = __dadd_rn(total, __shfl_sync(~0u, sum, n));
  if (lane == 0) out[block] = total;
}

__global__ void clip_kernel(const double* blocks, float* out, std::size_t P, float clip) {
  __shared__ double sums[256];
  double sum = 0.0;  // a fixed range of blocks a thread, then the threads in order
  const std::size_t first = threadIdx.x * P / 256, last = (threadIdx.x + 1) * P / 256;
  for (std::size_t i = first; i < last; ++i) sum += blocks[i];
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < 256; ++i) sum += sums[i];
  const double norm = sqrt(sum);
  out[0] = static_cast<float>(norm);
  out[1] = clip <= 0.0f || norm <= clip ? 1.0f : static_cast<float>(clip / norm);
}

}  // namespace

int sum_squares_cuda(const float* x, double* out, std::size_t N, void* stream) noexcept {
  if (N == 0) return 0;
  const std::size_t P = (N + sum_squares_block - 1) / sum_squares_block;
  const auto blocks = static_cast<unsigned>((P + warps - 1) / warps);
  sum_squares_kernel<<<blocks, warps * 32, 0, static_cast<cudaStream_t>(stream)>>>(x, out, N, P);
  return static_cast<int>(cudaGetLastError());
}

int clip_cuda(const double* blocks, float* out, std::size_t P, float clip, void* stream) noexcept {
  clip_kernel<<<1, 256, 0, static_cast<cudaStream_t>(stream)>>>(blocks, out, P, clip);
  return static_cast<int>(cudaGetLastError());
}

}  // namespace fasttrain::optim
