"""The end of the matter: each removed document with the one that stays in its place, and the figures of the stage."""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttrain.dedup.config import DedupConfig, detection
from fasttrain.dedup.near import best_survivor, resolve
from fasttrain.dedup.rows import Ints, Rows
from fasttrain.formats.document import iter_documents
from fasttrain.formats.stage import evidence

EXACT, NEAR = 0, 1
REASONS = ("exact", "near")
TABLE = np.dtype(
    [
        ("document", "<i8"),
        ("survivor", "<i8"),
        ("jaccard", "<f8"),
        ("bands", "<u8"),  # a bit for each band that proposed the pair
        ("copy_of", "<i8"),  # exact: the copy with the same text (itself gone when it is not the survivor), else -1
        ("reason", "u1"),
    ]
)
NUM_TOP = 20
BUCKETS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


def decide(
    config: DedupConfig,
    rank: Ints,
    copies: Ints,
    pairs: Ints,
    bits: npt.NDArray[np.uint64],
    jaccard: npt.NDArray[np.float64],
) -> npt.NDArray[Any]:
    """The table of removals, ascending by document.

    Args:
        rank: (N,) order of preference.
        copies: (k, 2) exact copy and the copy that is best; no document of `pairs` is among the former.
        pairs, bits, jaccard: proposed pairs (worse, better), their bands, their exact similarity.
    """
    verified = np.flatnonzero(jaccard >= config.threshold)
    pairs, bits, jaccard = pairs[verified], bits[verified], jaccard[verified]
    removed = resolve(pairs, len(rank))
    chosen = best_survivor(pairs, jaccard, removed, rank)
    near = np.zeros(len(chosen), TABLE)
    near["document"], near["survivor"] = pairs[chosen, 0], pairs[chosen, 1]
    near["jaccard"], near["bands"], near["copy_of"], near["reason"] = jaccard[chosen], bits[chosen], -1, NEAR
    # A copy whose best copy goes as a near duplicate has that one's survivor: the texts are the same.
    same = np.zeros(len(copies), TABLE)
    same["document"], same["survivor"], same["copy_of"] = copies[:, 0], copies[:, 1], copies[:, 1]
    same["jaccard"], same["reason"] = 1.0, EXACT
    at = np.searchsorted(near["document"], copies[:, 1])
    gone = np.flatnonzero(removed[copies[:, 1]])
    for name in ("survivor", "jaccard", "bands"):
        same[name][gone] = near[name][at[gone]]
    table = np.concatenate([same, near])
    return table[np.argsort(table["document"])]


def origins(rows: Rows, parts: list[Path], table: npt.NDArray[Any]) -> Any:
    """pa.Table of every document that the table names: its number, source and origin; ascending."""
    named = np.unique(np.concatenate([table["document"], table["survivor"], table["copy_of"]]))
    named = named[named >= 0]
    found: list[str] = []
    for i, path in enumerate(parts):
        wanted, first, done = rows.local(named, i), 0, 0
        for batch in iter_documents(path, ["origin"], rows=65536) if len(wanted) else ():
            end = int(np.searchsorted(wanted, first + len(batch)))
            found += batch.column("origin").take(pa.array(wanted[done:end] - first)).to_pylist()
            first, done = first + len(batch), end
    sources = [rows.sources[s] for s in rows.table["source"][named].tolist()]
    return pa.table(
        {
            "document": pa.array(named, pa.int64()),
            "source": pa.array(sources, pa.string()),
            "origin": pa.array(found, pa.string()),
        }
    )


def figures(
    config: DedupConfig,
    rows: Rows,
    table: npt.NDArray[Any],
    names: Any,
    jaccard: npt.NDArray[np.float64],
    buckets: dict[str, int],
) -> dict[str, Any]:
    """What the report shows: pairs, clusters, removal by source, alarms, the S-curve."""
    origin = dict(zip(names.column("document").to_pylist(), names.column("origin").to_pylist()))
    documents = np.bincount(rows.table["source"], minlength=len(rows.sources))
    by_source: dict[str, dict[str, Any]] = {}
    for s, name in enumerate(rows.sources):
        mine = table[rows.table["source"][table["document"]] == s]
        by_source[name] = {
            "documents": int(documents[s]),
            "removed": len(mine),
            "exact": int((mine["reason"] == EXACT).sum()),
            "near": int((mine["reason"] == NEAR).sum()),
            "bytes_removed": int(rows.table["bytes"][mine["document"]].sum()),
        }
    survivor, sizes = np.unique(table["survivor"], return_counts=True)
    top = np.lexsort([survivor, -sizes])[:NUM_TOP]
    clusters = []
    for s, size in zip(survivor[top].tolist(), sizes[top].tolist()):
        members = table[table["survivor"] == s]
        clusters.append(
            {
                "survivor": rows.doc_id(s),
                "source": rows.sources[rows.table["source"][s]],
                "origin": origin[s],
                "documents": size + 1,
                "least_jaccard": float(members["jaccard"].min()),
                "removed": [origin[d] for d in members["document"][:5].tolist()],
            }
        )
    verified = int((jaccard >= config.threshold).sum())
    histogram, _ = np.histogram(jaccard, BUCKETS)
    return {
        "pairs": {"proposed": len(jaccard), "verified": verified, "rejected": len(jaccard) - verified},
        "jaccard_of_proposed": {f"{low:g}-{high:g}": int(c) for low, high, c in zip(BUCKETS, BUCKETS[1:], histogram)},
        "buckets": buckets,
        "clusters": {
            "count": len(survivor),
            "sizes": {str(k): v for k, v in sorted(Counter((sizes + 1).tolist()).items())},
            "top": clusters,
        },
        "sources": by_source,
        "alarms": [n for n, f in by_source.items() if f["removed"] > config.alarm_fraction * f["documents"]],
        "too_short_for_fuzzy": int((rows.table["words"] < config.min_words).sum()) if config.fuzzy else 0,
        "s_curve": {
            "bands": config.bands,
            "rows": config.rows,
            "half": (1 - 0.5 ** (1 / config.bands)) ** (1 / config.rows),
            "probability": {f"{j / 20:g}": round(detection(j / 20, config), 4) for j in range(8, 21)},
        },
        "threshold": config.threshold,
    }


class Removal(NamedTuple):
    """One removed document, as the ledger shows it."""

    reason: str
    jaccard: float
    evidence: str


@dataclass(frozen=True)
class Removed:
    """The table of removals with the names of all documents in it."""

    table: npt.NDArray[Any]
    names: Any
    rows: Rows
    extra: dict[str, Any]

    def of(self, first: int, count: int) -> dict[int, Removal]:
        """The removals among the documents [first, first + count), by distance from `first`."""
        begin, end = np.searchsorted(self.table["document"], [first, first + count])
        return {int(r["document"]) - first: self._removal(r) for r in self.table[begin:end]}

    def _removal(self, r: Any) -> Removal:
        fields = self._name(int(r["survivor"]))
        if r["reason"] == NEAR:
            mask = int(r["bands"])
            fields["bands"] = [b for b in range(mask.bit_length()) if mask >> b & 1]
        elif r["copy_of"] != r["survivor"]:
            fields["same_text_as"] = self.rows.doc_id(int(r["copy_of"]))
        assert math.isfinite(r["jaccard"])
        return Removal(REASONS[r["reason"]], float(r["jaccard"]), evidence(**fields))

    def _name(self, document: int) -> dict[str, Any]:
        at = int(np.searchsorted(self._documents, document))
        return {
            "survivor": self.rows.doc_id(document),
            "survivor_source": self.names.column("source")[at].as_py(),
            "survivor_origin": self.names.column("origin")[at].as_py(),
        }

    @property
    def _documents(self) -> Ints:
        documents: Ints = self.names.column("document").to_numpy()
        return documents
