#pragma once
// 128-bit hashes of texts.            N texts.
//
//   out[n] = MurmurHash3_x64_128(text n, seed), little-endian (h1, h2)
//
// Source: Appleby, MurmurHash3 (public domain). Not against an adversary: exact deduplication compares the bytes too.
// Reference: fasttrain/text/hash128_ref.py. The caller allocates and has checked every shape.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::text {

struct Hash128Args {
  const std::uint8_t* data;     // (S,)
  const std::int64_t* offsets;  // (N+1,)  text n is data[offsets[n], offsets[n+1])
  std::uint64_t* out;           // (N, 2)  out
  std::size_t N;
  std::uint32_t seed;
  int threads;
};

using Hash128Fn = void (*)(const Hash128Args&) noexcept;

void hash128_scalar(const Hash128Args&) noexcept;

// One text; for other native ops that need the same hash.
void murmur3_128(const std::uint8_t* data, std::size_t bytes, std::uint32_t seed, std::uint64_t out[2]) noexcept;

std::span<const Impl<Hash128Fn>> hash128_impls();  // best first

}  // namespace fasttrain::text
