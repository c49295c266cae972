#include "tokenizer/unigram.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "tokenizer/sentencepiece_stretches_scalar.h"
#include "tokenizer/sentencepiece_worker.h"
#include "tokenizer/unigram_search.h"

namespace fasttrain::tokenizer {
namespace scalar {
#define FT_SCAN inline
#include "tokenizer/unigram.inc"
#undef FT_SCAN
}  // namespace scalar

void unigram_scalar(const SentencePieceArgs& a) noexcept { encode_sentences(a, scalar::encode_unigram); }

std::span<const Impl<UnigramFn>> unigram_impls() {
#if defined(__x86_64__)
  static constexpr std::array<Impl<UnigramFn>, 3> impls{{{"avx512", Isa::avx512, unigram_avx512},
                                                         {"avx2", Isa::avx2, unigram_avx2},
                                                         {"scalar", Isa::any, unigram_scalar}}};
#else
  static constexpr std::array<Impl<UnigramFn>, 1> impls{{{"scalar", Isa::any, unigram_scalar}}};
#endif
  return impls;
}

}  // namespace fasttrain::tokenizer
