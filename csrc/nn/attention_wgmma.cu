// The forward on Hopper. One warpgroup's first thread feeds tiles of k and v through the copy engine, two stages each;
// the others take 64 queries each. A warpgroup puts S of the next tile and P v of this one to the tensor cores
// together, and does the softmax of the next tile while P v runs; the warpgroups take turns at the tensor cores, so that
// one's softmax runs under the other's products.
//
// Source: Shah et al. 2024 (FlashAttention-3).

#include <climits>

#include "nn/attention_cuda.h"
#include "nn/attention_hopper.cuh"

namespace fasttrain::nn {
namespace {

constexpr int stages = 2, keys = 128;

// Warpgroups at work: at D = 64 there are registers for three, at D = 128 a thread needs 240.
constexpr int workers_of(int D) { return D == 64 ? 3 : 2; }

template <int D>
struct Shape {
  static constexpr int workers = workers_of(D), queries = 64 * workers, threads = 128 * (workers + 1);
  static constexpr int q_bytes = 64 * D * 2, kv_bytes = keys * D * 2;
  static constexpr int bytes = workers * q_bytes + 2 * stages * kv_bytes + 1024;  // 1024: to begin on a multiple of it
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Online softmax of one tile: s becomes P, top and sum go on; returns the factors of what was summed before.
template <int N>
__device__ void softmax(float (&s)[N][4], float (&top)[2], float (&sum)[2], float (&factor)[2], float c) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float most = -INFINITY;  // fmaxf drops a NaN; its P is NaN all the same
#pragma unroll
    for (int n = 0; n < N; ++n) most = fmaxf(most, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
    const float next = fmaxf(top[r], row_max(most)), base = next == -INFINITY ? 0.0f : next * c;
    factor[r] = exp2_fast(top[r] * c - base);
    top[r] = next;
    float part = 0.0f;
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int i = 2 * r; i < 2 * r + 2; ++i) {
        s[n][i] = exp2_fast(fmaf(s[n][i], c, -base));
        part += s[n][i];
      }
    sum[r] = sum[r] * factor[r] + part;  // of this lane's columns; the lanes are added at the end
  }
}

template <int N>
__device__ void hide(float (&s)[N][4], int n0, const int (&lo)[2], const int (&hi)[2]) {
  const int key0 = n0 + static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int from = lo[r] - key0, to = hi[r] - key0;
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i)
        if (n * 8 + i < from || n * 8 + i >= to) s[n][2 * r + i] = -INFINITY;
  }
}

template <int N>
__device__ void as_operands(std::uint32_t (&a)[N / 2][4], const float (&s)[N][4]) {
#pragma unroll
  for (int kk = 0; kk < N / 2; ++kk) as_a(a[kk], s[2 * kk], s[2 * kk + 1]);
}

#endif

template <int D>
__global__ void __launch_bounds__(Shape<D>::threads, 1)
    attention_wgmma_kernel([[maybe_unused]] const __grid_constant__ AttentionTensorArgs p,
                           [[maybe_unused]] const __grid_constant__ CUtensorMap q_map,
                           [[maybe_unused]] const __grid_constant__ CUtensorMap k_map,
                           [[maybe_unused]] const __grid_constant__ CUtensorMap v_map) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using S = Shape<D>;
  extern __shared__ unsigned char shared[];
  __shared__ int lo_of[S::queries], hi_of[S::queries], begin_all, end_all;
  __shared__ __align__(8) std::uint64_t barriers[1 + 4 * stages];
  const std::uint32_t skip = (1024 - shared_address(shared) % 1024) % 1024;
  unsigned char* const tiles = shared + skip;
  const std::uint32_t q_tile = shared_address(tiles), k_tile = q_tile + S::workers * S::q_bytes;
  const std::uint32_t v_tile = k_tile + stages * S::kv_bytes;
  const std::uint32_t q_full = shared_address(barriers), k_full = q_full + 8, v_full = k_full + 8 * stages;
  const std::uint32_t k_free = v_full + 8 * stages, v_free = k_free + 8 * stages;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int Tq = static_cast<int>(p.Tq), h = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z);
  const int q0 = static_cast<int>(gridDim.x - 1 - blockIdx.x) * S::queries;  // longest first under a causal mask

  if (thread == 0) {
    begin_all = INT_MAX, end_all = 0;
    barrier_init(q_full, 1);
    for (int s = 0; s < stages; ++s) {
      barrier_init(k_full + 8 * s, 1), barrier_init(v_full + 8 * s, 1);
      barrier_init(k_free + 8 * s, 4 * S::workers), barrier_init(v_free + 8 * s, 4 * S::workers);
    }
    barrier_init_done();
  }
  __syncthreads();
  if (thread < S::queries) {
    const std::size_t at = (p.Bm == 1 ? 0 : b) * p.Tq + q0 + thread;
    const int lo = q0 + thread < Tq ? p.lo[at] : 0, hi = q0 + thread < Tq ? p.hi[at] : 0;
    lo_of[thread] = lo, hi_of[thread] = hi;
    const int begin = __reduce_min_sync(~0u, lo < hi ? lo : INT_MAX), end = __reduce_max_sync(~0u, lo < hi ? hi : 0);
    if (lane == 0) atomicMin(&begin_all, begin), atomicMax(&end_all, end);
  }
  __syncthreads();
  const int begin = end_all > 0 ? begin_all / keys : 0, count = (end_all + keys - 1) / keys - begin;

  const int group = __shfl_sync(~0u, thread / 128, 0);
  if (group == 0) {  // feeds
    give_registers<S::workers == 2 ? 24 : 32>();
    if (thread == 0) {
      const int hkv = h / static_cast<int>(p.H / p.Hkv);
      barrier_expect(q_full, S::workers * S::q_bytes);
      for (int w = 0; w < S::workers; ++w) copy_tile<D, 64>(q_tile + w * S::q_bytes, q_map, q_full, h, q0 + 64 * w, b);
      for (int i = 0; i < count; ++i) {
        const int s = i % stages, parity = i / stages % 2 ^ 1, t = (begin + i) * keys;
        barrier_wait(k_free + 8 * s, parity);
        barrier_expect(k_full + 8 * s, S::kv_bytes);
        copy_tile<D, keys>(k_tile + s * S::kv_bytes, k_map, k_full + 8 * s, hkv, t, b);
        barrier_wait(v_free + 8 * s, parity);
        barrier_expect(v_full + 8 * s, S::kv_bytes);
        copy_tile<D, keys>(v_tile + s * S::kv_bytes, v_map, v_full + 8 * s, hkv, t, b);
      }
      if (count == 0) barrier_wait(q_full, 0);  // no copy may land after the end
    }
  } else {
    take_registers<S::workers == 2 ? 240 : 160>();
    const int worker = group - 1, warp = thread / 32 % 4, row = worker * 64 + warp * 16 + lane / 4;
    const int lo[2] = {lo_of[row], lo_of[row + 8]}, hi[2] = {hi_of[row], hi_of[row + 8]};
    int all_from = 0, all_to = INT_MAX;
    for (int r = 0; r < 2; ++r)
      if (q0 + row + 8 * r < Tq) all_from = max(all_from, lo[r]), all_to = min(all_to, hi[r]);
    all_from = __reduce_max_sync(~0u, all_from), all_to = __reduce_min_sync(~0u, all_to);
    const float c = p.scale * log2_e;
    const std::uint32_t q = q_tile + worker * S::q_bytes;
    // Turns: worker w goes on when barrier 1 + w has its own 128 arrivals and its predecessor's.
    const int mine = 1 + worker, next = 1 + (worker + 1) % S::workers;
    float out[D / 8][4], top[2] = {-INFINITY, -INFINITY}, sum[2] = {}, factor[2];
    std::uint32_t weights[keys / 16][4];
#pragma unroll
    for (int n = 0; n < D / 8; ++n)
      for (int i = 0; i < 4; ++i) out[n][i] = 0.0f;

    if (count > 0) {
      const auto scores = [&](float (&s)[keys / 8][4], int i) {
        const std::uint32_t k = k_tile + i % stages * S::kv_bytes;
        product_fence();
#pragma unroll
        for (int kk = 0; kk < D / 16; ++kk) product(s, along_k<64>(q, kk), along_k<keys>(k, kk), kk > 0);
        product_commit();
      };
      const auto values = [&](int i) {
        const std::uint32_t v = v_tile + i % stages * S::kv_bytes;
        product_fence();
#pragma unroll
        for (int kk = 0; kk < keys / 16; ++kk) product<1>(out, weights[kk], across_k<keys>(v, kk), 1);
        product_commit();
      };
      const auto mask = [&](float (&s)[keys / 8][4], int i) {
        const int n0 = (begin + i) * keys;
        if (n0 < all_from || n0 + keys > all_to) hide(s, n0, lo, hi);
      };
      const auto release = [&](std::uint32_t barrier, int i) {
        if (lane == 0) barrier_arrive(barrier + 8 * (i % stages));
      };

      barrier_wait(q_full, 0);
      {
        float s[keys / 8][4];
        barrier_wait(k_full, 0);
        scores(s, 0);
        product_wait<0>();
        hold(s);
        release(k_free, 0);
        mask(s, 0);
        softmax(s, top, sum, factor, c);
        as_operands(weights, s);
      }
      if (count > 1 && worker + 1 == S::workers) named_arrive(next, 256);  // the first turn is worker 0's
      for (int i = 1; i < count; ++i) {
        float s[keys / 8][4];
        barrier_wait(k_full + 8 * (i % stages), i / stages % 2);
        named_sync(mine, 256);
        scores(s, i);
        barrier_wait(v_full + 8 * ((i - 1) % stages), (i - 1) / stages % 2);
        hold(out);
        values(i - 1);
        if (i + 1 < count || worker + 1 < S::workers) named_arrive(next, 256);
        product_wait<1>();
        hold(s);
        release(k_free, i);
        mask(s, i);
        softmax(s, top, sum, factor, c);
        product_wait<0>();
        hold(out);
        release(v_free, i - 1);
#pragma unroll
        for (int n = 0; n < D / 8; ++n)
#pragma unroll
          for (int j = 0; j < 4; ++j) out[n][j] *= factor[j / 2];
        as_operands(weights, s);
      }
      barrier_wait(v_full + 8 * ((count - 1) % stages), (count - 1) / stages % 2);
      hold(out);
      values(count - 1);
      product_wait<0>();
      hold(out);
    }

    float inverse[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float total = row_sum(sum[r]);
      const bool none = total == 0.0f;
      inverse[r] = none ? 0.0f : 1.0f / total;
      const int t = q0 + row + 8 * r;
      if (lane % 4 == 0 && t < Tq)
        p.lse[(static_cast<std::size_t>(b) * p.H + h) * p.Tq + t] = none ? INFINITY : top[r] * c + log2f(total);
    }
    if (count == 0) barrier_wait(q_full, 0);
    named_sync(8 + worker, 128);  // all four warps have read q: its tile takes the result
    bf16* to = static_cast<bf16*>(p.out) + (static_cast<std::size_t>(b) * p.Tq * p.H + h) * D;
    store_rows<D, 64>(out, inverse[0], inverse[1], tiles + worker * S::q_bytes, warp * 16, to, p.H * D, q0 + worker * 64,
                      Tq);
  }
#endif
}

template <int D>
int launch(const AttentionTensorArgs& p, cudaStream_t stream) {
  using S = Shape<D>;
  CUtensorMap q, k, v;
  if (const int error = describe(q, p.q, p.B, p.Tq, p.H, D, 64); error != 0) return error;
  if (const int error = describe(k, p.k, p.B, p.Tk, p.Hkv, D, keys); error != 0) return error;
  if (const int error = describe(v, p.v, p.B, p.Tk, p.Hkv, D, keys); error != 0) return error;
  const auto kernel = attention_wgmma_kernel<D>;
  if (const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, S::bytes);
      error != cudaSuccess)
    return static_cast<int>(error);
  const dim3 grid(static_cast<unsigned>((p.Tq + S::queries - 1) / S::queries), static_cast<unsigned>(p.H),
                  static_cast<unsigned>(p.B));
  kernel<<<grid, S::threads, S::bytes, stream>>>(p, q, k, v);
  return static_cast<int>(cudaGetLastError());
}

}  // namespace

int attention_wgmma_forward(const AttentionTensorArgs& p, void* stream) noexcept {
  if (p.B == 0 || p.Tq == 0) return 0;
  if (p.Tk == 0) return attention_mma_forward(p, stream);  // the copy engine knows no empty matrix
  const auto s = static_cast<cudaStream_t>(stream);
  return p.D == 64 ? launch<64>(p, s) : p.D == 128 ? launch<128>(p, s) : static_cast<int>(cudaErrorInvalidValue);
}

}  // namespace fasttrain::nn
