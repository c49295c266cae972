#pragma once /* part of pretokenize */
// The scanner with the length of a word found by one compare of 32 bytes: its loop would mispredict once a word.

#if defined(__x86_64__)
#include <immintrin.h>

#include <bit>
#include <cstring>

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

struct Bytes {
  std::uint64_t letters, lowers, digits, spaces, newlines, blanks, quotes, slashes, high;
};

// Bytes of v in [first, first + span].
FT_SCAN std::uint64_t in_range(__m256i a, __m256i b, std::uint8_t first, std::uint8_t span) noexcept {
  const __m256i low = _mm256_set1_epi8(static_cast<char>(first)), wide = _mm256_set1_epi8(static_cast<char>(span));
  const __m256i x = _mm256_sub_epi8(a, low), y = _mm256_sub_epi8(b, low);
  const auto mx = static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(x, wide), x)));
  const auto my = static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(y, wide), y)));
  return std::uint64_t{my} << 32 | mx;
}

FT_SCAN Bytes classify(const std::uint8_t* p, std::size_t n) noexcept {
  alignas(32) std::uint8_t tail[64] = {};
  if (n < 64) {
    std::memcpy(tail, p, n);
    p = tail;
  }
  const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32));
  const __m256i fold = _mm256_set1_epi8(0x20);
  Bytes r;
  r.letters = in_range(_mm256_or_si256(a, fold), _mm256_or_si256(b, fold), 'a', 25);
  r.lowers = in_range(a, b, 'a', 25);
  r.digits = in_range(a, b, '0', 9);
  r.blanks = in_range(a, b, ' ', 0);
  r.spaces = in_range(a, b, '\t', 4) | r.blanks;
  r.newlines = in_range(a, b, '\n', 0) | in_range(a, b, '\r', 0);
  r.quotes = in_range(a, b, '\'', 0);
  r.slashes = in_range(a, b, '/', 0);
  r.high = std::uint64_t{static_cast<std::uint32_t>(_mm256_movemask_epi8(b))} << 32 |
           static_cast<std::uint32_t>(_mm256_movemask_epi8(a));
  return r;
}
#include "tokenizer/scan_window.inc"

#include "tokenizer/scan_batch.inc"
#undef FT_SCAN

}  // namespace fasttrain::tokenizer::avx2
#endif
