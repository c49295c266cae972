#pragma once /* part of the ops of optim */
// Which random bits round a bf16 value stochastically: up with the probability of what is cut off, so that steps far
// below half a bf16 ulp add up: the upper half of bits(x) + r, r = 16 random bits.
//
// With q = offset + i / width * pitch + i mod width, value i's place in the whole parameter (of which the array may be
// some columns), j = q mod 128, r is the lower (j < 64) or upper half of word j mod 64 of the Philox block
// (16 (q / 128), stream, step, -1) under `seed`: the same for any cut of the array.

#include <cstdint>

namespace fasttrain::optim {

struct Place {
  std::uint64_t seed = 0, offset = 0, width = ~std::uint64_t{0}, pitch = 0;
  std::uint32_t step = 0, stream = 0;
};

}  // namespace fasttrain::optim
