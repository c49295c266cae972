// The forward with an online softmax over tiles of keys in shared memory, fp32 accumulation, no tensor cores: the
// correct form that a fast kernel is measured against. Not tuned on any card.
//
// A block takes 32 queries of one head, a warp 4 of them; in a tile of 32 keys each lane scores one key (its row of k,
// padded by one float so that lanes hit different banks), then holds D / 32 columns of each of its warp's 4 outputs.

#include <cuda_bf16.h>

#include "nn/attention.h"

namespace fasttrain::nn {
namespace {

constexpr int keys_of_tile = 32;    // one a lane
constexpr int queries_of_warp = 4;  // each k and v value loaded from shared memory serves four products
constexpr int warps = 8;            // 256 threads: 2 blocks fit an SM's shared memory at D = 128
constexpr int queries_of_block = warps * queries_of_warp;

__device__ float read(const float* x) { return *x; }
__device__ float read(const __nv_bfloat16* x) { return __bfloat162float(*x); }
__device__ void write(float* x, float value) { *x = value; }
__device__ void write(__nv_bfloat16* x, float value) { *x = __float2bfloat16_rn(value); }

__device__ float warp_max(float x) {
  for (int step = 16; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, step));
  return x;
}
__device__ float warp_sum(float x) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  return x;
}

// T: float or bf16. R: columns of a lane, D <= 32 R.
template <typename T, int R>
__global__ void attention_kernel(AttentionCudaArgs p) {
  extern __shared__ float shared[];
  const int D = static_cast<int>(p.D), Tq = static_cast<int>(p.Tq), Tk = static_cast<int>(p.Tk);
  float *q_tile = shared, *k_tile = q_tile + queries_of_block * D, *v_tile = k_tile + keys_of_tile * (D + 1);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int q0 = static_cast<int>(gridDim.x - 1 - blockIdx.x) * queries_of_block;  // longest first under a causal mask
  const std::size_t h = blockIdx.y, b = blockIdx.z, hkv = h / (p.H / p.Hkv);
  const T* q = static_cast<const T*>(p.q) + (b * p.Tq * p.H + h) * p.D;
  const T* k = static_cast<const T*>(p.k) + (b * p.Tk * p.Hkv + hkv) * p.D;
  const T* v = static_cast<const T*>(p.v) + (b * p.Tk * p.Hkv + hkv) * p.D;
  const std::size_t q_row = p.H * p.D, kv_row = p.Hkv * p.D, mask = (p.Bm == 1 ? 0 : b) * p.Tq;

  for (int i = static_cast<int>(threadIdx.x); i < queries_of_block * D; i += warps * 32) {
    const int t = q0 + i / D;
    q_tile[i] = t < Tq ? read(q + t * q_row + i % D) * p.scale : 0.0f;
  }
  int lo[queries_of_warp], hi[queries_of_warp];
  for (int i = 0; i < queries_of_warp; ++i) {
    const int t = q0 + warp * queries_of_warp + i;
    lo[i] = t < Tq ? p.lo[mask + t] : 0;
    hi[i] = t < Tq ? p.hi[mask + t] : 0;
  }
  // What the block sees: every warp reads all 32 ranges, so that all agree without another barrier.
  const int mine = q0 + lane;
  const int my_lo = mine < Tq ? p.lo[mask + mine] : 0, my_hi = mine < Tq ? p.hi[mask + mine] : 0;
  const int begin = __reduce_min_sync(~0u, my_lo < my_hi ? my_lo : Tk);
  const int end = __reduce_max_sync(~0u, my_lo < my_hi ? my_hi : 0);

  float top[queries_of_warp], sum[queries_of_warp], out[queries_of_warp][R] = {};
  for (int i = 0; i < queries_of_warp; ++i) top[i] = -INFINITY, sum[i] = 0.0f;
  for (int n0 = begin / keys_of_tile * keys_of_tile; n0 < end; n0 += keys_of_tile) {
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < keys_of_tile * D; i += warps * 32) {
      const int j = i / D, d = i % D;
      const bool real = n0 + j < Tk;
      k_tile[j * (D + 1) + d] = real ? read(k + (n0 + j) * kv_row + d) : 0.0f;
      v_tile[i] = real ? read(v + (n0 + j) * kv_row + d) : 0.0f;
    }
    __syncthreads();
    float s[queries_of_warp] = {}, factor[queries_of_warp];
    const float* q_mine = q_tile + warp * queries_of_warp * D;
    for (int d = 0; d < D; ++d) {
      const float key = k_tile[lane * (D + 1) + d];
#pragma unroll
      for (int i = 0; i < queries_of_warp; ++i) s[i] = fmaf(q_mine[i * D + d], key, s[i]);
    }
#pragma unroll
    for (int i = 0; i < queries_of_warp; ++i) {
      const int from = lo[i] > n0 ? lo[i] : n0, to = hi[i] < n0 + keys_of_tile ? hi[i] : n0 + keys_of_tile;
      if (from >= to) {  // the same for the whole warp
        s[i] = 0.0f, factor[i] = 1.0f;
        continue;
      }
      const bool seen = n0 + lane >= from && n0 + lane < to;
      const float most = warp_max(seen ? s[i] : -INFINITY), next = fmaxf(top[i], most);
      // fmaxf drops a NaN, so that an all-NaN row keeps next = -inf and its P is NaN: what is not finite shows.
      s[i] = seen ? expf(s[i] - next) : 0.0f;
      factor[i] = top[i] == next ? 1.0f : expf(top[i] - next);
      sum[i] = sum[i] * factor[i] + warp_sum(s[i]);
      top[i] = next;
    }
    // A tile is summed up apart: roundings grow with keys_of_tile + Tk / keys_of_tile, not with Tk.
    float part[queries_of_warp][R] = {};
    for (int j = 0; j < keys_of_tile; ++j) {
      float value[R];
#pragma unroll
      for (int r = 0; r < R; ++r) value[r] = lane + 32 * r < D ? v_tile[j * D + lane + 32 * r] : 0.0f;
#pragma unroll
      for (int i = 0; i < queries_of_warp; ++i) {
        const float weight = __shfl_sync(~0u, s[i], j);
#pragma unroll
        for (int r = 0; r < R; ++r) part[i][r] = fmaf(weight, value[r], part[i][r]);
      }
    }
#pragma unroll
    for (int i = 0; i < queries_of_warp; ++i)
#pragma unroll
      for (int r = 0; r < R; ++r) out[i][r] = fmaf(out[i][r], factor[i], part[i][r]);
  }
  for (int i = 0; i < queries_of_warp; ++i) {
    const int t = q0 + warp * queries_of_warp + i;
    if (t >= Tq) continue;
    const bool none = sum[i] == 0.0f;
    const float inverse = none ? 0.0f : 1.0f / sum[i];
    T* row = static_cast<T*>(p.out) + (b * p.Tq * p.H + h) * p.D + t * q_row;
    for (int r = 0; r < R; ++r)
      if (lane + 32 * r < D) write(row + lane + 32 * r, out[i][r] * inverse);
    if (lane == 0) {
      float* stats = p.stats + 2 * ((b * p.H + h) * p.Tq + t);
      stats[0] = none ? 0.0f : top[i];
      stats[1] = inverse;
    }
  }
}

template <typename T, int R>
int launch(const AttentionCudaArgs& p, cudaStream_t stream) {
  const std::size_t bytes = sizeof(float) * (queries_of_block * p.D + keys_of_tile * (2 * p.D + 1));
  const auto kernel = attention_kernel<T, R>;
  if (const cudaError_t error =
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
      error != cudaSuccess)
    return static_cast<int>(error);
  const dim3 grid(static_cast<unsigned>((p.Tq + queries_of_block - 1) / queries_of_block), static_cast<unsigned>(p.H),
                  static_cast<unsigned>(p.B));
  kernel<<<grid, warps * 32, bytes, stream>>>(p);
  return static_cast<int>(cudaGetLastError());
}

template <typename T>
int of_width(const AttentionCudaArgs& p, cudaStream_t stream) {
  if (p.D <= 32) return launch<T, 1>(p, stream);
  if (p.D <= 64) return launch<T, 2>(p, stream);
  if (p.D <= 128) return launch<T, 4>(p, stream);
  return launch<T, 8>(p, stream);
}

}  // namespace

int attention_cuda(const AttentionCudaArgs& p, void* stream) noexcept {
  if (p.B == 0 || p.Tq == 0) return 0;
  const auto s = static_cast<cudaStream_t>(stream);
  return p.bf16 ? of_width<__nv_bfloat16>(p, s) : of_width<float>(p, s);
}

}  // namespace fasttrain::nn
