"""Everything that the quality rules count in a text, natively in one pass."""

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.filter import text_stats_ref
from fasttrain.filter.c4_lines_ref import C4Rules
from fasttrain.text.columns import TextColumn

NAMES: tuple[str, ...] = tuple(text_stats_ref.document("", C4Rules(), 30))
"""The columns of `text_stats`, in order; DEFINITIONS.md says what each counts."""

COLUMN: dict[str, int] = {name: k for k, name in enumerate(NAMES)}
"""Index of each column."""


def text_stats(
    column: TextColumn,
    *,
    c4: C4Rules | None = None,
    short_line_chars: int = 30,
    out: npt.NDArray[np.int64] | None = None,
    threads: int | None = None,
    impl: str | None = None,
) -> npt.NDArray[np.int64]:
    """Count, for each text, what the rules of Gopher, C4 and FineWeb need; words and lines are found once.

    Shapes: N texts, K = len(NAMES) counts.
    Args:
        column: N texts, valid UTF-8.
        c4: the rules that `c4_*` columns follow; C4's own when None.
        short_line_chars: a line of at most so many characters counts in `short_lines`.
        out: (N, K) int64, filled in place; allocated when None.
        threads: at most so many; backend.num_threads() when None.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: `out`; column COLUMN[name] holds `name`. Integers: ratios are the caller's, so they are exact everywhere.
    Raises: TypeError: another dtype. ValueError: a wrong shape, an impl, or a text that is not UTF-8 (named, with the
        position of its first bad byte).
    Source: DEFINITIONS.md (Gopher, C4 and FineWeb as datatrove 0.10.1 codes them, over our own words).
    """
    op = "text_stats"
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    if out is None:
        out = np.empty((len(column), len(NAMES)), np.int64)
    check.array(op, "out", out, np.int64, (len(column), len(NAMES)))
    check_sizes(op, column)
    c4 = c4 or C4Rules()
    if min(c4.min_words, c4.max_word_chars, short_line_chars) < 0:
        raise ValueError(f"{op}: limits must not be negative, got {c4} and short_line_chars {short_line_chars}")
    impl = backend.choose(op, impl)
    if impl == "reference":
        text_stats_ref.text_stats(column, c4, short_line_chars, out)
        return out
    bad = np.empty(2, np.int64)
    backend.native(op)(
        column.data, column.offsets, out, bad, c4.flags, c4.min_words, c4.max_word_chars, short_line_chars,
        threads or backend.num_threads(), impl,
    )  # fmt: skip
    check_utf8(op, bad)
    return out


def check_sizes(op: str, column: TextColumn) -> None:
    """Raise unless every text is under 4 GB: positions inside a text are 32-bit."""
    if len(column) and int(np.diff(column.offsets).max()) >= 1 << 32:
        raise ValueError(f"{op}: each text must be smaller than 4 GiB; split it where the documents are made")


def check_utf8(op: str, bad: npt.NDArray[np.int64]) -> None:
    """Raise when a native op has met a text that is not UTF-8."""
    if bad[0] >= 0:
        raise ValueError(
            f"{op}: text {bad[0]} must be valid UTF-8, got a bad byte at {bad[1]}; "
            "decode it with errors='replace' first"
        )
