#pragma once
// Philox on the device: one counter of a block, or one word of it, for kernels whose threads each want their own.

#include <cstdint>

#include "core/philox.h"

namespace fasttrain {

// The four words of counter `lane` of the block (philox.h).
__device__ inline void philox_counter(const PhiloxBlock& p, std::uint32_t lane, std::uint32_t (&out)[4]) {
  std::uint32_t c0 = p.c0 + lane, c1 = p.c1, c2 = p.c2, c3 = p.c3;
  auto k0 = static_cast<std::uint32_t>(p.key), k1 = static_cast<std::uint32_t>(p.key >> 32);
#pragma unroll
  for (int round = 0; round < philox::rounds; ++round) {
    const std::uint32_t a = __umulhi(philox::m0, c0), b = __umulhi(philox::m1, c2);
    const std::uint32_t low_a = philox::m0 * c0, low_b = philox::m1 * c2;
    c0 = b ^ c1 ^ k0;
    c2 = a ^ c3 ^ k1;
    c1 = low_b;
    c3 = low_a;
    k0 += philox::w0;
    k1 += philox::w1;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

// Word `index` of the block: word index / 16 of counter index % 16.
__device__ inline std::uint32_t philox_word(const PhiloxBlock& p, std::uint32_t index) {
  std::uint32_t out[4];
  philox_counter(p, index % 16, out);
  const std::uint32_t word = index / 16;
  return word == 0 ? out[0] : word == 1 ? out[1] : word == 2 ? out[2] : out[3];
}

}  // namespace fasttrain
