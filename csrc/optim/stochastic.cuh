#pragma once
// Stochastic rounding on the device, by the bits of place.h. Each thread makes a block's word for one value: some 40
// products of integers, which a card does faster than its memory brings the value.

#include <cstdint>

#include "core/philox.cuh"
#include "optim/place.h"

namespace fasttrain::optim {

__device__ inline std::uint32_t random_half(const Place& p, std::uint64_t i) {
  const std::uint64_t q = p.offset + (p.pitch == 0 ? i : i / p.width * p.pitch + i % p.width);
  const auto j = static_cast<std::uint32_t>(q % (2 * philox_words));
  const auto block = static_cast<std::uint32_t>(q / (2 * philox_words));
  const std::uint32_t word = philox_word({16 * block, p.stream, p.step, ~std::uint32_t{0}, p.seed}, j % philox_words);
  return j < philox_words ? word & 0xffffu : word >> 16;
}

__device__ inline float widen(std::uint16_t half) { return __uint_as_float(static_cast<std::uint32_t>(half) << 16); }

__device__ inline std::uint16_t rounded_by(float x, std::uint32_t random) {
  const std::uint32_t u = __float_as_uint(x);
  const bool is_nan = (u & 0x7fffffffu) > 0x7f800000u;
  return static_cast<std::uint16_t>(is_nan ? (u >> 16) | 0x40u : (u + random) >> 16);
}

}  // namespace fasttrain::optim
