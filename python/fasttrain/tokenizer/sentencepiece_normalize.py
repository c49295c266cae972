"""Text as a SentencePiece model sees it: characters replaced by its map, white space by U+2581."""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.core.errors import FormatError
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import sentencepiece_normalize_ref
from fasttrain.tokenizer.sentencepiece_file import Kind, SentencePieceModel
from fasttrain.tokenizer.sentencepiece_normalize_ref import SPACE, Rules

__all__ = ["SPACE", "Normalizer", "sentencepiece_normalize"]


class Normalizer:
    """Normalises texts for one model.

    inside: texts are stretches of longer ones: their spaces stay, and none is added.
    """

    def __init__(self, model: SentencePieceModel, *, inside: bool = False) -> None:
        self.rules = Rules(
            charsmap=model.charsmap,
            symbols=tuple(p for p, kind in zip(model.pieces, model.kinds) if kind == Kind.USER_DEFINED),
            add_dummy_prefix=model.add_dummy_prefix and not inside,
            remove_extra_whitespaces=model.remove_extra_whitespaces and not inside,
            escape_whitespaces=model.escape_whitespaces,
            whitespace_as_suffix=model.whitespace_as_suffix,
        )

    def __call__(self, raw: bytes) -> bytes:
        """The normalised text of one text."""
        return sentencepiece_normalize(self, columns.from_texts([raw]), threads=1)[0]

    @cached_property
    def handle(self) -> Any:
        """The native form."""
        rules, symbols = self.rules, columns.from_texts(self.rules.symbols)
        return backend.native("SentencePieceNormalizer")(
            np.frombuffer(rules.units, "<u4").astype(np.uint32), np.frombuffer(rules.strings, np.uint8), symbols.data,
            symbols.offsets, rules.add_dummy_prefix, rules.remove_extra_whitespaces, rules.escape_whitespaces,
            rules.whitespace_as_suffix,
        )  # fmt: skip


def sentencepiece_normalize(
    normalizer: Normalizer, column: TextColumn, *, threads: int | None = None, impl: str | None = None
) -> TextColumn:
    """Return the normalised texts.

    Shapes: N texts of S bytes.
    Args:
        normalizer: of a model.
        column: N texts; a byte that is no UTF-8 becomes U+FFFD.
        threads: at most so many; backend.num_threads() when None.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: N texts, valid UTF-8.
    Raises: TypeError: another dtype. ValueError: offsets that fall or leave the data, or an impl. FormatError: the
        model's map is damaged.
    Cost: a look-up of two bits a character that nothing replaces. Room for the most that the map can make of the texts
        is asked for, 13 times their size with nmt_nfkc; what is written is touched, and what is returned is kept.
    Source: sentencepiece's normalizer.cc.
    """
    op = "sentencepiece_normalize"
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    impl = backend.choose(op, impl)
    if impl == "reference":
        rules = normalizer.rules
        return columns.from_texts([sentencepiece_normalize_ref.normalize(rules, column[n]) for n in range(len(column))])
    out = np.empty(normalizer.handle.room(column.num_bytes, len(column)), np.uint8)
    ends: npt.NDArray[np.int64] = np.zeros(len(column) + 1, np.int64)
    native = backend.native(op)
    native(normalizer.handle, column.data, column.offsets, out, ends, threads or backend.num_threads(), impl)
    if ends[-1] < 0:
        raise FormatError(f"{op}: the model's precompiled_charsmap must be a double array, and is damaged")
    out.resize(int(ends[-1]), refcheck=False)
    return TextColumn(out, ends)
