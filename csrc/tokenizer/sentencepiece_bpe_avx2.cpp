#include "tokenizer/sentencepiece_bpe.h"

#if defined(__x86_64__)
#include <cstring>

#include "tokenizer/sentencepiece_agenda.h"
#include "tokenizer/sentencepiece_stretches_avx2.h"
#include "tokenizer/sentencepiece_worker.h"

namespace fasttrain::tokenizer {
namespace avx2 {
#define FT_SCAN FT_AVX2 inline
FT_SCAN std::size_t merge_symbols(const SentencePieceModel& m, const SentencePieceMerges& merges,
                                  SentencePieceMerges::Symbols& s, std::uint32_t* out) noexcept {
  return merges.merge(m, s, out);
}
#include "tokenizer/sentencepiece_bpe.inc"
#undef FT_SCAN
}  // namespace avx2

void sentencepiece_bpe_avx2(const SentencePieceArgs& a) noexcept { encode_sentences(a, avx2::encode_bpe); }

}  // namespace fasttrain::tokenizer
#endif
