#pragma once /* part of sentencepiece_bpe */
// A text in stretches that no piece reaches out of: each is encoded as if it stood alone, and remembered.
// sentencepiece_stretches.inc cuts them, once for each instruction set.

#include <bit>
#include <cstddef>
#include <cstdint>

#include "tokenizer/piece_cache.h"
#include "tokenizer/sentencepiece_model.h"

namespace fasttrain::tokenizer {

struct Stretch {
  PieceCache::Key key;
  const PieceCache::Entry* bucket;
  const std::uint8_t* at;
  std::size_t bytes;

  bool is_short() const noexcept { return bytes <= PieceCache::short_bytes; }
  std::uint64_t hash() const noexcept { return PieceCache::hash(key); }
  // What the cache holds of it; of one longer than PieceCache::long_bytes it must not be asked.
  const PieceCache::Entry* find(const PieceCache& cache) const noexcept {
    const PieceCache::Entry* hit = cache.find(key, hash());
    return hit && (is_short() || cache.holds_long(*hit, at, bytes)) ? hit : nullptr;
  }
};

// Of 64 bytes, each with one before it.
struct Marks {
  std::uint64_t spaces;  // U+2581 begins here
  std::uint64_t wide;    // from 0xE3 on: what CjkCuts may cut at
  std::uint64_t inner;   // a-z behind a-z or a U+2581, and what begins no character: no edges, or none worth asking for
};

inline bool is_escaped_space(const std::uint8_t* at, const std::uint8_t* end) noexcept {
  return end - at >= 3 && at[0] == 0xE2 && at[1] == 0x96 && at[2] == 0x81;  // U+2581
}

// Of the n < 64 bytes at the end of a text, and of all where no instruction set is known.
inline Marks marks_of(const std::uint8_t* p, std::size_t n, const std::uint8_t* end) noexcept {
  Marks found{0, 0, 0};
  const auto is_lower = [](std::uint8_t b) { return b >= 'a' && b <= 'z'; };
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint8_t* at = p + i;
    const bool is_in_word = is_lower(at[0]) && (is_lower(at[-1]) || at[-1] == 0x81);
    found.inner |= std::uint64_t{is_in_word || (at[0] & 0xC0) == 0x80} << i;
    found.spaces |= std::uint64_t{is_escaped_space(at, end)} << i;
    found.wide |= std::uint64_t{at[0] >= 0xE3} << i;
  }
  return found;
}

}  // namespace fasttrain::tokenizer
