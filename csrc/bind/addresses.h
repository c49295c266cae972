#pragma once
// Memory as addresses: of a card, and on the CPU of ops whose calls last microseconds, where a numpy array of each
// tensor would take longer than the work. The op's Python module has seen to dtype, shape and order.
#include <cstdint>

namespace fasttrain::bind {

template <typename T>
T* pointer(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

}  // namespace fasttrain::bind
