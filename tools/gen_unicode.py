"""Write csrc/text/unicode_tables.h: the class of every code point, from Python's unicodedata.

Run: python tools/gen_unicode.py

The bits are those that python/fasttrain/filter/text_stats_ref.py reads from Python itself, so the tables and the
reference agree when both come from one Unicode version (the header records it; a test compares every code point).
SYMBOL and TERMINAL are the sets of datatrove 0.10.1 (Apache-2.0, utils/text.py), because the published FineWeb and
Gopher decisions depend on exactly these characters.
"""

import sys
import unicodedata
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "python"))

from fasttrain.filter.text_stats_ref import char_class  # noqa: E402

BLOCK = 128


def rows(values: list[int]) -> str:
    lines, line = [], " "
    for v in values:
        cell = f" {v},"
        if len(line) + len(cell) > 120:
            lines.append(line)
            line = " "
        line += cell
    return "\n".join([*lines, line])


def main() -> None:
    classes = [char_class(chr(c)) for c in range(0x110000)]
    blocks: dict[tuple[int, ...], int] = {}
    index = [blocks.setdefault(tuple(classes[i : i + BLOCK]), len(blocks)) for i in range(0, 0x110000, BLOCK)]
    while index and index[-1] == 0:
        index.pop()
    flat = [v for block in blocks for v in block]
    path = ROOT / "csrc" / "text" / "unicode_tables.h"
    path.write_text(
        f"""#pragma once /* part of text_stats */
// Written by tools/gen_unicode.py from Unicode {unicodedata.unidata_version}; do not edit.
// class of code point c: unicode_class[unicode_index[c / {BLOCK}] * {BLOCK} + c % {BLOCK}]; bits in UnicodeBit.

#include <cstdint>

namespace fasttrain::text {{

enum UnicodeBit : std::uint16_t {{
  uc_letter = 1,     // str.isalpha
  uc_number = 2,     // category N*
  uc_mark = 4,       // category M*, "_", soft hyphen, ZWNJ, ZWJ: belongs to a word without being a letter
  uc_space = 8,      // str.isspace
  uc_symbol = 16,    // datatrove's PUNCTUATION_SET
  uc_terminal = 32,  // datatrove's TERMINAL_PUNCTUATION
  uc_single = 64,    // Han, Hiragana, Katakana: each character is a word
  uc_break = 128,    // str.splitlines breaks here
  uc_upper = 256,    // str.isalpha and str.isupper
}};

inline constexpr char unicode_version[] = "{unicodedata.unidata_version}";
inline constexpr std::size_t unicode_index_size = {len(index)};

// clang-format off
inline constexpr std::uint8_t unicode_index[] = {{
{rows(index)}
}};
inline constexpr std::uint16_t unicode_class[] = {{
{rows(flat)}
}};
// clang-format on

inline std::uint16_t unicode_class_of(std::uint32_t c) noexcept {{
  const std::size_t i = c / {BLOCK};
  return unicode_class[(i < unicode_index_size ? unicode_index[i] : 0) * {BLOCK} + c % {BLOCK}];
}}

}}  // namespace fasttrain::text
""".replace("#include <cstdint>", "#include <cstddef>\n#include <cstdint>")
    )
    print(f"{path.relative_to(ROOT)}: {len(blocks)} blocks of {BLOCK}, {2 * len(flat) + len(index)} bytes")


if __name__ == "__main__":
    main()
