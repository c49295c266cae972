"""The line rules of C4 and RefinedWeb in plain Python: the definition that native code must equal bit for bit.

DEFINITIONS.md says in words what each rule refuses and where published implementations differ.
"""

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fasttrain.text.columns import TextColumn

EDIT_C4, EDIT_REFINEDWEB = 1, 2  # bits that say whose lines are removed from a text

POLICY = (b"terms of use", b"privacy policy", b"cookie policy", b"uses cookies", b"use of cookies", b"use cookies")
COUNTED = ("like", "share", "comment", "retweet", "repost", "quote", "bookmark", "upvote", "downvote", "download",
           "view", "follower")  # fmt: skip
C4_REASONS = ("long_word", "unpunctuated", "few_words", "lorem_ipsum", "javascript", "curly_bracket", "policy")
REFINEDWEB_REASONS = ("uppercase", "numeric", "counter", "one_word", "phrase")
_CITATION = re.compile(r"\[[0-9]*]|\[edit]|\[citation needed]")
_CART = re.compile("items in cart", re.IGNORECASE | re.ASCII)
_MORE = re.compile(r"read more(\.\.\.|…)\Z", re.IGNORECASE | re.ASCII)
_SIGN_IN = re.compile("sign-in", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class C4Rules:
    """Which line rules of C4 hold. The defaults are C4's as datatrove 0.10.1 codes them."""

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
class RefinedWebRules:
    """Which line rules of RefinedWeb hold. The defaults are those of DCLM's baseline."""

    max_uppercase: float = 0.5
    numeric: bool = True
    counters: bool = True
    min_words: int = 2
    phrases: bool = True
    max_phrase_words: int = 10

    @property
    def flags(self) -> int:
        """The switches as the native bits."""
        return self.numeric | self.counters << 1 | self.phrases << 2


Cuts = list[tuple[int, int]]


@dataclass(frozen=True)
class LineFate:
    """What one family says of one line: the rule that refuses it, or "" and the characters that go."""

    reason: str
    sentences: int = 0
    cuts: tuple[tuple[int, int], ...] = ()


def _is_word(c: str) -> bool:
    return c.isalpha() or unicodedata.category(c)[0] in "NM" or c in "_\u00ad\u200c\u200d"


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
        is_word = _is_word(c)
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


def without(line: str, cuts: Cuts) -> str:
    """The line without the characters of `cuts`, which may overlap."""
    gone = {i for a, b in cuts for i in range(a, b)}
    return "".join(c for i, c in enumerate(line) if i not in gone)


def c4_line(line: str, rules: C4Rules) -> LineFate:
    """Judge one line (of str.splitlines, stripped): the first rule that fails, in datatrove's order."""
    tokens = line.split()
    if any(len(w) > rules.max_word_chars for w in tokens):
        return LineFate("long_word")
    cuts = tuple(m.span() for m in _CITATION.finditer(line)) if rules.citations else ()
    line = without(line, list(cuts))
    if rules.terminal_punct and (not line.endswith((".", "?", "!", '"', "'")) or line.endswith("...")):
        return LineFate("unpunctuated")
    if len(tokens) < rules.min_words:
        return LineFate("few_words")
    lower = line.encode().lower()  # ASCII letters alone
    if rules.lorem_ipsum and b"lorem ipsum" in lower:
        return LineFate("lorem_ipsum")
    if rules.javascript and b"javascript" in lower:
        return LineFate("javascript")
    if rules.curly_bracket and "{" in line:
        return LineFate("curly_bracket")
    if rules.policy and any(p in lower for p in POLICY):
        return LineFate("policy")
    return LineFate("", sentences(line), cuts)


def is_counter(line: str) -> bool:
    """A number and what it counts, beside nothing but symbols: "3 likes", "(1,204 Comments)", "12.5K views"."""
    n, i = len(line), 0
    while i < n and not _is_word(line[i]):
        i += 1
    if i == n or line[i] not in "0123456789":
        return False
    while i < n and line[i] in "0123456789,.":
        i += 1
    if i < n and line[i] in "kKmMbB":
        i += 1
    space = i
    while i < n and line[i].isspace():
        i += 1
    rest = line[i:].encode().lower()  # ASCII letters alone
    noun = next((w for w in COUNTED if rest.startswith(w.encode())), "")
    if space == i or not noun:
        return False
    i += len(noun)
    if i < n and line[i] in "sS":
        i += 1
    return not any(map(_is_word, line[i:]))


def refinedweb_line(line: str, rules: RefinedWebRules) -> LineFate:
    """Judge one line (of str.splitlines, stripped): the first rule that fails. A blank line passes."""
    if not line:
        return LineFate("")
    if sum(c.isalpha() and c.isupper() for c in line) / len(line) > rules.max_uppercase:
        return LineFate("uppercase")
    if rules.numeric and all(unicodedata.category(c)[0] == "N" for c in line):
        return LineFate("numeric")
    if rules.counters and is_counter(line):
        return LineFate("counter")
    num_words = len(line.split())
    if num_words < rules.min_words:
        return LineFate("one_word")
    if not rules.phrases or num_words > rules.max_phrase_words:
        return LineFate("")
    cuts: Cuts = []
    if m := _SIGN_IN.match(line):
        cuts.append((0, m.end() + line[m.end() : m.end() + 1].isspace()))
    for m in (*_CART.finditer(line), *_MORE.finditer(line)):
        cuts.append((m.start() - (m.start() > 0 and line[m.start() - 1].isspace()), m.end()))
    return LineFate("" if not cuts or without(line, cuts).strip() else "phrase", 0, tuple(cuts))


def edit_text(text: str, edit: int, c4: C4Rules, refinedweb: RefinedWebRules) -> tuple[str, int]:
    """The text without the lines and characters that the families of `edit` refuse, and how many lines went.

    With C4's bit the lines lose their outer spaces and are joined by one newline, as C4 does; without it a text of
    which nothing goes stays as it is. Both end without outer spaces.
    """
    if edit == 0:
        return text, 0
    kept: list[str] = []
    removed = 0
    changed = bool(edit & EDIT_C4)
    for raw in text.splitlines(keepends=True):
        line = raw.strip()
        cuts: Cuts = []
        fates = [c4_line(line, c4)] if edit & EDIT_C4 else []
        fates += [refinedweb_line(line, refinedweb)] if edit & EDIT_REFINEDWEB else []
        if any(f.reason for f in fates):
            removed, changed = removed + 1, True
            continue
        for f in fates:
            cuts += f.cuts
        changed = changed or bool(cuts)
        body = without(line, cuts)
        if edit & EDIT_C4 or not line:
            kept.append(body if edit & EDIT_C4 else raw)
        else:
            begin = len(raw) - len(raw.lstrip())
            kept.append(raw[:begin] + body + raw[begin + len(line) :])
    joined = ("\n" if edit & EDIT_C4 else "").join(kept)
    return (joined.strip() if changed else text), removed


def line_edit(
    column: TextColumn, edit: npt.NDArray[np.uint8], c4: C4Rules, refinedweb: RefinedWebRules
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    texts = [edit_text(column[n].decode(), int(edit[n]), c4, refinedweb)[0].encode() for n in range(len(column))]
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(t) for t in texts], out=offsets[1:])
    return np.frombuffer(b"".join(texts), np.uint8), offsets
