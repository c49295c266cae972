// The backward with mma.sync, in two kernels so that nothing is added by atomics.
//
// Keys: a block takes 128 keys of one kv head, a warp 16 of them, and walks over the queries, 64 at a time, of every
// query head that uses them. Scores are computed transposed (keys x queries), so that P^T and dS^T, as they leave the
// products, are the left operands of dv = P^T dout and dk = dS^T q: they never go through shared memory.
// Queries: a block takes 128 queries of one head, a warp 16 of them whose q and dout stay in registers, and walks over
// the keys, 64 at a time: dq = dS k.
// Both walk with two stages in shared memory, the next tile on its way while this one is used.

#include "nn/attention_backward.cuh"

namespace fasttrain::nn {
namespace {

constexpr int warps = 8, threads = warps * 32, rows = warps * 16, step = 64;
static_assert(step == attention_range_block);

template <int D>
__global__ void __launch_bounds__(threads, 1) attention_mma_dkdv_kernel(AttentionTensorArgs p) {
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ float2 row_of[2][step];  // lse, delta
  __shared__ int lo_of[2][step], hi_of[2][step];
  constexpr int tile = step * D * 2;
  unsigned char *const k_bytes = shared, *const v_bytes = shared + rows * D * 2;
  const std::uint32_t k_tile = shared_address(k_bytes), v_tile = shared_address(v_bytes);
  const std::uint32_t q_tile = v_tile + rows * D * 2, g_tile = q_tile + 2 * tile;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int Tq = static_cast<int>(p.Tq), Tk = static_cast<int>(p.Tk), blocks = (Tq + step - 1) / step;
  const int n0 = static_cast<int>(blockIdx.x) * rows;  // under a causal mask the first keys have the most queries
  const int my_row = warp * 16, my_n0 = n0 + my_row;
  const std::size_t hkv = blockIdx.y, b = blockIdx.z, group = p.H / p.Hkv, bm = p.Bm == 1 ? 0 : b;
  const std::size_t q_stride = p.H * D, kv_stride = p.Hkv * D, kv_at = (b * p.Tk * p.Hkv + hkv) * D;
  const std::int32_t *lo = p.lo + bm * p.Tq, *hi = p.hi + bm * p.Tq;
  const std::size_t padded = static_cast<std::size_t>(blocks) * step;
  const float2* rows_of = reinterpret_cast<const float2*>(p.rows) + b * p.H * padded;
  const QueryRange* ranges = reinterpret_cast<const QueryRange*>(p.ranges) + bm * static_cast<std::size_t>(blocks);

  const auto load = [&](std::size_t h, int block, int stage) {
    const std::size_t at = (b * p.Tq * p.H + h) * D;
    load_tile<D, step, threads>(q_tile + stage * tile, static_cast<const bf16*>(p.q) + at, q_stride, block * step, Tq);
    load_tile<D, step, threads>(g_tile + stage * tile, static_cast<const bf16*>(p.dout) + at, q_stride, block * step,
                                Tq);
    if (thread < step) {
      const int t = block * step + thread;
      const bool real = t < Tq;
      row_of[stage][thread] = rows_of[h * padded + t];
      lo_of[stage][thread] = real ? lo[t] : 0;
      hi_of[stage][thread] = real ? hi[t] : 0;
    }
  };

  load_tile<D, rows, threads>(k_tile, static_cast<const bf16*>(p.k) + kv_at, kv_stride, n0, Tk);
  load_tile<D, rows, threads>(v_tile, static_cast<const bf16*>(p.v) + kv_at, kv_stride, n0, Tk);
  const float c = p.scale * log2_e;
  float dk[D / 8][4] = {}, dv[D / 8][4] = {};
  const Blocks span = blocks_that_see(ranges, blocks, n0, n0 + rows);
  const int count = span.stop - span.first, total = count * static_cast<int>(group);
  if (total > 0) load(hkv * group, span.first, 0);
  copy_commit();
  for (int i = 0; i < total; ++i) {
    const int stage = i % 2, block = span.first + i % count;
    const QueryRange range = ranges[block];
    copy_wait<0>();
    __syncthreads();  // this stage is there, and nobody reads the other one any more
    if (i + 1 < total) load(hkv * group + (i + 1) / count, span.first + (i + 1) % count, stage ^ 1);
    copy_commit();
    if (range.begin < my_n0 + 16 && range.end > my_n0) {  // the same for the whole warp
      const std::uint32_t q = q_tile + stage * tile, g = g_tile + stage * tile;
      float s[step / 8][4] = {}, dp[step / 8][4] = {};
#pragma unroll
      for (int kk = 0; kk < D / 16; ++kk) {
        std::uint32_t a[4], x[4];
        load_a<rows>(a, k_tile, my_row, kk);
#pragma unroll
        for (int n = 0; n < step / 16; ++n) {
          load_b<step>(x, q, n * 16, kk);
          multiply(s[2 * n], a, x[0], x[1]);
          multiply(s[2 * n + 1], a, x[2], x[3]);
        }
        load_a<rows>(a, v_tile, my_row, kk);
#pragma unroll
        for (int n = 0; n < step / 16; ++n) {
          load_b<step>(x, g, n * 16, kk);
          multiply(dp[2 * n], a, x[0], x[1]);
          multiply(dp[2 * n + 1], a, x[2], x[3]);
        }
      }
      const bool whole = range.all_from <= my_n0 && range.all_to >= my_n0 + 16;
#pragma unroll
      for (int n = 0; n < step / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int t = n * 8 + lane % 4 * 2 + i % 2, key = my_n0 + lane / 4 + i / 2 * 8;
          const float2 row = row_of[stage][t];
          const float weight = exp2_fast(at_most_0(fmaf(s[n][i], c, -row.x)));
          s[n][i] = whole || (key >= lo_of[stage][t] && key < hi_of[stage][t]) ? weight : 0.0f;
          dp[n][i] = s[n][i] * (dp[n][i] - row.y);
        }
#pragma unroll
      for (int kk = 0; kk < step / 16; ++kk) {
        std::uint32_t a[4], x[4];
        as_a(a, s[2 * kk], s[2 * kk + 1]);
#pragma unroll
        for (int n = 0; n < D / 16; ++n) {
          load_b_transposed<step>(x, g, kk * 16, n);
          multiply(dv[2 * n], a, x[0], x[1]);
          multiply(dv[2 * n + 1], a, x[2], x[3]);
        }
        as_a(a, dp[2 * kk], dp[2 * kk + 1]);
#pragma unroll
        for (int n = 0; n < D / 16; ++n) {
          load_b_transposed<step>(x, q, kk * 16, n);
          multiply(dk[2 * n], a, x[0], x[1]);
          multiply(dk[2 * n + 1], a, x[2], x[3]);
        }
      }
    }
  }
  copy_wait<0>();  // of keys that no query sees, k and v are still on their way
  __syncthreads();
  bf16 *dk_to = static_cast<bf16*>(p.dk) + kv_at, *dv_to = static_cast<bf16*>(p.dv) + kv_at;
  store_rows<D, rows>(dk, p.scale, p.scale, k_bytes, my_row, dk_to, kv_stride, n0, Tk);
  store_rows<D, rows>(dv, 1.0f, 1.0f, v_bytes, my_row, dv_to, kv_stride, n0, Tk);
}

template <int D>
__global__ void __launch_bounds__(threads, 1) attention_mma_dq_kernel(AttentionTensorArgs p) {
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ int begins[warps], ends[warps];
  constexpr int tile = step * D * 2;
  unsigned char* const q_bytes = shared;
  const std::uint32_t q_tile = shared_address(q_bytes), g_tile = q_tile + rows * D * 2;
  const std::uint32_t k_tile = g_tile + rows * D * 2, v_tile = k_tile + 2 * tile;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int Tq = static_cast<int>(p.Tq), Tk = static_cast<int>(p.Tk);
  const int q0 = static_cast<int>(gridDim.x - 1 - blockIdx.x) * rows, my_q0 = q0 + warp * 16;
  const std::size_t h = blockIdx.y, b = blockIdx.z, hkv = h / (p.H / p.Hkv), mask = (p.Bm == 1 ? 0 : b) * p.Tq;
  const std::size_t q_stride = p.H * D, kv_stride = p.Hkv * D;
  const std::size_t q_at = (b * p.Tq * p.H + h) * D, kv_at = (b * p.Tk * p.Hkv + hkv) * D;
  const float2* rows_of = reinterpret_cast<const float2*>(p.rows) + (b * p.H + h) * padded_queries(p.Tq);
  const bf16 *k = static_cast<const bf16*>(p.k) + kv_at, *v = static_cast<const bf16*>(p.v) + kv_at;

  load_tile<D, rows, threads>(q_tile, static_cast<const bf16*>(p.q) + q_at, q_stride, q0, Tq);
  load_tile<D, rows, threads>(g_tile, static_cast<const bf16*>(p.dout) + q_at, q_stride, q0, Tq);
  copy_commit();
  int lo[2], hi[2], warp_begin = INT_MAX, warp_end = 0, all_from = 0, all_to = INT_MAX;
  float lse[2], delta[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int t = my_q0 + r * 8 + lane / 4;
    const bool real = t < Tq;
    lo[r] = real ? p.lo[mask + t] : 0, hi[r] = real ? p.hi[mask + t] : 0;
    const float2 row = real ? rows_of[t] : float2{INFINITY, 0.0f};
    lse[r] = row.x, delta[r] = row.y;
    if (lo[r] < hi[r]) warp_begin = min(warp_begin, lo[r]), warp_end = max(warp_end, hi[r]);
    if (real) all_from = max(all_from, lo[r]), all_to = min(all_to, hi[r]);
  }
  warp_begin = __reduce_min_sync(~0u, warp_begin), warp_end = __reduce_max_sync(~0u, warp_end);
  all_from = __reduce_max_sync(~0u, all_from), all_to = __reduce_min_sync(~0u, all_to);
  if (lane == 0) begins[warp] = warp_begin, ends[warp] = warp_end;
  copy_wait<0>();
  __syncthreads();
  int begin = INT_MAX, end = 0;
  for (int w = 0; w < warps; ++w) begin = min(begin, begins[w]), end = max(end, ends[w]);
  begin = end > 0 ? begin / step * step : 0;
  std::uint32_t q[D / 16][4], g[D / 16][4];
#pragma unroll
  for (int kk = 0; kk < D / 16; ++kk) {
    load_a<rows>(q[kk], q_tile, warp * 16, kk);
    load_a<rows>(g[kk], g_tile, warp * 16, kk);
  }

  const float c = p.scale * log2_e;
  float dq[D / 8][4] = {};
  int stage = 0;
  if (begin < end) {
    load_tile<D, step, threads>(k_tile, k, kv_stride, begin, Tk);
    load_tile<D, step, threads>(v_tile, v, kv_stride, begin, Tk);
  }
  copy_commit();
  for (int n0 = begin; n0 < end; n0 += step, stage ^= 1) {
    copy_wait<0>();
    __syncthreads();  // this stage is there, and nobody reads the other one any more
    if (n0 + step < end) {
      load_tile<D, step, threads>(k_tile + (stage ^ 1) * tile, k, kv_stride, n0 + step, Tk);
      load_tile<D, step, threads>(v_tile + (stage ^ 1) * tile, v, kv_stride, n0 + step, Tk);
    }
    copy_commit();
    if (n0 >= warp_end || n0 + step <= warp_begin) continue;  // the same for the whole warp
    const std::uint32_t k_now = k_tile + stage * tile, v_now = v_tile + stage * tile;
    float s[step / 8][4] = {}, dp[step / 8][4] = {};
#pragma unroll
    for (int kk = 0; kk < D / 16; ++kk) {
#pragma unroll
      for (int n = 0; n < step / 16; ++n) {
        std::uint32_t x[4];
        load_b<step>(x, k_now, n * 16, kk);
        multiply(s[2 * n], q[kk], x[0], x[1]);
        multiply(s[2 * n + 1], q[kk], x[2], x[3]);
        load_b<step>(x, v_now, n * 16, kk);
        multiply(dp[2 * n], g[kk], x[0], x[1]);
        multiply(dp[2 * n + 1], g[kk], x[2], x[3]);
      }
    }
    const bool whole = all_from <= n0 && all_to >= n0 + step;
#pragma unroll
    for (int n = 0; n < step / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int key = n0 + n * 8 + lane % 4 * 2 + i % 2;
        const float weight = exp2_fast(at_most_0(fmaf(s[n][i], c, -lse[i / 2])));
        s[n][i] = whole || (key >= lo[i / 2] && key < hi[i / 2]) ? weight * (dp[n][i] - delta[i / 2]) : 0.0f;
      }
#pragma unroll
    for (int kk = 0; kk < step / 16; ++kk) {
      std::uint32_t a[4], x[4];
      as_a(a, s[2 * kk], s[2 * kk + 1]);
#pragma unroll
      for (int n = 0; n < D / 16; ++n) {
        load_b_transposed<step>(x, k_now, kk * 16, n);
        multiply(dq[2 * n], a, x[0], x[1]);
        multiply(dq[2 * n + 1], a, x[2], x[3]);
      }
    }
  }
  store_rows<D, rows>(dq, p.scale, p.scale, q_bytes, warp * 16, static_cast<bf16*>(p.dq) + q_at, q_stride, q0, Tq);
}

template <int D>
int launch(const AttentionTensorArgs& p, cudaStream_t stream) {
  constexpr int bytes = (2 * rows + 4 * step) * D * 2;
  const auto keys = attention_mma_dkdv_kernel<D>, queries = attention_mma_dq_kernel<D>;
  for (const auto kernel : {keys, queries})
    if (const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
        error != cudaSuccess)
      return static_cast<int>(error);
  const auto blocks = [](std::size_t T) { return static_cast<unsigned>((T + rows - 1) / rows); };
  const unsigned B = static_cast<unsigned>(p.B);
  if (p.Tk > 0) keys<<<dim3(blocks(p.Tk), static_cast<unsigned>(p.Hkv), B), threads, bytes, stream>>>(p);
  queries<<<dim3(blocks(p.Tq), static_cast<unsigned>(p.H), B), threads, bytes, stream>>>(p);
  return static_cast<int>(cudaGetLastError());
}

}  // namespace

int attention_mma_backward(const AttentionTensorArgs& p, void* stream) noexcept {
  if (p.B == 0 || p.Tq == 0) return 0;  // dk and dv are the face's zeros
  if (const int error = attention_prepare_backward(p, stream); error != 0) return error;
  const auto s = static_cast<cudaStream_t>(stream);
  return p.D == 64 ? launch<64>(p, s) : launch<128>(p, s);
}

}  // namespace fasttrain::nn
