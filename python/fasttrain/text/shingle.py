"""Hashed word n-grams of normalised text: what near-duplicate search and decontamination compare."""

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.text import shingle_ref
from fasttrain.text.columns import TextColumn


def shingle(
    column: TextColumn,
    *,
    n: int = 5,
    sets: bool = False,
    threads: int | None = None,
    impl: str | None = None,
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return the hashed word n-grams of each text as one flat array and offsets.

    A text of 1 to n-1 words has one shingle, of all its words; a text without words has none. Words are normalised as
    FineWeb does before comparing: text.shingle_ref says precisely how, and how scripts without spaces are cut.

    Shapes: N texts, S shingles in all.
    Args:
        column: N texts, UTF-8; malformed bytes separate words.
        n: words in a shingle, 1 to 64.
        sets: each text's shingles sorted and without repeats, instead of in the order of the text.
        threads: at most so many; backend.num_threads() when None.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: shingles (S,) uint64 and offsets (N+1,) int64; text i has shingles[offsets[i]:offsets[i + 1]].
    Raises: TypeError: another dtype. ValueError: offsets that fall or leave the data, n out of range, or an impl.
    Cost: reads each byte once; up to 4 bytes of memory for each byte of text.
    Source: datatrove's simplify_text, as FineWeb used it; rolling hash of Karp and Rabin 1987.
    """
    op = "shingle"
    check_texts(op, column, n)
    sizes = np.diff(column.offsets)
    out = np.empty(int(((sizes + 1) // 2).sum()), np.uint64)
    offsets = np.empty(len(column) + 1, np.int64)
    impl = backend.choose(op, impl)
    if impl == "reference":
        shingle_ref.shingle(column, n, sets, out, offsets)
    else:
        args = (column.data, column.offsets, out, offsets, n, sets, threads or backend.num_threads(), impl)
        backend.native(op)(*args)
    return out[: offsets[-1]].copy(), offsets


def check_texts(op: str, column: TextColumn, n: int) -> None:
    """Raise unless `column` and the words in an n-gram are what every op on n-grams takes."""
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    if not 1 <= n <= 64:
        raise ValueError(f"{op}: n must be 1 to 64 words, got {n}")
