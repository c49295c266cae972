#pragma once /* part of pretokenize */
// Unicode classes that pretokenizer patterns ask for, as a two-stage table built once from generated ranges.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fasttrain::tokenizer {

enum Class : std::uint8_t { other = 0, letter = 1, number = 2, space = 3 };

// What some patterns ask besides, in the bits above the class. A letter that is neither upper nor lower has no case.
enum Kind : std::uint8_t {
  class_bits = 3,
  upper = 4,   // Lu, Lt
  lower = 8,   // Ll
  mark = 16,   // M
  punct = 32,  // P, S
  cjk = 64     // U+4E00..9FA5 and U+3040..30FF: what deepseek_v3 sets apart
};

struct UnicodeClasses {
  std::uint8_t page[0x110000 >> 8];  // code point >> 8 -> page
  std::vector<std::uint8_t> pages;   // (pages, 256)
  std::uint8_t ascii[256];           // the same of a byte below 0x80; 0xFF for the rest

  // Class and kinds of a character.
  std::uint8_t of(std::uint32_t code_point) const noexcept {
    return pages[static_cast<std::size_t>(page[code_point >> 8]) << 8 | (code_point & 255)];
  }
};

const UnicodeClasses& unicode_classes();  // built at the first call, thread-safe

struct Decoded {
  Class cls;
  std::uint8_t kinds;  // Kind bits, the class with them
  std::uint32_t bytes;
  Decoded(std::uint8_t of, std::uint32_t size) noexcept
      : cls(static_cast<Class>(of & class_bits)), kinds(of), bytes(size) {}
};

// The character at p (bytes p..end). A byte that starts no valid UTF-8 sequence is `other` and one byte long.
inline Decoded decode_at(const UnicodeClasses& u, const std::uint8_t* p, const std::uint8_t* end) noexcept {
  const std::uint32_t c = *p;
  if (c < 0x80) return {u.ascii[c], 1};
  const auto left = end - p;
  const auto cont = [p](int i) { return (p[i] & 0xC0) == 0x80; };
  if (c >= 0xC2 && c <= 0xDF && left >= 2 && cont(1)) return {u.of((c & 31) << 6 | (p[1] & 63)), 2};
  if (c >= 0xE0 && c <= 0xEF && left >= 3 && cont(1) && cont(2)) {
    const std::uint32_t code = (c & 15) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
    if (code >= 0x800 && (code < 0xD800 || code > 0xDFFF)) return {u.of(code), 3};
  }
  if (c >= 0xF0 && c <= 0xF4 && left >= 4 && cont(1) && cont(2) && cont(3)) {
    const std::uint32_t code = (c & 7) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u);
    if (code >= 0x10000 && code < 0x110000) return {u.of(code), 4};
  }
  return {other, 1};
}

}  // namespace fasttrain::tokenizer
