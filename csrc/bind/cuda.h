#pragma once
// Device pointers cross as integers, in the order of the op's struct; 0 is a null pointer.
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "bind/addresses.h"

namespace fasttrain::bind {

using Pointers = std::vector<std::uintptr_t>;
using Sizes = std::vector<std::size_t>;

inline void counted(const char* op, std::size_t pointers, std::size_t wanted_pointers, std::size_t sizes,
                    std::size_t wanted_sizes) {
  if (pointers != wanted_pointers || sizes != wanted_sizes)
    throw std::invalid_argument(std::string(op) + ": wrong number of pointers or sizes");
}

}  // namespace fasttrain::bind
