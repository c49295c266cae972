"""Distributions of the statistics, by source, small enough for a manifest: what thresholds are set by."""

from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.filter import rules

Counts = npt.NDArray[np.int64]

_SHARE = np.linspace(0, 1, 51)
_POWERS = np.concatenate([[0.0], 2.0 ** np.arange(0, 20.5, 0.5)])
# name -> (edges, part, whole); the last bin takes everything above the last edge.
STATISTICS: dict[str, tuple[npt.NDArray[np.float64], str, str]] = {
    "words": (_POWERS, "text_words", ""),
    "mean_word_chars": (np.linspace(0, 20, 41), "text_word_chars", "text_words"),
    "alpha_words": (_SHARE, "alpha_words", "words"),
    "hashes": (_SHARE / 4, "hashes", "words"),
    "ellipses": (_SHARE / 4, "ellipses", "words"),
    "bullet_lines": (_SHARE, "bullet_lines", "lines"),
    "stop_words": (np.arange(10.0), "stop_words", ""),
    "dup_lines": (_SHARE, "dup_lines", "repetition_lines"),
    "dup_line_chars": (_SHARE, "dup_line_chars", "chars"),
    "top_2_gram_chars": (_SHARE, "top_2_gram_chars", "chars"),
    "dup_5_gram_chars": (_SHARE, "dup_5_gram_chars", "chars"),
    "dup_10_gram_chars": (_SHARE, "dup_10_gram_chars", "chars"),
    "c4_kept_lines": (_SHARE, "c4_kept_lines", "lines"),
    "punct_lines": (_SHARE, "left_punct_lines", "left_full_lines"),
    "short_lines": (_SHARE, "left_short_lines", "left_full_lines"),
    "letters": (_SHARE, "letters", "chars"),
}

Histograms = dict[str, dict[str, list[int]]]


def count(stats: Counts, sources: list[str], into: Histograms) -> None:
    """Add N documents to `into[source][statistic]`."""
    names = sorted(set(sources))
    code = np.array([names.index(s) for s in sources], np.int64)
    for statistic, (edges, part, whole) in STATISTICS.items():
        values = rules.ratio(stats, part, whole) if whole else rules.column(stats, part)
        bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 1)
        table = np.bincount(code * len(edges) + bins, minlength=len(names) * len(edges)).reshape(len(names), -1)
        for name, row in zip(names, table):
            old = into.setdefault(name, {}).get(statistic, [0] * len(edges))
            into[name][statistic] = [a + int(b) for a, b in zip(old, row)]


def merge(parts: list[Histograms]) -> dict[str, Any]:
    """Sum over parts: {"edges": {statistic: [...]}, "counts": {source: {statistic: [...]}}}.

    Bin i is [edge i, edge i + 1); the last takes what is above.
    """
    total: Histograms = {}
    for part in parts:
        for source, table in part.items():
            for statistic, row in table.items():
                old = total.setdefault(source, {}).get(statistic, [0] * len(row))
                total[source][statistic] = [a + b for a, b in zip(old, row)]
    return {"edges": {k: e.tolist() for k, (e, _, _) in STATISTICS.items()}, "counts": dict(sorted(total.items()))}
