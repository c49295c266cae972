"""Normalised texts to the ids of a SentencePiece BPE model."""

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import sentencepiece_bpe_ref
from fasttrain.tokenizer.sentencepiece_pieces import Pieces


def sentencepiece_bpe(
    pieces: Pieces, column: TextColumn, *, threads: int | None = None, impl: str | None = None
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Return the ids of all texts, one after another, and where each text's begin.

    Shapes: N texts of S bytes, T ids.
    Args:
        pieces: of a BPE model.
        column: N normalised texts (`Normalizer`), valid UTF-8.
        threads: at most so many; backend.num_threads() when None. The ids do not depend on it.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: (T,) uint32 and (N+1,) int64: text n is ids[offsets[n]:offsets[n + 1]]. A character that is no piece gives
        its bytes with byte fallback; without, the unknown id, once for a run of them.
    Raises: TypeError: another dtype. ValueError: a wrong shape, offsets that fall or leave the data, or an impl.
    Cost: O(P log P) for P characters between spaces that no cache holds.
    Source: Kudo and Richardson 2018; the merging of sentencepiece's bpe_model.cc.
    """
    op = "sentencepiece_bpe"
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    impl = backend.choose(op, impl)
    if impl == "reference":
        return pieces.flat([_reference(pieces, column[n]) for n in range(len(column))])
    return pieces.native(op, column, threads or backend.num_threads(), impl)


def _reference(pieces: Pieces, text: bytes) -> list[int]:
    if pieces.model.merges is not None:
        words = [pieces.symbols(word) for word in pieces.words(text)]
        found = [sentencepiece_bpe_ref.encode_listed(word, pieces.ids, pieces.model.merges) for word in words]
        return pieces.finish([piece for word in found for piece in word])
    symbols = pieces.symbols(text)
    made = sentencepiece_bpe_ref.encode(text, symbols, pieces.ids, pieces.scores, pieces.unused, pieces.user_defined)
    return pieces.finish([(piece, pieces.ids.get(piece, pieces.unk_id)) for piece in made])
