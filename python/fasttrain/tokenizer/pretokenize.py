"""Texts cut into pretokens: the pieces that BPE never merges across."""

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import patterns, pretokenize_ref


def pretokenize(
    column: TextColumn, *, pattern: str = "cl100k", threads: int | None = None, impl: str | None = None
) -> tuple[TextColumn, npt.NDArray[np.int64]]:
    """Return all pieces of all texts, one after another, and where each text's pieces begin.

    Shapes: N texts, P pieces.
    Args:
        column: N texts, UTF-8; a byte that starts no valid sequence is a symbol of its own.
        pattern: a name of patterns.NUMBER (cl100k, o200k, ...).
        threads: at most so many; backend.num_threads() when None.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: P pieces (sharing the column's bytes) and (N+1,) int64: text n is pieces[start[n]:start[n + 1]].
    Raises: TypeError: another dtype. ValueError: a wrong shape, offsets that fall or leave the data, pattern or impl.
    Cost: one pass; 8 bytes of scratch a byte of text, of which one per piece is touched.
    Source: Radford et al. 2019 (gpt2); OpenAI tiktoken (cl100k). Unicode 16.0, as tokenizers 0.23 has it.
    """
    op = "pretokenize"
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    which = patterns.number(op, pattern)
    impl = backend.choose(op, impl)
    starts = np.zeros(len(column) + 1, np.int64)
    if impl == "reference":
        cut = [pretokenize_ref.pieces(column[n], pattern) for n in range(len(column))]
        np.cumsum([len(c) for c in cut], out=starts[1:])
        sizes = np.array([len(p) for c in cut for p in c], np.int64)
        bounds = column.offsets[0] + np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        return TextColumn(column.data, bounds), starts
    ends, counts = np.empty(column.num_bytes, np.int64), np.empty(len(column), np.int64)
    backend.native(op)(column.data, column.offsets, ends, counts, which, threads or backend.num_threads(), impl)
    np.cumsum(counts, out=starts[1:])
    bounds = np.full(int(starts[-1]) + 1, column.offsets[0], np.int64)
    first = column.offsets[:-1]
    for n in np.flatnonzero(counts):
        place = first[n] - first[0]
        bounds[starts[n] + 1 : starts[n + 1] + 1] = first[n] + ends[place : place + counts[n]]
    return TextColumn(column.data, bounds), starts
