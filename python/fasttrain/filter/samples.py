"""Documents beside each threshold, on both sides: what a rule takes and what it leaves, for the eyes of who sets it.

Kept are the nearest ones by (distance, doc_id), so that the choice does not depend on batches, parts or ranks. A part's
samples are {"near": {rule: {"broken" | "passed": [[distance, value, doc_id]]}}, "documents": {doc_id: {"source",
"origin", "text"}}}: beginnings of texts, personal data masked. Of what lists of addresses and of words find only the
origin is told; a document that breaks such a rule is no example of any other.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.filter import pii
from fasttrain.filter.docket import Docket
from fasttrain.text import columns

CHARS = 240
SILENT = ("url:", "safety:")
Entry = list[Any]  # distance, value, doc_id in hex


class Samples:
    """The nearest `limit` documents of each rule and side, of one part."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.near: dict[str, dict[str, list[Entry]]] = {}
        self.documents: dict[str, dict[str, str]] = {}

    def add(self, docket: Docket, batch: Any) -> None:
        """Look at a batch of documents, whose families have been asked."""
        if self.limit == 0:
            return
        ids = _id_words(batch.column("doc_id"))
        rows: dict[str, int] = {}
        loud = np.array([not reason.startswith(SILENT) for reason in docket.reasons], np.bool_)
        quiet = docket.fails[:, ~loud].any(axis=1)
        for verdict, _, asked in docket.heard:
            for r, reason in enumerate(verdict.reasons):
                limit = verdict.limits[r] if verdict.limits else None
                values, fails = verdict.values[:, r], verdict.fails[:, r]
                distance = np.zeros(len(values)) if limit is None else limit.distance(values)
                open_to = asked if reason.startswith(SILENT) else asked & ~quiet
                sides = {"broken": fails} if limit is None else {"broken": fails, "passed": ~fails}
                for side, which in sides.items():
                    self._take(reason, side, which & open_to, distance, values, ids, rows)
        self._tell(batch, rows)

    def _take(
        self,
        reason: str,
        side: str,
        which: npt.NDArray[np.bool_],
        distance: npt.NDArray[np.float64],
        values: npt.NDArray[np.float64],
        ids: npt.NDArray[np.uint64],
        rows: dict[str, int],
    ) -> None:
        kept = self.near.get(reason, {}).get(side, [])
        which = which & np.isfinite(distance)
        if len(kept) == self.limit:
            last, _, last_id = kept[-1]
            which &= (distance < last) | ((distance == last) & (ids[:, 0] <= np.uint64(int(last_id[:16], 16))))
        found = np.flatnonzero(which)
        if len(found) > self.limit:  # the nearest, and all that are as near as the last of them
            found = found[distance[found] <= np.partition(distance[found], self.limit - 1)[self.limit - 1]]
        if len(found) == 0:
            return
        chosen = _first_ids(found, distance, ids, self.limit)
        new = [[float(distance[i]), float(values[i]), _hex(ids[i])] for i in chosen]
        self.near.setdefault(reason, {})[side] = nearest([*kept, *new], self.limit)
        rows.update({_hex(ids[i]): i for i in chosen})

    def _tell(self, batch: Any, rows: dict[str, int]) -> None:
        """Keep the beginnings of documents that are named now, and forget those that are not any more."""
        named, shown = set(), set()
        for reason, sides in self.near.items():
            for entries in sides.values():
                named |= {e[2] for e in entries}
                shown |= {e[2] for e in entries if not reason.startswith(SILENT)}
        self.documents = {i: d for i, d in self.documents.items() if i in named}
        new = sorted((named & set(rows)) - set(self.documents))
        if not new:
            return
        heads = [batch.column("text")[rows[i]].as_py()[: 4 * CHARS] if i in shown else "" for i in new]
        masked = pii.mask(columns.from_texts(heads), threads=1).column
        for k, i in enumerate(new):
            source, origin = batch.column("source")[rows[i]].as_py(), batch.column("origin")[rows[i]].as_py()
            self.documents[i] = {"source": source, "origin": origin, "text": masked[k].decode()[:CHARS]}

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"near": self.near, "documents": self.documents}


def nearest(entries: list[Entry], limit: int) -> list[Entry]:
    """The first `limit` by (distance, doc_id)."""
    return sorted(entries, key=lambda e: (e[0], e[2]))[:limit]


def _first_ids(
    found: npt.NDArray[np.int64], distance: npt.NDArray[np.float64], ids: npt.NDArray[np.uint64], limit: int
) -> list[int]:
    order: list[int] = found[np.lexsort((ids[found, 1], ids[found, 0], distance[found]))][:limit].tolist()
    return order


def _id_words(column: Any) -> npt.NDArray[np.uint64]:
    """(N, 2) The 16 bytes of each doc_id as numbers that sort as the bytes do."""
    raw = np.frombuffer(column.buffers()[1] or b"", ">u8", 2 * len(column), 16 * column.offset)
    return raw.reshape(-1, 2).astype(np.uint64)


def _hex(words: npt.NDArray[np.uint64]) -> str:
    return f"{int(words[0]):016x}{int(words[1]):016x}"


def merge(parts: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """The nearest of all parts."""
    near: dict[str, dict[str, list[Entry]]] = {}
    documents: dict[str, dict[str, str]] = {}
    for part in parts:
        documents |= part["documents"]
        for rule, sides in part["near"].items():
            for side, entries in sides.items():
                to = near.setdefault(rule, {})
                to[side] = nearest([*to.get(side, []), *entries], limit)
    named = {e[2] for sides in near.values() for entries in sides.values() for e in entries}
    return {"near": near, "documents": {i: documents[i] for i in sorted(named)}}
