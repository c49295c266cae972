"""Where in its text each token lies: in bytes, or in characters."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Spans = npt.NDArray[np.int64]


def byte_spans(ids: npt.NDArray[np.uint32], offsets: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> Spans:
    """(T, 2): first byte and one behind the last of each id, in the bytes of its own text.

    Shapes: N texts, T ids, V tokens.
    Args:
        ids: (T,) uint32.
        offsets: (N+1,) int64. Text n is ids[offsets[n]:offsets[n + 1]].
        sizes: (V,) int64. Bytes of each token: the bytes of a text's tokens, one after another, are the text.
    """
    ends = np.cumsum(sizes[ids], dtype=np.int64)
    starts = ends - sizes[ids]
    before = np.concatenate([np.zeros(1, np.int64), ends])[offsets[:-1]]  # bytes of all earlier texts
    spans: Spans = np.stack([starts, ends], axis=1) - np.repeat(before, np.diff(offsets))[:, None]
    return spans


def clip(
    spans: Spans,
    ids: npt.NDArray[np.uint32],
    offsets: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    eot_ids: Sequence[int],
) -> bool:
    """Give an appended end of text no extent, in place; whether the spans then cover (N,) `lengths` bytes a text."""
    if len(offsets) != len(lengths) + 1:
        return False
    has_any = np.diff(offsets) > 0
    last = offsets[1:][has_any] - 1
    appended = last[np.isin(ids[last], eot_ids) & (spans[last, 0] == lengths[has_any])]
    spans[appended, 1] = spans[appended, 0]
    ends = np.zeros(len(lengths), np.int64)
    ends[has_any] = spans[last, 1]
    return np.array_equal(ends, lengths)


def character_spans(spans: Spans, offsets: npt.NDArray[np.int64], texts: Sequence[npt.NDArray[np.uint8]]) -> Spans:
    """The same in characters: from the one that holds a token's first byte to the one that holds its last.

    So neighbours that share a character share its place, as in Hugging Face tokenizers.
    """
    out = np.zeros_like(spans)
    for n, text in enumerate(texts):
        mine = slice(offsets[n], offsets[n + 1])
        begins = (text & 0xC0) != 0x80
        upto = np.concatenate([np.zeros(1, np.int64), np.cumsum(begins)])  # characters that begin before byte b
        first, last = spans[mine, 0], spans[mine, 1]
        out[mine, 1] = upto[last]
        out[mine, 0] = np.where(first < last, upto[np.minimum(first + 1, len(text))] - 1, upto[last])
    return out
