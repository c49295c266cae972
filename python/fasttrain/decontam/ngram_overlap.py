"""Which n-grams of a batch of texts lie in an index of benchmark n-grams."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.decontam import ngram_overlap_ref
from fasttrain.text.columns import TextColumn
from fasttrain.text.shingle import check_texts


@dataclass(frozen=True)
class NgramIndex:
    """K hashed n-grams of n words."""

    n: int
    keys: npt.NDArray[np.uint64]  # (K,) rising, no two alike
    filter: npt.NDArray[np.uint64]  # (F,) two bits for each key, in one word; F a power of two

    @classmethod
    def build(cls, hashes: npt.NDArray[np.uint64], n: int) -> "NgramIndex":
        """Index hashed n-grams (any order, repeats allowed), as text.shingle makes them."""
        keys = np.unique(hashes)
        # 16 to 32 bits a key: one n-gram in a hundred goes on to the search by halves.
        words = 1 << max(0, int(len(keys) * 16 - 1).bit_length() - 6)
        bits = np.zeros(words, np.uint64)
        place = (keys >> np.uint64(6)) & np.uint64(words - 1)
        for bit in (keys & np.uint64(63), keys >> np.uint64(58)):
            np.bitwise_or.at(bits, place, np.uint64(1) << bit)
        return cls(n, keys, bits)


@dataclass(frozen=True)
class Hits:
    """M hits in N texts, in order of text and word: text t's are [starts[t], starts[t + 1])."""

    starts: npt.NDArray[np.int64]  # (N+1,)
    words: npt.NDArray[np.int64]  # (M,) number of the n-gram's first word in its text
    grams: npt.NDArray[np.int64]  # (M,) place in the index's keys


def ngram_overlap(
    column: TextColumn, index: NgramIndex, *, threads: int | None = None, impl: str | None = None
) -> Hits:
    """Return every n-gram of each text whose hash is in the index; equal words must still be checked (find.py does).

    Shapes: N texts, K indexed n-grams, M hits.
    Raises: TypeError: another dtype. ValueError: offsets that fall or leave the data, or an impl.
    Cost: one pass over the texts, and a second one over those that have hits.
    """
    op = "ngram_overlap"
    check_texts(op, column, index.n)
    check.array(op, "keys", index.keys, np.uint64, (None,))
    check.array(op, "filter", index.filter, np.uint64, (None,))
    if len(index.filter) == 0 or len(index.filter) & (len(index.filter) - 1):
        raise ValueError(f"{op}: filter must hold a power of two of words, got {len(index.filter)}")
    impl = backend.choose(op, impl)
    starts = np.zeros(len(column) + 1, np.int64)
    none = np.empty(0, np.int64)
    if len(index.keys) == 0 or len(column) == 0:
        return Hits(starts, none, none.copy())
    if impl == "reference":
        found = ngram_overlap_ref.ngram_overlap(column, index.keys, index.n)
        np.cumsum([len(f) for f in found], out=starts[1:])
        flat = np.array([hit for f in found for hit in f], np.int64).reshape(-1, 2)
        return Hits(starts, flat[:, 0].copy(), flat[:, 1].copy())
    run, threads = backend.native(op), threads or backend.num_threads()
    common = (column.data, column.offsets)
    texts, counts = np.arange(len(column), dtype=np.int64), np.empty(len(column), np.int64)
    run(*common, texts, index.keys, index.filter, counts, starts, none, none.copy(), index.n, threads, impl)
    np.cumsum(counts, out=starts[1:])
    words, grams = np.empty(starts[-1], np.int64), np.empty(starts[-1], np.int64)
    if starts[-1] > 0:
        texts = np.flatnonzero(counts)
        some = np.append(starts[texts], starts[-1])
        run(*common, texts, index.keys, index.filter, counts, some, words, grams, index.n, threads, impl)
    return Hits(starts, words, grams)
