// The backward on Hopper: the two kernels of attention_mma_backward.cu (keys: dk and dv with transposed scores; queries:
// dq) with products of whole warpgroups. One warpgroup's first thread feeds tiles through the copy engine, two stages;
// two others take 64 keys, or 64 queries, each. Nothing is added by atomics.

#include "nn/attention_backward.cuh"
#include "nn/attention_hopper.cuh"

namespace fasttrain::nn {
namespace {

constexpr int stages = 2, workers = 2, rows = 64 * workers, step = 64, threads = 128 * (workers + 1);
static_assert(step == attention_range_block);

template <int D>
constexpr int tile_bytes = 64 * D * 2;
template <int D>  // two operands of each worker; two and the statistics of each stage; 1024 to begin on a multiple of it
constexpr int shared_bytes = 2 * workers * tile_bytes<D> + stages * (2 * tile_bytes<D> + step * 8) + 1024;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

template <int N>
__device__ void clear(float (&x)[N][4]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) x[n][i] = 0.0f;
}

__device__ inline unsigned char* aligned(unsigned char* shared) {
  return shared + (1024 - shared_address(shared) % 1024) % 1024;
}

// full[s] completes when a stage is there, free[s] when every warp at work has read it.
struct Stages {
  std::uint32_t once, full, free;
};
__device__ inline Stages start(std::uint64_t (&barriers)[1 + 2 * stages]) {
  const std::uint32_t first = shared_address(barriers);
  const Stages all{first, first + 8, first + 8 + 8 * stages};
  if (threadIdx.x == 0) {
    barrier_init(all.once, 1);
    for (int s = 0; s < stages; ++s) barrier_init(all.full + 8 * s, 1), barrier_init(all.free + 8 * s, 4 * workers);
    barrier_init_done();
  }
  return all;
}

#endif

template <int D>
__global__ void __launch_bounds__(threads, 1)
    attention_wgmma_dkdv_kernel([[maybe_unused]] const __grid_constant__ AttentionTensorArgs p,
                                [[maybe_unused]] const __grid_constant__ CUtensorMap q_map,
                                [[maybe_unused]] const __grid_constant__ CUtensorMap k_map,
                                [[maybe_unused]] const __grid_constant__ CUtensorMap v_map,
                                [[maybe_unused]] const __grid_constant__ CUtensorMap g_map) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ unsigned char shared[];
  __shared__ __align__(8) std::uint64_t barriers[1 + 2 * stages];
  constexpr int tile = tile_bytes<D>;
  unsigned char* const tiles = aligned(shared);
  const std::uint32_t k_tile = shared_address(tiles), v_tile = k_tile + workers * tile;
  const std::uint32_t q_tile = v_tile + workers * tile, g_tile = q_tile + stages * tile;
  const std::uint32_t stats = g_tile + stages * tile;
  const auto row_of = reinterpret_cast<const float4*>(tiles + 2 * (workers + stages) * tile);  // of two queries each
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int Tk = static_cast<int>(p.Tk), blocks = static_cast<int>(padded_queries(p.Tq)) / step;
  const int n0 = static_cast<int>(blockIdx.x) * rows;  // under a causal mask the first keys have the most queries
  const int hkv = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z);
  const int heads = static_cast<int>(p.H / p.Hkv), bm = p.Bm == 1 ? 0 : b;
  const QueryRange* ranges = reinterpret_cast<const QueryRange*>(p.ranges) + static_cast<std::size_t>(bm) * blocks;
  const Stages all = start(barriers);
  __syncthreads();
  const Blocks span = blocks_that_see(ranges, blocks, n0, n0 + rows);
  const int count = span.stop - span.first, total = count * heads;

  const int group = __shfl_sync(~0u, thread / 128, 0);
  if (group == 0) {  // feeds
    give_registers<24>();
    if (thread == 0) {
      barrier_expect(all.once, 2 * workers * tile);
      for (int w = 0; w < workers; ++w) {
        copy_tile<D, 64>(k_tile + w * tile, k_map, all.once, hkv, n0 + 64 * w, b);
        copy_tile<D, 64>(v_tile + w * tile, v_map, all.once, hkv, n0 + 64 * w, b);
      }
      for (int i = 0; i < total; ++i) {
        const int s = i % stages, h = hkv * heads + i / count, block = span.first + i % count;
        barrier_wait(all.free + 8 * s, i / stages % 2 ^ 1);
        barrier_expect(all.full + 8 * s, 2 * tile + step * 8);
        copy_tile<D, 64>(q_tile + s * tile, q_map, all.full + 8 * s, h, block * step, b);
        copy_tile<D, 64>(g_tile + s * tile, g_map, all.full + 8 * s, h, block * step, b);
        const std::size_t row = (static_cast<std::size_t>(b) * p.H + h) * blocks + block;
        copy_bytes(stats + s * step * 8, p.rows + row * step * 2, step * 8, all.full + 8 * s);
      }
    }
  } else {
    take_registers<240>();
    const int worker = group - 1, warp = thread / 32 % 4, my_row = warp * 16 + lane / 4;
    const int my_n0 = n0 + worker * 64, warp_n0 = my_n0 + warp * 16;
    const std::uint32_t k = k_tile + worker * tile, v = v_tile + worker * tile;
    const std::int32_t *lo = p.lo + bm * p.Tq, *hi = p.hi + bm * p.Tq;
    const float c = p.scale * log2_e;
    float dk[D / 8][4], dv[D / 8][4];
    clear(dk), clear(dv);
    barrier_wait(all.once, 0);
    QueryRange range{};
    if (total > 0) range = ranges[span.first];
    for (int i = 0; i < total; ++i) {
      const int stage = i % stages, block = span.first + i % count;
      const QueryRange next_range = ranges[span.first + (i + 1) % count];  // on its way while this block is used
      const std::uint32_t q = q_tile + stage * tile, g = g_tile + stage * tile;
      barrier_wait(all.full + 8 * stage, i / stages % 2);
      if (range.begin < my_n0 + 64 && range.end > my_n0) {  // the same for the whole warpgroup
        float s[step / 8][4], dp[step / 8][4];
        product_fence();
#pragma unroll
        for (int kk = 0; kk < D / 16; ++kk) product(s, along_k<64>(k, kk), along_k<64>(q, kk), kk > 0);
        product_commit();
#pragma unroll
        for (int kk = 0; kk < D / 16; ++kk) product(dp, along_k<64>(v, kk), along_k<64>(g, kk), kk > 0);
        product_commit();
        product_wait<1>();
        hold(s);
        const float4* row = row_of + stage * step / 2 + lane % 4;
        const bool whole = range.all_from <= warp_n0 && range.all_to >= warp_n0 + 16;
        if (whole) {
#pragma unroll
          for (int n = 0; n < step / 8; ++n) {
            const float4 two = row[n * 4];
#pragma unroll
            for (int j = 0; j < 4; ++j) s[n][j] = exp2_fast(at_most_0(fmaf(s[n][j], c, j % 2 ? -two.z : -two.x)));
          }
        } else {
#pragma unroll
          for (int n = 0; n < step / 8; ++n) {
            const float4 two = row[n * 4];
#pragma unroll
            for (int j = 0; j < 4; ++j) {
              const int t = block * step + n * 8 + lane % 4 * 2 + j % 2, key = my_n0 + my_row + j / 2 * 8;
              const bool seen = t < static_cast<int>(p.Tq) && key >= lo[t] && key < hi[t];
              s[n][j] = seen ? exp2_fast(at_most_0(fmaf(s[n][j], c, j % 2 ? -two.z : -two.x))) : 0.0f;
            }
          }
        }
        std::uint32_t weights[step / 16][4], slopes[step / 16][4];
#pragma unroll
        for (int kk = 0; kk < step / 16; ++kk) as_a(weights[kk], s[2 * kk], s[2 * kk + 1]);
        product_wait<0>();
        hold(dp);
        hold(dv);
        product_fence();
#pragma unroll
        for (int kk = 0; kk < step / 16; ++kk) product<1>(dv, weights[kk], across_k<64>(g, kk), 1);
        product_commit();
#pragma unroll
        for (int n = 0; n < step / 8; ++n) {
          const float4 two = row[n * 4];
#pragma unroll
          for (int j = 0; j < 4; ++j) dp[n][j] = s[n][j] * (dp[n][j] - (j % 2 ? two.w : two.y));
        }
#pragma unroll
        for (int kk = 0; kk < step / 16; ++kk) as_a(slopes[kk], dp[2 * kk], dp[2 * kk + 1]);
        hold(dk);
        product_fence();
#pragma unroll
        for (int kk = 0; kk < step / 16; ++kk) product<1>(dk, slopes[kk], across_k<64>(q, kk), 1);
        product_commit();
        product_wait<0>();
        hold(dv);
        hold(dk);
      }
      __syncwarp();
      if (lane == 0) barrier_arrive(all.free + 8 * stage);
      range = next_range;
    }
    named_sync(1 + worker, 128);  // all four warps have read k and v: their tiles take the results
    const std::size_t at = (static_cast<std::size_t>(b) * p.Tk * p.Hkv + hkv) * D, stride = p.Hkv * D;
    store_rows<D, 64>(dk, p.scale, p.scale, tiles + worker * tile, warp * 16, static_cast<bf16*>(p.dk) + at, stride,
                      my_n0, Tk);
    store_rows<D, 64>(dv, 1.0f, 1.0f, tiles + (workers + worker) * tile, warp * 16, static_cast<bf16*>(p.dv) + at,
                      stride, my_n0, Tk);
  }
#endif
}

template <int D>
__global__ void __launch_bounds__(threads, 1)
    attention_wgmma_dq_kernel([[maybe_unused]] const __grid_constant__ AttentionTensorArgs p,
                              [[maybe_unused]] const __grid_constant__ CUtensorMap q_map,
                              [[maybe_unused]] const __grid_constant__ CUtensorMap k_map,
                              [[maybe_unused]] const __grid_constant__ CUtensorMap v_map,
                              [[maybe_unused]] const __grid_constant__ CUtensorMap g_map) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ unsigned char shared[];
  __shared__ __align__(8) std::uint64_t barriers[1 + 2 * stages];
  __shared__ int begin_all, end_all;
  constexpr int tile = tile_bytes<D>;
  unsigned char* const tiles = aligned(shared);
  const std::uint32_t q_tile = shared_address(tiles), g_tile = q_tile + workers * tile;
  const std::uint32_t k_tile = g_tile + workers * tile, v_tile = k_tile + stages * tile;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int Tq = static_cast<int>(p.Tq), h = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z);
  const int q0 = static_cast<int>(gridDim.x - 1 - blockIdx.x) * rows;  // longest first under a causal mask
  const std::size_t mask = (p.Bm == 1 ? 0 : b) * p.Tq;
  const Stages all = start(barriers);
  if (thread == 0) begin_all = INT_MAX, end_all = 0;
  __syncthreads();
  if (thread < rows) {
    const int t = q0 + thread, lo = t < Tq ? p.lo[mask + t] : 0, hi = t < Tq ? p.hi[mask + t] : 0;
    const int begin = __reduce_min_sync(~0u, lo < hi ? lo : INT_MAX), end = __reduce_max_sync(~0u, lo < hi ? hi : 0);
    if (lane == 0) atomicMin(&begin_all, begin), atomicMax(&end_all, end);
  }
  __syncthreads();
  const int begin = end_all > 0 ? begin_all / step : 0, count = (end_all + step - 1) / step - begin;

  const int group = __shfl_sync(~0u, thread / 128, 0);
  if (group == 0) {  // feeds
    give_registers<24>();
    if (thread == 0) {
      const int hkv = h / static_cast<int>(p.H / p.Hkv);
      barrier_expect(all.once, 2 * workers * tile);
      for (int w = 0; w < workers; ++w) {
        copy_tile<D, 64>(q_tile + w * tile, q_map, all.once, h, q0 + 64 * w, b);
        copy_tile<D, 64>(g_tile + w * tile, g_map, all.once, h, q0 + 64 * w, b);
      }
      for (int i = 0; i < count; ++i) {
        const int s = i % stages;
        barrier_wait(all.free + 8 * s, i / stages % 2 ^ 1);
        barrier_expect(all.full + 8 * s, 2 * tile);
        copy_tile<D, 64>(k_tile + s * tile, k_map, all.full + 8 * s, hkv, (begin + i) * step, b);
        copy_tile<D, 64>(v_tile + s * tile, v_map, all.full + 8 * s, hkv, (begin + i) * step, b);
      }
    }
  } else {
    take_registers<240>();
    const int worker = group - 1, warp = thread / 32 % 4, my_q0 = q0 + worker * 64 + warp * 16;
    int lo[2], hi[2], all_from = 0, all_to = INT_MAX;
    float lse[2], delta[2];
    const float2* rows_of =
        reinterpret_cast<const float2*>(p.rows) + (static_cast<std::size_t>(b) * p.H + h) * padded_queries(p.Tq);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int t = my_q0 + r * 8 + lane / 4;
      const bool real = t < Tq;
      lo[r] = real ? p.lo[mask + t] : 0, hi[r] = real ? p.hi[mask + t] : 0;
      const float2 row = real ? rows_of[t] : float2{INFINITY, 0.0f};
      lse[r] = row.x, delta[r] = row.y;
      if (real) all_from = max(all_from, lo[r]), all_to = min(all_to, hi[r]);
    }
    all_from = __reduce_max_sync(~0u, all_from), all_to = __reduce_min_sync(~0u, all_to);
    const float c = p.scale * log2_e;
    const std::uint32_t q_mine = q_tile + worker * tile, g_mine = g_tile + worker * tile;
    float dq[D / 8][4];
    clear(dq);
    barrier_wait(all.once, 0);
    for (int i = 0; i < count; ++i) {
      const int stage = i % stages, n0 = (begin + i) * step;
      const std::uint32_t k = k_tile + stage * tile, v = v_tile + stage * tile;
      barrier_wait(all.full + 8 * stage, i / stages % 2);
      float s[step / 8][4], dp[step / 8][4];
      product_fence();
#pragma unroll
      for (int kk = 0; kk < D / 16; ++kk) product(s, along_k<64>(q_mine, kk), along_k<64>(k, kk), kk > 0);
      product_commit();
#pragma unroll
      for (int kk = 0; kk < D / 16; ++kk) product(dp, along_k<64>(g_mine, kk), along_k<64>(v, kk), kk > 0);
      product_commit();
      product_wait<1>();
      hold(s);
      const bool whole = all_from <= n0 && all_to >= n0 + step;
#pragma unroll
      for (int n = 0; n < step / 8; ++n)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int key = n0 + n * 8 + lane % 4 * 2 + j % 2;
          const float weight = exp2_fast(at_most_0(fmaf(s[n][j], c, -lse[j / 2])));
          s[n][j] = whole || (key >= lo[j / 2] && key < hi[j / 2]) ? weight : 0.0f;
        }
      product_wait<0>();
      hold(dp);
#pragma unroll
      for (int n = 0; n < step / 8; ++n)
#pragma unroll
        for (int j = 0; j < 4; ++j) dp[n][j] = s[n][j] * (dp[n][j] - delta[j / 2]);
      std::uint32_t slopes[step / 16][4];
#pragma unroll
      for (int kk = 0; kk < step / 16; ++kk) as_a(slopes[kk], dp[2 * kk], dp[2 * kk + 1]);
      hold(dq);
      product_fence();
#pragma unroll
      for (int kk = 0; kk < step / 16; ++kk) product<1>(dq, slopes[kk], across_k<64>(k, kk), 1);
      product_commit();
      product_wait<0>();
      hold(dq);
      if (lane == 0) barrier_arrive(all.free + 8 * stage);
    }
    named_sync(1 + worker, 128);  // all four warps have read q: its tile takes the result
    bf16* to = static_cast<bf16*>(p.dq) + (static_cast<std::size_t>(b) * p.Tq * p.H + h) * D;
    store_rows<D, 64>(dq, p.scale, p.scale, tiles + worker * tile, warp * 16, to, p.H * D, q0 + worker * 64, Tq);
  }
#endif
}

template <int D>
int launch(const AttentionTensorArgs& p, cudaStream_t stream) {
  CUtensorMap q, k, v, g;
  if (const int error = describe(q, p.q, p.B, p.Tq, p.H, D, 64); error != 0) return error;
  if (const int error = describe(k, p.k, p.B, p.Tk, p.Hkv, D, 64); error != 0) return error;
  if (const int error = describe(v, p.v, p.B, p.Tk, p.Hkv, D, 64); error != 0) return error;
  if (const int error = describe(g, p.dout, p.B, p.Tq, p.H, D, 64); error != 0) return error;
  const auto keys = attention_wgmma_dkdv_kernel<D>, queries = attention_wgmma_dq_kernel<D>;
  for (const auto kernel : {keys, queries})
    if (const cudaError_t error =
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes<D>);
        error != cudaSuccess)
      return static_cast<int>(error);
  const auto blocks = [](std::size_t T) { return static_cast<unsigned>((T + rows - 1) / rows); };
  const unsigned B = static_cast<unsigned>(p.B);
  keys<<<dim3(blocks(p.Tk), static_cast<unsigned>(p.Hkv), B), threads, shared_bytes<D>, stream>>>(p, q, k, v, g);
  queries<<<dim3(blocks(p.Tq), static_cast<unsigned>(p.H), B), threads, shared_bytes<D>, stream>>>(p, q, k, v, g);
  return static_cast<int>(cudaGetLastError());
}

}  // namespace

int attention_wgmma_backward(const AttentionTensorArgs& p, void* stream) noexcept {
  if (p.B == 0 || p.Tq == 0) return 0;  // dk and dv are the face's zeros
  if (p.Tk == 0) return attention_mma_backward(p, stream);  // the copy engine knows no empty matrix
  if (const int error = attention_prepare_backward(p, stream); error != 0) return error;
  const auto s = static_cast<cudaStream_t>(stream);
  return p.D == 64 ? launch<64>(p, s) : launch<128>(p, s);
}

}  // namespace fasttrain::nn
