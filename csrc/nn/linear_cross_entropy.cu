// Bound by memory: a block of threads a row, read in 16-byte accesses, once for its maximum and the sum of exponentials
// together, and once more for the gradient, which is written where it was read. Two rows an SM, 26 MB of 132 SMs at
// V = 50,000 in bf16, lie in L2 when they are read again, so that memory sees one read and one write.

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "core/device.cuh"
#include "nn/linear_cross_entropy_cuda.h"

namespace fasttrain::nn {
namespace {

using bf16 = __nv_bfloat16;

constexpr int threads = 512, warps = threads / 32;
constexpr int ahead = 4;  // chunks of a thread that are on their way at once

// In bf16 the hardware's approximation is far below the rounding of logits and results.
template <typename T>
__device__ float exponential(float x) {
  if constexpr (sizeof(T) == 2) {
    return __expf(x);
  } else {
    return expf(x);
  }
}

__device__ float largest(float x, float y) { return fmaxf(x, y); }
__device__ float added(float x, float y) { return x + y; }

// Over the block, in one order, for all its threads.
template <float (*op)(float, float)>
__device__ float over_block(float x, float nothing, float (&slot)[warps]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int step = 16; step > 0; step /= 2) x = op(x, __shfl_xor_sync(~0u, x, step));
  if (lane == 0) slot[threadIdx.x / 32] = x;
  __syncthreads();
  x = lane < warps ? slot[lane] : nothing;
  for (int step = 16; step > 0; step /= 2) x = op(x, __shfl_xor_sync(~0u, x, step));
  return x;
}

template <typename T>
__device__ void load_row(Raw8<T> (&raw)[ahead], const T* row, int first, int chunks) {
#pragma unroll
  for (int n = 0; n < ahead; ++n)
    if (first + n * threads < chunks) raw[n] = load8<T>(row, static_cast<std::size_t>(first + n * threads));
}

// What lies behind the row's end counts as exp(-inf).
template <typename T>
__device__ void widen(float (&x)[8], const Raw8<T>& raw, int chunk, int V) {
  to_floats(x, raw);
  if (chunk * 8 + 8 <= V) return;
#pragma unroll
  for (int i = 0; i < 8; ++i)
    if (chunk * 8 + i >= V) x[i] = -INFINITY;
}

template <typename T>
__global__ void __launch_bounds__(threads, 2) loss_kernel(LinearCrossEntropyArgs p, std::size_t pitch) {
  __shared__ float tops[warps], sums[warps];
  const std::size_t n = blockIdx.x;
  T* const row = static_cast<T*>(p.logits) + n * pitch;
  const int V = static_cast<int>(p.V), chunks = (V + 7) / 8, thread = static_cast<int>(threadIdx.x);
  const std::int64_t target = p.targets[n];
  if (target == ignored_target) {
    if (thread == 0) p.nll[n] = p.z2[n] = 0.0f;
    if (!p.gradient) return;
    const float zeros[8] = {};
    for (int chunk = thread; chunk < chunks; chunk += threads) store8<T>(row, static_cast<std::size_t>(chunk), zeros);
    return;
  }
  const bool is_word = target >= 0 && target < V;                // nobody need have waited to see that
  const float picked = is_word ? to_float(row[target]) : NAN;  // before the barrier, behind which it is overwritten
  float top = -FLT_MAX, sum = 0.0f;            // finite: a logit of -inf minus it is no NaN
  for (int first = thread; first < chunks; first += ahead * threads) {
    Raw8<T> raw[ahead];
    load_row(raw, row, first, chunks);
#pragma unroll
    for (int k = 0; k < ahead; ++k) {
      const int chunk = first + k * threads;
      if (chunk >= chunks) continue;
      float x[8];
      widen(x, raw[k], chunk, V);
      float high = x[0];
#pragma unroll
      for (int i = 1; i < 8; ++i) high = fmaxf(high, x[i]);  // passes NaN by, which the sum takes
      if (high > top) {
        sum *= exponential<T>(top - high);
        top = high;
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) sum += exponential<T>(x[i] - top);
    }
  }
  const float row_top = over_block<largest>(top, -FLT_MAX, tops);
  const float row_sum = over_block<added>(sum * exponential<T>(top - row_top), 0.0f, sums);
  const float log_sum = logf(row_sum), lse = row_top + log_sum;
  if (thread == 0) {
    p.nll[n] = (row_top - picked) + log_sum;  // not lse - picked, whose rounding is that of lse
    p.z2[n] = lse * lse;
  }
  if (!p.gradient) return;
  const float dnll = !is_word ? NAN : p.dnll ? p.dnll[n] : 1.0f, dz2 = p.dz2 ? p.dz2[n] : p.z_loss;
  const float scale = (dnll + 2.0f * lse * dz2) / row_sum;
  const int place = static_cast<int>(target) % 8, target_chunk = static_cast<int>(target) / 8;
  for (int first = thread; first < chunks; first += ahead * threads) {
    Raw8<T> raw[ahead];
    load_row(raw, row, first, chunks);
#pragma unroll
    for (int k = 0; k < ahead; ++k) {
      const int chunk = first + k * threads;
      if (chunk >= chunks) continue;
      float x[8];
      widen(x, raw[k], chunk, V);
#pragma unroll
      for (int i = 0; i < 8; ++i) x[i] = scale * exponential<T>(x[i] - row_top);
      if (chunk == target_chunk) {
#pragma unroll
        for (int i = 0; i < 8; ++i)
          if (i == place) x[i] -= dnll;
      }
      store8<T>(row, static_cast<std::size_t>(chunk), x);
    }
  }
}

}  // namespace

int linear_cross_entropy_cuda(const LinearCrossEntropyArgs& p, std::size_t pitch, void* stream) noexcept {
  if (p.N == 0) return 0;
  if (pitch % 8 != 0 || p.V == 0 || p.V > pitch || pitch > INT32_MAX) return static_cast<int>(cudaErrorInvalidValue);
  const auto kernel = p.bf16 ? loss_kernel<bf16> : loss_kernel<float>;
  kernel<<<static_cast<unsigned>(p.N), threads, 0, static_cast<cudaStream_t>(stream)>>>(p, pitch);
  return static_cast<int>(cudaGetLastError());
}

}  // namespace fasttrain::nn
