"""Write the table of Unicode classes of the pretokenizer: letters (\\p{L}), numbers (\\p{N}), white space (\\s), and
what some patterns ask besides: upper case (Lu, Lt), lower case (Ll), marks (M), punctuation and symbols (P, S).

The classes are asked of the `tokenizers` package (its regex engine, Oniguruma), code point by code point, because ids
must equal what that package gives; `tokenizers` 0.23.3 has Unicode 16.0. They are then checked against unicodedata: on
every code point that is assigned in Python's own Unicode version both must agree. Code points that Unicode assigned
later are "other" (as \\p{Cn} is), here and in `tokenizers`; the `regex` module may know them already.

Usage: python tools/gen_unicode_ln.py        writes csrc/tokenizer/unicode_ln.inc and fasttrain/tokenizer/unicode_ln.py
"""

import unicodedata
from pathlib import Path

import tokenizers
from tokenizers import Regex, pre_tokenizers

ROOT = Path(__file__).parents[1]
CLASSES = {
    "L": r"\p{L}",
    "N": r"\p{N}",
    "S": r"\s",
    "UPPER": r"[\p{Lu}\p{Lt}]",
    "LOWER": r"\p{Ll}",
    "MARK": r"\p{M}",
    "PUNCT": r"[\p{P}\p{S}]",
}
CATEGORIES = {"L": ("L",), "N": ("N",), "UPPER": ("Lu", "Lt"), "LOWER": ("Ll",), "MARK": ("M",), "PUNCT": ("P", "S")}
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def members(pattern: str) -> list[int]:
    """Code points of the class: a text of one such character leaves no piece when it is removed."""
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    return [c for c in CODE_POINTS if not split.pre_tokenize_str(chr(c))]


def ranges(points: list[int]) -> list[tuple[int, int]]:
    """[first, last] runs of consecutive code points."""
    result: list[tuple[int, int]] = []
    for c in points:
        if result and result[-1][1] == c - 1:
            result[-1] = (result[-1][0], c)
        else:
            result.append((c, c))
    return result


def check(categories: tuple[str, ...], points: set[int]) -> None:
    for c in CODE_POINTS:
        category = unicodedata.category(chr(c))
        if category != "Cn" and category.startswith(categories) != (c in points):
            raise SystemExit(
                f"U+{c:04X} is {category} for unicodedata {unicodedata.unidata_version}; versions disagree"
            )


def main() -> None:
    found = {name: members(pattern) for name, pattern in CLASSES.items()}
    for name, categories in CATEGORIES.items():
        check(categories, set(found[name]))
    origin = (
        f"tools/gen_unicode_ln.py from tokenizers {tokenizers.__version__} (Unicode 16.0), checked with unicodedata"
    )
    cpp = [f"// Written by {origin}.", "// clang-format off"]
    py = [f'"""Unicode classes as inclusive ranges.\n\nWritten by {origin}.\n"""', "", "# fmt: off"]
    for name, points in found.items():
        runs = ranges(points)
        cells = [f"{{0x{a:X},0x{b:X}}}" for a, b in runs]
        cpp.append(f"constexpr Range ranges_{name}[] = {{")
        cpp += ["  " + ",".join(cells[i : i + 8]) + "," for i in range(0, len(cells), 8)]
        cpp.append("};")
        pairs = [f"({a}, {b})" for a, b in runs]
        py.append(f"{name} = (")
        py += ["    " + ", ".join(pairs[i : i + 6]) + "," for i in range(0, len(pairs), 6)]
        py.append(")")
    (ROOT / "csrc/tokenizer/unicode_ln.inc").write_text("\n".join([*cpp, "// clang-format on", ""]))
    (ROOT / "python/fasttrain/tokenizer/unicode_ln.py").write_text("\n".join([*py, "# fmt: on", ""]))


if __name__ == "__main__":
    main()
