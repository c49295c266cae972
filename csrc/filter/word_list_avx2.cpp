// 32 bytes of ASCII a step: word characters as a mask, from it the places where words begin, the only ones that are
// looked at (entries that begin with a symbol are looked for at symbols too). A block that holds anything else goes
// character by character up to its end, as does the tail of a text: nothing beyond the buffer is read.

#include "core/impl.h"
#include "filter/word_list.h"
#include "filter/word_list_scan.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace fasttrain::filter {
namespace {

FT_AVX2 FT_INLINE __m256i in_range(__m256i x, char low, char count) noexcept {
  const __m256i d = _mm256_sub_epi8(x, _mm256_set1_epi8(low));
  const __m256i most = _mm256_set1_epi8(static_cast<char>(count - 1));
  return _mm256_cmpeq_epi8(_mm256_min_epu8(d, most), d);
}

FT_AVX2 FT_INLINE std::uint32_t mask_of(__m256i x) noexcept {
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(x));
}

FT_AVX2 void scan_avx2(WordScan& scan) noexcept {
  bool symbols = false;  // does an entry begin with one?
  for (std::int32_t e = scan.p.edges[scan.root]; e < scan.p.edges[scan.root + 1]; ++e)
    symbols |= scan.p.bytes[e] < 0x80 && ascii_kind[scan.p.bytes[e]] == ck_other;
  while (scan.i + 32 <= scan.size) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scan.s + scan.i));
    if (mask_of(x) != 0) {
      const std::size_t stop = scan.i + 32;
      while (scan.i < stop) scan.step();
      continue;
    }
    const __m256i letters = in_range(_mm256_or_si256(x, _mm256_set1_epi8(32)), 'a', 26);
    const __m256i score = _mm256_cmpeq_epi8(x, _mm256_set1_epi8('_'));
    const std::uint32_t marks = mask_of(score);
    const std::uint32_t word = mask_of(_mm256_or_si256(letters, in_range(x, '0', 10))) | marks;
    // A script without spaces or katakana before the block: a word begins, unless with a mark, which then is of it.
    const bool is_other_script = scan.before == ck_unspaced || scan.before == ck_katakana;
    if (is_other_script && marks & 1) {
      scan.step();
      continue;
    }
    const std::uint32_t carry = scan.before != ck_other && !is_other_script;
    const std::uint32_t starts = word & ~(word << 1 | carry);
    std::uint32_t places = symbols ? starts | ~word : starts;
    for (; places != 0; places &= places - 1) {
      const auto bit = static_cast<unsigned>(__builtin_ctz(places));
      const std::size_t at = scan.i + bit;
      if (at < scan.free || !scan.may_begin(at)) continue;
      scan.look(at, scan.words + __builtin_popcount(starts & ((2u << bit) - 1)));
    }
    scan.words += __builtin_popcount(starts);
    scan.before = word >> 31 ? ck_word : ck_other;
    scan.i += 32;
  }
  while (scan.i < scan.size) scan.step();
}

}  // namespace

void word_list_avx2(const WordListArgs& p) noexcept {
  word_list_run(p, [](WordScan& scan) noexcept { scan_avx2(scan); });
}

}  // namespace fasttrain::filter

#else

namespace fasttrain::filter {

void word_list_avx2(const WordListArgs& p) noexcept { word_list_scalar(p); }  // never chosen

}  // namespace fasttrain::filter

#endif
