"""Benchmark items in a batch of documents: hits of the index, gathered by item and place, weighed, checked by words.

Hits of one field in one document that lie at most `max_gap` other words apart are one cluster. The words of the field
that its n-grams cover are what the document shares with it: a changed or added word costs itself, not the item.

    word weight      W_j = mean weight of the field's n-grams that cover word j
    share of a field = sum of W_j over covered words / sum of W_j over all words
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from fasttrain.decontam.benchmarks import Benchmarks, DecontamConfig, Floats, Ints, exact_words
from fasttrain.text.columns import TextColumn


@dataclass(frozen=True)
class Match:
    """What one place of one document shares with one field of one item."""

    row: int  # of the document in its column
    field: int  # place in Benchmarks.fields
    share: float  # of the field's words, by weight
    weight: float  # of the words that are shared
    covered: tuple[tuple[int, int], ...]  # runs [first, last) of the field's words that are shared
    begin: int  # UTF-8 bytes of the document
    end: int

    @property
    def words(self) -> int:
        """Words of the field that the document holds."""
        return sum(b - a for a, b in self.covered)

    def span(self, benchmarks: Benchmarks) -> str:
        """The longest run of the field's words that the document holds too (normalised; the benchmark's own text)."""
        first, last = max(self.covered, key=lambda run: (run[1] - run[0], -run[0]))
        return " ".join(benchmarks.fields[self.field].words[first:last])


def find(
    column: TextColumn,
    rows: Ints,
    words: Ints,
    grams: Ints,
    benchmarks: Benchmarks,
    weights: Floats,
    config: DecontamConfig,
) -> list[Match]:
    """Matches in order of row, field and place.

    Args:
        rows, words, grams: (M,) hits of the index: row of the document, number of the n-gram's first word, n-gram.
        weights: (K,) of the n-grams (benchmarks.weigh).
    A hash that matches proves nothing: the words themselves, digits too, are compared before a match is believed.
    """
    n = config.ngram
    heavy = weights[grams] > 0
    rows, words, grams = rows[heavy], words[heavy], grams[heavy]
    uses = benchmarks.starts[grams + 1] - benchmarks.starts[grams]
    hit = np.repeat(np.arange(len(grams)), uses)
    use = np.arange(len(hit)) + np.repeat(benchmarks.starts[grams] - (np.cumsum(uses) - uses), uses)
    row, word, field, k = rows[hit], words[hit], benchmarks.at_field[use], benchmarks.at_word[use]
    order = np.lexsort((k, word, field, row))
    row, word, field, k = row[order], word[order], field[order], k[order]
    if not len(row):
        return []
    cut = (np.diff(row) != 0) | (np.diff(field) != 0) | (np.diff(word) > n + config.max_gap)
    edges = np.concatenate([[0], np.flatnonzero(cut) + 1, [len(row)]])
    sizes = np.array([len(f.words) for f in benchmarks.fields])
    # Words that a cluster can cover at most: what most chance hits of a common phrase fail by.
    worth = np.diff(edges) * n >= np.minimum(sizes[field[edges[:-1]]], config.min_words)
    of_words = cache(lambda f: _word_weights(benchmarks.fields[f].grams, weights, n))
    read = _Reader(column)
    found = []
    for a, b in zip(edges[:-1][worth].tolist(), edges[1:][worth].tolist()):
        pairs = list(zip(k[a:b].tolist(), word[a:b].tolist()))
        i, f = int(row[a]), int(field[a])
        total = of_words(f)
        if _judge(pairs, total, n, config) is None:
            continue
        text, spans = read(i)
        own = benchmarks.fields[f].exact
        pairs = [(x, w) for x, w in pairs if tuple(text[w : w + n]) == own[x : x + n]]
        for group in _clusters(pairs, n + config.max_gap):
            judged = _judge(group, total, n, config)
            if judged is not None:
                first, last = min(w for _, w in group), max(w for _, w in group) + n
                found.append(Match(i, f, *judged, begin=spans[first][0], end=spans[last - 1][1]))
    return found


def _clusters(pairs: list[tuple[int, int]], reach: int) -> Iterator[list[tuple[int, int]]]:
    """Pairs in order of the document's words, apart where more lies between."""
    start = 0
    for i in range(1, len(pairs) + 1):
        if i == len(pairs) or pairs[i][1] - pairs[i - 1][1] > reach:
            if i > start:
                yield pairs[start:i]
            start = i


def _word_weights(grams: Ints, weights: Floats, n: int) -> Floats:
    of_grams = np.where(grams >= 0, weights[grams], 0.0) if len(weights) else np.zeros(len(grams))
    ones = np.ones(n)
    return np.asarray(np.convolve(of_grams, ones) / np.convolve(np.ones(len(grams)), ones))


def _judge(
    pairs: list[tuple[int, int]], weights: Floats, n: int, config: DecontamConfig
) -> tuple[float, float, tuple[tuple[int, int], ...]] | None:
    """Share, weight and covered runs of a cluster of (word of the field, word of the document); None: not enough."""
    size = len(weights)
    covered = np.zeros(size + 1, bool)
    for k in {k for k, _ in pairs}:
        covered[k : k + n] = True
    count = int(covered.sum())
    if count < min(size, config.min_words):
        return None
    total, weight = float(weights.sum()), float(weights[covered[:size]].sum())
    share = weight / total if total > 0 else 0.0
    # Half of the least number of words, by weight: what many documents or items hold is no leak of this one.
    if 2 * weight < min(size, config.min_words):
        return None
    if size < config.min_words:
        known = set(pairs)
        if not any(all((k, w + k) in known for k in range(size - n + 1)) for k0, w in pairs if k0 == 0):
            return None
    elif share < config.min_share and weight < config.enough_words:
        return None
    return share, weight, _runs(covered)


def _runs(covered: npt.NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], covered]).astype(np.int8)))
    return tuple((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2]))


class _Reader:
    """Words of one document at a time, with their digits and their bytes."""

    def __init__(self, column: TextColumn) -> None:
        self._column, self._row = column, -1
        self._words: list[str] = []
        self._spans: list[tuple[int, int]] = []

    def __call__(self, row: int) -> tuple[list[str], list[tuple[int, int]]]:
        if row != self._row:
            text = self._column[row].decode("utf-8", "replace")
            _, self._words, spans = exact_words(text)
            lengths = np.fromiter((len(c.encode("utf-8", "surrogatepass")) for c in text), np.int64, len(text))
            byte = np.concatenate([[0], np.cumsum(lengths)]).tolist()
            self._spans = [(byte[a], byte[b]) for a, b in spans]
            self._row = row
        return self._words, self._spans
