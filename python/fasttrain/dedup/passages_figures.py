"""The figures of a finished search for repeated passages: what `report` shows, bounded in size, without any text."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fasttrain.dedup.passages_config import PassagesConfig

LINES, LINES_OF_SCOPE, LONGEST = 100, 10, 20
LOW = (1 << 32) - 1

Line = tuple[int, int, int, int]
"""Of a boilerplate line: its documents, its scope, the earliest that has it, begin << 32 | end."""


def most_frequent(lines: Iterable[Line]) -> list[Line]:
    """The most frequent lines, so many of each scope and so many in all.

    Of what several partitions return, this returns what it returns of all their lines: what is in the way of a line in
    its partition is so among all too, or a more frequent one of the same scope is.
    """
    of_scope: Counter[int] = Counter()
    found: list[Line] = []
    for line in sorted(lines, key=lambda x: (-x[0], x[2], x[3])):
        of_scope[line[1]] += 1
        if of_scope[line[1]] <= LINES_OF_SCOPE and len(found) < LINES:
            found.append(line)
    return found


def figures(
    config: PassagesConfig,
    parts: Sequence[dict[str, Any]],
    extra: dict[str, Any],
    name: Callable[[int], tuple[str, str]],
) -> dict[str, Any]:
    """Bytes removed by source and rule, the most frequent boilerplate lines of each scope, the longest repeated spans.

    Lines and spans are named by document and bytes in its text before this stage.
    """
    sources: dict[str, Counter[str]] = {}
    for part in parts:
        for source, counts in part["sources"].items():
            sources.setdefault(source, Counter()).update(counts)
    common: list[dict[str, Any]] = []
    for documents, scope, first, span in extra.pop("lines", []):
        doc_id, origin = name(first)
        common.append({"documents": documents, "scope": f"{scope:016x}", "doc_id": doc_id, "origin": origin,
                       "begin": span >> 32, "end": span & LOW})  # fmt: skip
    longest: list[dict[str, Any]] = []
    for size, document, begin, end, survivor, where in sorted(tuple(x) for p in parts for x in p["longest"])[:LONGEST]:
        (doc_id, origin), (stays, stays_origin) = name(document), name(survivor)
        longest.append({"bytes": -size, "doc_id": doc_id, "origin": origin, "begin": begin, "end": end,
                        "survivor": stays, "survivor_origin": stays_origin, "survivor_begin": where})  # fmt: skip
    return {
        **extra,
        "rules": config.rules,
        "sources": {s: dict(sources[s]) for s in sorted(sources)},
        "common_lines": common,
        "longest": longest,
    }
