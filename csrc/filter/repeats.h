#pragma once /* part of text_stats */
// Repeated lines, words and n-grams of one text, exactly: hashes only find candidates, bytes decide.

#include <array>
#include <cstring>

#include "filter/masks.h"

namespace fasttrain::filter {

FT_INLINE std::uint64_t load64(const std::uint8_t* p) noexcept {
  std::uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

FT_INLINE std::uint64_t mix64(std::uint64_t x) noexcept {
  x *= 0x9e3779b97f4a7c15ULL;
  return x ^ (x >> 29);
}

// Open addressing over 64-bit keys; cleared in O(1) by a new stamp.
class Table {
 public:
  struct Slot {
    std::uint64_t key;
    std::uint32_t stamp, id;
  };

  // Room for `items` at a load of at most one half.
  void open(std::size_t items) {
    std::size_t size = std::bit_ceil(items * 2 + 2);
    if (size > slots_.size()) {
      slots_.assign(size, Slot{0, 0, 0});
      stamp_ = 0;
    }
    size_ = size;
    shift_ = 64 - std::countr_zero(size);
    if (++stamp_ == 0) {
      slots_.assign(slots_.size(), Slot{0, 0, 0});
      stamp_ = 1;
    }
  }

  // The id of an equal item, or `fresh` after adding it under that id. same(id): do the items behind equal keys agree?
  template <typename Same>
  FT_INLINE std::uint32_t add(std::uint64_t key, std::uint32_t fresh, const Same& same) noexcept {
    std::size_t i = static_cast<std::size_t>((key * 0xd6e8feb86659fd93ULL) >> shift_);
    for (;; i = (i + 1) & (size_ - 1)) {
      Slot& slot = slots_[i];
      if (slot.stamp != stamp_) {
        slot = {key, stamp_, fresh};
        return fresh;
      }
      if (slot.key == key && same(slot.id)) return slot.id;
    }
  }

 private:
  std::vector<Slot> slots_;
  std::size_t size_ = 0;
  int shift_ = 63;
  std::uint32_t stamp_ = 0;
};

FT_INLINE std::uint64_t hash_bytes(const std::uint8_t* p, std::size_t n) noexcept {
  std::uint64_t h = n * 0xd6e8feb86659fd93ULL;
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) h = mix64(h ^ load64(p + i)) + (h << 7 | h >> 57);
  if (i < n) h = mix64(h ^ (load64(p + i) & low_bits(8 * (n - i))));  // 64 zero bytes lie behind every text
  return mix64(h);
}

struct Span {
  std::uint32_t start, length;
};

struct Repeats {
  Table table;
  std::vector<Span> spans;            // first occurrences of lines or paragraphs, by id
  std::vector<std::uint32_t> word;    // (T,) id of each token
  std::vector<std::uint32_t> first;   // token of a word's first occurrence, by id
  std::vector<std::uint32_t> count;   // by id
  std::vector<std::uint32_t> gram;    // (T,) id of the n-gram that starts here, valid where level == n
  std::vector<std::uint32_t> level;   // (T,) the greatest n whose n-gram here occurs elsewhere too
  std::vector<std::uint32_t> prefix;  // (T+1,) characters of the tokens before
  std::vector<std::uint32_t> active, next, where;
};

// True when [start, start + length) equals an earlier span of this round (table.open begins a round).
FT_INLINE bool seen_before(Repeats& r, const std::uint8_t* text, std::size_t start, std::size_t length) {
  const std::uint32_t fresh = static_cast<std::uint32_t>(r.spans.size());
  const auto same = [&](std::uint32_t id) __attribute__((always_inline)) {
    return r.spans[id].length == length && std::memcmp(text + r.spans[id].start, text + start, length) == 0;
  };
  const std::uint32_t id = r.table.add(hash_bytes(text + start, length), fresh, same);
  if (id != fresh) return true;
  r.spans.push_back({static_cast<std::uint32_t>(start), static_cast<std::uint32_t>(length)});
  return false;
}

// Number the words: equal words get equal ids, in order of first occurrence. Keys first and slots prefetched in a second
// loop was tried and lost a fifth: the words of one text mostly stay in the cache.
FT_INLINE void number_words(const Masks& m, Repeats& r) {
  const std::size_t T = m.starts.size();
  const std::uint8_t* text = m.text.data();
  r.word.resize(T);
  r.first.clear();
  r.count.clear();
  r.table.open(T);
  for (std::size_t t = 0; t < T; ++t) {
    const std::uint32_t start = m.starts[t], length = m.ends[t] - start;
    const std::uint64_t key =
        length <= 8 ? load64(text + start) & low_bits(8 * length) : hash_bytes(text + start, length);
    const std::uint32_t fresh = static_cast<std::uint32_t>(r.first.size());
    const auto same = [&](std::uint32_t id) __attribute__((always_inline)) {
      const std::uint32_t f = r.first[id];
      return m.ends[f] - m.starts[f] == length &&
             (length <= 8 || std::memcmp(text + m.starts[f], text + start, length) == 0);
    };
    const std::uint32_t id = r.table.add(key, fresh, same);
    if (id == fresh) {
      r.first.push_back(static_cast<std::uint32_t>(t));
      r.count.push_back(0);
    }
    ++r.count[id];
    r.word[t] = id;
  }
}

// top[n-2] for n = 2..4 and dup[n-5] for n = 5..10, in characters. An n-gram can only repeat where both its (n-1)-grams
// do, so each level looks at those places alone: of prose few are left at n = 4.
FT_INLINE void gram_chars(Repeats& r, std::int64_t* top, std::int64_t* dup) {
  const std::size_t T = r.word.size();
  r.gram.assign(r.word.begin(), r.word.end());
  r.level.assign(T + 1, 0);
  r.active.clear();
  for (std::size_t t = 0; t < T; ++t) {
    if (r.count[r.word[t]] < 2) continue;
    r.level[t] = 1;
    r.active.push_back(static_cast<std::uint32_t>(t));
  }
  for (std::uint32_t n = 2; n <= 10; ++n) {
    r.next.clear();
    r.where.clear();
    r.count.clear();
    r.table.open(r.active.size());
    for (const std::uint32_t t : r.active) {
      if (r.level[t + 1] != n - 1) continue;
      const std::uint64_t key = static_cast<std::uint64_t>(r.gram[t]) << 32 | r.word[t + n - 1];
      const std::uint32_t fresh = static_cast<std::uint32_t>(r.where.size());
      const std::uint32_t id = r.table.add(
          key, fresh, [](std::uint32_t) __attribute__((always_inline)) { return true; });
      if (id == fresh) {
        r.where.push_back(t);
        r.count.push_back(0);
      }
      ++r.count[id];
      r.gram[t] = id;  // level n - 1's id at t is not needed again: keys read position t alone
      r.next.push_back(t);
    }
    if (n <= 4 && T >= n) {
      std::uint32_t best = 1, at = 0;
      for (std::size_t id = 0; id < r.count.size(); ++id) {
        if (r.count[id] <= best) continue;
        best = r.count[id];
        at = r.where[id];
      }
      top[n - 2] = static_cast<std::int64_t>(r.prefix[at + n] - r.prefix[at] + n - 1) * best;
    }
    std::size_t kept = 0, behind = 0;
    std::int64_t chars = 0;
    for (const std::uint32_t t : r.next) {
      const std::uint32_t id = r.gram[t];
      if (r.count[id] < 2) continue;
      r.level[t] = n;
      r.active[kept++] = t;
      if (n < 5 || t < behind) continue;
      if (r.where[id] == ~0u) {  // seen
        chars += r.prefix[t + n] - r.prefix[t];
        behind = t + n;
      }
      r.where[id] = ~0u;
    }
    r.active.resize(kept);
    if (n >= 5) dup[n - 5] = chars;
    if (kept == 0 && n >= 4) {  // longer n-grams cannot repeat; their entries are zero already
      break;
    }
  }
}

}  // namespace fasttrain::filter
