#pragma once /* part of attention */
// Tiles of bf16 in shared memory and the products of one warp over them (m16n8k16, fp32 sums).
//
// A tile (rows, D) lies in D / 64 panels of (rows, 64): 128 bytes a row, whose eight 16-byte chunks are permuted by the
// row (chunk ^ row % 8). Eight rows of one chunk then fall into all 32 banks, and it is the layout that the tensor copy
// engine and wgmma call 128-byte swizzle.

#include <cuda_bf16.h>

#include <cstddef>
#include <cstdint>

namespace fasttrain::nn {

using bf16 = __nv_bfloat16;

constexpr float log2_e = 1.4426950408889634f;

__device__ inline std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

// Bytes from the tile's start to 16-byte chunk `chunk` of `row`.
template <int Rows>
__device__ inline std::uint32_t tile_offset(int row, int chunk) {
  return static_cast<std::uint32_t>(chunk / 8 * Rows * 128 + row * 128 + ((chunk ^ row) % 8) * 16);
}

// 16 bytes from global to shared memory, asynchronously; zeros when not `real`.
__device__ inline void copy_async(std::uint32_t to, const void* from, bool real) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(real ? 16 : 0) : "memory");
}
__device__ inline void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Pending>
__device__ inline void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// Rows [first, first + Rows) of a matrix with `count` rows, `stride` values apart; rows beyond become zeros.
template <int D, int Rows, int Threads>
__device__ inline void load_tile(std::uint32_t tile, const bf16* from, std::size_t stride, int first, int count) {
  constexpr int chunks = D / 8;
  static_assert(Rows * chunks % Threads == 0);
#pragma unroll
  for (int n = 0; n < Rows * chunks / Threads; ++n) {
    const int i = n * Threads + static_cast<int>(threadIdx.x), row = i / chunks, chunk = i % chunks;
    const int t = first + row < count ? first + row : count - 1;
    copy_async(tile + tile_offset<Rows>(row, chunk), from + static_cast<std::size_t>(t) * stride + chunk * 8,
               first + row < count);
  }
}

// Four 8x8 matrices; lane l gives the row that begins at `address` of matrix l / 8.
__device__ inline void load_matrices(std::uint32_t (&x)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(address));
}
__device__ inline void load_matrices_transposed(std::uint32_t (&x)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(address));
}

// c (16,8) += a (16,16) b (16,8). Lane l holds of c the columns 2 (l % 4) + {0, 1} of rows l / 4 and l / 4 + 8.
__device__ inline void multiply(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Where a lane's row begins in chunk `chunk` (a constant, even) of a tile: lane_row and lane_chunk are its place in the
// 16 x 16 block. The lane's part is permuted alone, so that a few registers and constant offsets serve all addresses.
template <int Rows>
__device__ inline std::uint32_t lane_address(std::uint32_t tile, int row, int chunk, int lane_row, int lane_chunk) {
  const std::uint32_t mine = static_cast<std::uint32_t>(lane_row * 128 + (lane_chunk ^ lane_row % 8) * 16);
  return tile + (mine ^ static_cast<std::uint32_t>(chunk % 8 * 16)) +
         static_cast<std::uint32_t>(row * 128 + chunk / 8 * Rows * 128);
}

// The A operand (16 rows from `row`, columns 16 kk ...) of a tile.
template <int Rows>
__device__ inline void load_a(std::uint32_t (&a)[4], std::uint32_t tile, int row, int kk) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  load_matrices(a, lane_address<Rows>(tile, row, 2 * kk, lane % 16, lane / 16));
}

// B operands of two neighbouring columns of 8: rows row .. row + 15 of a tile (n, k), columns 16 kk ...
template <int Rows>
__device__ inline void load_b(std::uint32_t (&b)[4], std::uint32_t tile, int row, int kk) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  load_matrices(b, lane_address<Rows>(tile, row, 2 * kk, lane % 8 + lane / 16 * 8, lane / 8 % 2));
}

// The same of a tile (k, n): rows row .. row + 15 are k, columns 16 nn ... are n.
template <int Rows>
__device__ inline void load_b_transposed(std::uint32_t (&b)[4], std::uint32_t tile, int row, int nn) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  load_matrices_transposed(b, lane_address<Rows>(tile, row, 2 * nn, lane % 16, lane / 16));
}

__device__ inline std::uint32_t pack(float low, float high) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&both);
}

// Two neighbouring (16,8) results as the A operand of a product over their 16 columns.
__device__ inline void as_a(std::uint32_t (&a)[4], const float (&left)[4], const float (&right)[4]) {
  a[0] = pack(left[0], left[1]), a[1] = pack(left[2], left[3]);
  a[2] = pack(right[0], right[1]), a[3] = pack(right[2], right[3]);
}

__device__ inline float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// min(x, 0) that keeps a NaN.
__device__ inline float at_most_0(float x) {
  float y;
  asm("min.NaN.f32 %0, %1, 0f00000000;" : "=f"(y) : "f"(x));
  return y;
}

// Over the four lanes that share a row.
__device__ inline float row_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
__device__ inline float row_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}

// Writes rows [row, row + 16) of x (16, D), times `upper` for rows 0-7 and `lower` for rows 8-15, to the warp's own
// rows of a tile, then from there in whole lines to `to` (rows first + row ..., below `count`).
template <int D, int Rows>
__device__ inline void store_rows(float (&x)[D / 8][4], float upper, float lower, unsigned char* tile, int row, bf16* to,
                                  std::size_t stride, int first, int count) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  __syncwarp();
#pragma unroll
  for (int n = 0; n < D / 8; ++n) {
    const int at = lane % 4 * 4;
    *reinterpret_cast<std::uint32_t*>(tile + tile_offset<Rows>(row + lane / 4, n) + at) =
        pack(x[n][0] * upper, x[n][1] * upper);
    *reinterpret_cast<std::uint32_t*>(tile + tile_offset<Rows>(row + lane / 4 + 8, n) + at) =
        pack(x[n][2] * lower, x[n][3] * lower);
  }
  __syncwarp();
#pragma unroll
  for (int i = lane; i < 16 * D / 8; i += 32) {
    const int r = row + i / (D / 8), chunk = i % (D / 8);
    if (first + r < count)
      *reinterpret_cast<uint4*>(to + static_cast<std::size_t>(first + r) * stride + chunk * 8) =
          *reinterpret_cast<const uint4*>(tile + tile_offset<Rows>(r, chunk));
  }
}

}  // namespace fasttrain::nn
