"""A finished input stage for tests, and the filter stage over it."""

import pyarrow as pa

from fasttrain.comm.group import world
from fasttrain.filter.stage import run
from fasttrain.formats import ledger
from fasttrain.formats.document import SCHEMA, read_documents
from fasttrain.formats.stage import run_stage
from fasttrain.text import columns
from fasttrain.text.hash128 import hash128


def documents(rows):
    """A batch of documents from (text, source, origin, language)."""
    text, source, origin, language = zip(*rows) if rows else ((), (), (), ())
    ids = [h.tobytes() for h in hash128(columns.from_texts([f"{s}\0{o}" for s, o in zip(source, origin)]))]
    hashes = [h.tobytes() for h in hash128(columns.from_texts(list(text)))]
    n = len(rows)
    cells = [ids, hashes, text, source, origin, ["CC0-1.0"] * n, language, [None] * n, ["{}"] * n]
    return pa.RecordBatch.from_arrays([pa.array(c, f.type) for c, f in zip(cells, SCHEMA)], schema=SCHEMA)


def filtered(folder, rows, config, base=None, parts=2):
    """Run the stage over `rows` cut into parts; (manifest, kept table, ledger rows as dicts)."""
    size = -(-len(rows) // parts)

    def make(stage):
        cut = [rows[i : i + size] for i in range(0, len(rows), size)]
        stage.map_parts("documents", cut, lambda part, w: w.write(documents(part)))

    group = world()
    run_stage("corpus", folder=folder / "corpus", config=config, inputs=[], world=group, body=make)
    manifest = run_stage(
        "filter", folder=folder / "filter", config=config, inputs=[folder / "corpus"], world=group,
        body=lambda stage: run(stage, config, base),
    )  # fmt: skip
    paths = [folder / "filter" / f.path for f in manifest.files]
    kept = [read_documents(p) for p in paths if not p.name.endswith(".ledger.parquet")]
    rows_ = [pa.parquet.read_table(p) for p in paths if p.name.endswith(".ledger.parquet")]
    table = pa.concat_tables(kept) if kept else pa.table({f.name: [] for f in SCHEMA}, schema=SCHEMA)
    assert all(r.schema.equals(ledger.SCHEMA) for r in rows_)
    return manifest, table, pa.concat_tables(rows_).to_pylist()
