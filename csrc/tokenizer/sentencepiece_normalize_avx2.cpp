#include "tokenizer/sentencepiece_normalize.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <bit>

#include "tokenizer/sentencepiece_kinds.h"
#include "tokenizer/utf8_avx2.h"

namespace fasttrain::tokenizer {
namespace avx2 {
#define FT_SCAN FT_AVX2 inline
FT_SCAN __m256i all_of(std::uint8_t byte) noexcept { return _mm256_set1_epi8(static_cast<char>(byte)); }
FT_SCAN __m256i load_half(const std::uint8_t* p) noexcept {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
FT_SCAN std::uint64_t mask_of_both(__m256i low, __m256i high) noexcept {
  return std::uint64_t{static_cast<std::uint32_t>(_mm256_movemask_epi8(high))} << 32 |
         static_cast<std::uint32_t>(_mm256_movemask_epi8(low));
}
FT_SCAN __m256i printable_of(__m256i v) noexcept {
  const __m256i from = _mm256_sub_epi8(v, all_of(0x20));
  return _mm256_cmpeq_epi8(_mm256_min_epu8(from, all_of(0x7E - 0x20)), from);
}
FT_SCAN std::uint64_t printable_at(const std::uint8_t* p) noexcept {
  return mask_of_both(printable_of(load_half(p)), printable_of(load_half(p + 32)));
}
FT_SCAN std::uint64_t equal_at(const std::uint8_t* p, std::uint8_t byte) noexcept {
  return mask_of_both(_mm256_cmpeq_epi8(load_half(p), all_of(byte)), _mm256_cmpeq_epi8(load_half(p + 32), all_of(byte)));
}
FT_SCAN Kinds kinds_at(const std::uint8_t* p, const SentencePieceNormalizer::Starts& starts) noexcept {
  std::uint64_t may_match = 0;
  if (starts.has_others) {
    const __m256i last = all_of(0xBF);  // as a signed number: 0x80 to 0xBF, inside a character, are not above it
    may_match = ~(printable_at(p) & printable_at(p + 1)) &
                mask_of_both(_mm256_cmpgt_epi8(load_half(p), last), _mm256_cmpgt_epi8(load_half(p + 32), last));
  }
  if (starts.asks_all) may_match |= printable_at(p);
  if (starts.has_bytes)
    for (const std::uint8_t byte : starts.bytes) may_match |= equal_at(p, byte);
  return {equal_at(p, ' '), may_match};
}
FT_SCAN void copy_window(std::uint8_t* to, const std::uint8_t* from) noexcept {
  const __m256i low = load_half(from), high = load_half(from + 32);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), low);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32), high);
}
#include "tokenizer/sentencepiece_normalize.inc"
#undef FT_SCAN
}  // namespace avx2

void sentencepiece_normalize_avx2(const SentencePieceNormalizeArgs& a) noexcept {
  normalize_texts(a, avx2::normalize_text);
}

}  // namespace fasttrain::tokenizer
#endif
