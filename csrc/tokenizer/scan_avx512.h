#pragma once /* part of pretokenize */
// The scanner with the classes of 64 bytes found by a compare each.

#if defined(__x86_64__)
#include <immintrin.h>

#include <bit>
#include <cstring>

#include "core/impl.h"
#include "tokenizer/scan.h"

namespace fasttrain::tokenizer::avx512 {

#define FT_SCAN FT_AVX512 inline
// Bytes of v, below n, in [first, first + span].
FT_SCAN std::uint64_t in_range(__mmask64 known, __m512i v, std::uint8_t first, std::uint8_t span) noexcept {
  const __m512i from_first = _mm512_sub_epi8(v, _mm512_set1_epi8(static_cast<char>(first)));
  return _mm512_mask_cmple_epu8_mask(known, from_first, _mm512_set1_epi8(static_cast<char>(span)));
}

template <std::uint8_t fold>
FT_SCAN std::ptrdiff_t ascii_run(const std::uint8_t* p, const std::uint8_t* end) noexcept {
  const std::uint8_t* q = p;
  while (q < end) {
    const __mmask64 known = end - q >= 64 ? ~__mmask64{0} : (__mmask64{1} << (end - q)) - 1;
    const __m512i v = _mm512_or_si512(_mm512_maskz_loadu_epi8(known, q), _mm512_set1_epi8(fold));
    const std::uint64_t is_not = ~in_range(known, v, 'a', 25);
    if (is_not) return q - p + std::countr_zero(is_not);
    q += 64;
  }
  return q - p;
}
FT_SCAN std::ptrdiff_t ascii_letters(const std::uint8_t* p, const std::uint8_t* end) noexcept {
  return ascii_run<0x20>(p, end);
}
FT_SCAN std::ptrdiff_t ascii_lower(const std::uint8_t* p, const std::uint8_t* end) noexcept {
  return ascii_run<0>(p, end);
}
#include "tokenizer/scan.inc"

struct Bytes {
  std::uint64_t letters, lowers, digits, spaces, newlines, blanks, quotes, slashes, high;
};

FT_SCAN Bytes classify(const std::uint8_t* p, std::size_t n) noexcept {
  const __mmask64 known = n >= 64 ? ~__mmask64{0} : (__mmask64{1} << n) - 1;
  const __m512i v = _mm512_maskz_loadu_epi8(known, p);
  Bytes r;
  r.letters = in_range(known, _mm512_or_si512(v, _mm512_set1_epi8(0x20)), 'a', 25);
  r.lowers = in_range(known, v, 'a', 25);
  r.digits = in_range(known, v, '0', 9);
  r.blanks = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(' '));
  r.spaces = in_range(known, v, '\t', 4) | r.blanks;
  r.newlines = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\n')) | _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\r'));
  r.quotes = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\''));
  r.slashes = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('/'));
  r.high = _mm512_movepi8_mask(v);
  return r;
}
#include "tokenizer/scan_window.inc"

#include "tokenizer/scan_batch.inc"
#undef FT_SCAN

}  // namespace fasttrain::tokenizer::avx512
#endif
