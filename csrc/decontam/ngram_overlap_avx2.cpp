// Four n-grams a step: their words of the filter gathered, each shifted by its own two counts, the bits collected as a mask.

#include <immintrin.h>

#include "decontam/ngram_overlap_run.h"

namespace fasttrain::decontam {
namespace {

FT_AVX2 unsigned four_bits(const NgramOverlapArgs& p, const std::uint64_t* hash) noexcept {
  const __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(hash));
  const __m256i place = _mm256_and_si256(_mm256_srli_epi64(h, 6), _mm256_set1_epi64x(static_cast<long long>(p.F - 1)));
  const __m256i word = _mm256_i64gather_epi64(reinterpret_cast<const long long*>(p.filter), place, 8);
  const __m256i shift = _mm256_and_si256(h, _mm256_set1_epi64x(63));
  const __m256i second = _mm256_srli_epi64(h, 58);
  const __m256i both = _mm256_and_si256(_mm256_srlv_epi64(word, shift), _mm256_srlv_epi64(word, second));
  // The wanted bit to the sign of each lane, where movemask reads it.
  const __m256i sign = _mm256_slli_epi64(both, 63);
  return static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(sign)));
}

}  // namespace

void ngram_overlap_avx2(const NgramOverlapArgs& p) noexcept {
  ngram_overlap_run(p, text::words_avx2,
                    [](const NgramOverlapArgs& a, const std::uint64_t* hash, std::size_t count, const auto& found) {
                      std::size_t i = 0;
                      for (; i + 4 <= count; i += 4)
                        for (unsigned mask = four_bits(a, hash + i); mask != 0; mask &= mask - 1)
                          found(i + static_cast<std::size_t>(__builtin_ctz(mask)));
                      for (; i < count; ++i)
                        if (may_be_key(a, hash[i])) found(i);
                    });
}

}  // namespace fasttrain::decontam
