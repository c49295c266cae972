#pragma once /* part of bpe_encode */
// Where a piece can be cut before it is encoded: between two characters of three bytes (CJK, kana, Hangul) that no
// token holds parts of both of. Every symbol that merging makes is a token, so none reaches over such a place, and the
// ids of both sides are what they are alone. A piece in these scripts is a sentence, never met twice; its parts are
// words.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fasttrain::tokenizer {

class CjkCuts {
 public:
  // Takes all that a token reaches over. A false positive only leaves a place uncut.
  void add_token(const std::uint8_t* token, std::size_t bytes);
  void enable() noexcept { is_on_ = true; }
  bool is_on() const noexcept { return is_on_; }

  // The first cut of p..end behind p; `end` when there is none.
  const std::uint8_t* next(const std::uint8_t* p, const std::uint8_t* end) const noexcept {
    while (end - p > 3) {
      if (!starts_wide(p)) {
        ++p;
        continue;
      }
      p += 3;
      if (end - p >= 3 && starts_wide(p) && !is_joined(p)) return p;
    }
    return end;
  }

 private:
  static bool starts_wide(const std::uint8_t* p) noexcept {
    return p[0] >= 0xE3 && p[0] < 0xF0 && (p[1] & 0xC0) == 0x80 && (p[2] & 0xC0) == 0x80;
  }
  static std::uint32_t code(const std::uint8_t* p) noexcept {
    return (p[0] & 15u) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
  }
  static std::uint32_t pair(std::uint32_t left, std::uint32_t right) noexcept {
    return (left * 0x9E3779B1u ^ right * 0x85EBCA77u) >> (32 - 18);
  }
  bool is_joined(const std::uint8_t* p) const noexcept {
    const std::uint32_t left = code(p - 3), right = code(p), edge = (p[-1] & 63u) << 4 | (p[0] & 15u);
    return get(left_, left) || get(right_, right) || get(edge_, edge) || get(pairs_, pair(left, right));
  }
  using Bits = std::vector<std::uint64_t>;
  static bool get(const Bits& bits, std::uint32_t i) noexcept { return bits[i >> 6] >> (i & 63) & 1; }
  static void set(Bits& bits, std::uint32_t i) noexcept { bits[i >> 6] |= std::uint64_t{1} << (i & 63); }

  bool is_on_ = false;
  Bits pairs_ = Bits(1 << 12);  // by hash: a token holds both characters whole
  Bits left_ = Bits(1 << 10);   // a token holds the left one whole and part of some right one
  Bits right_ = Bits(1 << 10);  // and the other way round
  Bits edge_ = Bits(1 << 4);    // a token holds part of both: (last byte, first byte)
};

}  // namespace fasttrain::tokenizer
