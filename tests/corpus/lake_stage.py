"""Run the corpus stage over small lakes."""

import pyarrow as pa
import pyarrow.parquet as pq

from fasttrain.comm.group import SoloGroup
from fasttrain.corpus.config import CorpusConfig
from fasttrain.corpus.removals import Removals
from fasttrain.corpus.stage import run, source_fingerprint
from fasttrain.formats.document import SCHEMA, read_documents
from fasttrain.formats.stage import run_stage


class Outcome:
    """What a finished stage holds."""

    def __init__(self, folder, manifest):
        self.folder, self.manifest, self.report = folder, manifest, manifest.report
        files = [folder / f.path for f in manifest.files]
        parts = [read_documents(f) for f in files if not f.name.endswith(".ledger.parquet")]
        self.documents = pa.concat_tables([SCHEMA.empty_table(), *parts]).to_pylist()
        rows = [pq.read_table(f).to_pylist() for f in files if f.name.endswith(".ledger.parquet")]
        self.ledger = [row for table in rows for row in table]
        self.texts = [d["text"] for d in self.documents]
        self.bad = [
            (row["reason"].removeprefix("quarantine:"), row) for row in self.ledger if row["decision"] == "dropped"
        ]


def config(sources, **limits):
    return CorpusConfig.load({"sources": sources, **limits}, where="corpus")


def read(base, sources, out, world=None, *, removals=None, **limits):
    """Run the stage over `sources` (plain tables) below `base`, without what `removals` lists."""
    listed = removals or Removals()
    settings = config(sources, **limits)
    manifest = run_stage(
        "corpus",
        folder=out,
        config=settings,
        inputs=[],
        world=world or SoloGroup(),
        body=lambda stage: run(stage, settings, base, listed),
        source_fingerprint=source_fingerprint(settings, base),
        revision=listed.revision,
    )
    return Outcome(out, manifest)


def read_one(tmp_path, path, limits=None, **source):
    """The outcome of one file or folder as the only source."""
    table = {"name": "s", "path": path.relative_to(tmp_path).as_posix(), "licence": "CC0-1.0", **source}
    return read(tmp_path, [table], tmp_path / "out", **(limits or {}))
