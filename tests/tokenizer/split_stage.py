"""A small split stage (phases train and probe, three sources, several parts) for the tests of the stages behind it."""

import hashlib

import pyarrow as pa

from fasttrain.comm.group import SoloGroup
from fasttrain.core.config import Settings
from fasttrain.formats import document
from fasttrain.formats.stage import run_stage
from tokenizer.scripts import SAMPLES

SOURCES = ("code", "web.en", "a/b c")


class Nothing(Settings):
    """No settings."""


def documents(texts, first, sources):
    """A batch of documents; `first` numbers them."""
    n = len(texts)
    ids = [
        hashlib.blake2b(f"{source}/{first + i}".encode(), digest_size=16).digest() for i, source in enumerate(sources)
    ]
    columns = {
        "doc_id": ids,
        "text_hash": ids,
        "text": texts,
        "source": sources,
        "origin": [f"{first + i}" for i in range(n)],
        "licence": ["MIT"] * n,
        "language": ["en" if i % 2 else "fr" for i in range(n)],
        "timestamp": [None] * n,
        "meta": ["{}"] * n,
    }
    return pa.RecordBatch.from_arrays(
        [pa.array(columns[f.name], f.type) for f in document.SCHEMA], schema=document.SCHEMA
    )


def make(folder):
    """Write the stage: 5 parts to train on, 2 to probe with only two of the sources."""

    def body(stage):
        for phase, parts, num_sources in (("train", 5, 3), ("probe", 2, 2)):

            def work(item, writer, phase=phase, num_sources=num_sources):
                texts = [f"{phase} {item} {t}" for t in SAMPLES]
                sources = [SOURCES[(i + item) % num_sources] for i in range(len(texts))]
                writer.write(documents(texts, 1000 * (phase == "probe") + 100 * item, sources))
                writer.kept += len(texts)

            stage.map_parts(phase, list(range(parts)), work)

    run_stage("split", folder=folder, config=Nothing(), inputs=[], world=SoloGroup(), body=body)
    return folder
