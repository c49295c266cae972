"""The normalisers of a tokenizer.json: what they make of a text, exactly as Hugging Face tokenizers 0.23 does.

Its normal forms are of Unicode 9.0: characters that came later neither decompose nor combine. So are StripAccents and
what BertNormalizer strips; Lowercase is of 17.0 and without the final form of sigma.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer.normalize import BYTES, Source
from fasttrain.tokenizer.normalizer_steps import read_steps


@dataclass(frozen=True)
class Aligned:
    """Normalised texts, and for each of their bytes where in its text before that it comes from, as tokenizers counts.

    Shapes: N texts, S bytes.
    """

    column: TextColumn
    first: Source  # (S,) byte of the text before
    last: Source  # (S,) one behind it; `first` where a byte comes from nowhere

    def extent(self, begin: int, end: int) -> tuple[int, int]:
        """Where bytes begin..end (counted over all texts, begin < end) come from."""
        return int(self.first[begin]), int(self.last[end - 1])


class Normalizer:
    """One normaliser, or a Sequence of them."""

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        """Args: data: as tokenizer.json has it. Raises: FormatError: one that is not known to be exact here."""
        self._steps = read_steps(data, where)

    def __call__(self, text: str) -> str:
        """The text as the pretokenizer sees it."""
        return self.texts([text])[0]

    def texts(self, texts: Sequence[str]) -> list[str]:
        """Many of them. Bytes that are no UTF-8 are lone surrogates."""
        made = self.column(columns.from_texts([text.encode("utf-8", BYTES) for text in texts]), threads=1)
        return [made[n].decode("utf-8", BYTES) for n in range(len(made))]

    def column(self, column: TextColumn, *, threads: int | None = None) -> TextColumn:
        """N texts normalised; the column itself when nothing changes."""
        for step in self._steps:
            column = step.column(column, threads)
        return column

    def aligned(self, column: TextColumn, *, threads: int | None = None) -> Aligned:
        """N texts normalised, and where they come from."""
        first, last = character_extents(column)
        for step in self._steps:
            made, source = step.aligned(column, threads)
            begins = np.repeat(column.offsets[:-1] - column.offsets[0], np.diff(made.offsets))
            at, is_none = np.maximum(source, 0) + begins, source < 0
            first, last = (np.where(is_none, 0, ends[at] if len(ends) else 0) for ends in (first, last))
            column = made
        return Aligned(column, first, last)


def character_extents(column: TextColumn) -> tuple[Source, Source]:
    """(S,) int64 each: for every byte its character's first byte in its text, and one behind the last.

    A byte that is no UTF-8 is a character of its own.
    """
    lengths = np.diff(column.offsets)
    data = column.data[column.offsets[0] : column.offsets[-1]]
    begins = np.repeat(column.offsets[:-1] - column.offsets[0], lengths)  # where each byte's text begins
    is_first = (data & 0xC0) != 0x80
    if not _is_utf8(column):
        is_first = np.concatenate([np.zeros(0, bool), *(_first_bytes(column[n]) for n in range(len(column)))])
    places = np.flatnonzero(is_first)
    sizes = np.diff(np.append(places, len(data)))
    first: Source = np.repeat(places, sizes) - begins
    return first, first + np.repeat(sizes, sizes)


def _is_utf8(column: TextColumn) -> bool:
    try:
        columns.to_arrow(column).validate(full=True)
    except ValueError:
        return False
    return True


def _first_bytes(raw: bytes) -> npt.NDArray[np.bool_]:
    sizes = [len(c.encode("utf-8", BYTES)) for c in raw.decode("utf-8", BYTES)]
    found = np.zeros(len(raw), bool)
    found[np.cumsum([0, *sizes[:-1]], dtype=np.int64) if sizes else []] = True
    return found
