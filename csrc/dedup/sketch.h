#pragma once
// MinHash signatures of sets of shingles.            N sets, S shingles in all, K hash functions.
//
//   sig[n, k] = min over shingles x of set n of  a[k] * (x mod 2^32) + b[k]      (mod 2^32, a odd)
//
// The family is 32-bit affine with odd multipliers (as datasketch 2.0's affine32): one multiply, one add and one
// minimum of 32-bit lanes, the same on every instruction set and on a GPU. Affine maps alone are poor permutations of
// structured input; a shingle is already the output of a 64-bit finaliser, so its lower half is as good as random. Fast
// Similarity Sketching does less work for long texts, but the kernel is a tenth of the way from text to signature
// either way, and this one merges by minimum, streams, and holds no state but the signature.
//
// Reference: fasttrain/dedup/sketch_ref.py. The caller allocates and has checked every shape.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::dedup {

struct SketchArgs {
  const std::uint64_t* shingles;  // (S,)
  const std::int64_t* offsets;    // (N+1,)  set n is shingles[offsets[n], offsets[n+1])
  const std::uint32_t* a;         // (K,)    odd
  const std::uint32_t* b;         // (K,)
  std::uint32_t* sig;             // (N, K)  out; an empty set gets all 0xFFFFFFFF
  std::size_t N;
  std::size_t K;
  int threads;
};

using SketchFn = void (*)(const SketchArgs&) noexcept;

void sketch_scalar(const SketchArgs&) noexcept;
void sketch_avx2(const SketchArgs&) noexcept;
void sketch_avx512(const SketchArgs&) noexcept;

// Device pointers, a cudaStream_t; 0 or a cudaError_t, `cuda_absent` without a toolkit.
int sketch_cuda(const SketchArgs&, void* stream) noexcept;

// sig[k] = min(sig[k], hash k of each of `count` shingles): for other native ops that make shingles as they go.
using SketchUpdateFn = void (*)(const std::uint64_t* shingles, std::size_t count, const std::uint32_t* a,
                                const std::uint32_t* b, std::size_t K, std::uint32_t* sig) noexcept;
void sketch_update_scalar(const std::uint64_t*, std::size_t, const std::uint32_t*, const std::uint32_t*, std::size_t,
                          std::uint32_t*) noexcept;
void sketch_update_avx2(const std::uint64_t*, std::size_t, const std::uint32_t*, const std::uint32_t*, std::size_t,
                        std::uint32_t*) noexcept;
void sketch_update_avx512(const std::uint64_t*, std::size_t, const std::uint32_t*, const std::uint32_t*, std::size_t,
                          std::uint32_t*) noexcept;

void sketch_with(SketchUpdateFn update, const SketchArgs& p) noexcept;

std::span<const Impl<SketchFn>> sketch_impls();  // best first

}  // namespace fasttrain::dedup
