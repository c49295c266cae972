// What both backwards begin with: lse and delta of each query, and the key ranges of blocks of queries.

#include "nn/attention_backward.cuh"

namespace fasttrain::nn {
namespace {

constexpr int threads = 256;

// D / 8 lanes a row, 16 bytes each.
template <int D>
__global__ void __launch_bounds__(threads) rows_kernel(AttentionTensorArgs p, std::size_t Tp) {
  constexpr int lanes = D / 8;
  const std::size_t row = (blockIdx.x * static_cast<std::size_t>(threads) + threadIdx.x) / lanes;
  const std::size_t h = row % p.H, t = row / p.H % Tp, b = row / p.H / Tp;
  const bool inside = b < p.B, real = inside && t < p.Tq;
  float sum = 0.0f;
  if (real) {
    const std::size_t at = ((b * p.Tq + t) * p.H + h) * D + threadIdx.x % lanes * 8;
    const uint4 o4 = *reinterpret_cast<const uint4*>(static_cast<const bf16*>(p.out) + at);
    const uint4 g4 = *reinterpret_cast<const uint4*>(static_cast<const bf16*>(p.dout) + at);
    const auto o = reinterpret_cast<const __nv_bfloat162*>(&o4), g = reinterpret_cast<const __nv_bfloat162*>(&g4);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 x = __bfloat1622float2(o[i]), y = __bfloat1622float2(g[i]);
      sum = fmaf(x.x, y.x, fmaf(x.y, y.y, sum));
    }
  }
#pragma unroll
  for (int step = lanes / 2; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  if (inside && threadIdx.x % lanes == 0)
    reinterpret_cast<float2*>(p.rows)[(b * p.H + h) * Tp + t] =
        real ? float2{p.lse[(b * p.H + h) * p.Tq + t], sum} : float2{INFINITY, 0.0f};
}

// One warp a block of queries.
__global__ void __launch_bounds__(32) ranges_kernel(AttentionTensorArgs p) {
  constexpr int block = attention_range_block;
  const int Tq = static_cast<int>(p.Tq), t0 = static_cast<int>(blockIdx.x) * block;
  const std::int32_t *lo = p.lo + blockIdx.y * p.Tq, *hi = p.hi + blockIdx.y * p.Tq;
  QueryRange r{INT_MAX, 0, 0, INT_MAX};
  for (int t = t0 + static_cast<int>(threadIdx.x); t < min(t0 + block, Tq); t += 32) {
    if (lo[t] < hi[t]) r.begin = min(r.begin, lo[t]), r.end = max(r.end, hi[t]);
    r.all_from = max(r.all_from, lo[t]), r.all_to = min(r.all_to, hi[t]);
  }
  r.begin = __reduce_min_sync(~0u, r.begin), r.end = __reduce_max_sync(~0u, r.end);
  r.all_from = __reduce_max_sync(~0u, r.all_from), r.all_to = __reduce_min_sync(~0u, r.all_to);
  if (threadIdx.x == 0) reinterpret_cast<QueryRange*>(p.ranges)[blockIdx.y * gridDim.x + blockIdx.x] = r;
}

template <int D>
void launch_rows(const AttentionTensorArgs& p, cudaStream_t stream) {
  const std::size_t Tp = padded_queries(p.Tq), blocks = (p.B * Tp * p.H * (D / 8) + threads - 1) / threads;
  rows_kernel<D><<<static_cast<unsigned>(blocks), threads, 0, stream>>>(p, Tp);
}

}  // namespace

int attention_prepare_backward(const AttentionTensorArgs& p, void* stream) noexcept {
  const auto s = static_cast<cudaStream_t>(stream);
  if (p.D != 64 && p.D != 128) return static_cast<int>(cudaErrorInvalidValue);
  p.D == 64 ? launch_rows<64>(p, s) : launch_rows<128>(p, s);
  const dim3 grid(static_cast<unsigned>(padded_queries(p.Tq) / attention_range_block), static_cast<unsigned>(p.Bm));
  ranges_kernel<<<grid, 32, 0, s>>>(p);
  return static_cast<int>(cudaGetLastError());
}

}  // namespace fasttrain::nn
