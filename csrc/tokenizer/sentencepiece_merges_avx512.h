#pragma once /* part of sentencepiece_bpe */
// The merge of a short stretch by merge_avx512.h's loop: a lane a character.

#if defined(__x86_64__)
#include "tokenizer/merge_avx512.h"
#include "tokenizer/sentencepiece_merges.h"

namespace fasttrain::tokenizer::avx512 {

// Merges in place; returns the lanes of the symbols that are left, a bit each.
template <int V>
FT_AVX512 inline std::uint64_t merge_lanes(const SentencePieceModel& m, const SentencePieceMerges& merges,
                                           SentencePieceMerges::Symbols& s) noexcept {
  __m512i ranks[V];
  for (int v = 0; v < V; ++v) ranks[v] = _mm512_loadu_si512(s.ranks + 16 * v);
  const auto merged = [&](std::uint32_t rank, int i, int next) { return merges.merged(m, rank, s, i, next); };
  return merge_ranks(merges.pairs(), s.ids + 1, ranks, (std::uint64_t{1} << s.n) - 1, merged);
}

}  // namespace fasttrain::tokenizer::avx512
#endif
