// 32 bytes a step: c - '0' <= 9 unsigned, or one of three symbols. The tail of a text is searched byte by byte, so that
// nothing beyond the buffer is read.

#include <immintrin.h>

#include "filter/pii_scan.h"

namespace fasttrain::filter {
namespace {

FT_AVX2 std::size_t next_avx2(const PiiText& t, std::size_t i) noexcept {
  const __m256i zero = _mm256_set1_epi8('0'), nine = _mm256_set1_epi8(9);
  const __m256i at = _mm256_set1_epi8('@'), plus = _mm256_set1_epi8('+'), open = _mm256_set1_epi8('(');
  for (; i + 32 <= t.size; i += 32) {
    const __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(t.s + i));
    const __m256i d = _mm256_sub_epi8(c, zero);
    const __m256i digits = _mm256_cmpeq_epi8(_mm256_min_epu8(d, nine), d);
    const __m256i symbols = _mm256_or_si256(_mm256_or_si256(_mm256_cmpeq_epi8(c, at), _mm256_cmpeq_epi8(c, plus)),
                                            _mm256_cmpeq_epi8(c, open));
    const auto mask = static_cast<unsigned>(_mm256_movemask_epi8(_mm256_or_si256(digits, symbols)));
    if (mask != 0) return i + static_cast<std::size_t>(__builtin_ctz(mask));
  }
  while (i < t.size && !is_trigger(t.s[i])) ++i;
  return i;
}

}  // namespace

void pii_avx2(const PiiArgs& p) noexcept {
  pii_run(p, [](const PiiText& t, std::size_t i) noexcept { return next_avx2(t, i); });
}

}  // namespace fasttrain::filter
