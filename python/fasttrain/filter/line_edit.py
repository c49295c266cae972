"""The line rules of C4 and RefinedWeb as one edit: the texts without what they refuse."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.filter import line_edit_ref
from fasttrain.filter.line_edit_ref import EDIT_C4 as EDIT_C4
from fasttrain.filter.line_edit_ref import EDIT_REFINEDWEB as EDIT_REFINEDWEB
from fasttrain.filter.line_edit_ref import C4Rules as C4Rules
from fasttrain.filter.line_edit_ref import RefinedWebRules as RefinedWebRules
from fasttrain.text.columns import TextColumn


def line_edit(
    column: TextColumn,
    edit: npt.NDArray[np.uint8],
    *,
    c4: C4Rules | None = None,
    refinedweb: RefinedWebRules | None = None,
    threads: int | None = None,
    impl: str | None = None,
) -> TextColumn:
    """Return each text without the lines, and the pieces of lines, that the families of its `edit` refuse.

    Whether the document itself stays is a matter of text_stats, which makes the same edit in its own pass.

    Args:
        column: N texts, valid UTF-8.
        edit: (N,) uint8. EDIT_C4, EDIT_REFINEDWEB, both, or 0 for a text that stays as it is. With C4's bit, lines lose
            outer spaces and are joined by one newline; without it, a text of which nothing goes keeps its bytes.
        c4: C4's rules, its own when None.
        refinedweb: RefinedWeb's rules, those of DCLM's baseline when None.
        threads: at most so many; backend.num_threads() when None.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: N texts; each of them never longer than it was.
    Raises: TypeError: another dtype. ValueError: a wrong shape, wrong offsets, an impl, or a text that is not UTF-8.
    Source: Raffel et al. 2020; Penedo et al. 2023; DEFINITIONS.md.
    """
    op = "line_edit"
    c4, refinedweb = c4 or C4Rules(), refinedweb or RefinedWebRules()
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    check_sizes(op, column)
    check_edit(op, edit, len(column))
    check_rules(op, c4, refinedweb)
    impl = backend.choose(op, impl)
    if impl == "reference":
        return TextColumn(*line_edit_ref.line_edit(column, edit, c4, refinedweb))
    out, offsets, bad = np.empty(column.num_bytes, np.uint8), np.zeros(len(column) + 1, np.int64), np.empty(2, np.int64)
    backend.native(op)(
        column.data, column.offsets, edit, out, offsets, bad, native_rules(c4, refinedweb),
        threads or backend.num_threads(), impl,
    )  # fmt: skip
    check_utf8(op, bad)
    return TextColumn(out[: offsets[-1]], offsets)


def native_rules(c4: C4Rules, refinedweb: RefinedWebRules) -> Any:
    """The rules as native ops take them."""
    return backend.native("LineRules")(
        c4_flags=c4.flags,
        c4_min_words=c4.min_words,
        c4_max_word_chars=c4.max_word_chars,
        rw_flags=refinedweb.flags,
        rw_max_uppercase=refinedweb.max_uppercase,
        rw_min_words=refinedweb.min_words,
        rw_max_phrase_words=refinedweb.max_phrase_words,
    )


def check_rules(op: str, c4: C4Rules, refinedweb: RefinedWebRules) -> None:
    """Raise unless every limit is a number that is not negative."""
    limits = (c4.min_words, c4.max_word_chars, refinedweb.min_words, refinedweb.max_phrase_words)
    if min(limits) < 0 or not 0 <= refinedweb.max_uppercase < math.inf:
        raise ValueError(f"{op}: limits must not be negative, got {c4} and {refinedweb}")


def check_edit(op: str, edit: npt.NDArray[np.uint8], n: int) -> None:
    """Raise unless `edit` is (N,) bits of families that edit."""
    check.array(op, "edit", edit, np.uint8, (n,))
    if n and edit.max() > EDIT_C4 | EDIT_REFINEDWEB:
        raise ValueError(f"{op}: edit must be of EDIT_C4 | EDIT_REFINEDWEB, got {int(edit.max())}")


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
