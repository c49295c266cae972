#pragma once /* part of bpe_encode */
// The merge of a short piece with its ranks in registers: a lane a byte, the symbol that starts there. A merge clears
// the right one's lane and asks two ranks, each one compare of a cache line; nothing is moved and no branch depends on
// what is found.

#if defined(__x86_64__)
#include <immintrin.h>

#include <bit>

#include "core/impl.h"
#include "tokenizer/bpe_model.h"

namespace fasttrain::tokenizer::avx512 {

inline constexpr std::size_t lane_bytes = 63;         // the last lane stands for "no symbol"
inline constexpr std::uint32_t no_symbol = 0x1FFFFF;  // in no pair

FT_AVX512 inline std::uint32_t pair_rank(const PairTable& table, std::uint32_t left, std::uint32_t right) noexcept {
  const std::uint64_t key = PairTable::key(left, right);
  const __m512i wanted = _mm512_set1_epi64(static_cast<long long>(key));
  for (const std::uint64_t* line = table.filtered_line(key);; line = table.next(line)) {
    const __m512i slots = _mm512_load_si512(line);
    const std::uint32_t equal = _mm512_cmpeq_epi64_mask(_mm512_srli_epi64(slots, 22), wanted);
    const auto rank = static_cast<std::uint32_t>(line[std::countr_zero(equal | 0x80u)] & 0x3FFFFF);
    const std::uint32_t is_absent = 0 - ((equal - 1) >> 31);  // all ones, or 0
    if ((is_absent & static_cast<std::uint32_t>(line[7] != PairTable::empty)) == 0) return rank | is_absent;
  }
}

// Merges while a lane has a rank: the least one, the leftmost of equals. `alive` has a bit for each lane with a symbol;
// returns those that are left. merged(rank, lane, next lane): the symbol that two become.
template <int V, typename Merged>
FT_AVX512 inline __attribute__((always_inline)) std::uint64_t merge_ranks(const PairTable& table, std::uint32_t* symbols,
                                                                          __m512i (&ranks)[V], std::uint64_t alive,
                                                                          const Merged& merged_symbol) noexcept {
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
    const std::uint32_t symbol = symbols[i] = merged_symbol(best, i, next);
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

template <int V>
FT_AVX512 inline std::size_t merge_lanes(const BpeModel& model, const std::uint8_t* piece, std::size_t bytes,
                                         std::uint32_t* out) noexcept {
  std::uint32_t around[65];  // no symbol before the first lane and none in the last
  around[0] = around[64] = no_symbol;
  std::uint32_t* symbols = around + 1;
  __m512i ranks[V];
  for (int v = 0; v < V; ++v) {
    const std::size_t left = bytes - std::min<std::size_t>(bytes, 16 * static_cast<std::size_t>(v));
    const auto known = static_cast<__mmask16>(left >= 16 ? 0xFFFF : (1u << left) - 1);
    const auto pairs = static_cast<__mmask16>(left > 16 ? 0xFFFF : known >> 1);
    const __m512i b = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(known, piece + 16 * v));
    const __m512i follow = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(pairs, piece + 16 * v + 1));
    const __m512i none = _mm512_set1_epi32(-1);
    _mm512_mask_storeu_epi32(symbols + 16 * v, known, _mm512_mask_i32gather_epi32(none, known, b, model.byte_ids(), 4));
    const __m512i both = _mm512_or_si512(_mm512_slli_epi32(b, 8), follow);
    ranks[v] = _mm512_mask_i32gather_epi32(none, pairs, both, model.byte_pair_ranks(), 4);
  }
  const auto merged = [&model](std::uint32_t rank, int, int) { return model.id_of_rank(rank); };
  std::uint64_t alive = merge_ranks(model.table(), symbols, ranks, (std::uint64_t{1} << bytes) - 1, merged);
  std::size_t count = 0;
  for (; alive != 0; alive &= alive - 1) out[count++] = symbols[std::countr_zero(alive)];
  return count;
}

}  // namespace fasttrain::tokenizer::avx512
#endif
