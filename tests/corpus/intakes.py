"""One reader over the bytes of one file."""

import tempfile
from pathlib import Path

from fasttrain.corpus.config import CorpusConfig
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile


def read_bytes(reader, data, name, *, max_bytes=4000, **source):
    """(documents, reasons of quarantined records, counts) that `reader(file, intake)` gives for a file."""
    table = {"name": "s", "path": ".", **source}
    config = CorpusConfig.load({"sources": [table], "max_document_bytes": max_bytes})
    documents, bad = [], []
    intake = Intake(
        config.sources[0],
        config,
        lambda batch: documents.extend(batch.to_pylist()),
        lambda rows: bad.extend(rows.column("reason").to_pylist()),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        reader(LakeFile(path, name, "", len(data), ""), intake)
    intake.flush()
    assert len(bad) == intake.counts["quarantined"]
    return documents, bad, dict(intake.counts)
