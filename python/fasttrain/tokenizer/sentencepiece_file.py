"""SentencePiece's .model file: a protocol buffer of pieces with scores and kinds, and how text is normalised.

Only the fields that encoding needs are read (sentencepiece_model.proto): pieces (1: piece, score, type), trainer_spec
(2: model_type 3, treat_whitespace_as_suffix 24, byte_fallback 35, unk_id 40) and normalizer_spec (3:
precompiled_charsmap 2, add_dummy_prefix 3, remove_extra_whitespaces 4, escape_whitespaces 5).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Literal

from fasttrain.core.errors import FormatError

BYTE_NAMES = {b"<0x%02X>" % b for b in range(256)}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Kind(IntEnum):
    """What a piece is."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, kw_only=True)
class SentencePieceModel:
    """A model as its file holds it; V pieces, by id."""

    algorithm: Literal["unigram", "bpe"]
    pieces: tuple[bytes, ...]
    scores: tuple[float, ...]
    """Each a float32."""
    kinds: tuple[Kind, ...]
    unk_id: int
    byte_fallback: bool
    charsmap: bytes
    """A double array of byte strings and what replaces them; empty: nothing is replaced."""
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    escape_whitespaces: bool
    whitespace_as_suffix: bool
    data: bytes = field(repr=False)
    """The file itself."""
    merges: tuple[tuple[int, int, int], ...] | None = None
    """Of a tokenizer.json: left, right and result of each merge, the first one first. None: scores say what merges."""
    wide_scores: tuple[float, ...] | None = None
    """Of a tokenizer.json's Unigram: scores as float64, as sums are then too; names of byte pieces are text there."""
    splits_words: bool = False
    """Of a tokenizer.json's Unigram: U+2581 always begins a word, and each word is encoded by itself."""


def read(path: Path) -> SentencePieceModel:
    """Read a model. Raises FormatError when the file is damaged, or of a kind (word, char) that is not encoded here."""
    return parse(path.read_bytes(), str(path))


def parse(data: bytes, where: str) -> SentencePieceModel:
    """A model from its bytes; see `read`. `where` names them in messages."""
    try:
        model = _model(data, where)
    except (ValueError, TypeError, IndexError, struct.error) as error:
        raise FormatError(f"{where}: not a SentencePiece model ({error}); is it a .model file?") from None
    if not 0 <= model.unk_id < len(model.pieces) or Kind.UNKNOWN not in model.kinds:
        raise FormatError(f"{where}: not a SentencePiece model: it has no unknown piece among {len(model.pieces)}")
    names = {piece for piece, kind in zip(model.pieces, model.kinds) if kind == Kind.BYTE}
    if names - BYTE_NAMES or (model.byte_fallback and names != BYTE_NAMES):
        raise FormatError(f"{where}: trainer_spec.byte_fallback: all 256 bytes must be pieces, <0x00> to <0xFF>")
    return model


def _model(data: bytes, where: str) -> SentencePieceModel:
    pieces: list[bytes] = []
    scores: list[float] = []
    kinds: list[Kind] = []
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            fields = dict(_fields(value))
            piece, score = fields.get(1, b""), fields.get(2, b"\0\0\0\0")
            if not isinstance(piece, bytes) or not isinstance(score, bytes):
                raise ValueError(f"piece {len(pieces)} is no piece")
            pieces.append(piece)
            scores.append(struct.unpack("<f", score)[0])
            kinds.append(Kind(int(fields.get(3, 1))))
        elif number == 2 and isinstance(value, bytes):
            trainer.update(_fields(value))
        elif number == 3 and isinstance(value, bytes):
            normalizer.update(_fields(value))
    kind = trainer.get(3, 1)
    if kind not in (1, 2):
        raise FormatError(f"{where}: trainer_spec.model_type must be unigram (1) or bpe (2), got {kind!r}")
    charsmap = normalizer.get(2, b"")
    unk = trainer.get(40, 0)
    return SentencePieceModel(
        algorithm="unigram" if kind == 1 else "bpe",
        pieces=tuple(pieces),
        scores=tuple(scores),
        kinds=tuple(kinds),
        unk_id=kinds.index(Kind.UNKNOWN) if Kind.UNKNOWN in kinds else int(unk) if isinstance(unk, int) else -1,
        byte_fallback=bool(trainer.get(35, False)),
        charsmap=charsmap if isinstance(charsmap, bytes) else b"",
        add_dummy_prefix=bool(normalizer.get(3, True)),
        remove_extra_whitespaces=bool(normalizer.get(4, True)),
        escape_whitespaces=bool(normalizer.get(5, True)),
        whitespace_as_suffix=bool(trainer.get(24, False)),
        data=data,
    )


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field of a message: an integer, or the bytes of anything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        size = 8 if kind == _FIXED64 else 4 if kind == _FIXED32 else -1
        if kind == _BYTES:
            size, at = _varint(data, at)
        if size < 0 or at + size > len(data):
            raise ValueError(f"a field at byte {at} is cut off or of no known type")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError(f"a number at byte {at} is too long")
