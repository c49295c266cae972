#pragma once /* part of word_list */
// What every instruction set shares: kinds of characters, the walk in the trie, and the judgement of ambiguous matches.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/parallel.h"
#include "filter/masks.h"
#include "filter/word_list.h"
#include "text/lower_tables.h"
#include "text/unicode_tables.h"

namespace fasttrain::filter {

// Where words may begin and end. Scripts without spaces: every character may. Katakana: where the script changes, since
// names and loans in it are long and hold many shorter ones.
enum CharKind : std::uint8_t { ck_other, ck_word, ck_mark, ck_unspaced, ck_katakana };

inline bool is_boundary(std::uint8_t before, std::uint8_t after) noexcept {
  if (before == ck_other || after == ck_other) return true;
  return after != ck_mark && (before == ck_unspaced || after == ck_unspaced ||
                              (before == ck_katakana) != (after == ck_katakana));
}

// The kind that a character has for the next one: a mark is of the character that it stands on.
inline std::uint8_t kind_behind(std::uint8_t before, std::uint8_t kind) noexcept {
  if (kind != ck_mark) return kind;
  return before == ck_other ? std::uint8_t{ck_word} : before;
}

inline std::uint8_t kind_of(std::uint32_t c) noexcept {
  const std::uint32_t bits = text::unicode_class_of(c);
  const auto within = [c](std::uint32_t a, std::uint32_t b) { return c >= a && c <= b; };
  if (within(0x30a1, 0x30fa) || within(0x30fc, 0x30ff) || within(0x31f0, 0x31ff) || within(0xff66, 0xff9f))
    return ck_katakana;
  if (bits & text::uc_mark) return ck_mark;
  if ((bits & (text::uc_letter | text::uc_number)) == 0) return ck_other;
  // Thai and Lao, Myanmar, Khmer
  if ((bits & text::uc_single) || within(0xe00, 0xeff) || within(0x1000, 0x109f) || within(0x1780, 0x17ff))
    return ck_unspaced;
  return ck_word;
}

inline constexpr std::array<std::uint8_t, 128> ascii_lower = [] {  // white space and "-" are " "
  std::array<std::uint8_t, 128> table{};
  for (int c = 0; c < 128; ++c) {
    table[c] = static_cast<std::uint8_t>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    if ((c >= 9 && c <= 13) || c == '-') table[c] = ' ';
  }
  return table;
}();

inline constexpr std::array<std::uint8_t, 128> ascii_kind = [] {
  std::array<std::uint8_t, 128> table{};
  for (int c = 0; c < 128; ++c) {
    if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) table[c] = ck_word;
    if (c == '_') table[c] = ck_mark;
  }
  return table;
}();

struct WordChar {
  std::uint32_t cp;  // 0xffffffff: a byte that is no UTF-8
  std::size_t length;
  std::uint8_t kind;
};

FT_INLINE WordChar word_char(const std::uint8_t* p, std::size_t left) noexcept {
  if (p[0] < 0x80) return {p[0], 1, ascii_kind[p[0]]};
  const Decoded c = decode(p, left);
  if (c.length == 0) return {0xffffffffu, 1, ck_other};
  return {c.cp, c.length, kind_of(c.cp)};
}

// Counts one text's matches as they come. Ambiguous ones wait until no later match can be near enough: at most one
// entry a word index of the window.
class WordJudge {
 public:
  WordJudge(std::int64_t* counts, int window) noexcept : counts_(counts), window_(window) {
    for (int k = 0; k < 4; ++k) counts_[k] = 0;
  }

  void add(std::int64_t at, std::uint8_t kind) noexcept {
    expire(at);
    if (kind == word_strong) ++counts_[0];
    if (kind == word_strong || kind == word_context) {
      support_ = at;
      for (std::size_t i = 0; i < size_; ++i) waiting(i).in_context = true;
    } else if (kind == word_excuse) {
      excuse_ = at;
      for (std::size_t i = 0; i < size_; ++i) counts_[3] += waiting(i).count;
      size_ = 0;
    } else if (at - excuse_ <= window_) {
      ++counts_[3];
    } else if (size_ > 0 && waiting(size_ - 1).at == at) {
      ++waiting(size_ - 1).count;
    } else {
      ++size_;
      waiting(size_ - 1) = {at, 1, at - support_ <= window_};
    }
  }

  void finish() noexcept {
    while (size_ > 0) settle();
  }

 private:
  struct Waiting {
    std::int64_t at, count;
    bool in_context;
  };
  static constexpr std::size_t room = 256;  // word_window_most + 1 places

  Waiting& waiting(std::size_t i) noexcept { return ring_[(begin_ + i) % room]; }
  void expire(std::int64_t at) noexcept {
    while (size_ > 0 && at - waiting(0).at > window_) settle();
  }
  void settle() noexcept {
    counts_[waiting(0).in_context ? 1 : 2] += waiting(0).count;
    begin_ = (begin_ + 1) % room;
    --size_;
  }

  static constexpr std::int64_t never = -(std::int64_t{1} << 40);
  std::int64_t* counts_;
  std::int64_t window_, support_ = never, excuse_ = never;
  std::size_t begin_ = 0, size_ = 0;
  std::array<Waiting, room> ring_;
};

struct WordMatch {
  std::size_t end;  // 0: none
  std::uint8_t kind;
};

inline std::int32_t word_step(const WordListArgs& p, std::int32_t node, std::uint8_t byte) noexcept {
  std::int32_t low = p.edges[node], high = p.edges[node + 1];
  while (low < high) {
    const std::int32_t middle = (low + high) / 2;
    if (p.bytes[middle] < byte) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < p.edges[node + 1] && p.bytes[low] == byte ? p.next[low] : -1;
}

inline std::int32_t word_step_char(const WordListArgs& p, std::int32_t node, std::uint32_t c) noexcept {
  const auto tail = [c](int shift) { return static_cast<std::uint8_t>(0x80 | (c >> shift & 63)); };
  if (c < 0x800) {
    node = word_step(p, node, static_cast<std::uint8_t>(0xc0 | c >> 6));
  } else if (c < 0x10000) {
    node = word_step(p, node, static_cast<std::uint8_t>(0xe0 | c >> 12));
    if (node >= 0) node = word_step(p, node, tail(6));
  } else {
    node = word_step(p, node, static_cast<std::uint8_t>(0xf0 | c >> 18));
    if (node >= 0) node = word_step(p, node, tail(12));
    if (node >= 0) node = word_step(p, node, tail(6));
  }
  return node < 0 ? node : word_step(p, node, tail(0));
}

inline bool is_gap(const WordChar& c) noexcept {
  return (c.cp < 0x80 && ascii_lower[c.cp] == ' ') || c.cp == 0xa0;
}

inline constexpr int word_gap_most = 4;  // characters of white space that may stand for a phrase's space

// The longest entry that begins at i, where a word may begin.
inline WordMatch word_match(const WordListArgs& p, std::int32_t root, const std::uint8_t* s, std::size_t size,
                            std::size_t i) noexcept {
  WordMatch best{0, word_none};
  std::int32_t node = root;
  std::uint8_t before = ck_other;
  WordChar c = word_char(s + i, size - i);
  for (;;) {
    if (is_gap(c)) {
      int gap = 0;
      do {
        i += c.length;
        if (++gap > word_gap_most || i == size) return best;
        c = word_char(s + i, size - i);
      } while (is_gap(c));
      node = word_step(p, node, ' ');
      if (node < 0) return best;
      before = ck_other;
      continue;
    }
    if (c.cp == 0xffffffffu) return best;
    const std::uint32_t low = c.cp < 0x80 ? ascii_lower[c.cp] : text::lower_case(c.cp);
    node = low < 0x80 ? word_step(p, node, static_cast<std::uint8_t>(low)) : word_step_char(p, node, low);
    if (node < 0) return best;
    const std::uint8_t behind = kind_behind(before, c.kind);
    i += c.length;
    const bool is_end = i == size;
    WordChar following{0xffffffffu, 1, ck_other};
    if (!is_end) following = word_char(s + i, size - i);
    const std::uint8_t kind = p.kinds[node];
    if (kind != word_none && ((kind & word_open) != 0 || is_boundary(behind, following.kind)))
      best = {i, static_cast<std::uint8_t>(kind & ~word_open)};
    if (is_end) return best;
    before = behind;
    c = following;
  }
}

// One text from left to right; state of a scan that goes on at `i`.
struct WordScan {
  const WordListArgs& p;
  const std::uint8_t* s;
  std::size_t size;
  std::int32_t root;
  const std::uint8_t *heads, *pairs, *firsts;
  WordJudge judge;
  std::size_t i = 0, free = 0;  // next byte; no match may begin before `free`
  std::int64_t words = 0;       // that began so far
  std::uint8_t before = ck_other;

  WordScan(const WordListArgs& args, std::size_t n) noexcept
      : p(args),
        s(args.data + args.offsets[n]),
        size(static_cast<std::size_t>(args.offsets[n + 1] - args.offsets[n])),
        root(args.roots[args.which[n]]),
        heads(args.heads + static_cast<std::size_t>(args.which[n]) * word_head_bytes),
        pairs(args.pairs + static_cast<std::size_t>(args.which[n]) * word_pair_bytes),
        firsts(args.firsts + static_cast<std::size_t>(args.which[n]) * word_first_bytes),
        judge(args.counts + 4 * n, args.window) {}

  // Could an entry begin at `at`, an ASCII character? Always true where one does.
  FT_INLINE bool may_begin(std::size_t at) const noexcept {
    std::uint32_t key;
    if (at + sizeof key > size) return true;
    std::memcpy(&key, s + at, sizeof key);
    if ((key & 0x80808080u) != 0) return true;
    key = word_key_ascii(key);
    const std::uint32_t head = word_head(key), pair = (key & 127) * 128 + (key >> 8 & 127);
    return ((heads[head >> 3] >> (head & 7)) | (pairs[pair >> 3] >> (pair & 7))) & 1;
  }

  // The same for another character, which ends at `end`.
  FT_INLINE bool may_begin_other(std::uint32_t c, std::size_t end) const noexcept {
    const std::uint32_t low = text::lower_case(c);
    if (low < 0x80 || end >= size) return true;  // the Kelvin sign is a "k"
    const std::uint32_t first = word_first(low);
    if (firsts[first >> 3] >> (first & 7) & 1) return true;
    const WordChar second = word_char(s + end, size - end);
    const std::uint32_t key = word_key_two(low, second.cp < 0x80 ? ascii_lower[second.cp] : text::lower_case(second.cp));
    const std::uint32_t head = word_head(key);
    return heads[head >> 3] >> (head & 7) & 1;
  }

  void look(std::size_t at, std::int64_t index) noexcept {
    const WordMatch found = word_match(p, root, s, size, at);
    if (found.end == 0) return;
    judge.add(index, found.kind);
    free = found.end;
  }

  // One character at i.
  FT_INLINE void step() noexcept {
    const WordChar c = word_char(s + i, size - i);
    if (is_boundary(before, c.kind)) {
      words += c.kind != ck_other;
      const bool may = i >= free && (c.cp < 0x80 ? may_begin(i) : may_begin_other(c.cp, i + c.length));
      if (may) look(i, words);
    }
    before = kind_behind(before, c.kind);
    i += c.length;
  }
};

template <typename Scan>
void word_list_run(const WordListArgs& p, const Scan& scan) noexcept {
  parallel_ranges(p.N, 16, p.threads, [&](std::size_t begin, std::size_t end) {
    for (std::size_t n = begin; n < end; ++n) {
      if (p.which[n] < 0) {
        for (int k = 0; k < 4; ++k) p.counts[4 * n + k] = 0;
        continue;
      }
      WordScan state(p, n);
      scan(state);
      state.judge.finish();
    }
  });
}

}  // namespace fasttrain::filter
