#pragma once /* part of text_stats */
// One text as bit masks: bit i of a mask says something about byte i. n bytes.
//
// Step 1, classify_ascii (portable or AVX2), judges every byte of ASCII on its own, 64 at a time. Step 2, add_unicode,
// decodes and judges the other characters one by one; all bytes of a character get its bits. Step 3, find_words, turns
// the masks into token starts and ends. Steps 2 and 3 are one code for every instruction set: it is inlined into
// callers of each, so results cannot differ. All masks of a text lie in one buffer, each with two spare words behind
// its end.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "text/unicode_tables.h"

#define FT_INLINE inline __attribute__((always_inline))

namespace fasttrain::filter {

enum Mask : int {
  mk_letter,
  mk_number,
  mk_mark,
  mk_space,
  mk_prose,     // not in SYMBOL_SET
  mk_terminal,  // in TERMINAL_SET
  mk_same,      // the character before is the same (symbols), or a byte inside a character
  mk_break,     // splitlines breaks here ("\n" too)
  mk_single,    // a kana or Han character
  mk_newline,
  mk_joiner,  // ' and . of ASCII
  mk_comma,
  mk_phrase,   // a phrase of the line rules may lie here (a superset: each is looked at)
  mk_upper,    // an uppercase letter
  mk_unicode,  // a byte that is not ASCII
  // from here on not written by classify_ascii
  mk_inner,  // a byte inside a character
  mk_cut,    // a token starts here even inside a run of word characters
  num_masks
};

struct Masks {
  std::vector<std::uint8_t> text;   // (n + 64,) a copy with zeros behind it: loads may run past the end
  std::vector<std::uint64_t> bits;  // (num_masks, words)
  std::size_t n = 0, words = 0;
  bool has_unicode = false;
  std::vector<std::uint32_t> quotes;        // positions of "’"
  std::vector<std::uint32_t> starts, ends;  // tokens

  std::uint64_t* mask(int m) noexcept { return bits.data() + static_cast<std::size_t>(m) * words; }
  const std::uint64_t* mask(int m) const noexcept { return bits.data() + static_cast<std::size_t>(m) * words; }
};

FT_INLINE bool test(const std::uint64_t* m, std::size_t i) noexcept { return m[i >> 6] >> (i & 63) & 1; }

FT_INLINE std::uint64_t low_bits(std::size_t count) noexcept { return count >= 64 ? ~0ULL : (1ULL << count) - 1; }

// Set bits in [a, b).
FT_INLINE std::size_t count_range(const std::uint64_t* m, std::size_t a, std::size_t b) noexcept {
  if (a >= b) return 0;
  const std::size_t first = a >> 6, last = (b - 1) >> 6;
  const std::uint64_t head = ~low_bits(a & 63), tail = low_bits(((b - 1) & 63) + 1);
  if (first == last) return static_cast<std::size_t>(std::popcount(m[first] & head & tail));
  std::size_t sum = static_cast<std::size_t>(std::popcount(m[first] & head) + std::popcount(m[last] & tail));
  for (std::size_t w = first + 1; w < last; ++w) sum += static_cast<std::size_t>(std::popcount(m[w]));
  return sum;
}

// First i in [a, b) whose bit is `value`; b when there is none.
template <bool value>
FT_INLINE std::size_t find(const std::uint64_t* m, std::size_t a, std::size_t b) noexcept {
  if (a >= b) return b;
  std::size_t w = a >> 6;
  std::uint64_t bits = (value ? m[w] : ~m[w]) & ~low_bits(a & 63);
  while (bits == 0) {
    if (++w << 6 >= b) return b;
    bits = value ? m[w] : ~m[w];
  }
  const std::size_t i = (w << 6) + static_cast<std::size_t>(std::countr_zero(bits));
  return i < b ? i : b;
}

// One behind the last i in [a, b) whose bit is clear; a when there is none.
FT_INLINE std::size_t last_clear(const std::uint64_t* m, std::size_t a, std::size_t b) noexcept {
  while (b > a) {
    const std::size_t w = (b - 1) >> 6;
    const std::uint64_t bits = ~m[w] & low_bits(((b - 1) & 63) + 1);
    if (bits != 0) {
      const std::size_t i = (w << 6) + 63 - static_cast<std::size_t>(std::countl_zero(bits));
      return i >= a ? i + 1 : a;
    }
    b = w << 6;
  }
  return a;
}

// Strict UTF-8 (Unicode table 3-7): the code point and its length, or length 0.
struct Decoded {
  std::uint32_t cp;
  std::size_t length;
};

FT_INLINE Decoded decode(const std::uint8_t* p, std::size_t left) noexcept {
  const std::uint32_t a = p[0];
  const auto cont = [&](std::size_t i) __attribute__((always_inline)) { return (p[i] & 0xc0) == 0x80; };
  if (a >= 0xc2 && a < 0xe0 && left >= 2 && cont(1)) return {(a & 31) << 6 | (p[1] & 63u), 2};
  if (a >= 0xe0 && a < 0xf0 && left >= 3 && cont(1) && cont(2)) {
    const std::uint32_t c = (a & 15) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
    if (c >= 0x800 && (c < 0xd800 || c > 0xdfff)) return {c, 3};
  }
  if (a >= 0xf0 && a < 0xf5 && left >= 4 && cont(1) && cont(2) && cont(3)) {
    const std::uint32_t c = (a & 7) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u);
    if (c >= 0x10000 && c <= 0x10ffff) return {c, 4};
  }
  return {0, 0};
}

// Position of the first bad byte, or -1.
FT_INLINE std::int64_t add_unicode(Masks& m) noexcept {
  constexpr int classes[9] = {mk_letter,   mk_number, mk_mark,  mk_space, mk_prose,
                              mk_terminal, mk_single, mk_break, mk_upper};
  const std::uint8_t* text = m.text.data();
  std::size_t done = 0;  // characters before this position are judged
  std::uint32_t previous = 0;
  std::size_t previous_end = ~std::size_t{0};
  for (std::size_t w = 0; w < m.words - 2; ++w) {
    std::uint64_t todo = m.mask(mk_unicode)[w];
    if (done > w << 6) todo &= ~low_bits(done - (w << 6));
    if (todo == 0) continue;
    std::uint64_t now[9] = {}, inner = 0, same = 0, cut = 0;
    while (todo != 0) {
      const std::size_t bit = static_cast<std::size_t>(std::countr_zero(todo)), p = (w << 6) + bit;
      const Decoded c = decode(text + p, m.n - p);
      if (c.length == 0) return static_cast<std::int64_t>(p);
      const std::uint32_t kind = text::unicode_class_of(c.cp) ^ static_cast<std::uint32_t>(text::uc_symbol);
      const std::uint64_t all = low_bits(c.length) << bit, inside = all & ~(1ULL << bit);
      for (int k = 0; k < 9; ++k) now[k] |= kind >> k & 1 ? all : 0;
      inner |= inside;
      same |= inside | (previous == c.cp && previous_end == p ? 1ULL << bit : 0);
      if (bit + c.length > 64) {  // the rest lies in the next word
        const std::uint64_t rest = low_bits(bit + c.length - 64);
        for (int k = 0; k < 9; ++k) m.mask(classes[k])[w + 1] |= kind >> k & 1 ? rest : 0;
        m.mask(mk_inner)[w + 1] |= rest;
        m.mask(mk_same)[w + 1] |= rest;
      }
      if (kind & text::uc_single) {
        cut |= 1ULL << bit;
        const std::size_t end = p + c.length;
        m.mask(mk_cut)[end >> 6] |= 1ULL << (end & 63);
      }
      if (c.cp == 0x2019) m.quotes.push_back(static_cast<std::uint32_t>(p));
      previous = c.cp;
      previous_end = done = p + c.length;
      todo &= bit + c.length >= 64 ? 0 : ~low_bits(bit + c.length);
    }
    for (int k = 0; k < 9; ++k) m.mask(classes[k])[w] |= now[k];
    m.mask(mk_inner)[w] |= inner;
    m.mask(mk_same)[w] |= same;
    m.mask(mk_cut)[w] |= cut;
  }
  return -1;
}

// Steps 1 and 2. Returns the position of the first bad byte, or -1.
template <auto classify_ascii>
FT_INLINE std::int64_t build(Masks& m, const std::uint8_t* data, std::size_t n) {
  m.n = n;
  m.words = (n + 63) / 64 + 2;
  m.text.resize((m.words + 1) * 64);
  if (n > 0) std::memcpy(m.text.data(), data, n);
  std::memset(m.text.data() + n, 0, m.text.size() - n);
  m.bits.resize(num_masks * m.words);
  for (int k = 0; k < num_masks; ++k) {
    const std::size_t keep = k < mk_inner ? m.words - 2 : 0;  // classify_ascii writes the others
    std::memset(m.mask(k) + keep, 0, (m.words - keep) * 8);
  }
  m.quotes.clear();
  m.has_unicode = classify_ascii(m);
  return m.has_unicode ? add_unicode(m) : -1;
}

// Word characters as written: letters, numbers, marks.
FT_INLINE std::uint64_t word_bits(const Masks& m, std::size_t w) noexcept {
  return m.mask(mk_letter)[w] | m.mask(mk_number)[w] | m.mask(mk_mark)[w];
}

FT_INLINE bool is_plain(const Masks& m, std::size_t i) noexcept {
  return (word_bits(m, i >> 6) & ~m.mask(mk_single)[i >> 6]) >> (i & 63) & 1;
}

// Step 3. Lists tokens; the masks stay what was written.
FT_INLINE void find_words(Masks& m) {
  m.starts.resize(m.n + 1);
  m.ends.resize(m.n + 1);
  const std::size_t last = m.words - 2;
  std::uint64_t plain = 0, digit = 0, next_plain = 0, next_digit = 0, before_plain = 0, before_digit = 0;
  const auto at = [&](std::size_t w) __attribute__((always_inline)) {
    next_plain = word_bits(m, w) & ~m.mask(mk_single)[w];
    next_digit = m.mask(mk_number)[w] & ~m.mask(mk_unicode)[w];
  };
  // "’" first: its neighbours are judged as written, like those of the other joiners below.
  std::vector<std::uint32_t>& quotes = m.quotes;
  std::size_t joined = 0;
  for (const std::uint32_t p : quotes)
    if (p > 0 && is_plain(m, p - 1) && p + 3 < m.n && is_plain(m, p + 3)) quotes[joined++] = p;
  quotes.resize(joined);
  std::uint64_t carry_word = 0, carry_symbol = 0, carry_open = 0;
  std::uint32_t *start = m.starts.data(), *end = m.ends.data();
  std::size_t quote = 0;
  std::uint64_t spill = 0;  // bits of a "’" that reach into the next word
  at(0);
  for (std::size_t w = 0; w < last; ++w) {
    before_plain = plain >> 63;
    before_digit = digit >> 63;
    plain = next_plain;
    digit = next_digit;
    at(w + 1);  // the word behind the last is all zeros
    const std::uint64_t join = (m.mask(mk_joiner)[w] & (plain << 1 | before_plain) & (plain >> 1 | next_plain << 63)) |
                               (m.mask(mk_comma)[w] & (digit << 1 | before_digit) & (digit >> 1 | next_digit << 63));
    std::uint64_t word = word_bits(m, w) | join | spill;
    spill = 0;
    for (; quote < joined && quotes[quote] >> 6 == w; ++quote) {
      const std::size_t bit = quotes[quote] & 63;
      word |= 7ULL << bit;
      spill |= bit > 61 ? low_bits(bit - 61) : 0;
    }
    const std::uint64_t valid = low_bits(m.n - (w << 6));
    const std::uint64_t space = m.mask(mk_space)[w] | ~valid, symbol = ~word & ~space;
    const std::uint64_t inside = (word << 1 | carry_word) & ~m.mask(mk_cut)[w];
    const std::uint64_t again = m.mask(mk_same)[w] & (symbol << 1 | carry_symbol);
    std::uint64_t begin = (word & ~inside) | (symbol & ~again);
    std::uint64_t stop = (begin | space) & (~space << 1 | carry_open);
    carry_word = word >> 63;
    carry_symbol = symbol >> 63;
    carry_open = ~space >> 63;
    const std::uint32_t base = static_cast<std::uint32_t>(w << 6);
    for (; begin != 0; begin &= begin - 1) *start++ = base + static_cast<std::uint32_t>(std::countr_zero(begin));
    for (; stop != 0; stop &= stop - 1) *end++ = base + static_cast<std::uint32_t>(std::countr_zero(stop));
  }
  if (carry_open) *end++ = static_cast<std::uint32_t>(last << 6);  // the last token ends with the last full word
  m.starts.resize(static_cast<std::size_t>(start - m.starts.data()));
  m.ends.resize(static_cast<std::size_t>(end - m.ends.data()));
}

bool classify_ascii_scalar(Masks&) noexcept;
bool classify_ascii_avx2(Masks&) noexcept;

}  // namespace fasttrain::filter
