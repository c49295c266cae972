#pragma once /* part of sentencepiece_bpe */
// Stretches of a text, with the marks of 64 bytes found by a compare each.

#if defined(__x86_64__)
#include <immintrin.h>

#include "core/impl.h"
#include "tokenizer/sentencepiece_stretches.h"

namespace fasttrain::tokenizer::avx512 {

#define FT_SCAN FT_AVX512 inline
FT_SCAN __m512i each(std::uint8_t byte) noexcept { return _mm512_set1_epi8(static_cast<char>(byte)); }
FT_SCAN std::uint64_t equal_at(const std::uint8_t* p, std::uint8_t byte) noexcept {
  return _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(p), each(byte));
}
FT_SCAN std::uint64_t lower_of(__m512i v) noexcept {
  return _mm512_cmple_epu8_mask(_mm512_sub_epi8(v, each('a')), each('z' - 'a'));
}
FT_SCAN Marks marks_at(const std::uint8_t* p) noexcept {
  const __m512i here = _mm512_loadu_si512(p), before = _mm512_loadu_si512(p - 1);
  const std::uint64_t spaces = _mm512_cmpeq_epi8_mask(here, each(0xE2)) & equal_at(p + 1, 0x96) & equal_at(p + 2, 0x81);
  const std::uint64_t in_word = lower_of(here) & (lower_of(before) | _mm512_cmpeq_epi8_mask(before, each(0x81)));
  const std::uint64_t inside = _mm512_cmple_epi8_mask(here, each(0xBF));  // as signed numbers: 0x80 to 0xBF
  return {spaces, _mm512_cmpge_epu8_mask(here, each(0xE3)), in_word | inside};
}
#include "tokenizer/sentencepiece_stretches.inc"
#undef FT_SCAN

}  // namespace fasttrain::tokenizer::avx512
#endif
