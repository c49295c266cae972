"""A SentencePiece .model as a tokenizer: the ids that sentencepiece gives, encoded natively."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttrain.core.config import fingerprint
from fasttrain.core.errors import FormatError
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import sentencepiece_file
from fasttrain.tokenizer.sentencepiece_bpe import sentencepiece_bpe
from fasttrain.tokenizer.sentencepiece_file import Kind, SentencePieceModel
from fasttrain.tokenizer.sentencepiece_normalize import SPACE, Normalizer, sentencepiece_normalize
from fasttrain.tokenizer.sentencepiece_pieces import Pieces
from fasttrain.tokenizer.unigram import unigram

Encoded = tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class PieceTable:
    """The pieces as bytes of text."""

    tokens: tuple[bytes, ...]
    """By id: what a piece stands for in a text (U+2581 is a space); of a control piece, its name."""
    special: Mapping[str, int]
    """Unknown and control pieces and their ids, by id."""


class SentencePieceTokenizer:
    """BPE (with byte fallback or without) and Unigram models. Ids equal those of sentencepiece 0.2.3.

    Control pieces (<s>, </s>) are never given to a text. Can be sent to other processes.
    """

    def __init__(self, model: SentencePieceModel) -> None:
        self.model = model
        self.vocabulary = _table(model)
        self._normalizer, self._inside = Normalizer(model), Normalizer(model, inside=True)
        self._pieces = Pieces(model)

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["model"])  # type: ignore[misc]

    @classmethod
    def load(cls, path: str | Path) -> "SentencePieceTokenizer":
        """Read a .model file. Raises FormatError: missing, damaged, or a word or character model."""
        path = Path(path)
        if not path.is_file():
            raise FormatError(f"{path}: no such tokenizer file")
        return cls(sentencepiece_file.read(path))

    def encode_batch(
        self, texts: Iterable[str | bytes] | TextColumn | Any, *, threads: int | None = None, impl: str | None = None
    ) -> Encoded:
        """Return the ids of all texts, one after another, and where each text's begin.

        Shapes: N texts, T ids.
        Args:
            texts: strings or UTF-8 bytes, a TextColumn, or a pyarrow string column.
            threads: at most so many. The ids do not depend on it.
            impl: an implementation's name; the fastest that runs here when None.
        Returns: (T,) uint32 and (N+1,) int64: text n is ids[offsets[n]:offsets[n + 1]].
        """
        column = _column(texts)
        parts = list(_parts(column, _PART_BYTES))
        found = [self._encode(part, self._normalizer, threads, impl) for part in parts]
        if len(found) == 1:
            return found[0]
        offsets = np.zeros(len(column) + 1, np.int64)
        np.cumsum(np.concatenate([np.diff(ends) for _, ends in found]), out=offsets[1:])
        return np.concatenate([ids for ids, _ in found]), offsets

    def _encode(self, column: TextColumn, normalizer: Normalizer, threads: int | None, impl: str | None) -> Encoded:
        normal = sentencepiece_normalize(normalizer, column, threads=threads, impl=impl)
        return self.encode_normalized(normal, threads=threads, impl=impl)

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        """Return (T,) uint32: the ids of one text."""
        return self.encode_batch([text], threads=1)[0]

    def encode_words(self, words: TextColumn, *, threads: int | None = None) -> Encoded:
        """Encode words as they stand inside a text: no space is put before them, one that they have is kept."""
        return self._encode(words, self._inside, threads, None)

    def encode_normalized(self, column: TextColumn, *, threads: int | None = None, impl: str | None = None) -> Encoded:
        """Encode texts that are normalised already, white space as U+2581."""
        op = sentencepiece_bpe if self.model.algorithm == "bpe" else unigram
        return op(self._pieces, column, threads=threads, impl=impl)

    def decode(self, ids: Iterable[int] | npt.NDArray[Any]) -> str:
        """The text that the ids stand for, without the space that normalising put before it; control pieces are none.

        Raises ValueError for an id that is no piece.
        """
        flat = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
        tokens, special = self.vocabulary.tokens, set(self.vocabulary.special.values()) - {self.model.unk_id}
        for i in set(flat):
            if not 0 <= i < len(tokens):
                raise ValueError(f"decode: ids must be pieces of a vocabulary of {len(tokens)}, got {i}")
        text = b"".join(" \u2047 ".encode() if i == self.model.unk_id else tokens[i] for i in flat if i not in special)
        is_padded = self.model.add_dummy_prefix and not self.model.whitespace_as_suffix and text.startswith(b" ")
        return text[is_padded:].decode("utf-8", "replace")

    @property
    def vocab_size(self) -> int:
        """Pieces in all."""
        return len(self.model.pieces)

    @property
    def pattern(self) -> str:
        """The algorithm, in the place of a pretokenizer's name."""
        return f"sentencepiece {self.model.algorithm}"

    @property
    def special_tokens(self) -> dict[str, int]:
        """Unknown and control pieces and their ids, by id."""
        return dict(self.vocabulary.special)

    @cached_property
    def fingerprint(self) -> str:
        """128 bits of the content, in hex."""
        m = self.model
        return fingerprint([[p.hex() for p in m.pieces], list(m.scores), [int(k) for k in m.kinds], m.charsmap.hex(),
                            m.algorithm, m.byte_fallback, m.add_dummy_prefix, m.remove_extra_whitespaces,
                            m.escape_whitespaces, m.whitespace_as_suffix])  # fmt: skip


def _table(model: SentencePieceModel) -> PieceTable:
    tokens, special = [], {}
    for i, (piece, kind) in enumerate(zip(model.pieces, model.kinds)):
        if kind == Kind.BYTE:
            tokens.append(bytes([int(piece[3:5], 16)]))
        else:
            tokens.append(piece.replace(SPACE.encode(), b" "))
        if kind in (Kind.UNKNOWN, Kind.CONTROL):
            special[piece.decode("utf-8", "replace")] = i
    return PieceTable(tokens=tuple(tokens), special=special)


# A part's normalised form and the room for its ids are in memory, the whole texts' are not.
_PART_BYTES = 1 << 23


def _parts(column: TextColumn, part_bytes: int) -> Iterator[TextColumn]:
    """The column in parts of about so many bytes; one that is empty is a part."""
    begin = 0
    while True:
        target = int(column.offsets[begin]) + part_bytes
        end = max(begin + 1, int(np.searchsorted(column.offsets, target, side="right")) - 1)
        yield TextColumn(column.data, column.offsets[begin : end + 1])
        begin = end
        if begin >= len(column):
            return


def _column(texts: Any) -> TextColumn:
    if isinstance(texts, TextColumn):
        return texts
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        return columns.from_arrow(texts)
    if isinstance(texts, str | bytes):
        raise TypeError("encode_batch: texts must be many; use encode(text) for one")
    return columns.from_texts(texts)
