"""C4's line rules in plain Python: the definition that the native op must equal bit for bit (see DEFINITIONS.md)."""

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fasttrain.text.columns import TextColumn

POLICY = (b"terms of use", b"privacy policy", b"cookie policy", b"uses cookies", b"use of cookies", b"use cookies")
_CITATION = re.compile(r"\[[0-9]*]|\[edit]|\[citation needed]")


@dataclass(frozen=True)
class C4Rules:
    """Which line rules hold. The defaults are C4's as datatrove 0.10.1 codes them."""

    terminal_punct: bool = True
    lorem_ipsum: bool = True
    javascript: bool = True
    curly_bracket: bool = True
    policy: bool = True
    citations: bool = True
    min_words: int = 3
    max_word_chars: int = 1000

    @property
    def flags(self) -> int:
        """The switches as the native bits."""
        switches = (self.terminal_punct, self.lorem_ipsum, self.javascript, self.curly_bracket, self.policy)
        return sum(on << i for i, on in enumerate((*switches, self.citations)))


@dataclass(frozen=True)
class LineFate:
    """What became of one line."""

    reason: str
    sentences: int
    text: str


def sentences(line: str) -> int:
    """Sentences of a line without outer spaces: a word that begins after a terminal mark begins a new one.

    A mark of ASCII needs a space between it and that word. "." is no mark beside another ".", nor after a word of one
    letter ("J.", "U.S.", "e.g.").
    """
    from fasttrain.filter.text_stats_ref import TERMINAL_SET

    count = int(bool(line))
    begun = pending = ready = False
    run = 0  # length of the run of word characters before this character
    for i, c in enumerate(line):
        is_word = c.isalpha() or unicodedata.category(c)[0] in "NM" or c in "_\u00ad\u200c\u200d"
        if c in TERMINAL_SET:
            doubled = c == "." and (line[i - 1 : i] == "." or line[i + 1 : i + 2] == ".")
            initial = c == "." and run == 1 and line[i - 1].isalpha()
            if not doubled and not initial:
                pending = True
                ready = ready or c > "\x7f"
        elif c.isspace():
            ready = ready or pending
        elif is_word:
            count += begun and ready
            begun, pending, ready = True, False, False
        run = run + 1 if is_word else 0
    return count


def c4_line(raw: str, rules: C4Rules) -> LineFate:
    """Judge one line of str.splitlines: the first rule that fails, in datatrove's order."""
    line = raw.strip()
    tokens = line.split()
    if any(len(w) > rules.max_word_chars for w in tokens):
        return LineFate("long_word", 0, "")
    if rules.citations:
        line = _CITATION.sub("", line)
    if rules.terminal_punct and (not line.endswith((".", "?", "!", '"', "'")) or line.endswith("...")):
        return LineFate("unpunctuated", 0, "")
    if len(tokens) < rules.min_words:
        return LineFate("few_words", 0, "")
    lower = line.encode().lower()  # ASCII letters alone
    if rules.lorem_ipsum and b"lorem ipsum" in lower:
        return LineFate("lorem_ipsum", 0, "")
    if rules.javascript and b"javascript" in lower:
        return LineFate("javascript", 0, "")
    if rules.curly_bracket and "{" in line:
        return LineFate("curly_bracket", 0, "")
    if rules.policy and any(p in lower for p in POLICY):
        return LineFate("policy", 0, "")
    return LineFate("", sentences(line), line)


def c4_edit(column: TextColumn, rules: C4Rules) -> list[bytes]:
    """Each text with only the lines that no rule refuses, joined by one newline, without outer spaces."""
    result = []
    for n in range(len(column)):
        fates = [c4_line(line, rules) for line in column[n].decode().splitlines()]
        result.append("\n".join(f.text for f in fates if f.reason == "").strip().encode())
    return result


def c4_lines(column: TextColumn, rules: C4Rules) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    texts = c4_edit(column, rules)
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(t) for t in texts], out=offsets[1:])
    return np.frombuffer(b"".join(texts), np.uint8), offsets
