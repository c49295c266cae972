"""Benchmark items in a batch of documents: hits of the index, checked word by word, gathered by item."""

from collections import defaultdict
from dataclasses import dataclass

from fasttrain.decontam.benchmarks import Benchmarks, Table
from fasttrain.decontam.ngram_overlap import ngram_overlap
from fasttrain.text import shingle_ref
from fasttrain.text.columns import TextColumn


@dataclass(frozen=True)
class Match:
    """What one document shares with one field of one item."""

    item: int  # place in Benchmarks.items
    first: tuple[int, ...]  # numbers of the item's words at which shared n-grams begin, rising
    n: int  # words of those n-grams

    def span(self, benchmarks: Benchmarks) -> str:
        """The longest run of the item's words that the document holds too (normalised; the benchmark's own text)."""
        best = run = (self.first[0], self.first[0])
        for k in self.first[1:]:
            run = (run[0], k) if k == run[1] + 1 else (k, k)
            best = max(best, run, key=lambda r: (r[1] - r[0], -r[0]))
        return " ".join(benchmarks.items[self.item].words[best[0] : best[1] + self.n])

    def share(self, benchmarks: Benchmarks) -> float:
        """Part of the item's n-grams that the document holds."""
        return len(self.first) / (len(benchmarks.items[self.item].words) - self.n + 1)


def find(column: TextColumn, benchmarks: Benchmarks, *, threads: int | None = None) -> dict[int, list[Match]]:
    """Matches by document (its row in `column`), for the documents that have any, items in order.

    A hash that matches proves nothing: the words themselves are compared before a match is believed.
    """
    found: dict[int, list[Match]] = {}
    for table, whole in ((benchmarks.long, False), (benchmarks.short, True)):
        for row, match in _look(column, benchmarks, table, whole, threads):
            found.setdefault(row, []).append(match)
    return {row: sorted(matches, key=lambda m: m.item) for row, matches in found.items()}


def _look(
    column: TextColumn, benchmarks: Benchmarks, table: Table, whole: bool, threads: int | None
) -> list[tuple[int, Match]]:
    n = table.index.n
    hits = ngram_overlap(column, table.index, threads=threads)
    out = []
    for row in range(len(column)):
        begin, end = int(hits.starts[row]), int(hits.starts[row + 1])
        if begin == end:
            continue
        words = shingle_ref.words(column[row])
        at: dict[int, set[tuple[int, int]]] = defaultdict(set)  # item -> (word of the item, word of the document)
        for place, word in zip(hits.grams[begin:end].tolist(), hits.words[begin:end].tolist()):
            for item, k in table.places[place]:
                if tuple(words[word : word + n]) == benchmarks.items[item].words[k : k + n]:
                    at[item].add((k, word))
        for item, pairs in at.items():
            length = len(benchmarks.items[item].words) - n + 1
            if not whole:
                out.append((row, Match(item, tuple(sorted({k for k, _ in pairs})), n)))
            elif any(all((k, word + k) in pairs for k in range(length)) for k0, word in pairs if k0 == 0):
                out.append((row, Match(item, tuple(range(length)), n)))
    return out
