#pragma once /* part of sentencepiece_bpe */
// The merge of a short stretch with its ranks in registers, as merge_avx512.h has it: a lane a character. A merge clears
// the right one's lane and asks two ranks, each one compare of a cache line.

#if defined(__x86_64__)
#include "tokenizer/merge_avx512.h"
#include "tokenizer/sentencepiece_merges.h"

namespace fasttrain::tokenizer::avx512 {

// Merges in place; returns the lanes of the symbols that are left, a bit each.
template <int V>
FT_AVX512 inline std::uint64_t merge_lanes(const SentencePieceModel& m, const SentencePieceMerges& merges,
                                           SentencePieceMerges::Symbols& s) noexcept {
  const PairTable& table = merges.pairs();
  std::uint32_t* symbols = s.ids + 1;
  __m512i ranks[V];
  for (int v = 0; v < V; ++v) ranks[v] = _mm512_loadu_si512(s.ranks + 16 * v);
  std::uint64_t alive = (std::uint64_t{1} << s.n) - 1;
  for (;;) {
    __m512i least = ranks[0];
    for (int v = 1; v < V; ++v) least = _mm512_min_epu32(least, ranks[v]);
    const std::uint32_t best = _mm512_reduce_min_epu32(least);
    if (best == no_rank) return alive;
    std::uint64_t at_best = 0;
    for (int v = 0; v < V; ++v)
      at_best |= std::uint64_t{_mm512_cmpeq_epi32_mask(ranks[v], _mm512_set1_epi32(static_cast<int>(best)))} << 16 * v;
    const std::uint64_t here = at_best & -at_best, upto = here | (here - 1);  // the leftmost
    const std::uint64_t merged = alive & ~upto & -(alive & ~upto);
    alive ^= merged;
    const std::uint64_t left = alive & (here - 1);
    const int leading = std::countl_zero(left), previous = 63 - leading;
    const std::uint64_t before = left & (std::uint64_t{1} << 63) >> (leading & 63);
    const int i = std::countr_zero(here), next = std::countr_zero((alive & ~upto) | std::uint64_t{1} << 63);
    const std::uint32_t symbol = symbols[i] = merges.merged(m, best, s, i, next);
    const std::uint32_t rank_here = pair_rank(table, symbol, symbols[next]);
    const std::uint32_t rank_before = pair_rank(table, symbols[previous], symbol);
    for (int v = 0; v < V; ++v) {
      const auto lanes = [v](std::uint64_t bits) { return static_cast<__mmask16>(bits >> 16 * v); };
      ranks[v] = _mm512_mask_set1_epi32(ranks[v], lanes(merged), -1);
      ranks[v] = _mm512_mask_set1_epi32(ranks[v], lanes(here), static_cast<int>(rank_here));
      ranks[v] = _mm512_mask_set1_epi32(ranks[v], lanes(before), static_cast<int>(rank_before));
    }
  }
}

}  // namespace fasttrain::tokenizer::avx512
#endif
