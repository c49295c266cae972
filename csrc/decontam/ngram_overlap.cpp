// Bound by cutting and hashing words (text/shingle_words.h): the look into the index is one load and one shift an
// n-gram, from a filter that fits the L2 cache for tens of thousands of benchmark n-grams.

#include "decontam/ngram_overlap.h"

#include <array>

#include "decontam/ngram_overlap_run.h"

namespace fasttrain::decontam {

void ngram_overlap_scalar(const NgramOverlapArgs& p) noexcept {
  ngram_overlap_run(p, text::words_scalar,
                    [](const NgramOverlapArgs& a, const std::uint64_t* hash, std::size_t count, const auto& found) {
                      for (std::size_t i = 0; i < count; ++i)
                        if (may_be_key(a, hash[i])) found(i);
                    });
}

std::span<const Impl<NgramOverlapFn>> ngram_overlap_impls() {
  static constexpr std::array<Impl<NgramOverlapFn>, 2> impls{{
      {"avx2", Isa::avx2, ngram_overlap_avx2},
      {"scalar", Isa::any, ngram_overlap_scalar},
  }};
  return impls;
}

}  // namespace fasttrain::decontam
