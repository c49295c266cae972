#include "tokenizer/normalize_table.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace fasttrain::tokenizer {
namespace {

FT_AVX2 const std::uint8_t* find(const ByteSet& set, const std::uint8_t* p, const std::uint8_t* end) noexcept {
  const auto row = [&](int k) FT_AVX2 {
    return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(set.rows[k])));
  };
  const __m256i below = row(0), above = row(1), low = _mm256_set1_epi8(15);
  const __m256i bits = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201));
  for (; end - p >= 32; p += 32) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i l = _mm256_and_si256(v, low), h = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
    const __m256i rows = _mm256_blendv_epi8(_mm256_shuffle_epi8(below, l), _mm256_shuffle_epi8(above, l), v);
    const __m256i missing =
        _mm256_cmpeq_epi8(_mm256_and_si256(rows, _mm256_shuffle_epi8(bits, h)), _mm256_setzero_si256());
    if (const auto found = ~static_cast<std::uint32_t>(_mm256_movemask_epi8(missing))) return p + _tzcnt_u32(found);
  }
  return find_byte(set, p, end);
}

}  // namespace

void normalize_avx2(const NormalizeArgs& a) noexcept { normalize_texts(a, find); }

}  // namespace fasttrain::tokenizer
#endif
