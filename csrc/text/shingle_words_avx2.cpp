// ASCII 32 bytes at a time, up to a letter with a mark or to the second digit of a number, which are stepped over one by
// one (French has such a letter every 30 bytes); a block with more of them goes through fold_slowly. Word bounds are
// taken from 64-bit masks without a branch a word.

#include <bit>
#include <cstring>

#include "text/shingle_words.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "core/impl.h"

namespace fasttrain::text {
namespace {

constexpr int dense = 12;  // foreign bytes of 32 from which on a code point at a time is faster

// x - low <= span, bytes unsigned.
FT_AVX2 inline __m256i in_range(__m256i x, char low, char span) noexcept {
  const __m256i shifted = _mm256_sub_epi8(x, _mm256_set1_epi8(low));
  return _mm256_cmpeq_epi8(_mm256_min_epu8(shifted, _mm256_set1_epi8(span)), shifted);
}

FT_AVX2 inline std::uint64_t nonspace64(const std::uint8_t* p) noexcept {
  const __m256i space = _mm256_set1_epi8(' ');
  const auto half = [&](const std::uint8_t* q) FT_AVX2 {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q));
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, space)));
  };
  return ~(std::uint64_t{half(p)} | std::uint64_t{half(p + 32)} << 32);
}

}  // namespace

FT_AVX2 void words_avx2(const std::uint8_t* text, std::size_t bytes, Words& words) noexcept {
  const std::size_t used = words.count > 0 ? words.bounds[2 * words.count - 1] + std::size_t{1} : 0;
  reserve(words, used, bytes);
  std::uint8_t* const base = words.bytes.data();
  std::uint8_t* out = base + used;
  const std::uint8_t *p = text, *const end = text + bytes;
  bool digit = false;
  const __m256i space = _mm256_set1_epi8(' '), zero = _mm256_set1_epi8('0');
  while (end - p >= 32) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i is_digit = in_range(v, '0', 9);
    const auto digits = static_cast<std::uint32_t>(_mm256_movemask_epi8(is_digit));
    const auto foreign = static_cast<std::uint32_t>(_mm256_movemask_epi8(v));
    if (std::popcount(foreign) > dense) {
      out = fold_slowly(p, p + 32, end, out, digit, &p);
      continue;
    }
    const __m256i lower = _mm256_or_si256(v, _mm256_set1_epi8(0x20));
    __m256i folded = _mm256_blendv_epi8(space, lower, in_range(lower, 'a', 25));
    folded = _mm256_blendv_epi8(folded, zero, is_digit);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), folded);
    const std::uint32_t stops = foreign | (digits & (digits << 1 | static_cast<std::uint32_t>(digit)));
    if (stops == 0) [[likely]] {
      out += 32;
      p += 32;
      digit = digits >> 31 != 0;
      continue;
    }
    const std::uint32_t good = _tzcnt_u32(stops);
    out += good;
    p += good;
    if ((digits >> good & 1) != 0) {  // not the first of its run: one 0 stands for all
      p += _tzcnt_u32(~(digits >> good));
      digit = true;
    } else {
      digit = good > 0 ? (digits >> (good - 1) & 1) != 0 : digit;
      out = fold_slowly(p, p + 1, end, out, digit, &p);
    }
  }
  out = fold_slowly(p, end, end, out, digit, &p);
  std::memset(out, ' ', 64);
  ++out;  // one space at least ends the last word

  // Bounds: where the mask of non-spaces flips. Eight are written for each eight found, the surplus is overwritten.
  std::uint32_t* bound = words.bounds.data() + 2 * words.count;
  std::uint64_t carry = 0;
  for (std::uint32_t at = static_cast<std::uint32_t>(used), stop = static_cast<std::uint32_t>(out - base); at < stop;
       at += 64) {
    const std::uint64_t mask = nonspace64(base + at);
    std::uint64_t flips = mask ^ (mask << 1 | carry);
    carry = mask >> 63;
    std::uint32_t* next = bound + std::popcount(flips);
    while (flips != 0) {
      for (int i = 0; i < 8; ++i) {
        bound[i] = at + static_cast<std::uint32_t>(_tzcnt_u64(flips));
        flips = _blsr_u64(flips);
      }
      bound += 8;
    }
    bound = next;
  }
  const std::size_t first = words.count;
  words.count = static_cast<std::size_t>(bound - words.bounds.data()) / 2;
  std::uint64_t* hash = words.hash.data();
  const std::uint32_t* bounds = words.bounds.data();
  constexpr std::uint64_t k0 = 0x9e3779b97f4a7c15ULL, k1 = 0xbf58476d1ce4e5b9ULL, k2 = 0x94d049bb133111ebULL;
  for (std::size_t w = first; w < words.count; ++w) {
    const std::uint32_t start = bounds[2 * w], length = bounds[2 * w + 1] - start;
    if (length > 8) [[unlikely]] {
      hash[w] = word_hash(base + start, length);
      continue;
    }
    std::uint64_t chunk;
    std::memcpy(&chunk, base + start, 8);
    std::uint64_t h = (length * k0 ^ _bzhi_u64(chunk, 8 * length)) * k1;
    h = (h ^ h >> 32) * k2;
    hash[w] = h ^ h >> 29;
  }
}

}  // namespace fasttrain::text
#else
namespace fasttrain::text {
void words_avx2(const std::uint8_t* text, std::size_t bytes, Words& words) noexcept {
  words_scalar(text, bytes, words);
}
}  // namespace fasttrain::text
#endif
