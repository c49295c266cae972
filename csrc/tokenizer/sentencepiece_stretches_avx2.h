#pragma once /* part of sentencepiece_bpe */
// Stretches of a text, with the marks of 64 bytes found by two compares each.

#if defined(__x86_64__)
#include <immintrin.h>

#include "core/impl.h"
#include "tokenizer/sentencepiece_stretches.h"

namespace fasttrain::tokenizer::avx2 {

#define FT_SCAN FT_AVX2 inline
FT_SCAN __m256i each(std::uint8_t byte) noexcept { return _mm256_set1_epi8(static_cast<char>(byte)); }
FT_SCAN __m256i bytes_at(const std::uint8_t* p) noexcept {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
FT_SCAN __m256i lower_of(__m256i v) noexcept {
  const __m256i from_a = _mm256_sub_epi8(v, each('a'));
  return _mm256_cmpeq_epi8(_mm256_min_epu8(from_a, each('z' - 'a')), from_a);
}
FT_SCAN std::uint32_t mask_of(__m256i v) noexcept { return static_cast<std::uint32_t>(_mm256_movemask_epi8(v)); }
// Of 32 bytes.
FT_SCAN Marks half_at(const std::uint8_t* p) noexcept {
  const __m256i here = bytes_at(p), before = bytes_at(p - 1);
  const __m256i spaces = _mm256_and_si256(
      _mm256_and_si256(_mm256_cmpeq_epi8(here, each(0xE2)), _mm256_cmpeq_epi8(bytes_at(p + 1), each(0x96))),
      _mm256_cmpeq_epi8(bytes_at(p + 2), each(0x81)));
  const __m256i in_word = _mm256_and_si256(
      lower_of(here), _mm256_or_si256(lower_of(before), _mm256_cmpeq_epi8(before, each(0x81))));
  const __m256i inside = _mm256_cmpgt_epi8(each(0xC0), here);  // as signed numbers: 0x80 to 0xBF
  const __m256i wide = _mm256_cmpeq_epi8(_mm256_max_epu8(here, each(0xE3)), here);
  return {mask_of(spaces), mask_of(wide), mask_of(_mm256_or_si256(in_word, inside))};
}
FT_SCAN Marks marks_at(const std::uint8_t* p) noexcept {
  const Marks low = half_at(p), high = half_at(p + 32);
  return {high.spaces << 32 | low.spaces, high.wide << 32 | low.wide, high.inner << 32 | low.inner};
}
#include "tokenizer/sentencepiece_stretches.inc"
#undef FT_SCAN

}  // namespace fasttrain::tokenizer::avx2
#endif
