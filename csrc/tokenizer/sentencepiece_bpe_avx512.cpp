#include "tokenizer/sentencepiece_bpe.h"

#if defined(__x86_64__)
#include <algorithm>
#include <bit>
#include <cstring>

#include "tokenizer/sentencepiece_agenda.h"
#include "tokenizer/sentencepiece_merges_avx512.h"
#include "tokenizer/sentencepiece_stretches_avx512.h"
#include "tokenizer/sentencepiece_worker.h"

namespace fasttrain::tokenizer {
namespace avx512 {
#define FT_SCAN FT_AVX512 inline
FT_SCAN std::size_t merge_symbols(const SentencePieceModel& m, const SentencePieceMerges& merges,
                                  SentencePieceMerges::Symbols& s, std::uint32_t* out) noexcept {
  std::uint64_t alive = s.n <= 16   ? merge_lanes<1>(m, merges, s)
                        : s.n <= 32 ? merge_lanes<2>(m, merges, s)
                                    : merge_lanes<4>(m, merges, s);
  std::size_t count = 0;
  while (alive != 0) {
    const auto i = static_cast<std::size_t>(std::countr_zero(alive));
    alive &= alive - 1;
    const auto next = static_cast<std::size_t>(std::countr_zero(alive | std::uint64_t{1} << 63));
    count += merges.emit(m, s, i, next, out + count);
  }
  return count;
}
#include "tokenizer/sentencepiece_bpe.inc"
#undef FT_SCAN
}  // namespace avx512

void sentencepiece_bpe_avx512(const SentencePieceArgs& a) noexcept { encode_sentences(a, avx512::encode_bpe); }

}  // namespace fasttrain::tokenizer
#endif
