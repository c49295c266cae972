"""MinHash signatures of texts: documents as small vectors whose agreement estimates Jaccard similarity."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.dedup import minhash_ref
from fasttrain.dedup.sketch import NUM_HASHES, hash_family
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.text.shingle import check_texts


def minhash(
    texts: Iterable[str | bytes] | TextColumn | Any,
    *,
    ngram: int = 5,
    num_hashes: int = NUM_HASHES,
    seed: int = 0,
    out: npt.NDArray[np.uint32] | None = None,
    num_words: npt.NDArray[np.int64] | None = None,
    threads: int | None = None,
    impl: str | None = None,
) -> npt.NDArray[np.uint32]:
    """Return the MinHash signature of each text; the share of equal places estimates the Jaccard of word n-gram sets.

    The whole way from text (normalised as FineWeb does, see text.shingle) to signature in one pass over the bytes.

    Shapes: N texts, K = num_hashes.
    Args:
        texts: strings or UTF-8 bytes, a TextColumn, or an Arrow string column (taken without a copy).
        ngram: words in a shingle, 1 to 64.
        num_hashes: hash functions.
        seed: 64 bits; signatures of different seeds cannot be compared.
        out: (N, K) uint32, filled in place; allocated when None.
        num_words: (N,) int64, filled with each text's number of words when given.
        threads: at most so many; backend.num_threads() when None.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: `out`. A text without words gets 0xFFFFFFFF in every place: such signatures are equal, their texts are not.
    Raises: TypeError: another dtype, or no text. ValueError: a wrong shape, n-gram, seed or impl, or nulls.
    Cost: one pass over the text; K multiply-adds a word; scratch of a few windows of 16 KB a thread.
    Source: Broder 1997; normalisation and 112 hashes of word 5-grams: Penedo et al. 2024 (FineWeb).
    """
    op = "minhash"
    column = as_column(texts)
    check_texts(op, column, ngram)
    a, b = hash_family(op, num_hashes, seed)
    if out is None:
        out = np.empty((len(column), num_hashes), np.uint32)
    check.array(op, "out", out, np.uint32, (len(column), num_hashes))
    if num_words is None:
        num_words = np.empty(len(column), np.int64)
    check.array(op, "num_words", num_words, np.int64, (len(column),))
    impl = backend.choose(op, impl)
    if impl == "reference":
        minhash_ref.minhash(column, ngram, a, b, out, num_words)
    else:
        args = (column.data, column.offsets, a, b, out, num_words, ngram, threads or backend.num_threads(), impl)
        backend.native(op)(*args)
    return out


def as_column(texts: Any) -> TextColumn:
    """A TextColumn of whatever holds texts."""
    if isinstance(texts, TextColumn):
        return texts
    if isinstance(texts, str | bytes):
        raise TypeError("minhash: texts must be a list of texts, got one text; write [text]")
    return columns.from_arrow(texts) if hasattr(texts, "type") else columns.from_texts(texts)
