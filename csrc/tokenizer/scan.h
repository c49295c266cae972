#pragma once /* part of pretokenize */
// What the scanners of all patterns share; the scanner itself is scan.inc, compiled once per instruction set.

#include <cstdint>

#include "tokenizer/unicode_ln.h"

namespace fasttrain::tokenizer {

// A known pattern, as the choices in which the family differs (fasttrain/tokenizer/patterns.py holds the expressions).
struct Pattern {
  bool is_gpt2;            // ` ?` before letters, numbers and the rest; contractions in lower case only
  int max_digits;          // \p{N}{1,max}
  bool joins_trailing_ws;  // `\s++$` before `\s*[\r\n]`: white space that ends the text is one piece

  // 0 cl100k, 1 llama3, 2 qwen2, 3 gpt2; the face knows the names.
  static Pattern number(int which) noexcept {
    switch (which) {
      case 0:
        return {false, 3, true};
      case 1:
        return {false, 3, false};
      case 2:
        return {false, 1, false};
      default:
        return {true, 0, true};
    }
  }
};

inline bool is_newline(std::uint8_t c) noexcept { return c == '\n' || c == '\r'; }

}  // namespace fasttrain::tokenizer
