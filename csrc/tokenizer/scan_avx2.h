#pragma once /* part of pretokenize */
// The scanner with the length of a word found by one compare of 32 bytes: its loop would mispredict once a word.

#if defined(__x86_64__)
#include <immintrin.h>

#include "core/impl.h"
#include "tokenizer/scan.h"

namespace fasttrain::tokenizer::avx2 {

#define FT_SCAN FT_AVX2 inline
template <std::uint8_t fold>
FT_SCAN std::ptrdiff_t ascii_run(const std::uint8_t* p, const std::uint8_t* end) noexcept {
  const std::uint8_t* q = p;
  while (end - q >= 32) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q));
    const __m256i from_a = _mm256_sub_epi8(_mm256_or_si256(bytes, _mm256_set1_epi8(fold)), _mm256_set1_epi8('a'));
    const __m256i in = _mm256_cmpeq_epi8(_mm256_min_epu8(from_a, _mm256_set1_epi8(25)), from_a);
    const auto is_not = ~static_cast<std::uint32_t>(_mm256_movemask_epi8(in));
    if (is_not) return q - p + _tzcnt_u32(is_not);
    q += 32;
  }
  while (q < end && static_cast<std::uint8_t>((*q | fold) - 'a') < 26) ++q;
  return q - p;
}
FT_SCAN std::ptrdiff_t ascii_letters(const std::uint8_t* p, const std::uint8_t* end) noexcept {
  return ascii_run<0x20>(p, end);
}
FT_SCAN std::ptrdiff_t ascii_lower(const std::uint8_t* p, const std::uint8_t* end) noexcept {
  return ascii_run<0>(p, end);
}
#include "tokenizer/scan.inc"
#undef FT_SCAN

}  // namespace fasttrain::tokenizer::avx2
#endif
