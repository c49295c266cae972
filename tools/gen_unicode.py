"""Write csrc/text/unicode_tables.h (the class of every code point) and lower_tables.h (lower case), from unicodedata.

Run: python tools/gen_unicode.py

The bits are those that python/fasttrain/filter/text_stats_ref.py reads from Python itself, so the tables and the
reference agree when both come from one Unicode version (the header records it; a test compares every code point).
SYMBOL and TERMINAL are the sets of datatrove 0.10.1 (Apache-2.0, utils/text.py), because the published FineWeb and
Gopher decisions depend on exactly these characters.
"""

import sys
import textwrap
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
    write_lower()


def lower_ranges() -> list[tuple[int, int, int, int]]:
    """(first, last, step, what is added) of code points whose lower case is one other code point, ascending."""
    ranges: list[tuple[int, int, int, int]] = []
    for c in range(0x80, 0x110000):
        low = chr(c).lower()
        if len(low) != 1 or ord(low) == c:
            continue
        delta = ord(low) - c
        if ranges:
            first, last, step, same = ranges[-1]
            if same == delta and c - last in ((1, 2) if first == last else (step,)):
                ranges[-1] = (first, c, c - last, delta)
                continue
        ranges.append((c, c, 1, delta))
    return ranges


def write_lower() -> None:
    ranges = lower_ranges()
    cells = ", ".join(f"{{{a:#x},{b:#x},{step},{delta}}}" for a, b, step, delta in ranges)
    body = "\n".join(textwrap.wrap(cells, 116, initial_indent="    ", subsequent_indent="    "))
    path = ROOT / "csrc" / "text" / "lower_tables.h"
    path.write_text(
        f"""#pragma once /* part of word_list */
// Written by tools/gen_unicode.py from Unicode {unicodedata.unidata_version}; do not edit.
// Lower case of single code points that are not ASCII: `delta` is added to first, first + step, ..., last. Those whose
// lower case is more than one code point (U+0130) stay as they are.

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace fasttrain::text {{

struct LowerRange {{
  std::uint32_t first, last, step;
  std::int32_t delta;
}};

// clang-format off
inline constexpr LowerRange lower_ranges[] = {{
{body},
}};
// clang-format on

inline std::uint32_t lower_case(std::uint32_t c) noexcept {{
  if (c < 0x80) return c - 'A' < 26u ? c + 32 : c;
  const LowerRange* r = std::upper_bound(std::begin(lower_ranges), std::end(lower_ranges), c,
                                         [](std::uint32_t x, const LowerRange& range) {{ return x < range.first; }});
  if (r == std::begin(lower_ranges)) return c;
  --r;
  return c <= r->last && (c - r->first) % r->step == 0 ? c + static_cast<std::uint32_t>(r->delta) : c;
}}

}}  // namespace fasttrain::text
"""
    )
    print(f"{path.relative_to(ROOT)}: {len(ranges)} ranges")


if __name__ == "__main__":
    main()
