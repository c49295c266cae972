#pragma once /* part of normalize */
// What one step makes of every character, as a two-stage table built from generated lists when it is first asked for.

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tokenizer/normalize.h"

namespace fasttrain::tokenizer {

// Bytes, so that 16 of them are looked up by one shuffle: bit h & 7 of rows[h >> 3][l] is that of the byte 16 h + l.
struct ByteSet {
  alignas(16) std::uint8_t rows[2][16]{};
  void add(unsigned byte) noexcept { rows[byte >> 7][byte & 15] |= static_cast<std::uint8_t>(1u << (byte >> 4 & 7)); }
  bool has(std::uint8_t byte) const noexcept { return rows[byte >> 7][byte & 15] >> (byte >> 4 & 7) & 1; }
};

struct CodePoint {
  std::uint32_t code, bytes;
  static constexpr std::uint32_t none = 0xFFFFFFFF;  // of a byte that begins no valid sequence
};

// The character at p (bytes p..end).
inline CodePoint code_point_at(const std::uint8_t* p, const std::uint8_t* end) noexcept {
  const std::uint32_t c = *p;
  if (c < 0x80) return {c, 1};
  const auto left = end - p;
  const auto cont = [p](int i) { return (p[i] & 0xC0) == 0x80; };
  if (c >= 0xC2 && c <= 0xDF && left >= 2 && cont(1)) return {(c & 31) << 6 | (p[1] & 63u), 2};
  if (c >= 0xE0 && c <= 0xEF && left >= 3 && cont(1) && cont(2)) {
    const std::uint32_t code = (c & 15) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
    if (code >= 0x800 && (code < 0xD800 || code > 0xDFFF)) return {code, 3};
  }
  if (c >= 0xF0 && c <= 0xF4 && left >= 4 && cont(1) && cont(2) && cont(3)) {
    const std::uint32_t code = (c & 7) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u);
    if (code >= 0x10000 && code < 0x110000) return {code, 4};
  }
  return {CodePoint::none, 1};
}

inline std::uint8_t* put_code_point(std::uint32_t code, std::uint8_t* out) noexcept {
  const auto tail = [code](int shift) { return static_cast<std::uint8_t>(0x80 | (code >> shift & 63)); };
  if (code < 0x80) {
    *out++ = static_cast<std::uint8_t>(code);
  } else if (code < 0x800) {
    *out++ = static_cast<std::uint8_t>(0xC0 | code >> 6), *out++ = tail(0);
  } else if (code < 0x10000) {
    *out++ = static_cast<std::uint8_t>(0xE0 | code >> 12), *out++ = tail(6), *out++ = tail(0);
  } else {
    *out++ = static_cast<std::uint8_t>(0xF0 | code >> 18), *out++ = tail(12), *out++ = tail(6), *out++ = tail(0);
  }
  return out;
}

class NormalizeTable {
 public:
  struct Char {
    std::uint32_t text;       // where in texts() what it becomes alone begins
    std::uint32_t parts;      // where in parts() its full decomposition begins
    std::uint8_t text_bytes;
    std::uint8_t num_parts;   // 0: itself, or of Hangul
    std::uint8_t combining;   // class
    std::uint8_t flags;
    bool operator==(const Char&) const = default;
  };
  enum Flag : std::uint8_t {
    plain = 1,     // becomes itself, and touches nothing beside it
    opens = 2,     // nothing before it changes with it, or it with that
    changes = 4,   // becomes something else, or may compose with what is before it
    syllable = 8,  // of Hangul: decomposes by arithmetic
    mapped = 16,   // alone it becomes text()
  };

  static const NormalizeTable& of(Normalization);  // built at the first call, thread-safe

  const Char& at(std::uint32_t code) const noexcept {
    return code == CodePoint::none ? any_ : pages_[std::size_t{page_[code >> 8]} << 8 | (code & 255)];
  }
  const std::uint8_t* text(const Char& c) const noexcept { return texts_.data() + c.text; }
  const std::uint32_t* parts(const Char& c) const noexcept { return parts_.data() + c.parts; }
  const ByteSet& unsafe() const noexcept { return unsafe_; }  // every character that is not plain begins with one
  bool has_context() const noexcept { return has_context_; }
  bool composes() const noexcept { return composes_; }
  std::size_t growth() const noexcept { return growth_; }

  std::uint32_t composed(std::uint32_t first, std::uint32_t second) const noexcept;  // CodePoint::none: they do not
  struct Part {  // of a stretch that is decomposed
    std::uint32_t code;
    std::uint32_t combining;
    std::int64_t taken;  // characters of the text that it stands for, as tokenizers counts
  };
  void compose(std::vector<Part>&) const noexcept;  // parts in canonical order

 private:
  explicit NormalizeTable(Normalization);
  void read_form(Normalization, std::vector<Char>&);
  void read_step(Normalization, std::vector<Char>&);
  void set_text(Char&, std::span<const std::uint32_t> codes);
  void finish(const std::vector<Char>&);
  void add_pairs();

  std::array<std::uint16_t, 0x1100> page_{};
  std::vector<Char> pages_;  // (pages, 256)
  std::vector<std::uint8_t> texts_;
  std::vector<std::uint32_t> parts_;
  struct Pair {
    std::uint64_t key = 0;
    std::uint32_t code = 0;
  };
  static constexpr unsigned pair_bits = 12;
  std::vector<Pair> pairs_;  // open addressing
  ByteSet unsafe_;
  Char any_{0, 0, 0, 0, 0, plain | opens};
  bool has_context_ = false, composes_ = false;
  std::size_t growth_ = 1;
};

namespace hangul {
constexpr std::uint32_t first = 0xAC00, lead = 0x1100, vowel = 0x1161, tail = 0x11A7;
constexpr std::uint32_t leads = 19, vowels = 21, tails = 28, count = leads * vowels * tails;
struct Parts {  // of a syllable
  std::uint32_t code[3];
  std::size_t num;
  explicit Parts(std::uint32_t syllable) noexcept {
    const std::uint32_t index = syllable - first, per_lead = vowels * tails;
    code[0] = lead + index / per_lead;
    code[1] = vowel + index % per_lead / tails;
    code[2] = tail + index % tails;
    num = index % tails ? 3 : 2;
  }
};
inline bool is_vowel(std::uint32_t code) noexcept { return code - vowel < vowels; }
inline bool is_tail(std::uint32_t code) noexcept { return code - (tail + 1) < tails - 1; }
}  // namespace hangul

using FindByte = const std::uint8_t* (*)(const ByteSet&, const std::uint8_t*, const std::uint8_t*) noexcept;

// The op, with what finds the next byte of a set (`end` when there is none).
void normalize_texts(const NormalizeArgs&, FindByte) noexcept;

inline const std::uint8_t* find_byte(const ByteSet& set, const std::uint8_t* p, const std::uint8_t* end) noexcept {
  while (p < end && !set.has(*p)) ++p;
  return p;
}

}  // namespace fasttrain::tokenizer
