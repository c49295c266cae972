"""The figures of a finished search for repeated passages: what `report` shows, bounded in size, without any text."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from fasttrain.dedup.passages_config import PassagesConfig

LINES, LINES_OF_SCOPE, LONGEST = 100, 10, 20
LOW = (1 << 32) - 1


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
    of_scope: Counter[int] = Counter()
    common: list[dict[str, Any]] = []
    for documents, scope, first, span in extra.pop("lines", []):
        of_scope[scope] += 1
        if of_scope[scope] <= LINES_OF_SCOPE and len(common) < LINES:
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
