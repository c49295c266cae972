"""A SentencePiece .model as a tokenizer: the ids that sentencepiece gives, encoded natively."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttrain.core.config import fingerprint
from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import sentencepiece_file
from fasttrain.tokenizer.decode_stream import DecodeStream
from fasttrain.tokenizer.sentencepiece_bpe import sentencepiece_bpe
from fasttrain.tokenizer.sentencepiece_file import Kind, SentencePieceModel
from fasttrain.tokenizer.sentencepiece_normalize import SPACE, Normalizer, sentencepiece_normalize
from fasttrain.tokenizer.sentencepiece_pieces import Pieces
from fasttrain.tokenizer.unigram import unigram

EOT_NAMES = ("<|endoftext|>", "<|end_of_text|>", "</s>")
"""What the token that ends a document may be called, first one first."""

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

    Control pieces (<s>, </s>) are never read from a text. Can be sent to other processes.
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

    def save(self, path: str | Path) -> None:
        """Write the .model file (tokenizer.model, when `path` is a folder), whole or not at all."""
        path = Path(path)
        atomic.write_bytes(path / "tokenizer.model" if path.is_dir() else path, self.model.data)

    def encode_batch(
        self,
        texts: Iterable[str | bytes] | TextColumn | Any,
        *,
        add_eot: bool = False,
        allow_special: bool = False,
        dropout: float = 0.0,
        threads: int | None = None,
        impl: str | None = None,
    ) -> Encoded:
        """Return the ids of all texts, one after another, and where each text's begin.

        Shapes: N texts, T ids.
        Args:
            texts: strings or UTF-8 bytes, a TextColumn, or a pyarrow string column.
            add_eot: append `eot_id` to each text.
            allow_special: must be off: such a model has no text that stands for a control piece.
            dropout: must be 0: BPE-dropout is for byte-level BPE.
            threads: at most so many. The ids do not depend on it.
            impl: an implementation's name; the fastest that runs here when None.
        Returns: (T,) uint32 and (N+1,) int64: text n is ids[offsets[n]:offsets[n + 1]].
        Raises: TypeError: neither texts nor a string column. ValueError: no end-of-text piece, `allow_special`,
            `dropout`, or an unknown impl.
        """
        if allow_special:
            raise ValueError("encode_batch: a SentencePiece model reads no control pieces from text; add their ids")
        refuse_dropout(dropout, self.pattern)
        column = column_of(texts)
        eot = self.eot_id if add_eot else None
        ids, offsets = self._encode_column(column, threads=threads, impl=impl)
        return (ids, offsets) if eot is None else ended(ids, offsets, eot)

    def _encode_column(self, column: TextColumn, *, threads: int | None, impl: str | None) -> Encoded:
        found = [self._encode(part, self._normalizer, threads, impl) for part in _parts(column, _PART_BYTES)]
        if len(found) == 1:
            return found[0]
        offsets = np.zeros(len(column) + 1, np.int64)
        np.cumsum(np.concatenate([np.diff(ends) for _, ends in found]), out=offsets[1:])
        return np.concatenate([ids for ids, _ in found]), offsets

    def _encode(self, column: TextColumn, normalizer: Normalizer, threads: int | None, impl: str | None) -> Encoded:
        normal = sentencepiece_normalize(normalizer, column, threads=threads, impl=impl)
        return self.encode_normalized(normal, threads=threads, impl=impl)

    def encode(self, text: str, *, allow_special: bool = False) -> npt.NDArray[np.uint32]:
        """Return (T,) uint32: the ids of one text. See `encode_batch`."""
        return self.encode_batch([text], allow_special=allow_special, threads=1)[0]

    def encode_words(self, words: TextColumn, *, threads: int | None = None) -> Encoded:
        """Encode words as they stand inside a text: no space is put before them, one that they have is kept."""
        return self._encode(words, self._inside, threads, None)

    def encode_normalized(self, column: TextColumn, *, threads: int | None = None, impl: str | None = None) -> Encoded:
        """Encode texts that are normalised already, white space as U+2581."""
        op = sentencepiece_bpe if self.model.algorithm == "bpe" else unigram
        return op(self._pieces, column, threads=threads, impl=impl)

    def decode(self, ids: Iterable[int] | npt.NDArray[Any], *, skip_special: bool = False) -> str:
        """The text that the ids stand for, without the space that normalising put before it.

        Args:
            skip_special: leave unknown pieces out, which stand for U+2047; control pieces never are text.
        Raises ValueError for an id that is no piece.
        """
        text = self._decode_bytes(ids, skip_special)
        return text[self._is_padded(text) :].decode("utf-8", "replace")

    def decode_batch(
        self, ids: npt.NDArray[Any], offsets: npt.NDArray[Any], *, skip_special: bool = False
    ) -> list[str]:
        """The texts of what `encode_batch` returned. See `decode`."""
        flat, bounds = ids.tolist(), offsets.tolist()
        return [self.decode(flat[a:b], skip_special=skip_special) for a, b in pairwise(bounds)]

    def decode_stream(self, *, skip_special: bool = False) -> DecodeStream:
        """Decode ids as they arrive, whole characters at a time."""
        return DecodeStream(lambda ids: self._decode_bytes(ids, skip_special), self._is_padded)

    def _is_padded(self, text: bytes) -> bool:
        """Whether the beginning of a decoded text has the space that normalising put there."""
        return self.model.add_dummy_prefix and not self.model.whitespace_as_suffix and text.startswith(b" ")

    def _decode_bytes(self, ids: Iterable[int] | npt.NDArray[Any], skip_special: bool) -> bytes:
        flat = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
        tokens, special = self.vocabulary.tokens, set(self.vocabulary.special.values()) - {self.model.unk_id}
        for i in set(flat):
            if not 0 <= i < len(tokens):
                raise ValueError(f"decode: ids must be pieces of a vocabulary of {len(tokens)}, got {i}")
        unknown = b"" if skip_special else " \u2047 ".encode()
        return b"".join(unknown if i == self.model.unk_id else tokens[i] for i in flat if i not in special)

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

    @property
    def num_merges(self) -> int:
        """Listed merges: none, the pieces and their scores say what merges."""
        return 0

    @property
    def eot_id(self) -> int:
        """Id of the control piece that ends a document. Raises ValueError when there is none."""
        for name in EOT_NAMES:
            i = self.vocabulary.special.get(name)
            if i is not None and self.model.kinds[i] == Kind.CONTROL:
                return i
        raise ValueError(
            f"tokenizer: no end-of-text piece among the control pieces {list(self.vocabulary.special)}; "
            f"one of {', '.join(EOT_NAMES)} must be (sentencepiece writes </s> unless eos_id is -1)"
        )

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


def refuse_dropout(dropout: float, pattern: str) -> None:
    """Raises ValueError when there is one."""
    if dropout:
        raise ValueError(f"encode_batch: dropout is for byte-level BPE, this is a {pattern} model; leave it out")


def ended(ids: npt.NDArray[np.uint32], offsets: npt.NDArray[np.int64], eot: int) -> Encoded:
    """Ids of texts with the id `eot` behind each."""
    return np.insert(ids, offsets[1:], np.uint32(eot)), offsets + np.arange(len(offsets), dtype=np.int64)


def column_of(texts: Any) -> TextColumn:
    """The texts as a column. Raises TypeError: one text, or neither texts nor a string column."""
    if isinstance(texts, TextColumn):
        return texts
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        return columns.from_arrow(texts)
    if isinstance(texts, str | bytes):
        raise TypeError("encode_batch: texts must be many; use encode(text) for one")
    return columns.from_texts(texts)
