"""Everything that the quality rules count in a text, natively in one pass, which edits by the line rules as well."""

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.filter import line_edit_ref, text_stats_ref
from fasttrain.filter.line_edit import (
    C4Rules,
    RefinedWebRules,
    check_edit,
    check_rules,
    check_sizes,
    check_utf8,
    native_rules,
)
from fasttrain.text.columns import TextColumn

NAMES: tuple[str, ...] = tuple(text_stats_ref.document("", C4Rules(), RefinedWebRules(), 30))
"""The columns of `text_stats`, in order; DEFINITIONS.md says what each counts."""

COLUMN: dict[str, int] = {name: k for k, name in enumerate(NAMES)}
"""Index of each column."""


def text_stats(
    column: TextColumn,
    *,
    c4: C4Rules | None = None,
    refinedweb: RefinedWebRules | None = None,
    short_line_chars: int = 30,
    out: npt.NDArray[np.int64] | None = None,
    threads: int | None = None,
    impl: str | None = None,
) -> npt.NDArray[np.int64]:
    """Count, for each text, what the rules of Gopher, C4, RefinedWeb and FineWeb need; words and lines are found once.

    Shapes: N texts, K = len(NAMES) counts.
    Args:
        column: N texts, valid UTF-8.
        c4: the rules that `c4_*` columns follow; C4's own when None.
        refinedweb: the rules that `rw_*` columns follow; those of DCLM's baseline when None.
        short_line_chars: a line of at most so many characters counts in `left_short_lines`.
        out: (N, K) int64, filled in place; allocated when None.
        threads: at most so many; backend.num_threads() when None.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: `out`; column COLUMN[name] holds `name`. Integers: ratios are the caller's, so they are exact everywhere.
    Raises: TypeError: another dtype. ValueError: a wrong shape, an impl, or a text that is not UTF-8 (named, with the
        position of its first bad byte).
    Source: DEFINITIONS.md (Gopher, C4 and FineWeb as datatrove 0.10.1 codes them, RefinedWeb as DCLM does, over our own
        words).
    """
    return _run(column, None, c4, refinedweb, short_line_chars, out, threads, impl)[0]


def stats_and_edits(
    column: TextColumn,
    edit: npt.NDArray[np.uint8],
    *,
    c4: C4Rules | None = None,
    refinedweb: RefinedWebRules | None = None,
    short_line_chars: int = 30,
    threads: int | None = None,
    impl: str | None = None,
) -> tuple[npt.NDArray[np.int64], TextColumn]:
    """The same, and in the same pass the texts as `line_edit` leaves them; `left_*` columns count what is left.

    Args:
        edit: (N,) uint8. What `line_edit` takes: the families whose lines go from each text.
    Returns: (N, K) int64 and N texts.
    """
    counts, edited = _run(column, edit, c4, refinedweb, short_line_chars, None, threads, impl)
    assert edited is not None
    return counts, edited


def _run(
    column: TextColumn,
    edit: npt.NDArray[np.uint8] | None,
    c4: C4Rules | None,
    refinedweb: RefinedWebRules | None,
    short_line_chars: int,
    out: npt.NDArray[np.int64] | None,
    threads: int | None,
    impl: str | None,
) -> tuple[npt.NDArray[np.int64], TextColumn | None]:
    op, n = "text_stats", len(column)
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    if out is None:
        out = np.empty((n, len(NAMES)), np.int64)
    check.array(op, "out", out, np.int64, (n, len(NAMES)))
    check_sizes(op, column)
    c4, refinedweb = c4 or C4Rules(), refinedweb or RefinedWebRules()
    check_rules(op, c4, refinedweb)
    if short_line_chars < 0:
        raise ValueError(f"{op}: limits must not be negative, got short_line_chars {short_line_chars}")
    if edit is not None:
        check_edit(op, edit, n)
    impl = backend.choose(op, impl)
    if impl == "reference":
        bits = np.zeros(n, np.uint8) if edit is None else edit
        text_stats_ref.text_stats(column, c4, refinedweb, short_line_chars, bits, out)
        edited = None if edit is None else TextColumn(*line_edit_ref.line_edit(column, edit, c4, refinedweb))
        return out, edited
    texts = np.empty(0 if edit is None else column.num_bytes, np.uint8)
    offsets = np.zeros(0 if edit is None else n + 1, np.int64)
    bad = np.empty(2, np.int64)
    backend.native(op)(
        column.data, column.offsets, out, bad, np.empty(0, np.uint8) if edit is None else edit, texts, offsets,
        native_rules(c4, refinedweb), short_line_chars, threads or backend.num_threads(), impl,
    )  # fmt: skip
    check_utf8(op, bad)
    return out, None if edit is None else TextColumn(texts[: offsets[-1]], offsets)
