"""The pieces of a SentencePiece model made ready for encoding, in Python and natively."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend
from fasttrain.text.columns import TextColumn, from_texts
from fasttrain.tokenizer.sentencepiece_file import Kind, SentencePieceModel

SPACE = "\u2581".encode()


class Pieces:
    """What both algorithms need of a model."""

    def __init__(self, model: SentencePieceModel) -> None:
        self.model = model
        self.scores = list(model.scores)
        self.unk_id = model.unk_id
        self.ids: dict[bytes, int] = {}
        """Pieces that text can be: normal, user-defined and unused ones."""
        for i, (piece, kind) in enumerate(zip(model.pieces, model.kinds)):
            if self.model.splits_words and SPACE in piece[1:]:
                continue  # no word holds it
            if kind in (Kind.NORMAL, Kind.USER_DEFINED, Kind.UNUSED) or (kind == Kind.BYTE and self.model.wide_scores):
                self.ids.setdefault(piece, i)
        self.unused = frozenset(i for i, k in enumerate(model.kinds) if k == Kind.UNUSED)
        self.user_defined = frozenset(p for p, k in zip(model.pieces, model.kinds) if k == Kind.USER_DEFINED)
        self.byte_ids = self._byte_ids() if model.byte_fallback else None
        self.longest = max(map(len, self.ids), default=1)

    def symbols(self, text: bytes) -> list[bytes]:
        """The text's characters, user-defined symbols whole (the longest at each place)."""
        sizes = sorted({len(p) for p in self.user_defined}, reverse=True)
        out, at = [], 0
        while at < len(text):
            lead = text[at]
            size = 1 if lead < 0xC0 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            size = next((n for n in sizes if text[at : at + n] in self.user_defined), size)
            out.append(text[at : at + size])
            at += size
        return out

    def words(self, text: bytes) -> list[bytes]:
        """The text, cut before each U+2581 where the model splits words."""
        if not self.model.splits_words:
            return [text]
        first, *rest = text.split(SPACE)
        return [*([first] if first else []), *(SPACE + word for word in rest)]

    def finish(self, found: Iterable[tuple[bytes, int]]) -> list[int]:
        """Ids of (piece, id): an unknown piece as its bytes, or a run of them as one unknown."""
        out: list[int] = []
        was_unknown = False
        for piece, i in found:
            unknown = i == self.unk_id
            if unknown and self.byte_ids is not None:
                out += [self.byte_ids[b] for b in piece]
            elif not (unknown and was_unknown):
                out.append(i)
            was_unknown = unknown
        return out

    @staticmethod
    def flat(texts: Sequence[Sequence[int]]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """Lists of ids as one array and offsets."""
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(t) for t in texts], out=offsets[1:])
        return np.array([i for t in texts for i in t], np.uint32), offsets

    @cached_property
    def handle(self) -> Any:
        """The native form."""
        names = [b""] * len(self.model.pieces)
        for piece, i in self.ids.items():
            names[i] = piece
        column = from_texts(names)
        byte_ids = np.array(self.byte_ids or [], np.uint32)
        kinds = np.array([int(k) for k in self.model.kinds], np.uint8)
        merges = np.array(self.model.merges or [], np.uint32).reshape(-1, 3)
        return backend.native("SentencePieceModel")(
            column.data, column.offsets, np.array(self.scores, np.float32), kinds, byte_ids,
            np.ascontiguousarray(merges[:, :2]), np.ascontiguousarray(merges[:, 2]), self.model.merges is not None,
            np.array(self.model.wide_scores or [], np.float64), min(self.model.wide_scores or [0.0]),
            self.model.splits_words, self.unk_id if self.unk_id >= 0 else 0xFFFFFFFF,
        )  # fmt: skip

    def native(
        self, op: str, column: TextColumn, threads: int, impl: str
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """Run a native op: both take the same arguments."""
        offsets = np.zeros(len(column) + 1, np.int64)
        ids = np.empty(column.num_bytes, np.uint32)  # no id without a byte
        backend.native(op)(self.handle, column.data, column.offsets, ids, offsets, threads, impl)
        ids.resize(int(offsets[-1]), refcheck=False)
        return ids, offsets

    def _byte_ids(self) -> list[int]:
        table = {p: i for i, (p, k) in enumerate(zip(self.model.pieces, self.model.kinds)) if k == Kind.BYTE}
        return [table[b"<0x%02X>" % b] for b in range(256)]
