"""Added tokens with all their flags, found in a text as Hugging Face tokenizers finds them.

Tokens that are not normalised are cut out of the text as it stands, then each piece between them is normalised and
the others, normalised too, are cut out of that. Of overlapping ones the leftmost counts, of those the longest; one that
must be a single word and is none is passed over, with the text that it covers.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fasttrain.core.errors import FormatError
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import normalize_tables
from fasttrain.tokenizer.normalize import BYTES, Source
from fasttrain.tokenizer.normalize_ref import characters
from fasttrain.tokenizer.normalizer_steps import SPACES
from fasttrain.tokenizer.normalizers import Normalizer

FLAGS = ("single_word", "lstrip", "rstrip", "normalized")
Part = int | str
"""An added token's id, or normalised text."""
Located = tuple[int | bytes, Source, Source]
"""A part, and for the id, or each byte of the text, its first byte in the text before and one behind its last."""


class Normalizes(Protocol):
    """What is done to the texts between the tokens that are not normalised."""

    def texts(self, texts: Sequence[str]) -> list[str]:
        """The texts as they are then."""
        ...


_IS_SPACE, _SPACES_AFTER = re.compile(f"[{re.escape(SPACES)}]"), re.compile(f"[{re.escape(SPACES)}]*")


class AddedSplit:
    """Cuts texts at added tokens."""

    def __init__(
        self,
        ids: Mapping[str, int],
        flags: Mapping[str, frozenset[str]],
        normalizer: Normalizes | None,
        where: str,
    ) -> None:
        """Args: ids: of each token. flags: its FLAGS. Raises: FormatError: two tokens are found alike."""
        self._normalizer = normalizer or Normalizer({"type": "Sequence", "normalizers": []}, where)
        raw: dict[str, tuple[int, frozenset[str]]] = {}
        normal: dict[str, tuple[int, frozenset[str]]] = {}
        own_flags = {text: flags.get(text, frozenset()) for text in ids}
        changed = [text for text, own in own_flags.items() if "normalized" in own]
        normalized = dict(zip(changed, self._normalizer.texts(changed)))
        for text, i in ids.items():
            own = own_flags[text]
            if "normalized" not in own:
                raw[text] = i, own
                continue
            found = normalized[text]
            if not found or normal.setdefault(found, (i, own))[0] != i:
                raise FormatError(f"{where}: added token {text!r} is found as {found!r}, as no or another token is")
        self._raw, self._normal = _Finder(raw), _Finder(normal)

    def __call__(self, texts: Sequence[str]) -> list[list[Part]]:
        """The parts of each text, in order; none is empty."""
        cut = [[(i, text[begin:end]) for begin, end, i in self._raw.split(text)] for text in texts]
        between = iter(self._normalizer.texts([part for parts in cut for i, part in parts if i is None]))
        return [
            [part for i, _ in parts for part in ([i] if i is not None else self._normal_parts(next(between)))]
            for parts in cut
        ]

    def _normal_parts(self, text: str) -> list[Part]:
        return [text[begin:end] if i is None else i for begin, end, i in self._normal.split(text)]

    def located(self, text: str) -> Iterator[Located]:
        """The same of one text, and where the parts come from, as tokenizers counts."""
        assert isinstance(self._normalizer, Normalizer), "only a Normalizer knows where its bytes come from"
        place = _places(text)
        for begin, end, i in self._raw.split(text):
            if i is not None:
                yield i, place[begin : begin + 1], place[end : end + 1]
                continue
            found = self._normalizer.aligned(columns.from_texts([text[begin:end].encode("utf-8", BYTES)]), threads=1)
            first, last = found.first + place[begin], found.last + place[begin]
            raw = found.column[0]
            normal = raw.decode("utf-8", BYTES)
            inner = _places(normal)
            for left, right, token in self._normal.split(normal):
                a, b = int(inner[left]), int(inner[right])
                if token is None:
                    yield raw[a:b], first[a:b], last[a:b]
                else:
                    yield token, first[a : a + 1], last[b - 1 : b]


def _places(text: str) -> Source:
    """(C+1,) int64: the byte where each of C characters begins, and their end."""
    return np.cumsum([0, *(len(c.encode("utf-8", BYTES)) for c in text)], dtype=np.int64)


def places(
    cut: Sequence[Sequence[Part]], sizes: Mapping[int, int]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Of each text between added tokens, which text it is of and its first byte there.

    Args: cut: the parts of each text. sizes: bytes of each added token's name, which it takes in its text, whatever
    spaces its flags took with it.
    """
    numbers, begins = [], []
    for number, parts in enumerate(cut):
        at = 0
        for part in parts:
            if isinstance(part, str):
                numbers.append(number)
                begins.append(at)
            at += sizes[part] if isinstance(part, int) else len(part.encode("utf-8", "surrogateescape"))
    return np.array(numbers, np.uint64), np.array(begins, np.uint64)


Encoded = tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]


def encode_between(cut: Sequence[Sequence[Part]], encode: Callable[[TextColumn], Encoded], tail: list[int]) -> Encoded:
    """Ids of texts that are cut at added tokens: what is between them is encoded as texts of their own.

    tail: what ends each text.
    """
    between = [p.encode("utf-8", "surrogateescape") for parts in cut for p in parts if isinstance(p, str)]
    flat, bounds = encode(columns.from_texts(between))
    pieces = map(np.asarray, np.split(flat, bounds[1:-1]) if between else [])
    empty = np.zeros(0, np.uint32)
    made = [
        np.concatenate([empty, *(next(pieces) if isinstance(p, str) else [p] for p in parts), tail]) for parts in cut
    ]
    offsets = np.zeros(len(made) + 1, np.int64)
    np.cumsum([len(m) for m in made], out=offsets[1:])
    return np.concatenate([empty, *made]).astype(np.uint32), offsets


class _Finder:
    """Tokens that are looked for together."""

    def __init__(self, tokens: Mapping[str, tuple[int, frozenset[str]]]) -> None:
        self._tokens = tokens
        self._sizes: dict[str, list[int]] = {}
        """By the first two characters, and by the only one: lengths of tokens, the longest first."""
        for text in sorted(tokens, key=len, reverse=True):
            sizes = self._sizes.setdefault(text[:2], [])
            if len(text) not in sizes:
                sizes.append(len(text))
        self._first = (
            re.compile(f"[{''.join(re.escape(c) for c in sorted({t[0] for t in tokens}))}]") if tokens else None
        )

    def split(self, text: str) -> Iterator[tuple[int, int, int | None]]:
        """The parts of one text: characters from where to where, and the token's id or None. None is empty."""
        done = 0  # where the text that is not given out yet begins
        for begin, end in self._matches(text):
            i, flags = self._tokens[text[begin:end]]
            word = characters(normalize_tables.WORD) if "single_word" in flags else frozenset()
            if (begin and text[begin - 1] in word) or (end < len(text) and text[end] in word):
                continue
            if "lstrip" in flags:
                before = begin
                while before and _IS_SPACE.match(text, before - 1):
                    before -= 1
                begin = max(before, done)
            if "rstrip" in flags and (spaces := _SPACES_AFTER.match(text, end)):
                end = spaces.end()
            if done < begin:
                yield done, begin, None
            if begin < end:  # else an rstrip before has taken all of it
                yield begin, end, i
            done = end
        if done < len(text):
            yield done, len(text), None

    def _matches(self, text: str) -> Iterator[tuple[int, int]]:
        """Tokens that do not overlap; what an rstrip took may hold another one, as it does in tokenizers."""
        at = 0
        while self._first and (found := self._first.search(text, at)):
            begin = found.start()
            end = next(self._ends(text, begin), 0)
            if end:
                yield begin, end
            at = end or begin + 1

    def _ends(self, text: str, begin: int) -> Iterator[int]:
        for start in (text[begin : begin + 2], text[begin : begin + 1]):
            for size in self._sizes.get(start, ()):
                if text[begin : begin + size] in self._tokens and begin + size <= len(text):
                    yield begin + size
