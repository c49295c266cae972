"""Finished stages of hand-made documents, for the tests of the data rooms."""

import numpy as np
import pyarrow as pa

from fasttrain.comm.group import SoloGroup
from fasttrain.core.config import Settings
from fasttrain.formats import document, manifest
from fasttrain.formats.stage import run_stage
from fasttrain.text import columns
from fasttrain.text.hash128 import hash128


class NoSettings(Settings):
    """The stage before needs none."""


def batch_of(rows, ids=None):
    """Document rows from (source, origin, text[, meta]). `ids`: doc_ids, else what the corpus stage gives them."""
    rows = [(*r, "{}")[:4] for r in rows]
    if ids is None:
        found = hash128(columns.from_texts([f"{s}\0{o}" for s, o, _, _ in rows]))
        ids = [i.tobytes() for i in found.view(np.uint8).reshape(-1, 16)]
    n = len(rows)
    hashes = hash128(columns.from_texts([t for _, _, t, _ in rows])).view(np.uint8).reshape(-1, 16)
    values = {
        "doc_id": ids,
        "text_hash": [h.tobytes() for h in hashes],
        "text": [t for _, _, t, _ in rows],
        "source": [s for s, _, _, _ in rows],
        "origin": [o for _, o, _, _ in rows],
        "licence": ["MIT"] * n,
        "language": ["en"] * n,
        "timestamp": [None] * n,
        "meta": [m for _, _, _, m in rows],
    }
    return pa.RecordBatch.from_arrays(
        [pa.array(values[f.name], f.type) for f in document.SCHEMA], schema=document.SCHEMA
    )


def finished(folder, rows, parts=1, ids=None):
    """A finished stage in `folder` that holds the rows in so many parts."""
    batch = batch_of(rows, ids)
    edges = np.linspace(0, len(batch), parts + 1).astype(int)

    def body(stage):
        stage.map_parts("documents", range(parts), lambda i, w: w.write(batch.slice(edges[i], edges[i + 1] - edges[i])))

    run_stage("corpus", folder=folder, config=NoSettings(), inputs=[], world=SoloGroup(), body=body)
    return folder


def documents_of(folder):
    """Rows of a finished stage's documents, in order."""
    m = manifest.read(folder)
    names = [f.path for f in m.files if f.path.endswith(".parquet") and ".ledger." not in f.path]
    return [row for name in names for row in document.read_documents(folder / name).to_pylist()]


def ledger_of(folder):
    """Rows of a finished stage's ledger, in order."""
    m = manifest.read(folder)
    names = [f.path for f in m.files if f.path.endswith(".ledger.parquet")]
    return [row for name in names for row in pa.parquet.read_table(folder / name).to_pylist()]
