"""The ledger: one row per document and decision, in Parquet, asked with SQL (`fasttrain audit`).

Never holds the personal data that a filter found: evidence names kinds, counts and other documents.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

KEPT, DROPPED, EDITED, TAGGED = "kept", "dropped", "edited", "tagged"

SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.binary(16), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("decision", pa.string(), nullable=False),  # kept, dropped, edited; tagged: kept, and a rule spoke
        pa.field("reason", pa.string(), nullable=False),  # "" when kept
        pa.field("score", pa.float64()),  # the number that was compared with a threshold
        pa.field("bytes", pa.int64(), nullable=False),  # of the text, before the decision
        pa.field("evidence", pa.string(), nullable=False),  # JSON object: surviving doc_id, benchmark item, counts
    ]
)


def rows(
    stage: str,
    documents: Any,
    *,
    decision: list[str],
    reason: list[str],
    score: list[float | None] | None = None,
    evidence: list[str] | None = None,
) -> Any:
    """Ledger rows for a batch of documents (pa.RecordBatch or Table), one decision each; a pa.RecordBatch."""
    n = len(documents)
    column = {name: _flat(documents.column(name)) for name in ("doc_id", "source", "origin", "text")}
    sizes = pc.binary_length(column["text"]).cast(pa.int64())
    return pa.RecordBatch.from_arrays(
        [
            column["doc_id"],
            pa.array([stage] * n, pa.string()),
            column["source"],
            column["origin"],
            pa.array(decision, pa.string()),
            pa.array(reason, pa.string()),
            pa.array(score if score is not None else [None] * n, pa.float64()),
            sizes,
            pa.array(evidence if evidence is not None else ["{}"] * n, pa.string()),
        ],
        schema=SCHEMA,
    )


def _flat(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
