#pragma once /* part of sentencepiece_normalize */

#include <cstdint>

namespace fasttrain::tokenizer {

// Of 64 bytes of UTF-8 text.
struct Kinds {
  std::uint64_t spaces;
  std::uint64_t may_match;  // where the normaliser must be asked whether a string begins that it replaces
};

}  // namespace fasttrain::tokenizer
