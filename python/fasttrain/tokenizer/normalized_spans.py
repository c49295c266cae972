"""Where in its text each token lies when the text was normalised, or cut at added tokens, before it was encoded."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer.added_split import AddedSplit
from fasttrain.tokenizer.normalizers import Aligned, Normalizer
from fasttrain.tokenizer.spans import Spans

_WRONG = "spans: ids must be those of the texts, got others"


def byte_spans(
    column: TextColumn,
    ids: npt.NDArray[np.uint32],
    offsets: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    *,
    normalizer: Normalizer | None,
    split: AddedSplit | None,
    eot_ids: Sequence[int],
    added_ids: Sequence[int],
) -> Spans:
    """(T, 2): where each id's first byte comes from in its text, and its last, as tokenizers counts.

    Shapes: N texts, T ids, V tokens.
    Args:
        ids: (T,) uint32.
        offsets: (N+1,) int64. Text n is ids[offsets[n]:offsets[n + 1]].
        sizes: (V,) int64. Bytes of each token.
        normalizer: what the texts went through; None: nothing.
        split: what finds added tokens. A text whose ids hold one was cut by it; None: they are text.
        eot_ids: tokens that may have been appended.
        added_ids: tokens that only `split` gives.
    Raises: ValueError: ids that are not those of the texts.
    """
    if len(offsets) != len(column) + 1 or offsets[0] != 0 or offsets[-1] != len(ids):
        raise ValueError(_WRONG)
    found = (normalizer or Normalizer({"type": "Sequence", "normalizers": []}, "spans")).aligned(column)
    spans = np.zeros((len(ids), 2), np.int64)
    is_added = np.isin(ids, np.array(added_ids, np.int64))
    for n in range(len(column)):
        mine = slice(int(offsets[n]), int(offsets[n + 1]))
        length = int(column.offsets[n + 1] - column.offsets[n])
        num = mine.stop - mine.start
        num_added = int(is_added[mine].sum())
        appended = num > 0 and bool(np.isin(ids[mine.stop - 1], eot_ids))
        if (
            split is None
            or num_added == 0
            or (num_added == 1 and appended and _is_whole(found, n, ids[mine][:-1], sizes))
        ):
            _plain(spans[mine], found, n, ids[mine], sizes, length if appended else None)
        else:
            _cut(spans[mine], split, column[n], ids[mine], sizes, length if appended else None)
    return spans


def _is_whole(found: Aligned, n: int, ids: npt.NDArray[np.uint32], sizes: npt.NDArray[np.int64]) -> bool:
    return int(sizes[ids].sum()) == int(found.column.offsets[n + 1] - found.column.offsets[n])


def _plain(
    out: Spans,
    found: Aligned,
    n: int,
    ids: npt.NDArray[np.uint32],
    sizes: npt.NDArray[np.int64],
    appended_at: int | None,
) -> None:
    """Spans of the tokens of a text that was not cut; an appended one has no extent."""
    begin, end = (int(found.column.offsets[k] - found.column.offsets[0]) for k in (n, n + 1))
    if appended_at is not None and not _is_whole(found, n, ids, sizes):
        out[-1] = appended_at
        out, ids = out[:-1], ids[:-1]
    if not _is_whole(found, n, ids, sizes):
        raise ValueError(_WRONG)
    _fill(out, ids, sizes, found.first[begin:end], found.last[begin:end])


def _fill(
    out: Spans,
    ids: npt.NDArray[np.uint32],
    sizes: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    last: npt.NDArray[np.int64],
) -> None:
    """Tokens that are these bytes, one after another; none is empty."""
    ends = np.cumsum(sizes[ids])
    if len(ids):
        out[:, 0], out[:, 1] = first[ends - sizes[ids]], last[ends - 1]


def _cut(
    out: Spans,
    split: AddedSplit,
    raw: bytes,
    ids: npt.NDArray[np.uint32],
    sizes: npt.NDArray[np.int64],
    appended_at: int | None,
) -> None:
    """Spans of the tokens of a text that was cut at added ones."""
    at, ends = 0, np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes[ids])])
    for part, first, last in split.located(raw.decode("utf-8", "surrogateescape")):
        if isinstance(part, int):
            if at == len(ids) or ids[at] != part:
                raise ValueError(_WRONG)
            out[at] = first[0], last[0]
            at += 1
            continue
        upto = int(np.searchsorted(ends, ends[at] + len(part)))
        if upto > len(ids) or ends[upto] != ends[at] + len(part):
            raise ValueError(_WRONG)
        _fill(out[at:upto], ids[at:upto], sizes, first, last)
        at = upto
    if at + 1 == len(ids) and appended_at is not None:
        out[at] = appended_at
        at += 1
    if at != len(ids):
        raise ValueError(_WRONG)
