// A warp a block of values, a lane a sum: the additions of the CPU's in the CPU's order. A lane has sixteen loads on
// their way before it adds, for a card holds few such warps. Many tensors go by one launch: a warp takes 0.1 ms for its
// block, and a matrix of a million values has sixteen of them, which leave a card empty.

#include <cuda_runtime.h>

#include "optim/adamw_cuda.h"
#include "optim/sum_squares.h"

namespace fasttrain::optim {
namespace {

constexpr int warps = 4, lanes = static_cast<int>(sum_squares_lanes), ahead = 16;
constexpr int most = 128;  // pieces of a launch: their table is a parameter, of which 4 KB may be
static_assert(lanes == 32);

struct Table {
  SumSquaresPiece piece[most];
};
static_assert(sizeof(Table) <= 3072 + 16);

std::size_t blocks_of(std::size_t N) { return (N + sum_squares_block - 1) / sum_squares_block; }

// Blocks [begin_block, end_block) of `out`, those of the first K pieces of the table.
__global__ void __launch_bounds__(warps * 32) sum_squares_kernel(const __grid_constant__ Table table, int K,
                                                                 double* out, std::size_t begin_block,
                                                                 std::size_t end_block) {
  const std::size_t block = begin_block + blockIdx.x * static_cast<std::size_t>(warps) + threadIdx.x / 32;
  if (block >= end_block) return;
  int low = 0, high = K;  // the last piece whose first block is not behind this one, which empty pieces never are
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (table.piece[middle].first <= block ? low : high) = middle;
  }
  const float* const x = table.piece[low].x;
  const std::size_t N = table.piece[low].N;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::size_t begin = (block - table.piece[low].first) * sum_squares_block;
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

int sum_squares_cuda(const SumSquaresPiece* pieces, std::size_t K, double* out, void* stream) noexcept {
  for (std::size_t k = 0; k < K; k += most) {
    Table table{};
    const std::size_t count = K - k < most ? K - k : most;
    for (std::size_t i = 0; i < count; ++i) table.piece[i] = pieces[k + i];
    const SumSquaresPiece& last = pieces[k + count - 1];
    const std::size_t begin = pieces[k].first, end = last.first + blocks_of(last.N);
    if (begin == end) continue;
    const auto blocks = static_cast<unsigned>((end - begin + warps - 1) / warps);
    sum_squares_kernel<<<blocks, warps * 32, 0, static_cast<cudaStream_t>(stream)>>>(table, static_cast<int>(count),
                                                                                     out, begin, end);
    if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return static_cast<int>(error);
  }
  return 0;
}

int clip_cuda(const double* blocks, float* out, std::size_t P, float clip, void* stream) noexcept {
  clip_kernel<<<1, 256, 0, static_cast<cudaStream_t>(stream)>>>(blocks, out, P, clip);
  return static_cast<int>(cudaGetLastError());
}

}  // namespace fasttrain::optim
