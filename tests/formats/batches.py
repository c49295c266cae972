"""Batches of documents."""

import pyarrow as pa

from fasttrain.formats import document


def documents(texts, source="s"):
    n = len(texts)
    return pa.RecordBatch.from_arrays(
        [
            pa.array([bytes([i]) * 16 for i in range(n)], pa.binary(16)),
            pa.array([bytes([i]) * 16 for i in range(n)], pa.binary(16)),
            pa.array(texts, pa.large_string()),
            pa.array([source] * n),
            pa.array([f"o{i}" for i in range(n)]),
            pa.array(["MIT"] * n),
            pa.array([""] * n),
            pa.array([None] * n, pa.timestamp("ms", tz="UTC")),
            pa.array(["{}"] * n),
        ],
        schema=document.SCHEMA,
    )
