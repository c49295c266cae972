"""The figures of a finished search for copies: what `report` shows, bounded in size."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from fasttrain.dedup.config import DedupConfig, detection
from fasttrain.dedup.exchange import Gather
from fasttrain.dedup.output import sizes_of
from fasttrain.dedup.rows import Parts
from fasttrain.dedup.survivors import TABLE

SIMILARITY = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
NUM_TOP = 20
MEMBERS = 5  # of a group that are named
NUM_SIZES = 64  # sizes of groups that are told apart; the larger ones by powers of two


def figures(
    config: DedupConfig,
    parts: Parts,
    reports: Sequence[dict[str, Any]],
    tables: Gather,
    stands: Gather,
    extra: dict[str, Any],
) -> dict[str, Any]:
    """Pairs, groups, removal by source, alarms, the S-curve.

    Args:
        reports: what output.write_part found of each part.
        tables: removals by part. stands: the survivor of each removal, by part of the survivor.
        extra: figures of the phases before.
    """
    by_source: dict[str, Counter[str]] = {}
    sizes: Counter[int] = Counter()
    for report in reports:
        for name, counts in report["sources"].items():
            by_source.setdefault(name, Counter()).update(counts)
        sizes.update({int(k): v for k, v in report["sizes"].items()})
    for i, part in enumerate(parts):
        if part.is_indexed:
            survivors = stands.read(i)[:, 0].astype(np.int64) - part.first
            sizes.update(sizes_of(np.bincount(survivors)))
    earlier = sum(r["copies_of_earlier"] for r in reports)
    return {
        **extra,
        **({"against": {"documents": parts.num_indexed, "removed": earlier}} if config.against else {}),
        "clusters": {"count": sum(sizes.values()), "sizes": _binned(sizes), "top": _top(parts, tables, stands)},
        "sources": {name: dict(by_source[name]) for name in sorted(by_source)},
        "alarms": [n for n, f in sorted(by_source.items()) if f["removed"] > config.alarm_fraction * f["documents"]],
        "s_curve": {
            "bands": config.bands,
            "rows": config.rows,
            "half": (1 - 0.5 ** (1 / config.bands)) ** (1 / config.rows),
            "probability": {f"{j / 20:g}": round(detection(j / 20, config), 4) for j in range(8, 21)},
        },
        "verify": config.verify,
        "threshold": config.least,
    }


def _binned(sizes: Counter[int]) -> dict[str, int]:
    found: Counter[int] = Counter()
    for size, count in sizes.items():
        found[size if size <= NUM_SIZES else 1 << (size.bit_length() - 1)] += count
    return {str(k) if k < NUM_SIZES else f"{k}-{2 * k - 1}" if k > NUM_SIZES else f"{k}": v
            for k, v in sorted(found.items())}  # fmt: skip


def _top(parts: Parts, tables: Gather, stands: Gather) -> list[dict[str, Any]]:
    """The largest groups, the smaller doc_id first among equals, each with its best removed documents."""
    candidates: list[tuple[int, str, int]] = []
    for i, part in enumerate(parts):
        count = np.bincount(stands.read(i)[:, 0].astype(np.int64) - part.first, minlength=1)
        rows = np.flatnonzero(count >= max(1, np.sort(count)[-NUM_TOP:][0]))
        ids = part.rows["id"][rows]
        rows = rows[np.lexsort([ids[:, 1], ids[:, 0], -count[rows]])][:NUM_TOP]
        candidates += [(-int(count[r]), parts.name(part.first + r)[0], part.first + r) for r in rows.tolist()]
        candidates = sorted(candidates)[:NUM_TOP]
    survivors = [s for _, _, s in candidates]
    members = {s: np.empty(0, TABLE) for s in survivors}
    least = dict.fromkeys(survivors, np.inf)
    for records in tables.all(1 << 20):
        table = np.ascontiguousarray(records).view(TABLE).reshape(-1)
        table = table[np.isin(table["survivor"], np.array(survivors, np.uint64))]
        for s in survivors:
            mine = table[table["survivor"] == s]
            least[s] = min(least[s], float(mine["score"].min(initial=np.inf)))
            both = np.concatenate([members[s], mine])
            members[s] = both[np.argsort(both["rank"])[:MEMBERS]]
    found = []
    for size, doc_id, s in candidates:
        removed = [parts.name(document) for document in members[s]["document"].tolist()]
        found.append(
            {
                "survivor": doc_id,
                "source": parts.name(s)[1],
                "origin": parts.name(s)[2],
                "documents": 1 - size,
                "least_score": least[s],
                "removed": [origin for _, _, origin in removed],
                "removed_ids": [i for i, _, _ in removed],
            }
        )
    return found
