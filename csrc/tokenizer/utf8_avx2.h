#pragma once /* part of sentencepiece_normalize */
// Whether bytes are UTF-8 (Unicode table 3-7), 32 at a time: the four bits before, behind and under each boundary of two
// bytes say by a look-up each which errors these may be, and an error that all three allow is one. What must follow a
// lead byte two and three places on is counted apart. Source: Keiser and Lemire 2021.

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "core/impl.h"

namespace fasttrain::tokenizer::avx2 {

struct Utf8Tables {
  static constexpr std::uint8_t too_short = 1, too_long = 2, overlong_3 = 4, too_large = 8, surrogate = 16,
                                overlong_2 = 32, overlong_4 = 64, too_large_1000 = 64, two_conts = 128;
  static constexpr std::uint8_t carry = too_short | too_long | two_conts, large = carry | too_large | too_large_1000;
  static constexpr std::uint8_t at_8 = too_long | overlong_2 | two_conts | overlong_3 | too_large_1000 | overlong_4,
                                at_9 = too_long | overlong_2 | two_conts | overlong_3 | too_large,
                                at_a = too_long | overlong_2 | two_conts | surrogate | too_large;
  alignas(16) static constexpr std::uint8_t first_high[16] = {
      too_long, too_long, too_long, too_long, too_long, too_long, too_long, too_long, two_conts, two_conts, two_conts,
      two_conts, too_short | overlong_2, too_short, too_short | overlong_3 | surrogate,
      too_short | too_large | too_large_1000 | overlong_4};
  alignas(16) static constexpr std::uint8_t first_low[16] = {
      carry | overlong_3 | overlong_2 | overlong_4, carry | overlong_2, carry, carry, carry | too_large, large, large,
      large, large, large, large, large, large, large | surrogate, large, large};
  alignas(16) static constexpr std::uint8_t second_high[16] = {
      too_short, too_short, too_short, too_short, too_short, too_short, too_short, too_short, at_8, at_9, at_a, at_a,
      too_short, too_short, too_short, too_short};
};

// The errors of 32 bytes behind 32 others: any bit.
FT_AVX2 inline __m256i utf8_errors(__m256i before, __m256i here) noexcept {
  const auto table = [](const std::uint8_t* t) __attribute__((target("avx2"))) {
    return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(t)));
  };
  const auto high = [](__m256i v) __attribute__((target("avx2"))) {
    return _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(0x0F));
  };
  const __m256i joint = _mm256_permute2x128_si256(before, here, 0x21);
  const __m256i one = _mm256_alignr_epi8(here, joint, 15), two = _mm256_alignr_epi8(here, joint, 14),
                three = _mm256_alignr_epi8(here, joint, 13);
  const __m256i first_high = _mm256_shuffle_epi8(table(Utf8Tables::first_high), high(one));
  const __m256i first_low =
      _mm256_shuffle_epi8(table(Utf8Tables::first_low), _mm256_and_si256(one, _mm256_set1_epi8(0x0F)));
  const __m256i second_high = _mm256_shuffle_epi8(table(Utf8Tables::second_high), high(here));
  const __m256i found = _mm256_and_si256(_mm256_and_si256(first_high, first_low), second_high);
  // The highest bit where a third or fourth byte must be; two continuation bytes in a row have it in `found`.
  const __m256i third = _mm256_subs_epu8(two, _mm256_set1_epi8(0xE0 - 0x80));
  const __m256i fourth = _mm256_subs_epu8(three, _mm256_set1_epi8(static_cast<char>(0xF0 - 0x80)));
  const __m256i wanted = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8(static_cast<char>(0x80)));
  return _mm256_xor_si256(wanted, found);
}

FT_AVX2 inline bool is_utf8(const std::uint8_t* p, const std::uint8_t* end) noexcept {
  __m256i before = _mm256_setzero_si256(), errors = before;
  bool is_ascii = true;  // up to here
  for (; end - p >= 32; p += 32) {
    const __m256i here = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const bool has_high = _mm256_movemask_epi8(here) != 0;
    if (has_high || !is_ascii) errors = _mm256_or_si256(errors, utf8_errors(before, here));
    is_ascii = !has_high;
    before = here;
  }
  std::uint8_t rest[32] = {};  // at least one zero: a character that is cut off is an error there
  std::memcpy(rest, p, static_cast<std::size_t>(end - p));
  const __m256i here = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rest));
  errors = _mm256_or_si256(errors, utf8_errors(before, here));
  return _mm256_testz_si256(errors, errors) != 0;
}

}  // namespace fasttrain::tokenizer::avx2
#endif
