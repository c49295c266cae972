"""The pretokenizer patterns that have a scanner, and the expressions by which files name them.

An expression that is not listed is refused: patterns that look alike cut text differently, and a tokenizer with the
wrong one still gives ids. Two traps that the spellings below avoid, in the regex engine of `tokenizers` (Oniguruma,
Ruby syntax): `\\p{N}{1,3}+` is not possessive there but repeats the group, so a run of digits is one piece; and `$` is
the end of a line, harmless only behind the possessive `\\s++`, which leaves no line end to stop at.
"""

from collections.abc import Sequence

from fasttrain.core.errors import FormatError

SUPERWORDS = {name: f"{name}_superwords" for name in ("cl100k", "llama3", "qwen2")}
"""Pattern name -> that of its superwords: a word goes on over single spaces, all other pieces are the same."""

NUMBER = {"cl100k": 0, "llama3": 1, "qwen2": 2, "gpt2": 3, "o200k": 4, "tekken": 5, "deepseek_v3": 6} | {
    name: 7 + k for k, name in enumerate(SUPERWORDS.values())
}
"""Pattern name -> its number in csrc/tokenizer/scan.h."""

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD, _POSSESSIVE_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+", r"[^\r\n\p{L}\p{N}]?+\p{L}++"
_FIRST, _REST = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LOWER_WORD, _UPPER_WORD = rf"[^\r\n\p{{L}}\p{{N}}]?{_FIRST}*{_REST}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_FIRST}+{_REST}*"
_CASED_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_CASED_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SIGNS = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""
_CJK = "一-龥぀-ゟ゠-ヿ"
_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

HUGGING_FACE = {
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "llama3": rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_TAIL}",
    "qwen2": rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_TAIL}",
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "o200k": rf"{_LOWER_WORD}{_CASED_CONTRACTIONS}|{_UPPER_WORD}{_CASED_CONTRACTIONS}|\p{{N}}{{1,3}}|{_CASED_TAIL}",
    "tekken": rf"{_LOWER_WORD}|{_UPPER_WORD}|\p{{N}}|{_CASED_TAIL}",
    # Its three expressions (SPLITS) as one: the third sees runs of CJK and what lies between them as separate texts.
    "deepseek_v3": rf"\p{{N}}{{1,3}}|[{_CJK}&&[^\p{{L}}\p{{P}}\p{{S}}]]?[{_CJK}&&[\p{{L}}\p{{M}}]]+"
    rf"|[{_CJK}&&[\p{{P}}\p{{S}}]]+|(?:[{_CJK}&&[^\p{{L}}\p{{M}}\p{{P}}\p{{S}}]](?![{_CJK}&&[\p{{L}}\p{{M}}]]))+"
    rf"|{_SIGNS}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}\p{{N}}{_CJK}]?[\p{{L}}\p{{M}}&&[^{_CJK}]]+"
    rf"| ?[\p{{P}}\p{{S}}&&[^{_CJK}]]+[\r\n]*|\s*[\r\n]+|\s+(?![^\s\p{{N}}{_CJK}])|\s+",
}
HUGGING_FACE |= {
    name: HUGGING_FACE[base].replace(*pair, 1)
    for base, name in SUPERWORDS.items()
    for pair in ((_WORD, _WORD + r"(?: \p{L}+)*"), (_POSSESSIVE_WORD, _POSSESSIVE_WORD + r"(?: \p{L}++)*+"))
    if pair[0] in HUGGING_FACE[base]
}
"""What we write into tokenizer.json, and what we know when we read one."""

SPLITS = {
    "deepseek_v3": (
        r"\p{N}{1,3}",
        f"[{_CJK}]+",
        rf"{_SIGNS}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+".replace(r"\r\n", "\r\n"),
    ),
}
"""Patterns that files spell as several expressions, each applied to every piece that those before it left."""

ALSO_READ = {
    # Conversions of cl100k leave out its `\s++$`; a run of line ends after `\s*` adds nothing to what `\s*` took.
    rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+": "llama3",
}
"""Other spellings found in files, and the pattern that they are the same language as."""

TIKTOKEN = {
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": HUGGING_FACE["o200k"],
    "tekken": HUGGING_FACE["tekken"],
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
}
"""The same languages as tiktoken spells them (for engines with possessive intervals, such as the `regex` module)."""


def number(op: str, pattern: str) -> int:
    """The scanner's number of a pattern. Raises ValueError for a name that is not known."""
    if pattern not in NUMBER:
        raise ValueError(f"{op}: pattern must be one of {', '.join(NUMBER)}, got {pattern!r}")
    return NUMBER[pattern]


def expressions(pattern: str) -> tuple[str, ...]:
    """The expressions that a tokenizer.json names for a pattern, one a Split."""
    return SPLITS.get(pattern, (HUGGING_FACE[pattern],))


def named(found: Sequence[str], where: str) -> str:
    """The name of the expressions found in a tokenizer.json. Raises FormatError when they have no scanner."""
    known = {expressions(name): name for name in NUMBER} | {(e,): name for e, name in ALSO_READ.items()}
    if tuple(found) in known:
        return known[tuple(found)]
    raise FormatError(
        f"{where}: its pretokenizer pattern has no scanner here and none is guessed: "
        f"{' then '.join(map(repr, found))}; "
        f"known patterns: {', '.join(NUMBER)}"
    )
