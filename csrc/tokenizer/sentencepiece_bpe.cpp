#include "tokenizer/sentencepiece_bpe.h"

#include <array>
#include <cstring>

#include "tokenizer/sentencepiece_agenda.h"
#include "tokenizer/sentencepiece_stretches_scalar.h"
#include "tokenizer/sentencepiece_worker.h"

namespace fasttrain::tokenizer {
namespace scalar {
#define FT_SCAN inline
FT_SCAN std::size_t merge_symbols(const SentencePieceModel& m, const SentencePieceMerges& merges,
                                  SentencePieceMerges::Symbols& s, std::uint32_t* out) noexcept {
  return merges.merge(m, s, out);
}
#include "tokenizer/sentencepiece_bpe.inc"
#undef FT_SCAN
}  // namespace scalar

void sentencepiece_bpe_scalar(const SentencePieceArgs& a) noexcept { encode_sentences(a, scalar::encode_bpe); }

std::span<const Impl<SentencePieceFn>> sentencepiece_bpe_impls() {
#if defined(__x86_64__)
  static constexpr std::array<Impl<SentencePieceFn>, 3> impls{
      {{"avx512", Isa::avx512, sentencepiece_bpe_avx512},
       {"avx2", Isa::avx2, sentencepiece_bpe_avx2},
       {"scalar", Isa::any, sentencepiece_bpe_scalar}}};
#else
  static constexpr std::array<Impl<SentencePieceFn>, 1> impls{{{"scalar", Isa::any, sentencepiece_bpe_scalar}}};
#endif
  return impls;
}

}  // namespace fasttrain::tokenizer
