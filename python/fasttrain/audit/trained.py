"""What was trained on: documents, bytes, tokens and epochs by source and licence, from the token shards themselves."""

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fasttrain.audit.ledger import Ledger
from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic, shards
from fasttrain.formats.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class TrainedRow:
    """Documents of one source and licence in the training shards."""

    source: str
    licence: str
    documents: int
    num_bytes: int  # UTF-8 bytes of the text
    tokens: int  # each document's end token included
    epochs: float | None  # passes over the source that the run has made; None when it has not trained
    tokens_seen: int | None  # tokens * epochs


def trained_on(run: RunFolder) -> list[TrainedRow]:
    """Return the training set by source and licence, the largest first.

    Epochs are what the run has really seen: tokens of metrics.jsonl's last step, shared out by the mixture's weights.
    Raises: FormatError: no token shards in this run folder.
    Cost: 24 bytes a document of the largest source, and one scan of the documents' licences and lengths.
    """
    found = shards.open_shards(run.shards / "train")
    if not found:
        raise FormatError(f"audit: {run.shards / 'train'}: no token shards; run `fasttrain prepare` first")
    seen = tokens_seen(run)
    rows: list[TrainedRow] = []
    with Ledger(run) as ledger:
        stage = ledger.stages()[-1] if ledger.stages() else "split"
        for source, shard in found.items():
            table = pa.table(
                {
                    "doc_key": pa.array([bytes(d) for d in shard.doc_ids], pa.binary(16)).cast(pa.binary()),
                    "tokens": np.diff(shard.offsets),
                }
            )
            ledger.register("shard", table)
            groups = ledger.query(
                "SELECT coalesce(d.licence, 'unknown'), count(*), coalesce(sum(d.bytes), 0)::BIGINT, "
                "sum(s.tokens)::BIGINT FROM shard s LEFT JOIN (SELECT doc_key, licence, bytes FROM documents "
                "WHERE stage = ? AND source = ? "
                "AND phase <> 'probe') d ON s.doc_key = d.doc_key GROUP BY 1 ORDER BY 4 DESC",
                [stage, source],
            ).rows
            epochs = seen[source] / shard.num_tokens if source in seen and shard.num_tokens else None
            rows += [
                TrainedRow(
                    source=source,
                    licence=licence,
                    documents=count,
                    num_bytes=size,
                    tokens=tokens,
                    epochs=epochs,
                    tokens_seen=None if epochs is None else round(tokens * epochs),
                )
                for licence, count, size, tokens in groups
            ]
    return sorted(rows, key=lambda r: (-r.tokens, r.source, r.licence))


def tokens_seen(run: RunFolder) -> dict[str, float]:
    """Tokens trained on so far by source; empty before training."""
    mixture = read_mixture(run)
    last = last_step(run)
    if not last or "tokens" not in last:
        return {}
    return {source: float(last["tokens"]) * weight for source, weight in mixture.get("weights", {}).items()}


def read_mixture(run: RunFolder) -> dict[str, Any]:
    """The mixture worked out (weights, tokens, epochs, warnings), or an empty dictionary before that stage."""
    if run.mixture.exists():
        data = atomic.read_json(run.mixture)
        return data if isinstance(data, dict) else {}
    return {}


def last_step(run: RunFolder) -> dict[str, Any]:
    """The last step line of metrics.jsonl; empty before training. Neither an event nor a line cut by a kill counts."""
    last: dict[str, Any] = {}
    if run.metrics.exists():
        with run.metrics.open(encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n") and '"step"' in line and '"event"' not in line:
                    last = json.loads(line)
    return last


def by_source(rows: list[TrainedRow]) -> dict[str, dict[str, Any]]:
    """The rows summed over licences: source -> documents, num_bytes, tokens, epochs, licences."""
    out: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"documents": 0, "num_bytes": 0, "tokens": 0, "epochs": None, "licences": []}
    )
    for row in rows:
        total = out[row.source]
        total["documents"] += row.documents
        total["num_bytes"] += row.num_bytes
        total["tokens"] += row.tokens
        total["epochs"] = row.epochs
        total["licences"].append(row.licence)
    return dict(out)
