"""The pretokenizer patterns that have a scanner, and the expressions by which files name them.

An expression that is not listed is refused: patterns that look alike cut text differently, and a tokenizer with the
wrong one still gives ids. Two traps that the spellings below avoid, in the regex engine of `tokenizers` (Oniguruma,
Ruby syntax): `\\p{N}{1,3}+` is not possessive there but repeats the group, so a run of digits is one piece; and `$` is
the end of a line, harmless only behind the possessive `\\s++`, which leaves no line end to stop at.
"""

from fasttrain.core.errors import FormatError

NUMBER = {"cl100k": 0, "llama3": 1, "qwen2": 2, "gpt2": 3}
"""Pattern name -> its number in csrc/tokenizer/scan.h."""

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

HUGGING_FACE = {
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "llama3": rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_TAIL}",
    "qwen2": rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_TAIL}",
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
}
"""What we write into tokenizer.json, and what we know when we read one."""

ALSO_READ = {
    # Conversions of cl100k leave out its `\s++$`; a run of line ends after `\s*` adds nothing to what `\s*` took.
    rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+": "llama3",
}
"""Other spellings found in files, and the pattern that they are the same language as."""

TIKTOKEN = {
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
}
"""The same languages as tiktoken spells them (for engines with possessive intervals, such as the `regex` module)."""


def number(op: str, pattern: str) -> int:
    """The scanner's number of a pattern. Raises ValueError for a name that is not known."""
    if pattern not in NUMBER:
        raise ValueError(f"{op}: pattern must be one of {', '.join(NUMBER)}, got {pattern!r}")
    return NUMBER[pattern]


def named(expression: str, where: str) -> str:
    """The name of an expression found in a tokenizer.json. Raises FormatError when it has no scanner."""
    known = {e: name for name, e in HUGGING_FACE.items()} | ALSO_READ
    if expression in known:
        return known[expression]
    raise FormatError(
        f"{where}: its pretokenizer pattern has no scanner here and none is guessed: {expression!r}; "
        f"known patterns: {', '.join(NUMBER)}"
    )
