#include "tokenizer/sentencepiece_normalize.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <bit>

#include "tokenizer/sentencepiece_kinds.h"
#include "tokenizer/utf8_avx2.h"

namespace fasttrain::tokenizer {
namespace avx512 {
#define FT_SCAN FT_AVX512 inline
FT_SCAN std::uint64_t printable_at(const std::uint8_t* p) noexcept {
  const __m512i from = _mm512_sub_epi8(_mm512_loadu_si512(p), _mm512_set1_epi8(0x20));
  return _mm512_cmple_epu8_mask(from, _mm512_set1_epi8(0x7E - 0x20));
}
FT_SCAN Kinds kinds_at(const std::uint8_t* p, const SentencePieceNormalizer::Starts& starts) noexcept {
  const __m512i v = _mm512_loadu_si512(p);
  std::uint64_t may_match = 0;
  if (starts.has_others)
    may_match = ~(printable_at(p) & printable_at(p + 1)) &
                _mm512_cmpgt_epi8_mask(v, _mm512_set1_epi8(static_cast<char>(0xBF)));  // not inside a character
  if (starts.asks_all) may_match |= printable_at(p);
  if (starts.has_bytes)
    for (const std::uint8_t byte : starts.bytes)
      may_match |= _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(static_cast<char>(byte)));
  return {_mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(' ')), may_match};
}
FT_SCAN void copy_window(std::uint8_t* to, const std::uint8_t* from) noexcept {
  _mm512_storeu_si512(to, _mm512_loadu_si512(from));
}
#include "tokenizer/sentencepiece_normalize.inc"
#undef FT_SCAN
}  // namespace avx512

void sentencepiece_normalize_avx512(const SentencePieceNormalizeArgs& a) noexcept {
  normalize_texts(a, avx512::normalize_text);
}

}  // namespace fasttrain::tokenizer
#endif
