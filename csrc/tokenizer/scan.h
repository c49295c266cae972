#pragma once /* part of pretokenize */
// What the scanners of all patterns share; the scanner itself is scan.inc, compiled once per instruction set.

#include <cstdint>

#include "tokenizer/unicode_ln.h"

namespace fasttrain::tokenizer {

// How the patterns of a family cut; within one they differ in what Pattern says.
enum class Family : std::uint8_t {
  gpt2,      // ` ?` before letters, numbers and the rest; contractions in lower case only
  cl100k,    // one sign before a word; a contraction is a piece
  o200k,     // a word changes case at most once; a contraction belongs to the word before it
  deepseek,  // three expressions, each applied to every piece that those before it left
};

// A known pattern (fasttrain/tokenizer/patterns.py holds the expressions).
struct Pattern {
  Family family;
  int max_digits;          // \p{N}{1,max}
  bool joins_trailing_ws;  // `\s++$` before `\s*[\r\n]`: white space that ends the text is one piece
  bool has_contractions;   // of the o200k family
  bool joins_words;        // of the cl100k family: a word goes on over single blanks, `(?: \p{L}+)*`

  static constexpr int count = 10;
  // 0 cl100k, 1 llama3, 2 qwen2, 3 gpt2, 4 o200k, 5 tekken, 6 deepseek_v3; 7 to 9 are 0 to 2 with superwords.
  // The face knows the names.
  static Pattern number(int which) noexcept {
    switch (which) {
      case 0:
        return {Family::cl100k, 3, true, true, false};
      case 1:
        return {Family::cl100k, 3, false, true, false};
      case 2:
        return {Family::cl100k, 1, false, true, false};
      case 3:
        return {Family::gpt2, 0, true, true, false};
      case 4:
        return {Family::o200k, 3, false, true, false};
      case 5:
        return {Family::o200k, 1, false, false, false};
      case 6:
        return {Family::deepseek, 3, false, false, false};
      case 7:
        return {Family::cl100k, 3, true, true, true};
      case 8:
        return {Family::cl100k, 3, false, true, true};
      default:
        return {Family::cl100k, 1, false, true, true};
    }
  }
};

inline bool is_newline(std::uint8_t c) noexcept { return c == '\n' || c == '\r'; }

}  // namespace fasttrain::tokenizer
