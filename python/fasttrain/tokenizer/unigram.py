"""Normalised texts to the ids of a SentencePiece Unigram model, by Viterbi."""

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import unigram_ref
from fasttrain.tokenizer.sentencepiece_pieces import Pieces


def unigram(
    pieces: Pieces, column: TextColumn, *, threads: int | None = None, impl: str | None = None
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Return the ids of all texts, one after another, and where each text's begin.

    Shapes: N texts of S bytes, T ids.
    Args:
        pieces: of a Unigram model.
        column: N normalised texts (`Normalizer`), valid UTF-8.
        threads: at most so many; backend.num_threads() when None. The ids do not depend on it.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: (T,) uint32 and (N+1,) int64: text n is ids[offsets[n]:offsets[n + 1]]. A character that is no piece gives
        its bytes with byte fallback; without, the unknown id, once for a run of them.
    Raises: TypeError: another dtype. ValueError: a wrong shape, offsets that fall or leave the data, or an impl.
    Cost: for each character, a walk through the pieces that begin there; 12 bytes a byte of the longest text.
    Source: Kudo 2018; the sums of sentencepiece's unigram_model.cc, rounding included.
    """
    op = "unigram"
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    impl = backend.choose(op, impl)
    if impl == "reference":
        return pieces.flat([_reference(pieces, column[n]) for n in range(len(column))])
    return pieces.native(op, column, threads or backend.num_threads(), impl)


def _reference(pieces: Pieces, text: bytes) -> list[int]:
    if pieces.model.wide_scores is not None:
        words = pieces.words(text)
        found = [
            unigram_ref.encode_wide(w, pieces.ids, pieces.model.wide_scores, pieces.unk_id, pieces.longest)
            for w in words
        ]
        return pieces.finish([piece for word in found for piece in word])
    usable = {p: i for p, i in pieces.ids.items() if i not in pieces.unused}
    bonus = frozenset(pieces.ids[p] for p in pieces.user_defined)
    return pieces.finish(unigram_ref.encode(text, usable, pieces.scores, bonus, pieces.unk_id, pieces.longest))
