"""What a part hands on: the documents that stay, `meta.copies` of those that stay for others, and the ledger."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fasttrain.dedup.config import DedupConfig
from fasttrain.dedup.exchange import Ints
from fasttrain.dedup.rows import Part, Parts
from fasttrain.dedup.survivors import REASONS, removals
from fasttrain.formats import document, ledger
from fasttrain.formats.part import PartWriter
from fasttrain.formats.rewrite import Rewrite
from fasttrain.formats.stage import documents_bytes, evidence

COUNTED = ("documents", "removed", *REASONS, "bytes_removed")


def write_part(
    parts: Parts,
    number: int,
    path: Path,
    window: Callable[[int, int], tuple[npt.NDArray[Any], Ints]],
    writer: PartWriter,
    config: DedupConfig,
) -> None:
    """Write one part's documents without those that go.

    Args:
        window: for documents [begin, end), who goes (of TABLE, ascending) and for how many of them each stands.
    """
    part, done, sizes, earlier = parts[number], 0, Counter[int](), 0
    by_source = {name: Counter(dict.fromkeys(COUNTED, 0)) for name in part.sources}
    loaded = 0  # documents of the part before the end of the window
    with Rewrite(path, writer) as out:
        for batch in out:
            n = len(batch)
            if done + n > loaded:
                start, loaded = done, min(done + max(config.memory_records, n), part.count)
                table, stands = window(part.first + start, part.first + loaded)
            here = slice(*np.searchsorted(table["document"], [part.first + done, part.first + done + n]).tolist())
            at = table["document"][here].astype(np.int64) - part.first - done
            keep = np.ones(n, bool)
            keep[at] = False
            decision = np.where(keep, ledger.KEPT, ledger.DROPPED).tolist()
            reason, found = [""] * n, ["{}"] * n
            score: list[float | None] = [None] * n
            for i, gone in zip(at.tolist(), removals(table[here], parts, config)):
                reason[i], score[i], found[i] = gone.reason, gone.score, gone.evidence
            more = np.where(keep, stands[done - start : done - start + n], 0)
            for i in np.flatnonzero(more).tolist():
                found[i] = evidence(copies=int(more[i]) + 1)
            writer.decide("dedup", batch, decision=decision, reason=reason, score=score, evidence=found)
            kept = with_copies(batch, more)
            kept = kept if keep.all() else kept.filter(pa.array(keep))
            out.write(batch, kept)
            writer.bytes_in += documents_bytes(batch)
            writer.bytes_out += documents_bytes(kept)
            sizes.update(sizes_of(stands[done - start : done - start + n]))
            earlier += int((table["survivor"][here] < parts.num_indexed).sum())
            _count(by_source, part, done, n, table[here])
            done += n
    writer.extra = {
        "sources": by_source,
        "copies_of_earlier": earlier,
        "sizes": {str(k): sizes[k] for k in sorted(sizes)},
    }


def _count(by_source: dict[str, Counter[str]], part: Part, first: int, n: int, table: npt.NDArray[Any]) -> None:
    """Add the documents [first, first + n) of a part, and those of them that go, to the counts of their sources."""
    sources = part.rows["source"][first : first + n]
    at = table["document"].astype(np.int64) - part.first
    gone, size = part.rows["source"][at], part.rows["bytes"][at]
    for s in np.unique(sources).tolist():
        mine, counts = gone == s, by_source[part.sources[s]]
        counts["documents"] += int((sources == s).sum())
        counts["removed"] += int(mine.sum())
        counts["bytes_removed"] += int(size[mine].sum())
        for k, name in enumerate(REASONS):
            counts[name] += int((table["reason"][mine] == k).sum())


def sizes_of(stands: Ints) -> dict[int, int]:
    """Groups of survivors by size: how many documents stand for so many, themselves too."""
    size, count = np.unique(stands[stands > 0] + 1, return_counts=True)
    return dict(zip(size.tolist(), count.tolist()))


def with_copies(batch: Any, more: Ints) -> Any:
    """The batch with `meta.copies` = how many documents it stands for, itself too, where `more` > 0."""
    touched = np.flatnonzero(more)
    if len(touched) == 0:
        return batch
    at = document.SCHEMA.get_field_index("meta")
    meta = batch.column(at)
    some = meta.take(pa.array(touched))
    copies = pa.array(more[touched] + 1)
    body = pc.utf8_rtrim_whitespace(pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(some), 0, -1))
    comma = pc.if_else(pc.equal(body, "{"), '"copies": ', ', "copies": ')
    new = pc.binary_join_element_wise(body, comma, copies.cast(pa.string()), "}", "")
    known = np.flatnonzero(pc.match_substring(some, '"copies"').to_numpy(zero_copy_only=False))
    if len(known):  # stands for copies already: those count as well
        values = new.to_pylist()
        for i in known.tolist():
            fields = json.loads(some[i].as_py())
            before = fields.get("copies")
            before = before if isinstance(before, int) and not isinstance(before, bool) and before > 0 else 1
            values[i] = json.dumps({**fields, "copies": before + int(more[touched[i]])}, ensure_ascii=False)
        new = pa.array(values, pa.string())
    mask = np.zeros(len(batch), bool)
    mask[touched] = True
    return batch.set_column(at, document.SCHEMA.field(at), pc.replace_with_mask(meta, pa.array(mask), new))
