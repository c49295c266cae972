"""Runs the decontamination stage on texts."""

import itertools

import pyarrow as pa
import pyarrow.parquet as pq

from fasttrain.comm.group import SoloGroup
from fasttrain.core.config import Settings
from fasttrain.decontam import stage as decontam
from fasttrain.formats import document
from fasttrain.formats.stage import run_stage


class Nothing(Settings):
    """A stage without settings."""


def documents_stage(folder, texts, parts=2):
    n = len(texts)
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([i.to_bytes(16, "little") for i in range(n)], pa.binary(16)),
            pa.array([i.to_bytes(16, "little") for i in range(n)], pa.binary(16)),
            pa.array(texts, pa.large_string()),
            pa.array(["s"] * n),
            pa.array([f"o{i}" for i in range(n)]),
            pa.array(["MIT"] * n),
            pa.array([""] * n),
            pa.array([None] * n, document.SCHEMA.field("timestamp").type),
            pa.array(["{}"] * n),
        ],
        schema=document.SCHEMA,
    )
    cuts = [n * k // parts for k in range(parts + 1)]
    pieces = [batch.slice(a, b - a) for a, b in itertools.pairwise(cuts)]
    run_stage(
        "before", folder=folder, config=Nothing(), inputs=[], world=SoloGroup(),
        body=lambda s: s.map_parts("documents", range(parts), lambda k, w: w.write(pieces[k])) and None,
    )  # fmt: skip


def run(tmp_path, config, texts, name="out"):
    documents_stage(tmp_path / "before", texts)
    done = run_stage(
        "decontam", folder=tmp_path / name, config=config, inputs=[tmp_path / "before"], world=SoloGroup(),
        body=lambda s: decontam.run(s, config, tmp_path),
    )  # fmt: skip
    rows = [
        r
        for f in done.files
        if f.path.endswith("ledger.parquet")
        for r in pq.read_table(tmp_path / name / f.path).to_pylist()
    ]
    return done, rows


def documents_of(tmp_path, done):
    files = [f.path for f in done.files if f.path.endswith(".parquet") and f.path.count(".") == 1]
    return [row for path in files for row in pq.read_table(tmp_path / "out" / path).to_pylist()]


def spans_of(tmp_path, done):
    files = [f.path for f in done.files if f.path.endswith(".spans.parquet")]
    return [row for path in files for row in pq.read_table(tmp_path / "out" / path).to_pylist()]
