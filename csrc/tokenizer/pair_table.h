#pragma once /* part of bpe_encode */
// Pair of symbols -> rank, for encoding.

#include <cstddef>
#include <cstdint>

#include "tokenizer/huge_array.h"

namespace fasttrain::tokenizer {

inline constexpr std::uint32_t no_rank = 0xFFFFFFFF;

// Pair -> rank in 8-byte slots: left id 21 bits, right id 21, rank 22. A pair lies in the cache line that its hash
// names or, when that is full, in the next; lines are two thirds full at most and filled from the front.
class PairTable {
 public:
  static constexpr std::uint64_t empty = ~std::uint64_t{0};

  PairTable(const std::uint32_t* pairs, const std::uint32_t* ranks, std::size_t num);

  static std::uint64_t key(std::uint32_t left, std::uint32_t right) noexcept {
    return std::uint64_t{left} << 21 | right;
  }
  const std::uint64_t* line(std::uint64_t key) const noexcept {
    return slots_.get() + 8 * (((key * 0x9E3779B97F4A7C15ULL) >> shift_) + 1);
  }
  void prefetch(std::uint64_t key) const noexcept { __builtin_prefetch(line(key)); }
  const std::uint64_t* next(const std::uint64_t* line) const noexcept {
    return line + 8 == end_ ? slots_.get() + 8 : line + 8;
  }

  // The line to look in, or an empty one when a bit of a filter that fits L2 says that the pair is in none: most pairs
  // that merging asks for are none, and the table is in L3 or beyond. Without a branch: it would mispredict.
  const std::uint64_t* filtered_line(std::uint64_t key) const noexcept {
    const std::uint64_t h = key * 0x9E3779B97F4A7C15ULL, bit = h >> filter_shift_;
    const std::uint64_t is_in = filter_.get()[bit >> 6] >> (bit & 63) & 1;
    return slots_.get() + (8 * ((h >> shift_) + 1) & (0 - is_in));
  }

  std::uint32_t rank(std::uint32_t left, std::uint32_t right) const noexcept {
    const std::uint64_t wanted = key(left, right);
    for (const std::uint64_t* at = filtered_line(wanted);; at = next(at))
      for (int i = 0; i < 8; ++i) {
        if (at[i] >> 22 == wanted) return static_cast<std::uint32_t>(at[i] & 0x3FFFFF);
        if (at[i] == empty) return no_rank;
      }
  }

 private:
  HugeArray<std::uint64_t> slots_;  // the first line stays empty
  HugeArray<std::uint64_t> filter_;
  const std::uint64_t* end_;
  int shift_, filter_shift_;
};

}  // namespace fasttrain::tokenizer
