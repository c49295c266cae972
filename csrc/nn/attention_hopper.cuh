#pragma once /* part of attention */
// Hopper's own instructions, as the attention kernels use them: products of a warpgroup over tiles in shared memory
// (wgmma), the tensor copy engine, barriers that count bytes, registers moved between warpgroups.
//
// Tiles are those of attention_tile.cuh and begin on a multiple of 1024 bytes. A fragment of a warpgroup's 64 rows is
// four fragments of 16 rows, one a warp, so that the register layout is the one of m16n8k16.
// Source: PTX ISA, "Asynchronous warpgroup level matrix instructions", "Tensor copies".

#include <cuda.h>
#include <cuda_runtime.h>

#include "nn/attention_tile.cuh"

namespace fasttrain::nn {

// ---- barriers

__device__ inline void barrier_init(std::uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
__device__ inline void barrier_init_done() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ inline void barrier_arrive(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ inline void barrier_expect(std::uint32_t barrier, int bytes) {  // and arrives
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ inline void barrier_wait(std::uint32_t barrier, int parity) {
  asm volatile(
      "{\n.reg .pred done;\n"
      "AGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@done bra READY;\nbra AGAIN;\nREADY:\n}" ::"r"(
          barrier),
      "r"(parity)
      : "memory");
}

// Among `count` threads; id 0 is __syncthreads'.
__device__ inline void named_sync(int id, int count) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(count) : "memory");
}
__device__ inline void named_arrive(int id, int count) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(count) : "memory");
}

template <int Count>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Count));
}
template <int Count>
__device__ inline void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Count));
}

// ---- copies: complete on a barrier that expects their bytes

__device__ inline void copy_panel(std::uint32_t to, const CUtensorMap& map, std::uint32_t barrier, int d, int h, int t,
                                  int b) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::
          "r"(to),
      "l"(&map), "r"(barrier), "r"(d), "r"(h), "r"(t), "r"(b)
      : "memory");
}
// Rows t ... of a matrix's head h as a tile of D / 64 panels; rows beyond its end become zeros.
template <int D, int Rows>
__device__ inline void copy_tile(std::uint32_t to, const CUtensorMap& map, std::uint32_t barrier, int h, int t, int b) {
#pragma unroll
  for (int panel = 0; panel < D / 64; ++panel) copy_panel(to + panel * Rows * 128, map, barrier, panel * 64, h, t, b);
}
__device__ inline void copy_bytes(std::uint32_t to, const void* from, int bytes, std::uint32_t barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
               "l"(from), "r"(bytes), "r"(barrier)
               : "memory");
}

// ---- products of a warpgroup

__device__ inline void product_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void product_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int Pending>
__device__ inline void product_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}
// Keeps the compiler from moving uses of the registers across.
template <int N>
__device__ inline void hold(float (&x)[N][4]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("" : "+f"(x[n][i])::"memory");
}

// Of 128-byte swizzled tiles. Along k (q, k: rows are m or n): eight rows are 1024 bytes, the leading offset is unused.
// Across k (v: rows are k): eight k are 1024 bytes, 64 columns of n are one panel.
__device__ inline std::uint64_t descriptor(std::uint32_t address, int panel_bytes) {
  return static_cast<std::uint64_t>((address & 0x3ffff) >> 4) | static_cast<std::uint64_t>(panel_bytes >> 4) << 16 |
         static_cast<std::uint64_t>(1024 >> 4) << 32 | std::uint64_t{1} << 62;
}
template <int Rows>
__device__ inline std::uint64_t along_k(std::uint32_t tile, int kk) {  // columns 16 kk ... of all rows
  return descriptor(tile + static_cast<std::uint32_t>(kk / 4 * Rows * 128 + kk % 4 * 32), 16);
}
template <int Rows>
__device__ inline std::uint64_t across_k(std::uint32_t tile, int kk) {  // rows 16 kk ..., all columns
  return descriptor(tile + static_cast<std::uint32_t>(kk * 2048), Rows * 128);
}

#define FT_4(x, n) "+f"(x[n][0]), "+f"(x[n][1]), "+f"(x[n][2]), "+f"(x[n][3])
#define FT_32(x, n)                                                                                           \
  FT_4(x, n), FT_4(x, n + 1), FT_4(x, n + 2), FT_4(x, n + 3), FT_4(x, n + 4), FT_4(x, n + 5), FT_4(x, n + 6), \
      FT_4(x, n + 7)
#define FT_NAMES_32                                                                                                   \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30," \
  "%31"
#define FT_NAMES_64                                                                                                    \
  FT_NAMES_32                                                                                                          \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59," \
  "%60,%61,%62,%63"

// c (64, N) = a b + (add ? c : 0): a of shared memory along k, b of shared memory along k.
__device__ inline void product(float (&c)[8][4], std::uint64_t a, std::uint64_t b, int add) {
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %34, 0;\nwgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" FT_NAMES_32
               "}, %32, %33, add, 1, 1, 0, 0;\n}"
               : FT_32(c, 0)
               : "l"(a), "l"(b), "r"(add));
}
__device__ inline void product(float (&c)[16][4], std::uint64_t a, std::uint64_t b, int add) {
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" FT_NAMES_64
               "}, %64, %65, add, 1, 1, 0, 0;\n}"
               : FT_32(c, 0), FT_32(c, 8)
               : "l"(a), "l"(b), "r"(add));
}
// The same with a in registers; b along k (Across = 0) or across k (1).
template <int Across>
__device__ inline void product(float (&c)[8][4], const std::uint32_t (&a)[4], std::uint64_t b, int add) {
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %37, 0;\nwgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" FT_NAMES_32
               "}, {%32,%33,%34,%35}, %36, add, 1, 1, %38;\n}"
               : FT_32(c, 0)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(Across));
}
template <int Across>
__device__ inline void product(float (&c)[16][4], const std::uint32_t (&a)[4], std::uint64_t b, int add) {
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %69, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" FT_NAMES_64
               "}, {%64,%65,%66,%67}, %68, add, 1, 1, %70;\n}"
               : FT_32(c, 0), FT_32(c, 8)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(Across));
}

#undef FT_4
#undef FT_32
#undef FT_NAMES_32
#undef FT_NAMES_64

// ---- host

// Describes x (B, T, H, D) to the copy engine: boxes of `rows` rows of one head, 64 columns wide. 0 or a cudaError_t.
inline int describe(CUtensorMap& map, const void* x, std::size_t B, std::size_t T, std::size_t H, std::size_t D,
                    unsigned rows) {
  void* entry = nullptr;  // by name: the module is not linked to the driver, and loads where there is none
  cudaDriverEntryPointQueryResult found;
  if (const cudaError_t error =
          cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &found);
      error != cudaSuccess || found != cudaDriverEntryPointSuccess)
    return static_cast<int>(error != cudaSuccess ? error : cudaErrorNotSupported);
  const cuuint64_t sizes[4] = {D, H, T, B}, strides[3] = {D * 2, H * D * 2, T * H * D * 2};
  const cuuint32_t box[4] = {64, 1, rows, 1}, steps[4] = {1, 1, 1, 1};
  const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(entry)(
      &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, const_cast<void*>(x), sizes, strides, box, steps,
      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? 0 : static_cast<int>(cudaErrorInvalidValue);
}

}  // namespace fasttrain::nn
