#pragma once /* part of bpe_encode */
// The merges of several short pieces in lockstep. A merge is a chain of a minimum and two look-ups in a table beyond L2,
// and the piece's next merge waits for them; those of different pieces do not wait for each other. So each round makes
// one merge of every piece, asks memory for the lines of all pairs that these form, and only then looks at them. Nothing
// branches on what is found there, which would wait for it.

#if defined(__x86_64__)
#include "tokenizer/bpe_encode.h"
#include "tokenizer/merge_avx512.h"

namespace fasttrain::tokenizer::avx512 {

// A piece of at most 15 bytes, a lane a byte. Symbols are those of lanes -1 to 16: before the first lane, in the last
// and behind it there is none.
struct Chain {
  __m512i ranks;
  std::uint64_t key_here, key_before;  // pairs that the last merge formed with what follows it and with what precedes
  std::uint32_t alive, symbols[18];
  __mmask16 merged, here, before;  // lanes of its right part, its left part and the symbol before that
};

// The rank of a pair, from its line alone: what a filter would save is on its way already.
FT_AVX512 inline std::uint32_t line_rank(const PairTable& table, std::uint64_t key) noexcept {
  const __m512i wanted = _mm512_set1_epi64(static_cast<long long>(key));
  for (const std::uint64_t* line = table.line(key);; line = table.next(line)) {
    const __m512i slots = _mm512_load_si512(line);
    const std::uint32_t equal = _mm512_cmpeq_epi64_mask(_mm512_srli_epi64(slots, 22), wanted);
    const auto rank = static_cast<std::uint32_t>(line[std::countr_zero(equal | 0x80u)] & 0x3FFFFF);
    const std::uint32_t is_absent = 0 - ((equal - 1) >> 31);  // all ones, or 0
    // One bit, so that the only branch is the one that is hardly ever taken: whether the pair is there, nobody can tell.
    const std::uint32_t is_full = _mm512_cmpneq_epi64_mask(slots, _mm512_set1_epi64(-1)) >> 7;
    if (__builtin_expect((is_absent & is_full) == 0, 1)) return rank | is_absent;
  }
}

FT_AVX512 inline void begin_chain(const BpeModel& model, const std::uint8_t* piece, std::size_t bytes,
                                  Chain& c) noexcept {
  const auto known = static_cast<__mmask16>((1u << bytes) - 1), pairs = static_cast<__mmask16>(known >> 1);
  const __m512i none = _mm512_set1_epi32(-1);
  const __m512i b = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(known, piece));
  const __m512i follow = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(pairs, piece + 1));
  const __m512i ids =
      _mm512_mask_i32gather_epi32(_mm512_set1_epi32(no_symbol), known, b, model.byte_ids(), 4);
  c.symbols[0] = c.symbols[17] = no_symbol;
  _mm512_storeu_si512(c.symbols + 1, ids);
  const __m512i both = _mm512_or_si512(_mm512_slli_epi32(b, 8), follow);
  c.ranks = _mm512_mask_i32gather_epi32(none, pairs, both, model.byte_pair_ranks(), 4);
  c.alive = known;
}

// Makes one merge and asks memory for the lines of the pairs that it forms. Returns its rank; no_rank: there was none.
FT_AVX512 inline std::uint32_t merge_once(const BpeModel& model, Chain& c) noexcept {
  const std::uint32_t best = _mm512_reduce_min_epu32(c.ranks);
  const std::uint32_t is_on = 0 - static_cast<std::uint32_t>(best != no_rank);
  const __m512i all_best = _mm512_set1_epi32(static_cast<int>(best));
  const std::uint32_t at_best = _mm512_cmpeq_epi32_mask(c.ranks, all_best) & is_on;
  const std::uint32_t here = at_best & -at_best, upto = here | (here - 1);  // the leftmost
  const std::uint32_t right = c.alive & ~upto, merged = right & -right;
  c.alive ^= merged;
  const std::uint32_t left = c.alive & (here - 1) & is_on;
  const int leading = std::countl_zero(left), previous = 31 - leading;  // -1: none
  const int i = std::countr_zero(here | 1u << 16), next = std::countr_zero((right ^ merged) | 1u << 15);
  const std::uint32_t id = model.id_of_rank(best & is_on);
  const std::uint32_t symbol = (id & is_on) | (no_symbol & ~is_on);
  c.symbols[1 + i] = symbol;
  c.key_here = PairTable::key(symbol, c.symbols[1 + next]);
  c.key_before = PairTable::key(c.symbols[1 + previous], symbol);
  model.table().prefetch(c.key_here);
  model.table().prefetch(c.key_before);
  c.merged = static_cast<__mmask16>(merged);
  c.here = static_cast<__mmask16>(here);
  c.before = static_cast<__mmask16>(left & (1u << 31) >> (leading & 31));
  return best;
}

FT_AVX512 inline void rank_again(const BpeModel& model, Chain& c) noexcept {
  const std::uint32_t rank_here = line_rank(model.table(), c.key_here);
  const std::uint32_t rank_before = line_rank(model.table(), c.key_before);
  c.ranks = _mm512_mask_set1_epi32(c.ranks, c.merged, -1);
  c.ranks = _mm512_mask_set1_epi32(c.ranks, c.here, static_cast<int>(rank_here));
  c.ranks = _mm512_mask_set1_epi32(c.ranks, c.before, static_cast<int>(rank_before));
}

// The ids of at most most_waiting pieces.
FT_AVX512 inline void merge_lockstep(const BpeModel& model, ShortPiece* pieces, int num) noexcept {
  Chain chains[most_waiting];
  Chain* open[most_waiting];
  for (int k = 0; k < num; ++k) {
    begin_chain(model, pieces[k].piece, pieces[k].bytes, chains[k]);
    open[k] = chains + k;
  }
  for (int left = num; left > 0;) {
    const int asked = left;
    left = 0;
    for (int k = 0; k < asked; ++k) {
      Chain* chain = open[left] = open[k];
      left += static_cast<int>(merge_once(model, *chain) != no_rank);
    }
    for (int k = 0; k < left; ++k) rank_again(model, *open[k]);
  }
  for (int k = 0; k < num; ++k) {
    const __m512i symbols = _mm512_loadu_si512(chains[k].symbols + 1);
    _mm512_storeu_si512(pieces[k].ids, _mm512_maskz_compress_epi32(static_cast<__mmask16>(chains[k].alive), symbols));
    pieces[k].count = static_cast<std::uint32_t>(std::popcount(chains[k].alive));
  }
}

}  // namespace fasttrain::tokenizer::avx512
#endif
