#pragma once
#include <array>
#include <cstdint>

#include "optim/place.h"

namespace fasttrain::bind {

// seed, step, stream, offset, width (0: the values lie as in the whole), pitch: numbers that the face has checked.
using PlaceNumbers = std::array<std::uint64_t, 6>;

inline optim::Place place(const PlaceNumbers& x) {
  optim::Place out{.seed = x[0],
                   .offset = x[3],
                   .step = static_cast<std::uint32_t>(x[1]),
                   .stream = static_cast<std::uint32_t>(x[2])};
  if (x[4] != 0) out.width = x[4], out.pitch = x[5];
  return out;
}

}  // namespace fasttrain::bind
