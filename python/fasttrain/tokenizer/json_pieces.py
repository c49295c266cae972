"""A tokenizer.json of a SentencePiece vocabulary as a tokenizer: the ids that Hugging Face tokenizers gives."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.core.config import fingerprint
from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import tokenizer_json_pieces
from fasttrain.tokenizer.added_split import AddedSplit, encode_between
from fasttrain.tokenizer.piece_normalizer import PieceNormalizer
from fasttrain.tokenizer.sentencepiece import (
    EOT_NAMES,
    Encoded,
    PieceTable,
    SentencePieceTokenizer,
    column_of,
    ended,
    refuse_dropout,
)
from fasttrain.tokenizer.sentencepiece_file import Kind
from fasttrain.tokenizer.sentencepiece_normalize import SPACE
from fasttrain.tokenizer.tokenizer_json_pieces import PiecesJson


class JsonPieceTokenizer(SentencePieceTokenizer):
    """BPE of characters from a list of merges, or Unigram. Ids and texts equal those of tokenizers 0.23 on its file.

    Without `allow_special` a text is text: no added token is read from it.
    """

    def __init__(self, file: PiecesJson, where: str = "tokenizer.json") -> None:
        super().__init__(file.model)
        self.file = file
        self.vocabulary = _table(file)
        self._steps = PieceNormalizer(file.spaces, where)
        self._split = AddedSplit(file.special, file.flags, self._steps, where)

    def __getstate__(self) -> dict[str, Any]:
        return {"file": self.file}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["file"])  # type: ignore[misc]

    @classmethod
    def load(cls, path: str | Path) -> "JsonPieceTokenizer":
        """Read a tokenizer.json. Raises FormatError naming the key of what is not supported."""
        path = Path(path)
        data = atomic.read_json(path)
        if not tokenizer_json_pieces.is_of_pieces(data):
            raise FormatError(f"{path}: model must be Unigram, or BPE with byte_fallback")
        return cls(tokenizer_json_pieces.parse(data, path.read_bytes(), str(path)), str(path))

    def save(self, path: str | Path) -> None:
        """Write the file as it was read (tokenizer.json, when `path` is a folder), whole or not at all."""
        path = Path(path)
        atomic.write_bytes(path / "tokenizer.json" if path.is_dir() else path, self.file.data)

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

        See `SentencePieceTokenizer.encode_batch`. allow_special: added tokens that a text spells out become their ids.
        """
        refuse_dropout(dropout, self.pattern)
        column = column_of(texts)
        eot = self.eot_id if add_eot else None
        if not allow_special:
            ids, offsets = self._encode_column(column, threads=threads, impl=impl)
            return (ids, offsets) if eot is None else ended(ids, offsets, eot)
        cut = self._split([column[n].decode("utf-8", "replace") for n in range(len(column))])
        marked = [
            [p if isinstance(p, int) else self._steps.pretokenized(p, is_first=k == 0) for k, p in enumerate(parts)]
            for parts in cut
        ]
        return encode_between(
            marked, lambda part: self.encode_normalized(part, threads=threads, impl=impl), [] if eot is None else [eot]
        )

    def _encode(self, column: TextColumn, normalizer: Any, threads: int | None, impl: str | None) -> Encoded:
        column = self._steps.column(column, inside=normalizer is self._inside)
        return super()._encode(column, normalizer, threads, impl)

    def decode(self, ids: Iterable[int] | npt.NDArray[Any], *, skip_special: bool = False) -> str:
        """The text that the ids stand for. Bytes that are no UTF-8 together are U+FFFD each.

        Args:
            skip_special: leave special tokens out.
        Raises ValueError for an id that is no token.
        """
        out: list[str] = []
        run = bytearray()

        def close() -> None:
            try:
                out.append(run.decode())
            except UnicodeDecodeError:
                out.append("\ufffd" * len(run))
            run.clear()

        kinds, tokens, strips = self.model.kinds, self.vocabulary.tokens, self.file.spaces.strips
        for k, i in enumerate(self._checked(ids, skip_special)):
            if kinds[i] == Kind.BYTE and self.file.joins_bytes:
                run += tokens[i]
                continue
            close()
            text = tokens[i].decode("utf-8", "replace")
            out.append(text.replace(" ", "") if strips == "first" and k == 0 else text)
        close()
        whole = "".join(out)
        return whole[1:] if strips == "space" and whole.startswith(" ") else whole

    def _decode_bytes(self, ids: Iterable[int] | npt.NDArray[Any], skip_special: bool) -> bytes:
        return b"".join([self.vocabulary.tokens[i] for i in self._checked(ids, skip_special)])

    def _checked(self, ids: Iterable[int] | npt.NDArray[Any], skip_special: bool) -> list[int]:
        flat = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
        tokens = self.vocabulary.tokens
        for i in set(flat):
            if not 0 <= i < len(tokens) or not tokens[i]:
                raise ValueError(f"decode: ids must be tokens of a vocabulary of {len(tokens)}, got {i}")
        skipped = self._skipped if skip_special else frozenset()
        return [i for i in flat if i not in skipped]

    def _is_padded(self, text: bytes) -> bool:
        return self.file.spaces.strips != "nothing" and text.startswith(b" ")

    @cached_property
    def _skipped(self) -> frozenset[int]:
        return frozenset(i for text, i in self.file.special.items() if text not in self.file.plain)

    @property
    def num_merges(self) -> int:
        """Pairs that merge."""
        return len(self.model.merges or ())

    @property
    def eot_id(self) -> int:
        """Id of the token that ends a document. Raises ValueError when there is none."""
        for name in EOT_NAMES:
            if name in self.file.special:
                return self.file.special[name]
        raise ValueError(
            f"tokenizer: no end-of-text token among the added ones {list(self.file.special)}; "
            f"one of {', '.join(EOT_NAMES)} must be"
        )

    @cached_property
    def fingerprint(self) -> str:
        """128 bits of the content, in hex."""
        return fingerprint([self.file.data.hex()])


def _table(file: PiecesJson) -> PieceTable:
    tokens = [
        bytes([int(p[3:5], 16)]) if kind == Kind.BYTE and file.joins_bytes else p.replace(SPACE.encode(), b" ")
        for p, kind in zip(file.model.pieces, file.model.kinds)
    ]
    return PieceTable(tokens=tuple(tokens), special=dict(file.special))
