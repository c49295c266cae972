#pragma once /* part of pretokenize */
// The portable scanner.

#include <bit>
#include <cstring>

#include "tokenizer/scan.h"

namespace fasttrain::tokenizer::scalar {

#define FT_SCAN inline
FT_SCAN std::ptrdiff_t ascii_letters(const std::uint8_t* p, const std::uint8_t* end) noexcept {
  const std::uint8_t* q = p;
  while (q < end && static_cast<std::uint8_t>((*q | 0x20) - 'a') < 26) ++q;
  return q - p;
}
FT_SCAN std::ptrdiff_t ascii_lower(const std::uint8_t* p, const std::uint8_t* end) noexcept {
  const std::uint8_t* q = p;
  while (q < end && static_cast<std::uint8_t>(*q - 'a') < 26) ++q;
  return q - p;
}
#include "tokenizer/scan.inc"
// Without wide compares a window costs more than it saves.
FT_SCAN std::uint64_t cut_window(const UnicodeClasses&, const Pattern&, const std::uint8_t*,
                                 const std::uint8_t*) noexcept {
  return 0;
}
#include "tokenizer/scan_batch.inc"
#undef FT_SCAN

}  // namespace fasttrain::tokenizer::scalar
