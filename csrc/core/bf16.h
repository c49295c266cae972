#pragma once
// bfloat16 as storage: the upper half of a float. Arithmetic is done in fp32.

#include <bit>
#include <cstdint>

namespace fasttrain {

struct Bf16 {
  std::uint16_t bits;
};

inline float to_float(float x) noexcept { return x; }
inline float to_float(Bf16 x) noexcept { return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }

template <typename T>
T from_float(float x) noexcept;
template <>
inline float from_float<float>(float x) noexcept {
  return x;
}
template <>
inline Bf16 from_float<Bf16>(float x) noexcept {  // to nearest even; a NaN stays one, its payload is cut
  const auto u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((u >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}

}  // namespace fasttrain
