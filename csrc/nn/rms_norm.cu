// Bound by memory. A group of 1 to 8 warps takes a row, each lane up to four chunks of eight channels, which stay in
// registers between the sum of squares and the result: every array is read or written once, in 16-byte accesses. Small
// rows share a block of threads. In the backward the blocks stay and walk over rows, so that dweight is added in
// registers, then over the block's groups in shared memory, then over blocks by a second kernel, always in one order.

#include "core/device.cuh"
#include "nn/rms_norm_cuda.h"

namespace fasttrain::nn {
namespace {

using bf16 = __nv_bfloat16;

constexpr int threads = 256, chunks_of_lane = 3;  // more of a row in a lane leaves too few warps to hide latency

// Sum over the group's lanes; `slot` is shared memory for one float a warp and row parity.
__device__ float group_sum(float x, int warps, float (&slot)[2][threads / 32], int parity) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  if (warps == 1) return x;
  const int warp = static_cast<int>(threadIdx.x) / 32, first = warp / warps * warps;
  if (threadIdx.x % 32 == 0) slot[parity][warp] = x;
  __syncthreads();  // the parity alternates, so that one barrier a sum is enough
  x = 0.0f;
  for (int w = 0; w < warps; ++w) x += slot[parity][first + w];
  return x;
}

// X: type of x; R: of residual and r; Y: of y. V: chunks of a lane.
template <typename X, typename R, typename Y, int V>
__global__ void __launch_bounds__(threads) rms_norm_kernel(RmsNormArgs p, int warps) {
  __shared__ float slot[2][threads / 32];
  const int lanes = warps * 32, lane = static_cast<int>(threadIdx.x) % lanes, groups = threads / lanes;
  const int chunks = static_cast<int>(p.C) / 8;
  const std::size_t n = blockIdx.x * static_cast<std::size_t>(groups) + threadIdx.x / lanes, row = n * chunks;
  const bool real = n < p.N;
  float r[V][8];
  float sum = 0.0f;
  Raw8<X> x[V];
  Raw8<R> residual[V];
  Raw8<float> weight8[V];
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const int chunk = lane + v * lanes;
    if (!real || chunk >= chunks) continue;
    x[v] = load8<X>(p.x, row + chunk);
    if (p.residual) residual[v] = load8<R>(p.residual, row + chunk);
    weight8[v] = load8<float>(p.weight, chunk);
  }
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const int chunk = lane + v * lanes;
    if (!real || chunk >= chunks) continue;
    to_floats(r[v], x[v]);
    if (p.residual) {
      float other[8];
      to_floats(other, residual[v]);
      for (int i = 0; i < 8; ++i) r[v][i] += other[i];
      const Raw8<R> rounded = from_floats<R>(r[v]);
      static_cast<Raw8<R>*>(p.r)[row + chunk] = rounded;
      to_floats(r[v], rounded);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) sum = fmaf(r[v][i], r[v][i], sum);
  }
  const float rstd = rsqrtf(group_sum(sum, warps, slot, 0) / static_cast<float>(p.C) + p.eps);
  if (!real) return;
  if (lane == 0) p.rstd[n] = rstd;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const int chunk = lane + v * lanes;
    if (chunk >= chunks) continue;
    float weight[8];
    to_floats(weight, weight8[v]);
    for (int i = 0; i < 8; ++i) r[v][i] = r[v][i] * rstd * weight[i];
    store8<Y>(p.y, row + chunk, r[v]);
  }
}

// What a lane reads of a row.
template <typename R, typename Y, int V>
struct Row {
  Raw8<R> r[V], dr[V];
  Raw8<Y> dy[V];
  float rstd;
};

template <typename R, typename Y, int V>
__device__ void load_row(Row<R, Y, V>& row, const RmsNormArgs& p, std::size_t n, int lane, int lanes) {
  const int chunks = static_cast<int>(p.C) / 8;
  row.rstd = n < p.N ? p.rstd[n] : 0.0f;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const int chunk = lane + v * lanes;
    if (n >= p.N || chunk >= chunks) continue;
    row.r[v] = load8<R>(p.r, n * chunks + chunk), row.dy[v] = load8<Y>(p.dy, n * chunks + chunk);
    if (p.dr) row.dr[v] = load8<R>(p.dr, n * chunks + chunk);
  }
}

template <typename X, typename R, typename Y, int V>
__global__ void __launch_bounds__(threads, 2) rms_norm_backward_kernel(RmsNormArgs p, int warps) {
  constexpr bool ahead = sizeof(R) == 2 && V < 4;  // more would not fit twice into the registers
  extern __shared__ float added[];                 // (groups, C)
  __shared__ float slot[2][threads / 32];
  const int lanes = warps * 32, lane = static_cast<int>(threadIdx.x) % lanes, groups = threads / lanes;
  const int group = static_cast<int>(threadIdx.x) / lanes, chunks = static_cast<int>(p.C) / 8;
  const float inverse_C = 1.0f / static_cast<float>(p.C);
  const std::size_t stride = gridDim.x * static_cast<std::size_t>(groups);
  float dweight[V][8] = {};
  int parity = 0;
  Row<R, Y, V> row, next;
  if constexpr (ahead) load_row(next, p, blockIdx.x * static_cast<std::size_t>(groups) + group, lane, lanes);
  // Every group makes as many rounds, for the barrier inside the sum.
  for (std::size_t n0 = blockIdx.x * static_cast<std::size_t>(groups); n0 < p.N; n0 += stride, parity ^= 1) {
    const std::size_t n = n0 + group;
    const bool real = n < p.N;
    if constexpr (ahead) {
      row = next;
      load_row(next, p, n + stride, lane, lanes);  // on its way while this one is used
    } else {
      load_row(row, p, n, lane, lanes);
    }
    float sum = 0.0f;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const int chunk = lane + v * lanes;
      if (!real || chunk >= chunks) continue;
      float r[8], dy[8], weight[8];
      to_floats(r, row.r[v]), to_floats(dy, row.dy[v]), to_floats(weight, load8<float>(p.weight, chunk));
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        sum = fmaf(dy[i] * weight[i], r[i], sum);
        dweight[v][i] = fmaf(dy[i], r[i] * row.rstd, dweight[v][i]);
      }
    }
    const float mean = group_sum(sum, warps, slot, parity) * inverse_C * row.rstd * row.rstd;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const int chunk = lane + v * lanes;
      if (!real || chunk >= chunks) continue;
      float r[8], dy[8], dr[8] = {}, weight[8];
      to_floats(r, row.r[v]), to_floats(dy, row.dy[v]), to_floats(weight, load8<float>(p.weight, chunk));
      if (p.dr) to_floats(dr, row.dr[v]);
#pragma unroll
      for (int i = 0; i < 8; ++i) dr[i] = fmaf(row.rstd, fmaf(-r[i], mean, dy[i] * weight[i]), dr[i]);
      store8<R>(p.dresidual, n * chunks + chunk, dr);
      if (p.dx) store8<X>(p.dx, n * chunks + chunk, dr);
    }
  }
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const int chunk = lane + v * lanes;
    if (chunk >= chunks) continue;
    for (int i = 0; i < 8; ++i) added[group * static_cast<int>(p.C) + chunk * 8 + i] = dweight[v][i];
  }
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.x); c < static_cast<int>(p.C); c += threads) {
    float total = 0.0f;
    for (int g = 0; g < groups; ++g) total += added[g * static_cast<int>(p.C) + c];
    p.parts[blockIdx.x * p.C + c] = total;
  }
}

// 32 channels a block, 8 threads a channel, each a range of the parts; then the 8 in order.
__global__ void __launch_bounds__(256) dweight_kernel(const float* parts, float* dweight, int C, int blocks) {
  __shared__ double sums[8][32];
  const int c = static_cast<int>(blockIdx.x) * 32 + static_cast<int>(threadIdx.x) % 32;
  const int slice = static_cast<int>(threadIdx.x) / 32;
  double sum = 0.0;
  if (c < C)
    for (int b = slice * blocks / 8; b < (slice + 1) * blocks / 8; ++b) sum += parts[b * C + c];
  sums[slice][threadIdx.x % 32] = sum;
  __syncthreads();
  if (slice == 0 && c < C) {
    for (int s = 1; s < 8; ++s) sum += sums[s][threadIdx.x];
    dweight[c] = static_cast<float>(sum);
  }
}

int warps_of(std::size_t C) {  // of a row
  int warps = 1;
  while (warps < threads / 32 && static_cast<std::size_t>(warps) * 32 * chunks_of_lane * 8 < C) warps *= 2;
  return warps;
}

template <typename X, typename R, typename Y, int V>
int launch(const RmsNormArgs& p, bool backward, cudaStream_t stream) {
  const int warps = warps_of(p.C), groups = threads / 32 / warps;
  const std::size_t blocks = (p.N + groups - 1) / groups;
  if (!backward) {
    rms_norm_kernel<X, R, Y, V><<<static_cast<unsigned>(blocks), threads, 0, stream>>>(p, warps);
    return static_cast<int>(cudaGetLastError());
  }
  const int C = static_cast<int>(p.C), bytes = groups * C * static_cast<int>(sizeof(float));
  const int parts = static_cast<int>(blocks < rms_norm_cuda_parts ? blocks : rms_norm_cuda_parts);
  rms_norm_backward_kernel<X, R, Y, V><<<static_cast<unsigned>(parts), threads, bytes, stream>>>(p, warps);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return static_cast<int>(error);
  dweight_kernel<<<static_cast<unsigned>((C + 31) / 32), 256, 0, stream>>>(p.parts, p.dweight, C, parts);
  return static_cast<int>(cudaGetLastError());
}

template <typename X, typename R, typename Y>
int of_width(const RmsNormArgs& p, bool backward, cudaStream_t stream) {
  const std::size_t lanes = static_cast<std::size_t>(warps_of(p.C)) * 32, chunks = (p.C / 8 + lanes - 1) / lanes;
  switch (chunks) {
    case 1: return launch<X, R, Y, 1>(p, backward, stream);
    case 2: return launch<X, R, Y, 2>(p, backward, stream);
    case 3: return launch<X, R, Y, 3>(p, backward, stream);
    default: return launch<X, R, Y, 4>(p, backward, stream);
  }
}

int of_types(const RmsNormArgs& p, bool y_bf16, bool backward, void* stream) {
  if (p.N == 0 || p.C == 0) return 0;  // dweight is the face's zeros
  if (p.C % 8 != 0 || p.C > rms_norm_cuda_max_C) return static_cast<int>(cudaErrorInvalidValue);
  const auto s = static_cast<cudaStream_t>(stream);
  if (p.r_bf16) return of_width<bf16, bf16, bf16>(p, backward, s);
  if (y_bf16) return p.x_bf16 ? of_width<bf16, float, bf16>(p, backward, s) : of_width<float, float, bf16>(p, backward, s);
  return p.x_bf16 ? of_width<bf16, float, float>(p, backward, s) : of_width<float, float, float>(p, backward, s);
}

}  // namespace

int rms_norm_cuda(const RmsNormArgs& p, bool y_bf16, void* stream) noexcept {
  return of_types(p, y_bf16, false, stream);
}
int rms_norm_backward_cuda(const RmsNormArgs& p, bool y_bf16, void* stream) noexcept {
  return of_types(p, y_bf16, true, stream);
}

}  // namespace fasttrain::nn
