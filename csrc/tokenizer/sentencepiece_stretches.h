#pragma once /* part of sentencepiece_bpe */
// A text in stretches that no piece reaches out of: each is encoded as if it stood alone, and remembered.

#include <cstddef>
#include <cstdint>

#include "tokenizer/piece_cache.h"
#include "tokenizer/sentencepiece_model.h"

namespace fasttrain::tokenizer {

struct Stretch {
  PieceCache::Key key;
  std::uint64_t hash;
  const std::uint8_t* at;
  std::size_t bytes;

  bool is_short() const noexcept { return bytes <= PieceCache::short_bytes; }
  // What the cache holds of it; of one longer than PieceCache::long_bytes it must not be asked.
  const PieceCache::Entry* find(const PieceCache& cache) const noexcept {
    const PieceCache::Entry* hit = cache.find(key, hash);
    return hit && (is_short() || cache.holds_long(*hit, at, bytes)) ? hit : nullptr;
  }
  const std::uint32_t* numbers(const PieceCache& cache, const PieceCache::Entry& hit) const noexcept {
    return is_short() && hit.count <= PieceCache::short_ids ? hit.ids : cache.spilled(hit);
  }
};

inline bool is_escaped_space(const std::uint8_t* at, const std::uint8_t* end) noexcept {
  return end - at >= 3 && at[0] == 0xE2 && at[1] == 0x96 && at[2] == 0x81;  // U+2581
}

// Where the stretch that begins at `at` ends: at a space that does not begin it, or where no piece reaches over.
inline const std::uint8_t* stretch_end(const SentencePieceModel& m, const std::uint8_t* at,
                                       const std::uint8_t* end) noexcept {
  const std::uint8_t* stop = at;
  while (m.opens_with_space && is_escaped_space(stop, end)) stop += 3;
  if (stop == at) ++stop;
  for (; stop < end; ++stop) {
    if (*stop == 0xE2 && m.opens_with_space && is_escaped_space(stop, end)) return stop;
    if (!m.is_joined(stop[-1], *stop) && (*stop & 0xC0) != 0x80) return stop;
  }
  return end;
}

// body(stretch) for the stretches of the text [at, end) in their order. They are cut some in advance, so that the lines
// of the cache that they are in arrive meanwhile.
template <typename Body>
void for_each_stretch(const SentencePieceModel& m, const PieceCache& cache, const std::uint8_t* at,
                      const std::uint8_t* end, const Body& body) {
  constexpr int room = 64;
  Stretch ahead[room];
  int num = 0;
  const auto add = [&](const std::uint8_t* begin, const std::uint8_t* stop) {
    Stretch& s = ahead[num++];
    s.at = begin;
    s.bytes = static_cast<std::size_t>(stop - begin);
    if (!s.is_short())
      s.key = s.bytes > PieceCache::long_bytes ? PieceCache::Key{} : PieceCache::long_key(begin, s.bytes);
    else
      s.key = end - begin >= 16 ? PieceCache::masked_key(begin, s.bytes) : PieceCache::short_key(begin, s.bytes);
    s.hash = PieceCache::hash(s.key);
    cache.prefetch(s.hash);
  };
  const auto answer = [&] {
    for (int i = 0; i < num; ++i) body(ahead[i]);
    num = 0;
  };
  while (at < end) {
    const std::uint8_t* stop = stretch_end(m, at, end);
    while (at < stop) {
      const bool is_short = stop - at <= static_cast<std::ptrdiff_t>(PieceCache::short_bytes);
      const std::uint8_t* cut = is_short ? stop : m.cuts().next(at, stop);
      add(at, cut);
      if (num == room) answer();
      at = cut;
    }
  }
  answer();
}

}  // namespace fasttrain::tokenizer
