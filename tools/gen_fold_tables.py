"""Write the Unicode tables of text.shingle: csrc/text/fold_tables.h and python/fasttrain/text/fold_tables.py.

Usage: python tools/gen_fold_tables.py    (with the interpreter whose unicodedata is to be the definition)

Each code point gets a kind and, when folding changes it, what it becomes: lower case, canonical decomposition (NFD),
marks of category Mn and format characters (Cf) dropped. The tables are written down so that the definition does not
change with the interpreter: a shingle's hash of today must be found again in ten years.
"""

import base64
import unicodedata
import zlib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LETTER, BREAK, DROP, DIGIT, IDEOGRAPH, HANGUL = range(6)
# Scripts written without spaces: every letter is a word of its own.
UNSPACED = (
    "CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "BOPOMOFO",
    "YI SYLLABLE", "THAI CHARACTER", "LAO ", "KHMER ", "MYANMAR ", "TANGUT", "NUSHU", "KHITAN",
)  # fmt: skip


def category_kind(c: str) -> int:
    category = unicodedata.category(c)
    if category in ("Mn", "Cf"):
        return DROP
    if category[0] in "PSZ" or category == "Cc":
        return BREAK
    if category == "Nd":
        return DIGIT
    if category in ("Lo", "Lm", "Mc") and unicodedata.name(c, "").startswith(UNSPACED):
        return IDEOGRAPH
    return LETTER


def fold(cp: int) -> tuple[int, list[int]]:
    """Kind of a code point and what it becomes ([cp] when it stays)."""
    if 0xD800 <= cp <= 0xDFFF:
        return LETTER, [cp]
    if 0xAC00 <= cp <= 0xD7A3:
        return HANGUL, [cp]  # decomposed by arithmetic
    if category_kind(chr(cp)) == BREAK:  # a symbol stays one, whatever it decomposes into
        return BREAK, [cp]
    c = "σ" if chr(cp) == "ς" else chr(cp).lower()
    # Decomposing may bring out a capital (U+03D3 becomes U+03D2 and a mark; others U+03A5): lower once more.
    folded = list(unicodedata.normalize("NFD", unicodedata.normalize("NFD", c).lower()))
    kept = [x for x in folded if category_kind(x) != DROP]
    if not kept:
        return DROP, [cp]
    kinds = {category_kind(x) for x in kept}
    assert len(kinds) == 1 or (kinds <= {LETTER, IDEOGRAPH} and len(kept) == 1), (hex(cp), kept)
    kind = kinds.pop()
    if kind in (BREAK, DIGIT):
        return kind, [cp]
    assert kind != IDEOGRAPH or len(kept) == 1, hex(cp)
    return kind, [ord(x) for x in kept]


def main() -> None:
    ranges: list[list[int]] = []  # [first, last, kind]
    changes: list[tuple[int, list[int]]] = []
    for cp in range(0x110000):
        kind, becomes = fold(cp)
        if ranges and ranges[-1][2] == kind:
            ranges[-1][1] = cp
        else:
            ranges.append([cp, cp, kind])
        if becomes != [cp]:
            assert len(becomes) <= 3, hex(cp)
            changes.append((cp, becomes))
    version = unicodedata.unidata_version
    single = [(cp, b[0]) for cp, b in changes if len(b) == 1]
    several = [(cp, [*b, 0][:3]) for cp, b in changes if len(b) > 1]

    def rows(items: list[str]) -> str:
        lines, line = [], "   "
        for item in items:
            if len(line) + len(item) + 2 > 118:
                lines.append(line)
                line = "   "
            line += f" {item},"
        return "\n".join([*lines, line])

    named = [r for r in ranges if r[2] != LETTER]
    header = f"""#pragma once /* part of shingle */
// Written by tools/gen_fold_tables.py from Unicode {version}; do not edit. Code points that no range names are letters.

#include <cstdint>

// clang-format off
namespace fasttrain::text {{

struct FoldRange {{ std::uint32_t first, last; std::uint8_t kind; }};
struct FoldOne {{ std::uint32_t from, to; }};
struct FoldMany {{ std::uint32_t from, to[3]; }};

inline constexpr FoldRange fold_ranges[] = {{
{rows([f"{{{a:#x},{b:#x},{k}}}" for a, b, k in named])}
}};
inline constexpr FoldOne fold_one[] = {{
{rows([f"{{{a:#x},{b:#x}}}" for a, b in single])}
}};
inline constexpr FoldMany fold_many[] = {{
{rows([f"{{{a:#x},{{{b[0]:#x},{b[1]:#x},{b[2]:#x}}}}}" for a, b in several])}
}};

}}  // namespace fasttrain::text
// clang-format on
"""
    (ROOT / "csrc" / "text" / "fold_tables.h").write_text(header)
    plain = ";".join(
        [
            " ".join(f"{a:x}-{b:x}:{k}" for a, b, k in named),
            " ".join(f"{a:x}:" + ",".join(f"{x:x}" for x in b) for a, b in changes),
        ]
    )
    packed = base64.b85encode(zlib.compress(plain.encode(), 9)).decode()
    chunks = "\n".join(f'    "{packed[i : i + 112]}"' for i in range(0, len(packed), 112))
    (ROOT / "python" / "fasttrain" / "text" / "fold_tables.py").write_text(
        f'"""Written by tools/gen_fold_tables.py from Unicode {version}; do not edit."""\n\n'
        "import base64\nimport zlib\n\n"
        f'UNICODE_VERSION = "{version}"\n_PACKED = (\n{chunks}\n)\n\n\n'
        "def unpack() -> tuple[list[tuple[int, int, int]], dict[int, list[int]]]:\n"
        '    """Ranges (first, last, kind) of all that is no letter, and what folding changes."""\n'
        '    ranges, changes = zlib.decompress(base64.b85decode(_PACKED)).decode().split(";")\n'
        '    bounds = (r.replace("-", ":").split(":") for r in ranges.split())\n'
        '    pairs = (c.split(":") for c in changes.split())\n'
        "    return (\n"
        "        [(int(a, 16), int(b, 16), int(k)) for a, b, k in bounds],\n"
        '        {int(a, 16): [int(x, 16) for x in b.split(",")] for a, b in pairs},\n'
        "    )\n"
    )


if __name__ == "__main__":
    main()
