#pragma once
// From text to MinHash signature in one pass.            N texts, K hash functions.
//
//   sig[n] = sketch(shingles of text n)      text/shingle.h, dedup/sketch.h
//
// Words, shingles and minima of a window stay in the cache; no shingle of the batch is ever stored.
// Reference: fasttrain/dedup/minhash_ref.py. The caller allocates and has checked every shape.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::dedup {

struct MinhashArgs {
  const std::uint8_t* data;     // (B,)
  const std::int64_t* offsets;  // (N+1,)  text n is data[offsets[n], offsets[n+1])
  const std::uint32_t* a;       // (K,)    odd
  const std::uint32_t* b;       // (K,)
  std::uint32_t* sig;           // (N, K)  out; a text without words gets all 0xFFFFFFFF
  std::int64_t* words;          // (N,)    out; words of each text
  std::size_t N;
  std::size_t K;
  std::size_t n;  // words in a shingle
  int threads;
};

using MinhashFn = void (*)(const MinhashArgs&) noexcept;

void minhash_scalar(const MinhashArgs&) noexcept;
void minhash_avx2(const MinhashArgs&) noexcept;
void minhash_avx512(const MinhashArgs&) noexcept;

std::span<const Impl<MinhashFn>> minhash_impls();  // best first

}  // namespace fasttrain::dedup
