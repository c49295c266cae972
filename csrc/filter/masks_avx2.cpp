#include "core/impl.h"
#include "filter/masks.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace fasttrain::filter {
namespace {

struct Two {
  __m256i a, b;
};

FT_AVX2 FT_INLINE std::uint64_t bits_of(__m256i a, __m256i b) noexcept {
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(a)) |
         static_cast<std::uint64_t>(static_cast<std::uint32_t>(_mm256_movemask_epi8(b))) << 32;
}

// Bytes in [low, low + count): signed compare after a shift, so that bytes over 127 are outside.
FT_AVX2 FT_INLINE __m256i between(__m256i x, int low, int count) noexcept {
  const __m256i shifted = _mm256_sub_epi8(x, _mm256_set1_epi8(static_cast<char>(low + 128)));
  return _mm256_cmpgt_epi8(_mm256_set1_epi8(static_cast<char>(count - 128)), shifted);
}

FT_AVX2 FT_INLINE std::uint64_t between_bits(Two x, int low, int count) noexcept {
  return bits_of(between(x.a, low, count), between(x.b, low, count));
}

FT_AVX2 FT_INLINE std::uint64_t equal_bits(Two x, char c) noexcept {
  const __m256i v = _mm256_set1_epi8(c);
  return bits_of(_mm256_cmpeq_epi8(x.a, v), _mm256_cmpeq_epi8(x.b, v));
}

}  // namespace

FT_AVX2 bool classify_ascii_avx2(Masks& m) noexcept {
  std::uint64_t any = 0;
  const __m256i case_bit = _mm256_set1_epi8(32);
  for (std::size_t w = 0; w < m.words - 2; ++w) {
    const std::uint8_t* p = m.text.data() + w * 64;
    const Two x{_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
    const Two low{_mm256_or_si256(x.a, case_bit), _mm256_or_si256(x.b, case_bit)};
    const std::uint64_t valid = low_bits(m.n - w * 64);
    const std::uint64_t letter = between_bits(low, 'a', 26), number = between_bits(x, '0', 10);
    const std::uint64_t newline = equal_bits(x, '\n'), dot = equal_bits(x, '.');
    const std::uint64_t breaks = between_bits(x, 10, 4) | between_bits(x, 28, 3);
    m.mask(mk_letter)[w] = letter;
    m.mask(mk_number)[w] = number;
    m.mask(mk_mark)[w] = equal_bits(x, '_');
    m.mask(mk_space)[w] = breaks | equal_bits(x, ' ') | equal_bits(x, '\t') | equal_bits(x, 31);
    m.mask(mk_prose)[w] = letter | number;
    m.mask(mk_terminal)[w] = dot | equal_bits(x, '?') | equal_bits(x, '!');
    m.mask(mk_break)[w] = breaks;
    m.mask(mk_single)[w] = 0;
    m.mask(mk_newline)[w] = newline;
    m.mask(mk_joiner)[w] = dot | equal_bits(x, '\'');
    m.mask(mk_upper)[w] = between_bits(x, 'A', 26);
    m.mask(mk_comma)[w] = equal_bits(x, ',');
    // The letter that marks a phrase and the one behind it; at the end of 64 bytes the first alone.
    const std::uint64_t edge = 1ULL << 63, s = equal_bits(low, 's') >> 1 | edge;
    m.mask(mk_phrase)[w] =
        letter & (equal_bits(low, 'j') | (equal_bits(low, 'k') & (equal_bits(low, 'i') >> 1 | edge)) |
                  (equal_bits(low, 'v') & (equal_bits(low, 'a') >> 1 | edge)) |
                  ((equal_bits(low, 'm') | equal_bits(low, 'p')) & s));
    const std::uint64_t unicode = bits_of(x.a, x.b);
    m.mask(mk_unicode)[w] = unicode;
    any |= unicode;
    std::uint64_t same;
    if (w == 0) {  // the byte before the first does not exist
      same = 0;
      for (std::size_t i = 1; i < 64; ++i) same |= static_cast<std::uint64_t>(p[i] == p[i - 1]) << i;
    } else {
      const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p - 1));
      const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 31));
      same = bits_of(_mm256_cmpeq_epi8(x.a, a), _mm256_cmpeq_epi8(x.b, b));
    }
    m.mask(mk_same)[w] = same & valid;
  }
  return any != 0;
}

}  // namespace fasttrain::filter
#endif
