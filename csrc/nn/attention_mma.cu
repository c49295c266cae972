// The forward with mma.sync: a block takes 128 queries of one head, a warp 32 of them (two rows of fragments, so that
// what is read of k and v from shared memory serves two products), and walks over tiles of 64 keys with an online
// softmax. While a product runs the next tile of the other operand is on its way; two blocks an SM fill each other's
// gaps.

#include <climits>

#include "nn/attention_cuda.h"
#include "nn/attention_tile.cuh"

namespace fasttrain::nn {
namespace {

constexpr int warps = 4, threads = warps * 32, parts = 2;
constexpr int queries = warps * parts * 16;  // 128: 64 KB with the keys and values at D = 128, two blocks an SM
constexpr int keys = 64;

template <int D>
__global__ void __launch_bounds__(threads, 2) attention_mma_kernel(AttentionTensorArgs p) {
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ int lo_of[queries], hi_of[queries], begins[warps], ends[warps];
  unsigned char* const q_bytes = shared;
  const std::uint32_t q_tile = shared_address(shared), k_tile = q_tile + queries * D * 2, v_tile = k_tile + keys * D * 2;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int Tq = static_cast<int>(p.Tq), Tk = static_cast<int>(p.Tk);
  const int q0 = static_cast<int>(gridDim.x - 1 - blockIdx.x) * queries;  // longest first under a causal mask
  const std::size_t h = blockIdx.y, b = blockIdx.z, hkv = h / (p.H / p.Hkv);
  const std::size_t q_stride = p.H * D, kv_stride = p.Hkv * D, mask = (p.Bm == 1 ? 0 : b) * p.Tq;
  const bf16* q = static_cast<const bf16*>(p.q) + (b * p.Tq * p.H + h) * D;
  const bf16* k = static_cast<const bf16*>(p.k) + (b * p.Tk * p.Hkv + hkv) * D;
  const bf16* v = static_cast<const bf16*>(p.v) + (b * p.Tk * p.Hkv + hkv) * D;

  load_tile<D, queries, threads>(q_tile, q, q_stride, q0, Tq);
  // Which keys the block and each warp see. A row beyond the last one sees none and asks for no mask.
  const bool real = q0 + thread < Tq;
  const int my_lo = real ? p.lo[mask + q0 + thread] : 0, my_hi = real ? p.hi[mask + q0 + thread] : 0;
  lo_of[thread] = my_lo, hi_of[thread] = my_hi;
  const int warp_begin = __reduce_min_sync(~0u, my_lo < my_hi ? my_lo : INT_MAX);
  const int warp_end = __reduce_max_sync(~0u, my_lo < my_hi ? my_hi : 0);
  const int all_from = __reduce_max_sync(~0u, my_lo), all_to = __reduce_min_sync(~0u, real ? my_hi : INT_MAX);
  if (lane == 0) begins[warp] = warp_begin, ends[warp] = warp_end;
  __syncthreads();
  int begin = INT_MAX, end = 0;
  for (int w = 0; w < warps; ++w) begin = min(begin, begins[w]), end = max(end, ends[w]);
  begin = end > 0 ? begin / keys * keys : 0;
  const float c = p.scale * log2_e;
  float out[parts][D / 8][4] = {}, top[parts][2], sum[parts][2];
#pragma unroll
  for (int m = 0; m < parts; ++m)
    for (int r = 0; r < 2; ++r) top[m][r] = -INFINITY, sum[m][r] = 0.0f;
  if (begin < end) load_tile<D, keys, threads>(k_tile, k, kv_stride, begin, Tk);
  copy_commit();
  for (int n0 = begin; n0 < end; n0 += keys) {
    copy_wait<0>();
    __syncthreads();  // k is there, and nobody reads the last v any more
    load_tile<D, keys, threads>(v_tile, v, kv_stride, n0, Tk);
    copy_commit();
    const bool active = n0 < warp_end && n0 + keys > warp_begin;  // the same for the whole warp
    float s[parts][keys / 8][4] = {};
    if (active) {
#pragma unroll
      for (int kk = 0; kk < D / 16; ++kk) {
        std::uint32_t a[parts][4];
        for (int m = 0; m < parts; ++m) load_a<queries>(a[m], q_tile, warp * 32 + m * 16, kk);
#pragma unroll
        for (int n = 0; n < keys / 16; ++n) {
          std::uint32_t x[4];
          load_b<keys>(x, k_tile, n * 16, kk);
#pragma unroll
          for (int m = 0; m < parts; ++m) {
            multiply(s[m][2 * n], a[m], x[0], x[1]);
            multiply(s[m][2 * n + 1], a[m], x[2], x[3]);
          }
        }
      }
    }
    copy_wait<0>();
    __syncthreads();  // v is there, and nobody reads this k any more
    if (n0 + keys < end) load_tile<D, keys, threads>(k_tile, k, kv_stride, n0 + keys, Tk);
    copy_commit();
    if (!active) continue;
    if (n0 < all_from || n0 + keys > all_to) {
#pragma unroll
      for (int m = 0; m < parts; ++m)
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const int row = warp * 32 + m * 16 + r * 8 + lane / 4, key0 = n0 + lane % 4 * 2;
          const int lo = lo_of[row] - key0, hi = hi_of[row] - key0;
#pragma unroll
          for (int n = 0; n < keys / 8; ++n)
#pragma unroll
            for (int i = 0; i < 2; ++i)
              if (n * 8 + i < lo || n * 8 + i >= hi) s[m][n][2 * r + i] = -INFINITY;
        }
    }
#pragma unroll
    for (int m = 0; m < parts; ++m)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float most = -INFINITY;  // fmaxf drops a NaN; its P is NaN all the same
#pragma unroll
        for (int n = 0; n < keys / 8; ++n) most = fmaxf(most, fmaxf(s[m][n][2 * r], s[m][n][2 * r + 1]));
        const float next = fmaxf(top[m][r], row_max(most)), base = next == -INFINITY ? 0.0f : next * c;
        const float factor = exp2_fast(top[m][r] * c - base);
        top[m][r] = next;
        float part = 0.0f;
#pragma unroll
        for (int n = 0; n < keys / 8; ++n)
#pragma unroll
          for (int i = 2 * r; i < 2 * r + 2; ++i) {
            s[m][n][i] = exp2_fast(fmaf(s[m][n][i], c, -base));
            part += s[m][n][i];
          }
        sum[m][r] = sum[m][r] * factor + part;  // of this lane's columns; the lanes are added at the end
#pragma unroll
        for (int n = 0; n < D / 8; ++n) out[m][n][2 * r] *= factor, out[m][n][2 * r + 1] *= factor;
      }
#pragma unroll
    for (int kk = 0; kk < keys / 16; ++kk) {
      std::uint32_t a[parts][4];
      for (int m = 0; m < parts; ++m) as_a(a[m], s[m][2 * kk], s[m][2 * kk + 1]);
#pragma unroll
      for (int n = 0; n < D / 16; ++n) {
        std::uint32_t x[4];
        load_b_transposed<keys>(x, v_tile, kk * 16, n);
#pragma unroll
        for (int m = 0; m < parts; ++m) {
          multiply(out[m][2 * n], a[m], x[0], x[1]);
          multiply(out[m][2 * n + 1], a[m], x[2], x[3]);
        }
      }
    }
  }
  copy_wait<0>();  // of a block that sees no key, q is still on its way
  __syncthreads();
  bf16* to = static_cast<bf16*>(p.out) + (b * p.Tq * p.H + h) * D;
#pragma unroll
  for (int m = 0; m < parts; ++m) {
    float inverse[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float total = row_sum(sum[m][r]);
      const bool none = total == 0.0f;
      inverse[r] = none ? 0.0f : 1.0f / total;
      const int t = q0 + warp * 32 + m * 16 + r * 8 + lane / 4;
      if (lane % 4 == 0 && t < Tq) p.lse[(b * p.H + h) * p.Tq + t] = none ? INFINITY : top[m][r] * c + log2f(total);
    }
    store_rows<D, queries>(out[m], inverse[0], inverse[1], q_bytes, warp * 32 + m * 16, to, q_stride, q0, Tq);
  }
}

template <int D>
int launch(const AttentionTensorArgs& p, cudaStream_t stream) {
  constexpr int bytes = (queries + 2 * keys) * D * 2;
  const auto kernel = attention_mma_kernel<D>;
  if (const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
      error != cudaSuccess)
    return static_cast<int>(error);
  const dim3 grid(static_cast<unsigned>((p.Tq + queries - 1) / queries), static_cast<unsigned>(p.H),
                  static_cast<unsigned>(p.B));
  kernel<<<grid, threads, bytes, stream>>>(p);
  return static_cast<int>(cudaGetLastError());
}

}  // namespace

int attention_mma_forward(const AttentionTensorArgs& p, void* stream) noexcept {
  if (p.B == 0 || p.Tq == 0) return 0;
  const auto s = static_cast<cudaStream_t>(stream);
  return p.D == 64 ? launch<64>(p, s) : p.D == 128 ? launch<128>(p, s) : static_cast<int>(cudaErrorInvalidValue);
}

}  // namespace fasttrain::nn
