"""C4's line rules as an edit: the lines that stay."""

import numpy as np

from fasttrain.core import backend, check
from fasttrain.filter import c4_lines_ref
from fasttrain.filter.c4_lines_ref import C4Rules as C4Rules
from fasttrain.filter.text_stats import check_sizes, check_utf8
from fasttrain.text.columns import TextColumn


def c4_lines(
    column: TextColumn, *, rules: C4Rules | None = None, threads: int | None = None, impl: str | None = None
) -> TextColumn:
    """Return each text with only the lines that no rule refuses, joined by one newline, without outer spaces.

    Whether the document itself stays is a matter of text_stats: `c4_sentences`, `c4_lorem_ipsum_lines`,
    `c4_curly_bracket_lines`.

    Args:
        column: N texts, valid UTF-8.
        rules: which rules hold; C4's own when None.
        threads: at most so many; backend.num_threads() when None.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: N texts; each of them never longer than it was.
    Raises: TypeError: another dtype. ValueError: wrong offsets, an impl, or a text that is not UTF-8.
    Source: Raffel et al. 2020; DEFINITIONS.md.
    """
    op = "c4_lines"
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    check_sizes(op, column)
    rules = rules or C4Rules()
    if min(rules.min_words, rules.max_word_chars) < 0:
        raise ValueError(f"{op}: limits must not be negative, got {rules}")
    impl = backend.choose(op, impl)
    if impl == "reference":
        return TextColumn(*c4_lines_ref.c4_lines(column, rules))
    out, offsets, bad = np.empty(column.num_bytes, np.uint8), np.zeros(len(column) + 1, np.int64), np.empty(2, np.int64)
    backend.native(op)(
        column.data, column.offsets, out, offsets, bad, rules.flags, rules.min_words, rules.max_word_chars,
        threads or backend.num_threads(), impl,
    )  # fmt: skip
    check_utf8(op, bad)
    return TextColumn(out[: offsets[-1]], offsets)
